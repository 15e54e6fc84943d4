"""Which runs may stand side by side: groups of one fingerprint, and in them networks by seed."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports.read.published import rank_of
from reports.read.runs import PLACES, Run, conditions, weighting
from reports.read.tuning import chosen_values, terms, tuning_of

PRETRAINING, SCRATCH, UNDECLARED = "pretraining", "none", "undeclared data"
CONDITION_OF_COLUMNS = "protocol.class_weights"  # Table 1 sets it side by side, by column


@dataclass(frozen=True)
class Contestant:
    """One network under one set of conditions: all its seeds."""

    label: str
    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        """The run of the lowest seed, which stands for what the seeds share."""
        return self.runs[0]


def equally_long(runs: Iterable[Run]) -> bool:
    """Whether all runs were asked for the same number of iterations."""
    return len({run.config["max_iterations"] for run in runs}) < 2


def groups(runs: Sequence[Run], apart_from: Collection[str] = ()) -> list[list[Run]]:
    """Groups runs that share fingerprint, data and what they were pretrained on; tuned ones last.

    Args:
        runs: any runs.
        apart_from: dotted keys of `dataset` and `protocol`, or PRETRAINING, in which they may
            differ.
    """
    found: dict[str, list[Run]] = {}
    for run in runs:
        shared: Any = run.fingerprint
        if {*apart_from} - {PRETRAINING}:
            left_out = {*apart_from, *PLACES}
            shared = {k: v for k, v in conditions(run).items() if k not in left_out}
        start = None if PRETRAINING in apart_from else pretraining(run)
        digests = {name: split["digest"] for name, split in run.data.get("splits", {}).items()}
        found.setdefault(json.dumps([shared, digests, start], sort_keys=True), []).append(run)
    joined = _joined(list(found.values()))
    return sorted(joined, key=lambda group: tuning_of(group[0].config) is not None)


def _joined(grouped: list[list[Run]]) -> list[list[Run]]:
    """Puts runs that have not read their data yet beside the first group of their fingerprint."""
    known = {_place(run): group for group in reversed(grouped) for run in group if run.data}
    result = []
    for group in grouped:
        home = known.get(_place(group[0]))
        if group[0].data or home is None:
            result.append(group)
        else:
            home.extend(group)
    return result


def _place(run: Run) -> tuple[str, str]:
    return run.fingerprint, pretraining(run)


def pretraining(run: Run) -> str:
    """Says what a run's weights were learned from before it: `none`, or data, labels and source.

    Weights that were loaded without a word, as by older versions, are UNDECLARED.
    """
    declared = run.network.get(PRETRAINING) or run.config["arch"].get(PRETRAINING)
    if isinstance(declared, dict):
        return f"{declared['data']} ({declared['labels']}; {declared['source']})"
    loaded = run.network.get("loaded_weights") and run.config.get("init_from") is None
    return UNDECLARED if loaded else SCRATCH


def told_apart(group: Sequence[Run], others: Sequence[Run]) -> str:
    """Says what a heading needs beside data set and protocol: pretraining, and terms of tuning.

    Args:
        group: of `groups`.
        others: all runs, see `terms`.
    """
    found = sorted({pretraining(run) for run in group})
    words = ["from scratch" if each == SCRATCH else f"pretrained on {each}" for each in found]
    on = terms(group[0].config, (run.config for run in others))
    return ", ".join(filter(None, [" and ".join(words) if found != [SCRATCH] else "", on]))


def contestants(group: Sequence[Run], order: Sequence[str] = ()) -> list[Contestant]:
    """Gathers the seeds of each network; networks in the given order, then in the usual one.

    Networks of one name with other arguments are told apart by what differs.
    """
    by_arch: dict[str, list[Run]] = {}
    networks: dict[str, dict[str, Any]] = {}
    for run, network in zip(group, _networks(group), strict=True):
        key = json.dumps(network, sort_keys=True)
        by_arch.setdefault(key, []).append(run)
        networks[key] = network
    by_name: dict[str, list[str]] = {}
    for key, runs in by_arch.items():
        by_name.setdefault(runs[0].name, []).append(key)
    found = []
    for name, variants in by_name.items():
        suffixes = _distinctions([networks[key] for key in variants])
        for key, suffix in zip(variants, suffixes, strict=True):
            seeds = tuple(sorted(by_arch[key], key=lambda run: run.seed))
            found.append(Contestant(f"{name} ({suffix})" if suffix else name, seeds))
    rank = {name: number for number, name in enumerate(order)}
    return sorted(
        found, key=lambda one: (rank.get(one.first.name, len(rank)), rank_of(one.first.name))
    )


def identity(run: Run) -> str:
    """Returns what tells contestants of one name apart, as JSON: arguments, start, code, values."""
    return json.dumps(_network(run) | chosen_values(run.config), sort_keys=True)


def _networks(group: Sequence[Run]) -> list[dict[str, Any]]:
    """Returns the network of every run; one that was trained in two ways is two networks.

    That is so where its trials chose other values in between, and where its seeds were not trained
    equally long: no mean is taken over both. Each class weighting has values of its own.
    """
    found = [_network(run) for run in group]
    for ways in (
        [chosen_values(run.config) for run in group],
        [{"max_iterations": run.config["max_iterations"]} for run in group],
    ):
        keys = [
            json.dumps([network, weighting(run)]) for network, run in zip(found, group, strict=True)
        ]
        sets: dict[str, set[str]] = {}
        for key, way in zip(keys, ways, strict=True):
            sets.setdefault(key, set()).add(json.dumps(way))
        found = [
            network | way if len(sets[key]) > 1 else network
            for network, way, key in zip(found, ways, keys, strict=True)
        ]
    return found


def _network(run: Run) -> dict[str, Any]:
    """Returns a network's arguments, the weights that it started from, and its code.

    Runs of other code or weights are another network: no mean is taken over both.
    """
    start, code = run.config.get("init_from"), run.environment.get("code", {})
    digest = run.network.get("weights_digest")
    source: dict[str, Any] = {}
    if start is not None:
        source = {"init_from": Path(start).name, "init_iteration": run.config.get("init_iteration")}
    elif digest is not None:  # whatever the file was called
        source = {"pretraining": pretraining(run), "weights": digest[:12], "weights_match": None}
    return {
        **run.config["arch"],
        **source,
        **({"code": code["network"]} if "network" in code else {}),
    }


def _distinctions(archs: Sequence[dict[str, Any]]) -> list[str]:
    keys = sorted({key for arch in archs for key in arch})
    differing = [key for key in keys if len({json.dumps(arch.get(key)) for arch in archs}) > 1]
    return [", ".join(f"{key} {arch.get(key)}" for key in differing) for arch in archs]
