"""What is not equal among the rows of a section, though they share their fingerprint."""

from collections.abc import Sequence

from reports.compute.groups import Contestant, pretraining
from reports.read.runs import Run, differences

UNEQUALLY_LONG = "not trained equally long"  # why nothing is ranked


def section_differences(one: Run, other: Run) -> list[str]:
    """Says in which conditions two sections differ, pretraining among them."""
    before, after = pretraining(one), pretraining(other)
    found = [] if before == after else [f"pretraining {before} / {after}"]
    return [*differences(one, other), *found]


def condition_notes(group: Sequence[Run], ours: Sequence[Contestant]) -> list[str]:
    """Says of a section which images are left out, and what its rows do not share."""
    notes = []
    limit = group[0].config["dataset"].get("limit")
    if limit is not None:
        notes.append(f"dataset.limit={limit}: only the first {limit} images of each split.")
    iterations: dict[str, list[str]] = {}
    codes: dict[str, list[str]] = {}
    for one in ours:
        lasts = ", ".join(sorted({str(run.config["max_iterations"]) for run in one.runs}))
        iterations.setdefault(lasts, []).append(one.label)
        for run in one.runs:
            code = run.environment.get("code", {}).get("bench")
            if run.environment:
                codes.setdefault(code or "of before this was recorded", []).append(one.label)
    starts: dict[str, list[str]] = {}
    for one in ours:
        starts.setdefault(pretraining(one.first), []).append(one.label)
    if len(starts) > 1:
        notes.append(f"Not pretrained alike, as asked for; on {_listed(starts)}.")
    if len(iterations) > 1:
        words = "Not trained equally long, so that their last figures are not ranked"
        notes.append(f"{words}; iterations: {_listed(iterations)}.")
    if len(codes) > 1:
        notes.append(
            "Not computed by the same numeric code of bench (rerun=true makes it so): "
            f"{_listed(codes)}."
        )
    return [*notes, *_origin_notes(group)]


def frozen_note(run: Run) -> list[str]:
    """Says how much of a network was trained, where a part of it was frozen."""
    whole, trained = (run.network.get(k) for k in ("parameters", "trainable_parameters"))
    if whole is None or trained is None or whole == trained:
        return []
    return [f"{trained / 1e6:.3f} M of {whole / 1e6:.3f} M parameters are trainable"]


def _origin_notes(group: Sequence[Run]) -> list[str]:
    """Says which runs `reports merge` took over, and from whom."""
    found: dict[str, list[str]] = {}
    for run in group:
        if run.origin:
            found.setdefault(run.origin["source"], []).append(f"{run.name} seed {run.seed}")
    return [
        f"Merged from {source}, sound but not proved to be theirs: {', '.join(names)}."
        for source, names in found.items()
    ]


def _listed(labels: dict[str, list[str]]) -> str:
    return "; ".join(f"{key}: {', '.join(dict.fromkeys(who))}" for key, who in labels.items())
