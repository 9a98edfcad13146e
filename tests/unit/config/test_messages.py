"""Whatever a file says wrongly: the message names the place, the key, and what would be right."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from reaperd.config.daemon_keys import DAEMON
from reaperd.config.keys import SERVICE
from reaperd.config.read import parse_toml
from reaperd.config.report import Report, Source
from reaperd.config.table import Key
from reaperd.config.validate import validate
from reaperd.errors import ConfigError

# Of every type that TOML has, the wrong unit, what is out of range, no word that means anything.
_VALUES: Final = (
    *("true", "-7", "99999999999999999999", "1.5", "nan", "1979-05-27"),
    *('"nonsens"', '"5 lightyears"', '"a\\u0000b"', '""', "[1]", '["x", 5]', "{ nope = 1 }"),
)
# What tells the reader how to go on. "is wanted" stands after what is.
_HELP: Final = re.compile(
    r"is wanted|allowed|; write |write it like|is none of |did you mean|; there is |its keys: |needs exactly|"
    r"leave the key out|can only be true|name a program|are both needed|cannot be read|no program can|"
    r"write the value itself|is missing; wanted|say where"
)


def _paths(keys: tuple[Key, ...], above: str) -> Iterator[str]:
    for key in keys:
        yield f"{above}.{key.name}"
        yield from _paths(key.kind.keys, f"{above}.{key.name}")


PATHS: Final = (*_paths(SERVICE, "service.web"), *_paths(DAEMON, "daemon"))


def _problems(path: str, value: str) -> list[str]:
    """Return what is said of a file that gives this value to that key, in its last line."""
    table, key = ("daemon", path[7:]) if path.startswith("daemon.") else ("service.web", path[12:])
    line = f"sockets = [{{ {key[8:]} = {value} }}]" if key.startswith("sockets.") else f"{key} = {value}"
    command = "" if path == "service.web.command" else '[service.web]\ncommand = "true"\n'
    head = "" if command and table == "service.web" else f"[{table}]\n"
    source = Source(Path("/etc/r/c.toml"), f"{command}{head}{line}\n")
    try:
        validate([(source, parse_toml(source))], Report(), {}, {})
    except ConfigError as error:
        return [str(problem).replace("sockets[0].", "sockets.") for problem in error.problems]
    return []


@pytest.mark.parametrize("path", PATHS)
def test_each_wrong_value_is_told_with_its_key_and_what_is_allowed(path: str) -> None:
    """At its line; and each key refuses something."""
    refused = {value: found for value in _VALUES if (found := _problems(path, value))}
    assert "1979-05-27" in refused, "no key takes a date"
    for value, found in refused.items():
        assert all(re.match(r"/etc/r/c\.toml:\d+: ", each) for each in found), found
        # A value may be right where what belongs with it is missing: that is told of the table around it.
        told = [each for each in found if f": {path.rpartition('.')[0]}" in each]
        assert told, f"{path} = {value}: {found}"
        if value == "1979-05-27":
            assert any(re.search(rf": {re.escape(path)}\b", each) for each in told), found
        assert all(map(_HELP.search, told)), f"{path} = {value}: {told}"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("service.web.nice", '"10"', "a string where an integer from -20 to 19 is wanted"),
        ("service.web.backoff.factor", '"2"', "a string where a number from 1 to 1000 is wanted"),
        ("service.web.stop.timeout", "[1]", 'an array where a duration, such as "1m30s", is wanted'),
        ("service.web.stop.signal", "[1]", 'an array where a signal, such as "TERM" or 15, is wanted'),
        ("service.web.requires", '"db"', 'a string where an array of names is wanted; write ["db"]'),
        ("service.web.reload", '"HUP"', "a string where a table is wanted; its keys: signal, command"),
        ("service.web.restart", '"allways"', 'did you mean "always"?'),
        ("service.web.stop.scope", '"treee"', 'did you mean "tree"?'),
    ],
)
def test_the_nearest_right_thing_is_shown(path: str, value: str, said: str) -> None:
    """The type with its bounds, a word that is near, or the very value as it should stand there."""
    (found,) = _problems(path, value)
    assert said in found
