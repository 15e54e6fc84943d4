"""The values that every network is tried with: a grid, or a seeded draw. Imports no torch.

They are functions of the tuning block alone, so that no network, machine or order of trials has
others, and they are rounded to four digits, so that no library's last bit changes a name.
"""

import itertools
import types
import typing
from dataclasses import is_dataclass
from typing import Any

from bench.config import Config
from bench.protocol import ProtocolConfig
from bench.seeds import derive_seed
from bench.tuning.schema import Rule, TuningConfig, flat

Values = dict[str, float]  # by the dotted key of the protocol

DIGITS = 4
PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29)  # the bases of Halton's sequence, a key each


def candidates(tuning: TuningConfig) -> list[Values]:
    """Returns the values of every trial, by its number.

    grid: all combinations of the values in lists and of equally spaced values from low to high.
    halton: Halton's sequence (Numerische Mathematik 2, 1960), shifted by the seed (Cranley and
    Patterson 1976), so that more trials are the same ones and some more.
    """
    space = flat(tuning.space)
    if tuning.rule == Rule.grid:
        shares = list(itertools.product(*(_steps(entry, tuning) for entry in space.values())))
    else:
        shares = [_point(number, len(space), tuning.seed) for number in range(tuning.trials)]
    return [
        {key: _at(key, entry, share) for (key, entry), share in zip(space.items(), at, strict=True)}
        for at in shares
    ]


def values_of(config: Config) -> Values:
    """Returns what a run has for the keys that are tuned."""
    assert config.tuning is not None
    return {key: _get(config.protocol, key) for key in flat(config.tuning.space)}


def _get(protocol: ProtocolConfig, key: str) -> float:
    node: Any = protocol
    for part in key.split("."):
        node = getattr(node, part)
    return typing.cast("float", node)


def _steps(entry: Any, tuning: TuningConfig) -> list[float]:
    """Returns where along its entry a key's values of the grid lie, from 0 to 1."""
    if isinstance(entry, list):
        return [(place + 0.5) / len(entry) for place in range(len(entry))]
    count = _range_count(tuning)
    return [place / (count - 1) for place in range(count)]


def _range_count(tuning: TuningConfig) -> int:
    """Returns how many values a grid has of its one range."""
    lists = [len(entry) for entry in flat(tuning.space).values() if isinstance(entry, list)]
    product = 1
    for length in lists:
        product *= length
    return tuning.trials // product


def _point(number: int, dimensions: int, seed: int) -> tuple[float, ...]:
    """Returns a point of the shifted sequence in the unit cube; the first is not the corner."""
    shifts = [derive_seed(seed, "tuning", d) / 2**63 for d in range(dimensions)]
    return tuple(
        (_radical_inverse(number + 1, base) + shift) % 1.0
        for base, shift in zip(PRIMES, shifts, strict=False)
    )


def _radical_inverse(number: int, base: int) -> float:
    """Mirrors the digits of a number at the point: 6 = 110 in base 2 is 0.011."""
    inverse, unit = 0.0, 1.0 / base
    while number:
        number, digit = divmod(number, base)
        inverse += digit * unit
        unit /= base
    return inverse


def _at(key: str, entry: Any, share: float) -> float:
    """Returns the value that lies so far along an entry."""
    if isinstance(entry, list):
        return typing.cast("float", entry[int(share * len(entry))])
    low, high = entry["low"], entry["high"]
    log = entry.get("log", False)
    value: float = low * (high / low) ** share if log else low + (high - low) * share
    if numeric_kind(key) is int:
        return round(value)
    return float(f"{value:.{DIGITS}g}")


def numeric_kind(key: str) -> type | None:
    """Returns int or float for a dotted key of the protocol that holds a number, else None."""
    kind: Any = ProtocolConfig
    for part in key.split("."):
        kind = typing.get_type_hints(kind).get(part) if is_dataclass(kind) else None
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return next((kind for kind in (int, float) if kind in kinds), None)


def as_text(values: Values) -> str:
    """Formats values for people: lr=0.03162, weight_decay=0.0005."""
    return ", ".join(f"{key}={value:g}" for key, value in values.items())
