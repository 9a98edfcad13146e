"""What an importer makes: services as tables of keys, and what of the original has no place in them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from reaperd.errors import ConfigError, Problem

Value = str | int | bool | Sequence[str | int] | Mapping[str, Any]  # Any: a Value

MOST_SERVICES: Final = 1000
MOST_LOST: Final = 10_000  # lines about what could not be carried over
_LONGEST_NAME: Final = 64
_LONGEST_NOTE: Final = 300  # characters
_STRANGE: Final = re.compile(r"[^A-Za-z0-9_.@-]")


@dataclass(frozen=True, slots=True)
class Lost:
    """One thing that could not be carried over, or not quite.

    Attributes:
        where: the part of the original, such as `program:web`; empty for the whole file.
        what: what it said, and what to do about it where something can be done.
    """

    where: str
    what: str


@dataclass(slots=True)
class Draft:
    """One service in the making."""

    name: str
    where: str
    keys: dict[str, Value] = field(default_factory=dict)
    lost: list[Lost] = field(default_factory=list)
    ready_timeout: str | None = None  # should others wait until it is healthy

    def lose(self, what: str) -> None:
        """Note what could not be carried over."""
        self.lost.append(lost(self.where, what))


@dataclass(slots=True)
class Imported:
    """A whole configuration in the making."""

    drafts: list[Draft] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)  # of no service

    def lose(self, where: str, what: str) -> None:
        """Note what could not be carried over of something that is no service."""
        self.lost.append(lost(where, what))

    @property
    def everything_lost(self) -> list[Lost]:
        """All that could not be carried over, in the order of the file that comes of it."""
        return [*self.lost, *(each for draft in self.drafts for each in draft.lost)]


def lost(where: str, what: str) -> Lost:
    """Return a note that is one line of bounded length."""
    return Lost(plain(where, _LONGEST_NAME), plain(what, _LONGEST_NOTE))


def plain(text: str, most: int) -> str:
    """Return at most so many characters of `text`, with nothing in it that ends a line or moves a cursor."""
    kept = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[:most])
    return f"{kept}..." if len(text) > most else kept


class Names:
    """Names that our services can have, each given once."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}  # by the original's name
        self._taken: set[str] = {"all"}  # which means every service

    def name_for(self, original: str, like: str | None = None) -> str:
        """Return the name for `original`, always the same one, as near to `like` as can be."""
        if original not in self._given:
            wanted = original if like is None else like
            self._given[original] = self._fresh(_STRANGE.sub("_", wanted[:_LONGEST_NAME]))
        return self._given[original]

    def _fresh(self, wanted: str) -> str:
        base = wanted.lstrip(".-") or "service"
        name, number = base, 1
        while name in self._taken:
            number += 1
            name = f"{base[: _LONGEST_NAME - 6]}_{number}"
        self._taken.add(name)
        return name


def literal(text: str) -> str:
    """Return `text` for a command or an environment, where a dollar is to stay a dollar."""
    return text.replace("$", "$$")


def refuse(path: object, what: str) -> ConfigError:
    """Return the error for a file that nothing can be made of."""
    return ConfigError((Problem(str(path), "", what),))
