"""Speed of the tables of many runs, beside merely opening the evidence of all of them.

    python tests/benchmarks/reports.py --runs 1000 --images 233

Generated runs of 11 classes, five seeds a network, the classes of CamVid and as many images as its
test set. Three things take turns in processes of their own: opening every evidence file and no
more; a first report, which computes the intervals; and a second one, which finds them in the cache.
Their times are the processor's, with one thread. The last line is JSON.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1] / "reports"))

from handmade import write_many

ROOT = Path(__file__).parents[2]
OPENING = """
import sys
from pathlib import Path
from bench import records
from bench.evidence import read_evidence
for folder in records.run_folders(Path(sys.argv[1])):
    for evaluation in records.read_evaluations(folder):
        read_evidence(folder, evaluation)
"""


def processor_seconds(*arguments: str) -> float:
    """Runs python with arguments and returns its user and system time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        env=environment,
        cwd=ROOT,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(runs: Path, rounds: int) -> dict[str, list[float]]:
    """Times the three in turn, as many rounds as asked for."""
    seconds: dict[str, list[float]] = {"opening": [], "first report": [], "second report": []}
    for _ in range(rounds):
        (runs / ".estimates.json").unlink(missing_ok=True)
        seconds["opening"].append(processor_seconds("-c", OPENING, str(runs)))
        seconds["first report"].append(processor_seconds("-m", "reports", str(runs)))
        seconds["second report"].append(processor_seconds("-m", "reports", str(runs)))
    return seconds


def main() -> None:
    """Generates, measures and prints."""
    parser = argparse.ArgumentParser(description="Speed of the tables of many runs.")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--images", type=int, default=233)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        write_many(Path(scratch) / "runs", options.runs, options.images)
        seconds = measure(Path(scratch) / "runs", options.rounds)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        print(f"{name:<16}{value:>8.2f} s of {options.runs} runs")
    ratios = {
        f"{name} / opening": round(medians[name] / medians["opening"], 2)
        for name in ("first report", "second report")
    }
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
