"""The command line: `python -m bench arch=segnet dataset=camvid`, with -m for sweeps.

It imports no torch, so that a typo is answered in half a second.
"""

import argparse
import os
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from bench import records
from bench.command_line import explanation
from bench.config import Config
from bench.console import outlive_consoles
from bench.launch import callback, sweep
from bench.launch.gpus import gpus_needed
from bench.launch.job import configuration, execute
from bench.launch.launch import Outcome
from bench.launch.replay import hydra_arguments
from bench.overrides import quoted
from bench.records import End, State

EXIT_FAILED, EXIT_INTERRUPTED = 1, 75  # 75 is EX_TEMPFAIL: the same command goes on
# Hydra's options without a value.
FLAGS = {
    "-m", "--multirun", "-r", "--run", "--resolve", "-h", "--help", "--hydra-help", "--version",
    "-sc", "--shell-completion",
}  # fmt: skip
CONFIG_DIR = {"-cd", "--config-dir"}


@dataclass
class Session:
    """What one call of the command line has done so far."""

    ended: list[tuple[str, Outcome]] = field(default_factory=list)  # with a label of the run
    to_measure: list[Config] = field(default_factory=list)  # contestants, which take turns

    def task(self, cfg: DictConfig) -> None:
        """Executes one job of a sweep, or the only one; measurements are only collected."""
        if cfg.cost.measure:
            try:
                self.to_measure.append(configuration(cfg))
            except ValueError as error:
                self._end(cfg, Outcome(End(State.failed, str(error))))
        elif HydraConfig.get().mode == RunMode.MULTIRUN:
            sweep.take_part(partial(execute, cfg), gpus_needed(cfg.device, cfg.processes))
        else:
            self._end(cfg, execute(cfg))

    def _end(self, cfg: DictConfig, outcome: Outcome) -> None:
        name = str(cfg.arch.get("name") or HydraConfig.get().runtime.choices.get("arch"))
        if outcome.end.state != State.finished:
            print(f"{name} {outcome.end.state}: {outcome.end.reason}", file=sys.stderr)
        self.ended.append((name, outcome))

    def run_jobs(self) -> None:
        """Runs the only job, or all of a sweep wherever its launcher has them run."""
        command = hydra.main(config_path="../conf", config_name="config", version_base="1.3")
        callback.tasks.append(self.task)
        try:
            command(self.task)()
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            if isinstance(error, ValueError):  # of options that exclude each other, of a launcher
                sentence = str(error)
            else:
                sentence = explanation(error, *overrides_and_folder(sys.argv[1:]))
            if not sweep.started:
                sys.exit(sentence)
            print(sentence, file=sys.stderr)
        except (SystemExit, KeyboardInterrupt) as error:
            if not sweep.started:
                raise
            if isinstance(error, KeyboardInterrupt):
                sweep.started[-1].left_alone = True
                print("stopped waiting; jobs in a queue go on", file=sys.stderr)
        for each in sweep.started:
            each.finish()
            self.ended += each.outcomes()

    def measure_costs(self) -> None:
        """Measures the collected contestants and prints what they cost."""
        from bench.cost.measure import measure  # noqa: PLC0415 - only `cost` needs them
        from reports.after_run import print_costs  # noqa: PLC0415 - pandas is slow

        try:
            paths = measure(self.to_measure)
        except KeyboardInterrupt:
            print("stopped; groups that were complete are recorded", file=sys.stderr)
            self.ended.append(("cost", Outcome(End(State.interrupted, "Ctrl-C"))))
            return
        if paths:
            print_costs(paths)
            print(f"\nwritten to {paths[0].parent}{os.sep}")
        for path in paths:
            record = records.read_json(path)
            state = State.finished if record["state"] == "measured" else State.failed
            self.ended.append((record["arch"]["name"], Outcome(End(state, record["reason"]))))

    def print_report(self) -> None:
        """Prints the tables of the runs, and writes the page of several."""
        folders = [Path(outcome.folder) for _, outcome in self.ended if outcome.folder]
        if not any((folder / "evaluations").exists() for folder in folders):
            return
        from reports.after_run import print_tables, write_page  # noqa: PLC0415 - pandas is slow

        print_tables(folders)
        print(f"\nwritten to {folders[0].parent}{os.sep}")
        if len(folders) > 1:
            print(f"all of it as one page: {write_page(folders)}")

    def exit_code(self) -> int:
        """Says which runs of several did not finish, and returns what that means for the shell."""
        failed = [(name, o.end) for name, o in self.ended if o.end.state != State.finished]
        total = max(len(self.ended), sum(len(each.jobs) for each in sweep.started))
        left = total - len(self.ended)
        if total > 1 and (failed or left):
            print(f"{len(failed) + left} of {total} runs did not finish", file=sys.stderr)
            for name, end in failed:
                print(f"{name} {end.state}: {end.reason}", file=sys.stderr)
            if left:
                print(f"{left} not ended; the same command goes on", file=sys.stderr)
        stopped = any(each.stopped() for each in sweep.started)
        if stopped or any(end.state == State.interrupted for _, end in failed):
            return EXIT_INTERRUPTED
        return EXIT_FAILED if failed or left else 0


def main() -> None:
    """Runs all jobs, prints their table, and exits with 1 if any of them did not finish."""
    outlive_consoles(essential=False)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--from", dest="run", type=Path, metavar="RUN")
    parser.add_argument("--trust", action="store_true")
    options, others = parser.parse_known_args()
    others = options_first(others)
    try:
        if options.run is not None:
            others = hydra_arguments(options.run, others, trusted=options.trust)
        sys.argv[1:] = others
    except ValueError as error:
        sys.exit(str(error))
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra's own report of an error is several lines
    session = Session()
    session.run_jobs()
    if session.to_measure:
        session.measure_costs()
    session.print_report()
    sys.exit(session.exit_code())


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


if __name__ == "__main__":
    main()
