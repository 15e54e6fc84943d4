"""Damage as disks, networks and editors do it, from a seeded generator.

`damaged` changes bytes; `restructured` changes what a JSON file says and leaves it valid JSON, or
nearly so.
"""

import json
import random
from typing import Any

LONGEST = 600  # bytes of a block


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Returns the content with one change: a bit, a byte, a block that is zeroed, moved or lost."""
    start, length = rng.randrange(len(content)), rng.randrange(1, LONGEST)
    end = min(start + length, len(content))
    before, block, after = content[:start], content[start:end], content[end:]
    kind = rng.randrange(9)
    if kind == 0:
        block = bytes([block[0] ^ 1 << rng.randrange(8)]) + block[1:]
    elif kind == 1:
        block = bytes([rng.randrange(256)]) + block[1:]
    elif kind == 2:
        block = bytes(len(block))
    elif kind == 3:
        block = b""
    elif kind == 4:
        block *= 2
    elif kind == 5:
        block = rng.randbytes(len(block))
    elif kind == 6:
        after = b""
    elif kind == 7:
        digits = [i for i, byte in enumerate(content) if 48 <= byte <= 57]
        return _with_another_digit(content, rng.choice(digits), rng) if digits else before
    else:
        middle = len(after) // 2
        return before + after[:middle] + block + after[middle:]
    return before + block + after


def _with_another_digit(content: bytes, where: int, rng: random.Random) -> bytes:
    digit = str((int(chr(content[where])) + rng.randrange(1, 10)) % 10)
    return content[:where] + digit.encode() + content[where + 1 :]


VALUES: list[Any] = [
    None, True, -1, 0, 7, 1.5, -1e300, 10**30, 2**53, "", "x", "../evil", "a\nb", "\ud800",
    "\x1b[2J", [], [[]], [1, 2], {}, {"a": 1}, "1" * 5000,
]  # fmt: skip
LITERALS = ["NaN", "Infinity", "1e999", "1" * 6000, "[" * 3000 + "]" * 3000, '"\\ud800"', "-0", "{"]


def restructured(content: dict[str, Any], rng: random.Random) -> bytes:
    """Returns a JSON object of which one value is lost, doubled, or something else."""
    changed = json.loads(json.dumps(content))
    place, key = _somewhere(changed, rng)
    kind = rng.randrange(4)
    if kind == 0:
        del place[key]
    elif kind == 1 and isinstance(place, list):
        place.insert(0, place[key])
    elif kind == 2:
        place[key] = "LITERAL"
        return json.dumps(changed).replace('"LITERAL"', rng.choice(LITERALS), 1).encode()
    else:
        place[key] = rng.choice(VALUES)
    return json.dumps(changed).encode()


def _somewhere(node: Any, rng: random.Random) -> tuple[Any, Any]:
    """Picks a value by the container and the key that lead to it."""
    while True:
        key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
        inner = node[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.3:
            return node, key
        node = inner
