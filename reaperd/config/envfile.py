"""Read environment files: lines of `NAME=value`, as /etc/default/* hold them.

Blank lines and lines that begin with `#` mean nothing, nor does a leading `export`. A value may stand in
quotes, which are taken off; nothing in it is expanded.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from reaperd.config.locate import Trail
from reaperd.config.read import read_source
from reaperd.config.report import Report, Source
from reaperd.errors import Problem
from reaperd.units import shown

_QUOTES: Final = ("'", '"')


class EnvironmentFile(Source):
    """An environment file: a trail in it is a line's number."""

    def line_of(self, trail: Trail) -> int | None:
        """Return the line itself."""
        return next((number for number in trail if isinstance(number, int)), None)

    def problem(self, trail: Trail, what: str) -> Problem:
        """Return a problem at a line; there is no key to name."""
        return Problem(f"{self.path}:{self.line_of(trail)}", "", what)


def read_environment_file(path: Path, report: Report) -> Mapping[str, str]:
    """Return the variables of a file; what is wrong with a line is reported there.

    Raises:
        ConfigError: the file cannot be read at all.
    """
    source = read_source(path)
    file = EnvironmentFile(source.path, source.text)
    variables = {}
    for number, line in enumerate(source.text.split("\n"), start=1):
        try:
            pair = _pair(line.strip())
        except ValueError as error:
            report.add(file, (number,), str(error))
        else:
            variables.update(pair)
    return variables


def _pair(line: str) -> dict[str, str]:
    if not line or line.startswith("#"):
        return {}
    name, equals, value = line.removeprefix("export ").partition("=")
    name = name.strip()
    if not equals:
        raise ValueError(f"{shown(line)} is not NAME=value")
    check_variable(name)
    return {name: _unquoted(value.strip())}


def _unquoted(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a NUL byte, which no program can be given")
    if not value.startswith(_QUOTES):
        return value
    end = value.find(value[0], 1)
    rest = value[end + 1 :].strip()
    if end < 0 or (rest and not rest.startswith("#")):
        raise ValueError(f"{shown(value)} does not end with the quote that it begins with")
    return value[1:end]


def check_variable(name: str) -> None:
    """Refuse a name that no variable can have, or that the daemon sets itself.

    Raises:
        ValueError: it is one of these.
    """
    if not name or "=" in name or "\0" in name:
        raise ValueError(
            f'{shown(name)} is no variable\'s name; it must not be empty, nor hold "=" or a NUL byte'
        )
    if name == "SERVICE" or name.startswith("REAPERD_"):
        raise ValueError(f'{name} is set by the daemon; choose another name than "SERVICE" or "REAPERD_..."')
