"""`python -m bench.export RUN [RUN ...]`: from records to a device, exported, scored and timed.

Exports the network of each run to ONNX, states how near the logits of each runtime are to PyTorch's
on images of the test set, scores the set through the runtime as the network itself was scored, and
times all of them and the networks in turns, on the CPU. What is written lies in RUN/deployed, the
scores in RUN/evaluations beside the network's own; `python -m reports` has them in the table "as
deployed", and `python -m reports choose` chooses among them.
"""

import argparse
from pathlib import Path

import torch

from bench.command_line import user_errors
from bench.cost.schema import CostConfig, check_cost
from bench.deploy.precision import PRECISIONS
from bench.deploy.runtimes import KINDS
from bench.deploy.stage import Exporter, Plan
from bench.deploy.timed import measure
from bench.run.trained import WEIGHTS, load_trained


def main(words: list[str] | None = None) -> None:
    """Exports, scores and times the networks of runs."""
    arguments = parser().parse_args(words)
    with user_errors(parser()):
        cost = CostConfig(backward=False, training_batch=None, seconds=arguments.seconds)
        check_cost(cost)
        plan = planned(arguments)
        plan.require_extras()
        torch.set_num_threads(plan.threads)
        exporters = [_exporter(run, arguments, plan) for run in arguments.runs]
        deployments = [each for exporter in exporters for each in exporter.deployments()]
        if not arguments.untimed:
            measure(deployments, cost, plan.threads)
    print('python -m reports FOLDER shows them in the table "as deployed"')


def parser() -> argparse.ArgumentParser:
    """Describes the command line."""
    whole = argparse.ArgumentParser(prog="python -m bench.export", description=__doc__)
    add = whole.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="the folder of a run")
    add("--runtime", default="onnxruntime", help=f"of {', '.join(KINDS)}; several with commas")
    add("--precision", default="fp32", help=f"of {', '.join(PRECISIONS)}; several with commas")
    add("--any-size", action="store_true", help="a graph for any batch, height and width")
    add("--split", default="test", help="the split that is scored")
    add("--calibration-images", type=int, default=64, help="training images that int8 looks at")
    add("--threads", type=int, default=torch.get_num_threads(), help="that compute (%(default)s)")
    add("--seconds", type=float, default=CostConfig.seconds, help="of timing, for each row")
    add("--untimed", action="store_true", help="export and score only")
    add("--rerun", action="store_true", help="do again what was exported before")
    add("--weights", choices=("auto", *WEIGHTS), default="auto")
    add(
        "--trust", action="store_true", help="let the record call any code, not only ours and yours"
    )
    add("--config-dir", type=Path, help="the folder of your own network, as given when it trained")
    whole.set_defaults(device="cpu")
    return whole


def planned(arguments: argparse.Namespace) -> Plan:
    """Checks what is asked for.

    Raises:
        ValueError: a flag's value cannot be.
    """
    for flag in ("threads", "calibration_images"):
        if getattr(arguments, flag) < 1:
            name = flag.replace("_", "-")
            raise ValueError(f"--{name} {getattr(arguments, flag)}: it must be 1 or more")
    return Plan(
        runtimes=_chosen("runtime", arguments.runtime, tuple(KINDS)),
        precisions=_chosen("precision", arguments.precision, PRECISIONS),
        any_size=arguments.any_size,
        split=arguments.split,
        calibration_images=arguments.calibration_images,
        threads=arguments.threads,
        rerun=arguments.rerun,
    )


def _exporter(run: Path, arguments: argparse.Namespace, plan: Plan) -> Exporter:
    """Loads the network of a run.

    Raises:
        ValueError: it cannot be loaded.
    """
    trained = load_trained(argparse.Namespace(**{**vars(arguments), "run": run}))
    return Exporter(run, trained, plan)


def _chosen(flag: str, words: str, known: tuple[str, ...]) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(words.split(",")))
    for word in chosen:
        if word not in known:
            raise ValueError(f"--{flag} {word}: must be of {', '.join(known)}, several with commas")
    return chosen


if __name__ == "__main__":
    main()
