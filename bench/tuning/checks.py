"""What the types of `tuning` cannot say: that it can work. Imports no torch."""

import typing
from collections.abc import Mapping
from typing import Any

from bench.config import Config
from bench.protocol import ProtocolConfig, depends_on_end
from bench.tuning.schema import Rule, TuningConfig, counts, flat, is_trial, stops
from bench.tuning.space import PRIMES, as_text, candidates, numeric_kind, values_of
from bench.typed import refuse_unknown


def check_tuning(tuning: TuningConfig) -> None:
    """Rejects a tuning block that cannot work, whatever it tunes.

    Raises:
        ValueError: naming the key, its value and the remedy.
    """
    space = flat(tuning.space)
    if not 1 <= len(space) <= len(PRIMES):
        raise ValueError(f"tuning.space has {len(space)} keys; give 1 to {len(PRIMES)}")
    for key, entry in space.items():
        _check_entry(key, entry)
    for name, least in (("trials", 2), ("seed", 0), ("iterations", 1), ("rung", 0)):
        value = getattr(tuning, name)
        if value is not None and value < least:
            raise ValueError(f"tuning.{name} is {value}; it must be {least} or more")
    if tuning.rule == Rule.grid:
        _check_grid(tuning)
    _check_trials(tuning)
    _check_halving(tuning)


def _check_trials(tuning: TuningConfig) -> None:
    """Rejects trials that would repeat each other."""
    given = candidates(tuning)
    for number, values in enumerate(given):
        if values in given[:number]:
            raise ValueError(
                f"tuning.trials is {tuning.trials}, but trials {given.index(values)} and {number} "
                f"have the same values ({as_text(values)}); give fewer trials or a wider space"
            )


def _check_halving(tuning: TuningConfig) -> None:
    """Rejects stops that leave nothing to choose from, and trials that are none."""
    stops_before_last = len(tuning.halving)
    if stops_before_last and counts(tuning)[-1] < 2:
        raise ValueError(
            f"tuning.halving={tuning.halving} leaves one of {tuning.trials} trials before the "
            "last stop; give fewer stops or more trials"
        )
    if tuning.rung > stops_before_last:
        raise ValueError(f"tuning.rung is {tuning.rung}; there are {stops_before_last} halvings")
    for name, most in (("trial", tuning.trials), ("rank", counts(tuning)[tuning.rung])):
        value = getattr(tuning, name)
        if value is not None and not 0 <= value < most:
            raise ValueError(f"tuning.{name} is {value}; it must be from 0 to {most - 1}")


def _check_entry(key: str, entry: Any) -> None:
    """Rejects a part of the space that names no number, or gives none to try."""
    where = f"tuning.space.{key}"
    if numeric_kind(key) is None:
        known = [name for name in typing.get_type_hints(ProtocolConfig) if numeric_kind(name)]
        top = key.partition(".")[0]
        refuse_unknown([top], list(typing.get_type_hints(ProtocolConfig)), "tuning.space")
        raise ValueError(f"{where}: not a number of the protocol, as {', '.join(known)} are")
    if isinstance(entry, list):
        if len(entry) < 2 or not all(map(_is_number, entry)):
            raise ValueError(f"{where} is {entry}; give two numbers or more to try")
        return
    if not isinstance(entry, Mapping) or not {"low", "high"} <= entry.keys():
        raise ValueError(f"{where} is {entry!r}; give {{low: A, high: B, log: true}} or a list")
    refuse_unknown(map(str, entry), ["low", "high", "log"], where)
    low, high, log = entry["low"], entry["high"], entry.get("log", False)
    if not (_is_number(low) and _is_number(high) and low < high):
        raise ValueError(f"{where} goes from {low} to {high}; give two numbers, low below high")
    if not isinstance(log, bool) or (log and low <= 0):
        raise ValueError(f"{where} goes from {low} with log: {log}; log needs low above 0")


def _check_grid(tuning: TuningConfig) -> None:
    """Rejects a number of trials that is not that of a grid's points."""
    space = flat(tuning.space)
    ranges = [key for key, entry in space.items() if not isinstance(entry, list)]
    if len(ranges) > 1:
        raise ValueError(
            f"tuning.rule is grid, but {' and '.join(ranges)} are ranges; give lists of values to "
            "all but one, or tuning.rule=halton"
        )
    product = 1
    for entry in space.values():
        product *= len(entry) if isinstance(entry, list) else 1
    whole = tuning.trials % product == 0 and tuning.trials >= 2 * product
    if not (whole if ranges else tuning.trials == product):
        remedy = f"{2 * product}, {3 * product}, ..." if ranges else str(product)
        raise ValueError(
            f"tuning.trials is {tuning.trials}, but the grid of {' and '.join(space)} has "
            f"{remedy} points; give that, or tuning.rule=halton"
        )


def check_tuned(config: Config) -> None:
    """Rejects a tuning block that cannot work with the rest of a configuration.

    Raises:
        ValueError: naming the key, its value and the remedy.
    """
    tuning, protocol = config.tuning, config.protocol
    if tuning is None:
        return
    taken = {
        protocol.train_split,
        *([] if tuning.trial is not None else protocol.evaluation_splits),
    }
    if tuning.select_on in taken:
        raise ValueError(
            f"tuning.select_on is {tuning.select_on}, which is trained on or reported; a choice "
            "made there would flatter the result: set another split"
        )
    validation = protocol.validation
    if validation.every is not None and validation.split != tuning.select_on:
        raise ValueError(
            f"protocol.validation.split is {validation.split}, where each trial's iteration is "
            f"chosen, and tuning.select_on is {tuning.select_on}; set both to one split"
        )
    ends = stops(tuning, config.max_iterations)
    if not is_trial(tuning) and not all(a < b for a, b in zip([0, *ends], ends, strict=False)):
        raise ValueError(
            f"tuning.halving is {tuning.halving}; it must be iterations that grow, the last below "
            f"{ends[-1]}, where trials end"
        )
    if tuning.halving and protocol.validation.patience is not None:
        raise ValueError(
            "tuning.halving compares trials at fixed iterations, before which protocol.validation."
            f"patience={protocol.validation.patience} may end one; set it to null"
        )
    if tuning.halving and depends_on_end(protocol):
        raise ValueError(
            f"tuning.halving needs trials that can be extended, and protocol.schedule="
            f"{protocol.schedule} depends on their end; set tuning.halving=[]"
        )
    if config.cost.measure or not config.start:
        key = "cost.measure=true" if config.cost.measure else "start=false"
        raise ValueError(f"tuning and {key} exclude each other; leave one out")
    if values_of(config) not in candidates(tuning):
        raise ValueError(
            f"protocol has {as_text(values_of(config))}, which tuning does not try; leave both as "
            "recorded, or tuning=none"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
