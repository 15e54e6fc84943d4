"""`python -m reports merge RUNS OTHERS --source LAB`: another laboratory's runs beside one's own.

A run is taken over where `reports verify` finds its records sound, it has ended, its fingerprint is
that of a run in RUNS, its images have the same digests, and no run of its network and seed is there
yet. The trials of a tuned run come with it. Each run gets a line that says what became of it and
why. What was taken over carries `origin.json`, so that every table names the laboratory below its
figures; soundness proves nothing about who ran what.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import records
from bench.sound_files import JSON_BYTES, Name, read_bytes, require
from bench.tuning.schema import TRIALS
from reports.read.deployed import ORIGIN, deployed_records
from reports.read.runs import Run, differences, read_runs
from reports.read.shapes import SHAPES
from reports.read.tuning import trial_folders, trials_of, tuning_of
from reports.verify import PROVES, verify_run

FILES = ("losses.jsonl", "log.txt", *SHAPES)
LARGEST = 2**30  # bytes of a file, as the reader of evidence has it


def merge(root: Path, others: Path, source: str) -> tuple[list[str], bool]:
    """Copies the runs of another folder that may stand beside those of `root`.

    Args:
        root: the runs that are there.
        others: a folder of runs, or one run.
        source: the laboratory, as tables name it.

    Returns:
        What to print, and whether every run was taken over or is there already.

    Raises:
        ValueError: the two folders are one, one of them holds no run, or the source has no name.
    """
    require("--source", {"source": source}, {"source": Name})
    if root.resolve() == others.resolve():
        raise ValueError(f"{others}: is the folder to merge into; give the other laboratory's")
    ours = read_runs(records.run_folders(root))
    folders = records.run_folders(others)
    for folder, found in ((root, ours), (others, folders)):
        if not found:
            raise ValueError(f"{folder}: holds no run; give the folder that holds the runs")
    lines, complete = [], True
    for folder in folders:
        try:
            known = _taken_over(folder, root, ours, source)
        except ValueError as error:
            lines.append(f"REFUSED {folder.name}: {error}")
            complete = False
        else:
            lines += known
            ours += read_runs([root / folder.name]) if known[0].startswith("merged") else []
    return [*lines, PROVES], complete


def _taken_over(folder: Path, root: Path, ours: Sequence[Run], source: str) -> list[str]:
    """Copies a run if it may be; returns what to say of it.

    Raises:
        ValueError: why it may not.
    """
    found = verify_run(folder)
    if found.problems:
        more = f" ({len(found.problems)} problems)" if len(found.problems) > 1 else ""
        raise ValueError(f"{found.problems[0]}{more}")
    (run, *_) = read_runs([folder])
    target = root / folder.name
    if target.exists() and _same_record(folder, target):
        return [f"there already: {folder.name}"]
    _require_conditions(run, ours)
    for mine in ours:
        if (mine.seed, mine.fingerprint, mine.config["arch"]) == (
            run.seed, run.fingerprint, run.config["arch"]
        ):  # fmt: skip
            raise ValueError(
                f"{mine.folder.name} is {run.name} with seed {run.seed} too; a seed counts once"
            )
    if target.exists():
        raise ValueError(f"{target} is another run; rename the folder of the one to merge")
    trials = _trials(folder, root)
    for trial in trials:
        _copy(trial, root / TRIALS / trial.name, source)
    _copy(folder, target, source)
    words = f"merged {folder.name}: {run.name}, seed {run.seed}, from {source}"
    words += f", with {len(trials)} trials" if trials else ""
    if found.without_digest:
        words += f"; {found.without_digest} of its files carry no digest"
    return [words, *_other_code(run, ours)]


def _require_conditions(run: Run, ours: Sequence[Run]) -> None:
    """Rejects a run that no table could set beside the others.

    Raises:
        ValueError: it has not ended, or was made under other conditions or of other images.
    """
    if not (run.folder / "end.json").exists():
        raise ValueError(f"it has not ended ({run.state}); merge it when it has")
    alike = [mine for mine in ours if mine.fingerprint == run.fingerprint]
    if not alike:
        differing = "; ".join(differences(ours[0], run)) or "no key; other versions of the program"
        raise ValueError(
            f"its fingerprint {run.fingerprint} is that of no run here; {ours[0].folder.name} "
            f"differs in {differing}"
        )
    splits = run.data.get("splits", {})
    if not splits:
        raise ValueError("data.json does not say which images it read; it cannot be compared")
    for mine in alike:
        for split, known in mine.data.get("splits", {}).items():
            theirs = splits.get(split, known)
            if theirs["digest"] != known["digest"]:
                raise ValueError(
                    f"its images of split {split} have the digest {theirs['digest']}, those of "
                    f"{mine.folder.name} {known['digest']}; both must read the same files"
                )


def _trials(folder: Path, root: Path) -> list[Path]:
    """Returns the trials that decided a run's values, of those that are not here yet.

    Raises:
        ValueError: one is neither here nor there, or unsound, or those here choose other values.
    """
    tuning = tuning_of(records.read_json(folder / "config.json")["config"])
    names = tuning.tried if tuning is not None else []
    here = {path.name: path for path in trial_folders(root)}
    there = {path.name: path for path in trial_folders(folder.parent)}
    for name in names:
        if name not in here | there:
            raise ValueError(
                f"its trial {name} is not in {folder.parent / TRIALS}; merge it with its trials"
            )
    missing = [there[name] for name in names if name not in here]
    for trial in missing:
        if problems := verify_run(trial).problems:
            raise ValueError(f"a trial of it: {problems[0]}")
    if names:
        try:
            trials_of(folder, [(there | here)[name] for name in names])
        except ValueError as error:
            raise ValueError(f"by the trials of these names that are here: {error}") from error
    return missing


def _same_record(folder: Path, target: Path) -> bool:
    """Whether two folders hold the same evidence of the same configuration."""
    names = ("config.json", *(f"evaluations/{p.name}" for p in _evaluations(target)))
    return all(
        (folder / name).is_file()
        and records.read_json(folder / name) == records.read_json(target / name)
        for name in names
    )


def _evaluations(folder: Path) -> list[Path]:
    return sorted((folder / "evaluations").glob("*.json"))


def _other_code(run: Run, ours: Sequence[Run]) -> list[str]:
    """Says whether a run was computed by other code than those of its conditions here."""
    code = run.environment.get("code", {}).get("bench")
    known = {
        mine.environment.get("code", {}).get("bench")
        for mine in ours
        if mine.fingerprint == run.fingerprint
    }
    if code in known:
        return []
    return ["  computed by other code of bench, or code unknown; tables say so"]


def _copy(folder: Path, target: Path, source: str) -> None:
    """Copies the records of a run, whole or not at all: regular files of known names, no links.

    Raises:
        ValueError: one cannot be read or written.
    """
    with records.writing(target.parent):
        target.parent.mkdir(exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".merging-", dir=target.parent))
    try:
        with records.writing(scratch):
            for name in _record_files(folder):
                (scratch / name).parent.mkdir(parents=True, exist_ok=True)
                content = read_bytes(folder / name, LARGEST)
                records.write_bytes(scratch / name, content, durable=False)
            records.write_json(scratch / ORIGIN, {"source": source, "folder": folder.name})
            config = read_bytes(folder / "config.json", JSON_BYTES)
            records.write_bytes(scratch / "config.json", config)  # with it, it is a run
            scratch.chmod(0o755)  # as mkdir gives; mkdtemp lets nobody else in
            os.rename(scratch, target)  # noqa: PTH104 - replaces nothing but an empty folder
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _record_files(folder: Path) -> Iterator[Path]:
    """Yields the names below a run's folder of what reports read, configuration and origin apart.

    Weights and exported files stay where they are: they are large, and code may hide in them.
    """
    found = [folder / name for name in FILES if name != ORIGIN]
    for pattern in ("evaluations/*.json", "evaluations/*.npz", "predictions/*/*.png"):
        found += sorted(folder.glob(pattern))
    found += deployed_records(folder)
    for path in found:
        parts = path.relative_to(folder)
        linked = any((folder / part).is_symlink() for part in (parts, *parts.parents))
        if path.is_file() and not linked:
            yield parts
