"""Overrides such as dataset.root=PATH, as users write them: quoted for Hydra, explained when wrong.

Hydra reads a value by a grammar, in which `=`, `(`, `#`, `&`, `~` and letters outside ASCII have no
place without quotes. Every command quotes such values itself; commas stay sweeps. Imports no torch.
"""

import re
from collections.abc import Callable, Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException

# Written for Hydra's grammar: quotes, a list, a mapping, a function such as range(1,5).
GRAMMAR = re.compile(r"'.*'|\".*\"|\[.*\]|\{.*\}|[A-Za-z_]\w*\(.*\)", re.DOTALL)

QUOTES = re.compile(r"'((?:\\'|[^'])*)'")  # that `quoted` set around parts of a value


def override(key: str, value: str | Path) -> str:
    """Returns the override that gives a key this very text."""
    return f"{key}={QuotedString(str(value), Quote.single).with_quotes()}"


def quoted(argument: str) -> str:
    """Quotes those of an override's values, separated by commas, that Hydra could not read."""
    key, equals, value = argument.partition("=")
    if not equals or argument.startswith("-"):
        return argument
    if value != value.strip() and _is_there(value):
        return override(key, value)  # Hydra would drop the space at its ends
    if _is_readable(argument):
        return argument
    if GRAMMAR.fullmatch(value):  # and wrong there
        return argument
    values = (f"{key}={part}" for part in value.split(","))
    readable = (text if _is_readable(text) else override(*text.split("=", 1)) for text in values)
    return f"{key}={','.join(text.partition('=')[2] for text in readable)}"


def value_of(argument: str) -> Any:
    """Returns the value that an override gives.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return OverridesParser.create().parse_overrides([quoted(argument)])[0].value()
    except HydraException as error:
        raise ValueError(in_a_sentence(error, tuple)) from error


def in_a_sentence(error: Exception, known: Callable[[], Collection[str]]) -> str:
    """Turns what Hydra or OmegaConf says of a configuration into a sentence with a remedy.

    Args:
        error: theirs.
        known: returns the keys of the configuration, for a suggestion.
    """
    if isinstance(error, OverrideParseException):
        quoting = (
            _how_to_quote(error.override) if "=" in error.override else "KEY=VALUE is expected"
        )
        return f"{error.override}: cannot be read; {quoting}"
    text = " ".join(str(error).split())
    sweep = _found(r"Ambiguous value for argument '(.+)' 1\. To use", text)
    if sweep:
        given = QUOTES.sub(lambda quote: quote[1].replace("\\'", "'"), sweep)
        return f"{given}: several values make a sweep, which needs -m; {_how_to_quote(given)}"
    key = _found(r"Could not (?:override|delete)[^']*'([^']+)'", text)
    if key:
        nearest = nearest_key(key, known())
        meant = f"did you mean {nearest}?" if nearest else "`--cfg job` prints all that there are"
        return f"{key}: there is no such key; {meant}"
    group, _, choice = _found(r"Could not find '(.+?)'", text).rpartition("/")
    options = _found(r"Available options in '.+?': (.+?)(?: Config search path|$)", text).split()
    if options:
        nearest = next(iter(get_close_matches(choice, options, n=1)), None)
        meant = f"did you mean {nearest}? there are" if nearest else "there are"
        return f"{group}={choice}: no such choice; {meant} {', '.join(options)}"
    return " ".join(f"{text} {error.__cause__ or ''}".split())


def nearest_key(key: str, known: Collection[str]) -> str | None:
    """Returns the known key that was meant: spelt a little differently, or of another place."""
    parent, _, last = key.rpartition(".")
    by_last = {other.rpartition(".")[2]: other for other in sorted(known, reverse=True)}
    beside = {end: other for end, other in by_last.items() if f"{parent}.{end}" in known}
    for keys in (beside, by_last):
        matches = get_close_matches(last, keys, n=1)
        if matches:
            return f"{parent}.{matches[0]}" if keys is beside else keys[matches[0]]
    return None


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match.group(1) if match else ""


def _is_there(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, RuntimeError):  # it is too long, or the home of nobody
        return False


def _is_readable(argument: str) -> bool:
    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        return False
    return True


def _how_to_quote(argument: str) -> str:
    """Says how a shell is given a value that Hydra is to take letter by letter."""
    key, _, value = argument.partition("=")
    return f'to pass one value as it is, quote it twice: "{override(key, value)}"'
