"""Collect every problem of a configuration, each with its place.

Readers get a `Site`, the place of the value in their hands, and report to it. Nothing is raised until all
has been read: one `ConfigError` then says everything at once, in the order of the files.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from reaperd.config.locate import Trail, lines_of, nearest_line
from reaperd.errors import ConfigError, Problem
from reaperd.units import shown

_BARE: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


class Source:
    """One file as it was read."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path  # as the user named it
        self.text = text

    @cached_property
    def folder(self) -> Path:
        """Where relative paths within the file start."""
        return Path(os.path.abspath(self.path)).parent  # noqa: PTH100  # resolve() would follow symlinks

    @cached_property
    def lines(self) -> Mapping[Trail, int]:
        """The line of everything in the file; found only when first asked for."""
        return lines_of(self.text)

    def line_of(self, trail: Trail) -> int | None:
        """Return the line of what `trail` names, or of the nearest thing around it."""
        return nearest_line(self.lines, trail)


class Report:
    """The problems found so far; the same one is kept once."""

    def __init__(self) -> None:
        self.count = 0  # of calls to `add`: whoever sees it grow knows that what it read is not to be used
        self._found: dict[tuple[Source, Trail, str], None] = {}

    def add(self, source: Source, trail: Trail, what: str) -> None:
        """Keep a problem; `what` says what is wrong and what is allowed."""
        self.count += 1
        self._found[source, trail, what] = None

    def raise_if_any(self) -> None:
        """Raise all problems together, those of one file in the order of its lines.

        Raises:
            ConfigError: there is at least one.
        """
        if not self._found:
            return
        sources = list(dict.fromkeys(source for source, _, _ in self._found))
        in_order = sorted(
            self._found, key=lambda found: (sources.index(found[0]), found[0].line_of(found[1]) or 0)
        )
        raise ConfigError(tuple(_problem(*found) for found in in_order))


@dataclass(frozen=True, slots=True)
class Site:
    """The place of one value: its file and the way to it there."""

    report: Report
    source: Source
    trail: Trail = ()

    def at(self, name: str | int) -> "Site":
        """Return the place of what stands at `name` within this value."""
        return Site(self.report, self.source, (*self.trail, name))

    def problem(self, what: str) -> None:
        """Report that the value here is wrong."""
        self.report.add(self.source, self.trail, what)


def _problem(source: Source, trail: Trail, what: str) -> Problem:
    line = source.line_of(trail)
    return Problem(f"{source.path}:{line}" if line else str(source.path), dotted(trail), what)


def dotted(trail: Trail) -> str:
    """Return a trail as TOML writes it, such as `service.web.command[1]`."""
    text = ""
    for name in trail:
        if isinstance(name, int):
            text += f"[{name}]"
        else:
            text += f".{name if name and set(name) <= _BARE else shown(name)}"
    return text.removeprefix(".")
