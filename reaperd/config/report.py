"""Collect every problem of a configuration, each with its place.

Readers get a `Site`, the place of the value in their hands, and report to it. Nothing is raised until all
has been read: one `ConfigError` then says everything at once, in the order of the files.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from reaperd.config.locate import Trail, lines_of, nearest_line
from reaperd.errors import ConfigError, Problem
from reaperd.units import shown

_BARE: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")

Lookup = Callable[[str], str | None]
"""The value of a variable for `${NAME}`; None where it is not set."""


class Source:
    """One file as it was read."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path  # as the user named it
        self.text = text

    @cached_property
    def folder(self) -> Path:
        """Where relative paths within the file start."""
        return Path(os.path.abspath(self.path)).parent  # noqa: PTH100  # resolve() would follow symlinks

    @property
    def absolute(self) -> Path:
        """The file's path from the root; symbolic links stay what they are."""
        return self.folder / self.path.name

    @cached_property
    def lines(self) -> Mapping[Trail, int]:
        """The line of everything in the file; found only when first asked for."""
        return lines_of(self.text)

    def line_of(self, trail: Trail) -> int | None:
        """Return the line of what `trail` names, or of the nearest thing around it."""
        return nearest_line(self.lines, trail)

    def problem(self, trail: Trail, what: str) -> Problem:
        """Return a problem at the place of what `trail` names."""
        line = self.line_of(trail)
        return Problem(f"{self.path}:{line}" if line else str(self.path), dotted(trail), what)


class Report:
    """The problems found so far; the same one is kept once."""

    def __init__(self) -> None:
        self.count = 0  # of what was ever added: who sees it grow knows not to use what it has just read
        self._files: dict[Path, int] = {}  # in the order in which they first had a problem
        self._found: dict[Problem, tuple[int, int]] = {}  # with file and line, to sort by

    def add(self, source: Source, trail: Trail, what: str) -> None:
        """Keep a problem of something in a file; `what` says what is wrong and what is allowed."""
        self._keep(source.path, source.line_of(trail) or 0, source.problem(trail, what))

    def add_all(self, path: Path, error: ConfigError) -> None:
        """Keep the problems of a file that could not be read at all."""
        for problem in error.problems:
            self._keep(path, 0, problem)

    def _keep(self, path: Path, line: int, problem: Problem) -> None:
        self.count += 1
        self._found[problem] = (self._files.setdefault(path, len(self._files)), line)

    def raise_if_any(self) -> None:
        """Raise all problems together, those of one file in the order of its lines.

        Raises:
            ConfigError: there is at least one.
        """
        if self._found:
            raise ConfigError(tuple(sorted(self._found, key=self._found.__getitem__)))


@dataclass(frozen=True, slots=True)
class Site:
    """The place of one value: its file and the way to it there.

    Attributes:
        variables: what `${NAME}` means here; None where variables are not expanded.
    """

    report: Report
    source: Source
    trail: Trail = ()
    variables: Lookup | None = None

    def at(self, name: str | int) -> "Site":
        """Return the place of what stands at `name` within this value."""
        return replace(self, trail=(*self.trail, name))

    def inside(self, table: Mapping[str, object], name: str) -> "Site":
        """Return the place of a key of this table, which for a merged one may be elsewhere."""
        if isinstance(table, Merged) and name in table.sites:
            return replace(table.sites[name], variables=self.variables)
        return self.at(name)

    def with_variables(self, variables: Lookup) -> "Site":
        """Return the same place, with a meaning for variables."""
        return replace(self, variables=variables)

    def problem(self, what: str) -> None:
        """Report that the value here is wrong."""
        self.report.add(self.source, self.trail, what)


class Merged(dict[str, object]):
    """A table made of two, that knows where each of its keys was written."""

    def __init__(self) -> None:
        super().__init__()
        self.sites: dict[str, Site] = {}

    def put(self, name: str, value: object, site: Site) -> None:
        """Set a key that was written at `site`."""
        self[name] = value
        self.sites[name] = site


def dotted(trail: Trail) -> str:
    """Return a trail as TOML writes it, such as `service.web.command[1]`."""
    text = ""
    for name in trail:
        if isinstance(name, int):
            text += f"[{name}]"
        else:
            text += f".{name if name and set(name) <= _BARE else shown(name)}"
    return text.removeprefix(".")
