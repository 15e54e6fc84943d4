"""The command line: `python -m bench arch=segnet dataset=camvid`, with -m for sweeps.

It imports no torch, so that a typo is answered in half a second.
"""

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from bench import records
from bench.config import resolve
from bench.launch import launch

EXIT_FAILED, EXIT_INTERRUPTED = 1, 75  # 75 is EX_TEMPFAIL: the same command goes on

ended: list[dict[str, Any]] = []
to_measure: list[dict[str, Any]] = []


@hydra.main(config_path="../conf", config_name="config", version_base="1.3")
def task(cfg: DictConfig) -> None:
    """Executes one job of a sweep, or the only one: a run in its own process."""
    if interrupted():
        return
    hydra = HydraConfig.get().runtime
    for source in hydra.config_sources:
        if source.provider == "command-line":  # a user's network may lie beside their YAML
            sys.path.append(str(Path(source.path).absolute()))
    with open_dict(cfg):
        name = cfg.arch.setdefault("name", hydra.choices["arch"])
    try:
        config = {**resolve(cfg), "command": command()}
        if config["cost"]["measure"]:  # contestants take turns, so all must be known first
            to_measure.append(config)
            return
        end = launch(config)
    except ValueError as error:
        end = {"state": records.FAILED, "reason": str(error), "folder": None}
    if end["state"] != records.FINISHED:
        print(f"{name} {end['state']}: {end['reason']}", file=sys.stderr)
    ended.append(end)


def command() -> str:
    """Returns the command of this job, one of a sweep or the only one."""
    overrides = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    assert isinstance(overrides, list)
    return shlex.join(["python", "-m", "bench", *map(str, overrides)])


def quoted(argument: str) -> str:
    """Quotes a value with letters outside ASCII, which Hydra reads in quotes only."""
    key, equals, value = argument.partition("=")
    if not equals or value.isascii() or value[0] in "'\"[{":
        return argument
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{key}='{escaped}'"


def interrupted() -> bool:
    """Says whether a signal stopped a run; the rest of the sweep is then left for later."""
    return any(end["state"] == records.INTERRUPTED for end in ended)


def measure_costs() -> list[dict[str, Any]]:
    """Measures the collected contestants, prints what they cost, and returns how each ended."""
    from bench.cost.contest import measure  # noqa: PLC0415 - only `cost` needs them
    from reports.tables import print_costs  # noqa: PLC0415 - pandas is slow

    try:
        paths = measure(to_measure)
    except KeyboardInterrupt:
        print("stopped; groups that were complete are recorded", file=sys.stderr)
        return [{"state": records.INTERRUPTED, "reason": "Ctrl-C", "folder": None}]
    if paths:
        print_costs(paths)
        print(f"\nwritten to {paths[0].parent}{os.sep}")
    found = [records.read_json(path) for path in paths]
    state = {True: records.FINISHED, False: records.FAILED}
    return [
        {"state": state[r["state"] == "measured"], "reason": r["reason"], "folder": None}
        for r in found
    ]


def main() -> None:
    """Runs all jobs, prints their table, and exits with 1 if any of them did not finish."""
    sys.argv[1:] = [quoted(argument) for argument in sys.argv[1:]]
    task()
    if to_measure:
        ended.extend(measure_costs())
    folders = [Path(end["folder"]) for end in ended if end["folder"]]
    if any((folder / "evaluations").exists() for folder in folders):
        from reports.tables import print_tables, write_page  # noqa: PLC0415 - pandas is slow

        print_tables(folders)
        print(f"\nwritten to {folders[0].parent}{os.sep}")
        if len(folders) > 1:
            print(f"all of it as one page: {write_page(folders)}")
    failed = [end for end in ended if end["state"] != records.FINISHED]
    if len(ended) > 1 and failed:
        print(f"{len(failed)} of {len(ended)} runs did not finish", file=sys.stderr)
    sys.exit(EXIT_INTERRUPTED if interrupted() else EXIT_FAILED if failed else 0)


if __name__ == "__main__":
    main()
