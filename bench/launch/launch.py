"""Starts a run in a fresh process, shows its progress, and learns how it ended.

A fresh process for every run: an earlier contestant's memory, allocator state or crash cannot touch
the next one. What travels between the two processes is the run's folder, nothing else. This file
imports no torch.
"""

import contextlib
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from tqdm import tqdm

from bench import records, sources
from bench.config import Config, identity, read_config, run_folder, variant_of, write_config
from bench.launch.display import watch
from bench.launch.lock import locked
from bench.launch.processes import Children
from bench.memory_limits import EXIT_OUT_OF_MEMORY, REMEDY
from bench.protocol import depends_on_end
from bench.records import End, State
from bench.temporary_files import SCRATCH, remove_leftovers, remove_old_scratch
from bench.trust import is_harmless
from bench.tuning.schema import is_trial
from bench.typed import plain

CHILD = "bench.run"
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


@dataclass(frozen=True)
class Outcome:
    """How a command that was to make a run ended, and where the run's record is, if it has one."""

    end: End
    folder: str | None = None


def launch(config: Config) -> Outcome:
    """Runs one resolved configuration to its end.

    Raises:
        ValueError: another process works on the same run.
    """
    _refuse_extension(config)
    if config.dry_run:
        remove_old_scratch()
        with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
            print(_announcement(config))
            return replace(_supervise(Path(scratch), config, []), folder=None)
    folder = run_folder(config)
    with records.writing(folder):
        if config.rerun and (folder / "config.json").exists():
            _set_aside(folder)
        elif (outcome := _finished(folder, config)) is not None:
            return outcome
        with locked(folder) as descriptor:
            if (outcome := _finished(folder, config)) is not None:  # meanwhile
                return outcome
            _check_record(folder, config)
            remove_leftovers(folder)
            with _kept_if_refused(folder, config):
                (folder / "end.json").unlink(missing_ok=True)
                if not config.start:
                    return _leave_to_torchrun(folder, config)
                outcome = _supervise(folder, config, [descriptor])
                if is_trial(config.tuning):
                    _drop_weights_of_trial(folder, config, outcome.end)
                return outcome


def _announcement(config: Config) -> str:
    """Says where a dry run would have run, as far as that is known before trials are made."""
    if config.tuning is None or config.tuning.tried or is_trial(config.tuning):
        return f"would run in {run_folder(config)}"
    return f"would run {config.arch['name']} with the values that its trials choose"


def _drop_weights_of_trial(folder: Path, config: Config, end: End) -> None:
    """Leaves of a trial that has ended its records, and what a later stop goes on from."""
    assert config.tuning is not None
    goes_on = config.tuning.rung < len(config.tuning.halving)
    if end.state == State.diverged or (end.state == State.finished and not goes_on):
        drop_weights(folder)
    elif end.state == State.finished:
        drop_weights(folder, kept="checkpoint.pt")


def drop_weights(folder: Path, kept: str = "") -> None:
    """Removes the weights of a run, but for one file."""
    for path in folder.glob("*.pt"):
        if path.name != kept:
            path.unlink()


def _refuse_extension(config: Config) -> None:
    """Rejects a longer run where a shorter one cannot be extended: its rates depend on its end.

    Raises:
        ValueError: there is such a run, and none of this length yet; naming it.
    """
    folder = run_folder(config)
    extends = depends_on_end(config.protocol) and not is_trial(config.tuning)
    if not extends or config.rerun or folder.exists():
        return
    name = folder.name.removesuffix(identity(config))
    for path in sorted(folder.parent.glob(f"{name}*/config.json")):
        try:
            last = read_config(path.parent).max_iterations
        except ValueError:
            continue  # a damaged record is no run to extend
        shorter = replace(config, max_iterations=last)
        if last < config.max_iterations and run_folder(shorter) == path.parent:
            raise ValueError(
                f"{path.parent.name} is planned for {last} iterations, and with protocol.schedule="
                f"{config.protocol.schedule} all its learning rates depend on that: it cannot be "
                f"extended to max_iterations={config.max_iterations}; start from its weights with "
                f"init_from={path.parent}, or from the beginning with rerun=true"
            )


def _finished(folder: Path, config: Config) -> Outcome | None:
    """Returns the end of a run that has done all that is asked for now, else None."""
    end = records.read_end(folder)
    if end is None or not covers(end, config):
        return None
    _check_record(folder, config)
    where = f", at iteration {end.iteration}" if end.iteration is not None else ""
    print(f"{folder.name}: {end.state} before{where}")
    environment = folder / "environment.json"
    then = records.read_json(environment) if environment.exists() else {}
    if other := sources.changed(then, sources.code_of(config)):
        print(f"  with other code than today's ({', '.join(other)}); rerun=true runs today's")
    return Outcome(end, str(folder))


@contextlib.contextmanager
def _kept_if_refused(folder: Path, config: Config) -> Iterator[None]:
    """Leaves a finished run as it was when its extension ends before a checkpoint of its own."""
    end = records.read_end(folder)
    names = ("config.json", "end.json", "environment.json", "data.json", "network.json")
    before = {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
    state = _checkpoint_state(folder)
    yield
    now = records.read_end(folder)
    refused = now is not None and now.state != State.finished and not covers(now, config)
    untouched = _checkpoint_state(folder) == state
    if end is not None and end.state == State.finished and refused and untouched:
        for name, content in before.items():
            records.write_bytes(folder / name, content)


def _checkpoint_state(folder: Path) -> tuple[int, int] | None:
    path = folder / "checkpoint.pt"
    return (path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else None


def _check_record(folder: Path, config: Config) -> None:
    """Rejects a folder whose record is of another run, or was edited into one.

    Raises:
        ValueError: naming the record.
    """
    path = folder / "config.json"
    if not path.exists():
        return
    try:
        recorded = f"identity {identity(read_config(folder))}"
    except ValueError as error:
        recorded = str(error)
    if recorded != f"identity {identity(config)}":
        raise ValueError(
            f"{path} is not of this run ({recorded} instead of identity {identity(config)}); "
            "restore it, or start afresh with rerun=true"
        )


def covers(end: End, config: Config) -> bool:
    """Says whether a run has done all that is asked for now; a trial has, when it diverged."""
    return (is_trial(config.tuning) and end.state == State.diverged) or (
        end.state == State.finished
        and (end.max_iterations or 0) >= config.max_iterations
        and (variant_of(config.postprocess) or config.postprocess["name"])
        in ("none", *end.postprocessed)
    )


def _set_aside(folder: Path) -> None:
    """Keeps an earlier result under another name."""
    with locked(folder):
        number = 1
        while (old := folder.with_name(f"{folder.name}.old{number}")).exists():
            number += 1
        folder.rename(old)


def _leave_to_torchrun(folder: Path, config: Config) -> Outcome:
    """Prepares a run that several machines with one file system will share."""
    write_config(folder, config)
    print("on every node, with a rendezvous of yours:")
    users = Path(config.config_dir) if config.config_dir else None
    words = [str(folder), *(["--config-dir", str(users)] if users else [])]
    words += [] if is_harmless(plain(config), users) else ["--trust"]
    print(f"torchrun --nnodes=N --nproc-per-node=GPUS ... -m {CHILD} {shlex.join(words)}")
    return Outcome(End(State.finished))


def _supervise(folder: Path, config: Config, descriptors: list[int]) -> Outcome:
    """Starts the child, forwards signals to it, shows its progress, reads how it ended."""
    write_config(folder, config)
    (folder / "progress.json").unlink(missing_ok=True)
    with contextlib.ExitStack() as stack:
        with _postponed_signals():
            children = Children(folder, config.processes, CHILD, descriptors)
            forwarded = stack.enter_context(_forwarding(children))
        silent = watch(folder, children, 60 * config.silence_minutes)
    end = records.read_end(folder)
    # Processes that share a run blame each other when one is killed; the signal is the reason.
    killed = children.failed is not None and children.failed[1] < 0 and config.processes > 1
    if end is None or killed:
        end = _died(children, silent, config.silence_minutes)
        if forwarded:
            end = replace(end, state=State.interrupted)
        end = _recorded(folder, end)
    return Outcome(end, str(folder))


def _recorded(folder: Path, end: End) -> End:
    """Writes how a run ended; where that is impossible, the reason it returns says so too."""
    try:
        records.write_end(folder, end)
    except ValueError as error:
        return replace(end, reason=f"{end.reason}; {error}")
    return end


@contextlib.contextmanager
def _postponed_signals() -> Iterator[None]:
    """Holds stop signals back until somebody handles them, here and in a process started here."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _forwarding(children: Children) -> Iterator[list[int]]:
    """Passes stop signals on and lists them; Ctrl-C after one of them kills."""
    forwarded: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        # Only an impatient user kills: SLURM sends SIGTERM some time after SIGUSR1.
        children.send_signal(signal.SIGKILL if forwarded and number == signal.SIGINT else number)
        if not forwarded:
            tqdm.write("stopping after a checkpoint; Ctrl-C to stop at once", file=sys.stderr)
        forwarded.append(number)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        yield forwarded
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _died(children: Children, silent: bool, minutes: float) -> End:
    """Describes a run that could not say itself how it ended."""
    if silent:
        reason = f"killed after silence_minutes={minutes:g} without a sign of life"
        return End(State.killed, f"{reason}; the same command goes on")
    number, code = children.failed or (0, 0)
    who = f"process {number} " if children.count > 1 else ""
    if code < 0:
        reason = f"{who}killed by {signal.Signals(-code).name}; the same command goes on"
        return End(State.killed, reason)
    if code == EXIT_OUT_OF_MEMORY:
        return End(State.out_of_memory, f"{who}had not enough memory to start; {REMEDY}")
    return End(State.failed, f"{who}ended with exit code {code}; log.txt has the rest")
