"""Commands and environments: the texts in which variables are expanded."""

import shlex
from collections.abc import Mapping
from typing import Final

from reaperd.config.envfile import check_variable
from reaperd.config.expand import expand
from reaperd.config.kinds import text
from reaperd.config.report import Site
from reaperd.config.table import Kind, Schema, wrong_type

_WORDS: Final[Schema] = {
    "oneOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
    ]
}


def _command(value: object, site: Site) -> tuple[str, ...]:
    """Read a command: strings, or one string that is split as a shell would, without being one."""
    if isinstance(value, str):
        words = tuple(_expanded(word, site) for word in _split(text(value)))
    elif isinstance(value, list):
        words = _words(value, site)
    else:
        raise wrong_type(value, "an array of strings, or a string,")
    if not words:
        raise ValueError('is empty; name a program, as in ["sleep", "60"] or "sleep 60"')
    if not words[0]:
        raise ValueError("names no program: its first word is empty")
    return words


def _split(line: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(line))
    except ValueError as error:
        why = str(error).lower()
        raise ValueError(
            f"cannot be split into words: {why}; quote it, or write an array of strings"
        ) from error


def _words(values: list[object], site: Site) -> tuple[str, ...]:
    """Read strings one by one; a wrong one is reported at its own place."""
    words = []
    for index, value in enumerate(values):
        try:
            words.append(_expanded(text(value), site))
        except ValueError as error:
            site.at(index).problem(str(error))
            words.append("?")  # a problem of one word is not also one of the number of words
    return tuple(words)


def _environment(value: object, site: Site) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise wrong_type(value, "a table of strings")
    table: Mapping[str, object] = value
    pairs = []
    for name, content in table.items():
        here = site.inside(table, name)
        try:
            check_variable(name)
            pairs.append((name, _expanded(text(content), here)))
        except ValueError as error:
            here.problem(str(error))
    return tuple(sorted(pairs))


def _expanded(word: str, site: Site) -> str:
    return word if site.variables is None else expand(word, site.variables)


COMMAND: Final = Kind("an array of strings, or a string", _command, schema=_WORDS, dollars=True)
ENVIRONMENT: Final = Kind(
    "a table of strings",
    _environment,
    schema={"type": "object", "additionalProperties": {"type": "string"}},
    merges=True,
)
