"""The command line: `python -m bench arch=segnet dataset=camvid`, with -m for sweeps.

It imports no torch, so that a typo is answered in half a second.
"""

import argparse
import os
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from bench import records
from bench.command_line import explanation
from bench.composition import resolve
from bench.config import Config
from bench.console import outlive_consoles
from bench.launch import sweep
from bench.launch.gpus import gpus_needed
from bench.launch.launch import launch
from bench.launch.replay import announce_changes, hydra_arguments, needs_trust
from bench.overrides import quoted
from bench.target import users_folder

EXIT_FAILED, EXIT_INTERRUPTED = 1, 75  # 75 is EX_TEMPFAIL: the same command goes on
MEASURED_LATER = "measured later"
# Hydra's options without a value.
FLAGS = {
    "-m", "--multirun", "-r", "--run", "--resolve", "-h", "--help", "--hydra-help", "--version",
    "-sc", "--shell-completion",
}  # fmt: skip

CONFIG_DIR = {"-cd", "--config-dir"}

ended: list[dict[str, Any]] = []
to_measure: list[Config] = []


@hydra.main(config_path="../conf", config_name="config", version_base="1.3")
def task(cfg: DictConfig) -> None:
    """Executes one job of a sweep, or the only one."""
    if HydraConfig.get().mode == RunMode.MULTIRUN and not cfg.cost.measure:
        sweep.take_part(partial(execute, cfg), gpus_needed(cfg.device, cfg.processes))
        return
    end = execute(cfg)
    if end["state"] == MEASURED_LATER:
        return
    if end["state"] != records.FINISHED:
        print(f"{cfg.arch.name} {end['state']}: {end['reason']}", file=sys.stderr)
    ended.append(end)


def execute(cfg: DictConfig) -> dict[str, Any]:
    """Executes a run in its own process and returns how it ended."""
    runtime = HydraConfig.get().runtime
    users = users_folder(runtime)
    if "name" not in cfg.arch:
        with open_dict(cfg):
            cfg.arch.name = runtime.choices["arch"]
    try:
        config = resolve(cfg)
        config.config_dir = users
        config.command = command(config)
        if config.replay_of is not None:
            announce_changes(config)
        if config.cost.measure:  # contestants take turns, so all must be known first
            to_measure.append(config)
            return {"state": MEASURED_LATER, "reason": None, "folder": None}
        return launch(config)
    except ValueError as error:
        return {"state": records.FAILED, "reason": str(error), "folder": None}


def command(config: Config) -> str:
    """Returns the command of this job, one of a sweep or the only one."""
    overrides = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    assert isinstance(overrides, list)
    flags = [("--from", config.replay_of), ("--config-dir", config.config_dir)]
    given = [word for flag, value in flags if value is not None for word in (flag, value)]
    if config.replay_of is not None and needs_trust(config):
        given.append("--trust")
    return shlex.join(["python", "-m", "bench", *given, *map(str, overrides)])


def options_first(arguments: list[str]) -> list[str]:
    """Puts overrides, quoted, behind the options: Hydra takes them on one side of these only."""
    options: list[str] = []
    overrides: list[str] = []
    for before, word in zip(["", *arguments], arguments, strict=False):
        is_value = before.startswith("-") and "=" not in before and before not in FLAGS
        is_override = ("=" in word or word.startswith("~")) and not word.startswith("-")
        (overrides if is_override and not is_value else options).append(word)
    return [*options, *map(quoted, overrides)]


def overrides_and_folder(arguments: list[str]) -> tuple[list[str], Path | None]:
    """Returns the overrides among arguments in Hydra's order, and the value of --config-dir."""
    folder = None
    for before, word in zip(["", *arguments], arguments, strict=False):
        option, _, value = word.partition("=")
        if option in CONFIG_DIR and value:
            folder = Path(value)
        elif before in CONFIG_DIR:
            folder = Path(word)
    return [word for word in arguments if "=" in word and not word.startswith("-")], folder


def measure_costs() -> list[dict[str, Any]]:
    """Measures the collected contestants, prints what they cost, and returns how each ended."""
    from bench.cost.measure import measure  # noqa: PLC0415 - only `cost` needs them
    from reports.after_run import print_costs  # noqa: PLC0415 - pandas is slow

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
    outlive_consoles(essential=False)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--from", dest="run", type=Path, metavar="RUN")
    parser.add_argument("--trust", action="store_true")
    ours, others = parser.parse_known_args()
    others = options_first(others)
    try:
        if ours.run is not None:
            others = hydra_arguments(ours.run, others, trusted=ours.trust)
        sys.argv[1:] = others
    except ValueError as error:
        sys.exit(str(error))
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra's own report of an error is several lines
    run_jobs()
    if to_measure:
        ended.extend(measure_costs())
    folders = [Path(end["folder"]) for end in ended if end["folder"]]
    if any((folder / "evaluations").exists() for folder in folders):
        from reports.after_run import print_tables, write_page  # noqa: PLC0415 - pandas is slow

        print_tables(folders)
        print(f"\nwritten to {folders[0].parent}{os.sep}")
        if len(folders) > 1:
            print(f"all of it as one page: {write_page(folders)}")
    sys.exit(exit_code())


def run_jobs() -> None:
    """Runs the only job, or all of a sweep wherever its launcher has them run."""
    try:
        task()
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(explanation(error, *overrides_and_folder(sys.argv[1:])))
    except ValueError as error:  # about options that exclude each other, or of a launcher
        if not sweep.started:
            sys.exit(str(error))
        print(error, file=sys.stderr)
    except (SystemExit, KeyboardInterrupt) as error:
        if not sweep.started:
            raise
        if isinstance(error, KeyboardInterrupt):
            sweep.started[0].left_alone = True
            print("stopped waiting; jobs in a queue go on", file=sys.stderr)
    if sweep.started:
        sweep.started[0].finish()
        ended.extend(sweep.started[0].ends())


def exit_code() -> int:
    """Says which runs of several did not finish, and returns what that means for the shell."""
    failed = [end for end in ended if end["state"] != records.FINISHED]
    total = max([len(ended), *(len(one.jobs) for one in sweep.started)])
    left = total - len(ended)
    if total > 1 and (failed or left):
        print(f"{len(failed) + left} of {total} runs did not finish", file=sys.stderr)
        for end in failed:
            if "label" in end:
                print(f"{end['label']} {end['state']}: {end['reason']}", file=sys.stderr)
        if left:
            print(f"{left} not ended; the same command goes on", file=sys.stderr)
    stopped = any(one.stopped() for one in sweep.started)
    if stopped or any(end["state"] == records.INTERRUPTED for end in failed):
        return EXIT_INTERRUPTED
    return EXIT_FAILED if failed or left else 0


if __name__ == "__main__":
    main()
