"""Find the line of every key, table and array element of a TOML text.

`tomllib` gives values without places. This walks the same text a second time, only once there is a problem
to report, and only after `tomllib` has accepted it: so it may take the text for valid and need not
understand values, only see where each ends. A text it loses its way in costs lines, never an answer.
"""

import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

Trail = tuple[str | int, ...]
"""The way to a value: names of keys, and indexes within arrays."""

# Possessive repeats (`*+`) never go back, so no text makes them slow.
_BLANK: Final = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_SPACE: Final = re.compile(r"[ \t]*+")
_REST_OF_LINE: Final = re.compile(r"[^\n]*+")
_BASIC: Final = r'"(?:[^"\\\n]++|\\.)*+"'
_LITERAL: Final = r"'[^'\n]*+'"
_KEY_PART: Final = re.compile(rf"[A-Za-z0-9_-]++|{_BASIC}|{_LITERAL}")
# A multi-line string holds one or two quotes anywhere and so may end with up to five.
_SCALAR: Final = re.compile(
    r'"""(?:[^"\\]++|\\.|"{1,2}(?!"))*+"{3,5}'
    r"|'''(?:[^']++|'{1,2}(?!'))*+'{3,5}"
    rf"|{_BASIC}|{_LITERAL}"
    r"|[^,\]}#\n]++",
    re.DOTALL,
)


def lines_of(text: str) -> Mapping[Trail, int]:
    """Return the line, counted from 1, of everything that has a name or an index in a valid TOML text.

    A table's line is its header's, or where it is first mentioned if it has none.
    """
    walker = _Walker(text)
    with suppress(_LostError, RecursionError):  # what was found so far is still true
        walker.walk()
    return walker.lines


def nearest_line(lines: Mapping[Trail, int], trail: Trail) -> int | None:
    """Return the line of `trail`, or of the nearest thing around it that has one."""
    while trail and trail not in lines:
        trail = trail[:-1]
    return lines.get(trail)


class _LostError(Exception):
    """The text is not what the walker takes it for."""


class _Walker:
    """One pass over the text; `_at` only grows."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Trail, int] = {}
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0  # newlines before this offset are in _line
        self._lengths: dict[Trail, int] = {}  # of arrays of tables

    def walk(self) -> None:
        """Go through all statements: a table's header or a pair of key and value on each line."""
        table: Trail = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._peek() == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_REST_OF_LINE)
            self._skip(_BLANK)

    def _header(self) -> Trail:
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        names = self._key()
        trail: Trail = ()
        for name in names[:-1]:
            trail = self._enter((*trail, name))
        trail = (*trail, names[-1])
        if is_array:
            self.lines.setdefault(trail, self._here())
            length = self._lengths.get(trail, 0)
            self._lengths[trail] = length + 1
            trail = (*trail, length)
        self.lines[trail] = self._here()
        return trail

    def _enter(self, trail: Trail) -> Trail:
        """Note a table on the way; within an array of tables a header means the last one."""
        self.lines.setdefault(trail, self._here())
        return (*trail, self._lengths[trail] - 1) if trail in self._lengths else trail

    def _pair(self, table: Trail) -> None:
        trail = table
        for name in self._key():
            trail = (*trail, name)
            self.lines.setdefault(trail, self._here())
        if self._peek() != "=":
            raise _LostError
        self._at += 1
        self._value(trail)

    def _key(self) -> list[str]:
        names = []
        while True:
            self._skip(_SPACE)
            found = _KEY_PART.match(self._text, self._at)
            if found is None:
                raise _LostError
            names.append(_unquoted(found[0]))
            self._at = found.end()
            self._skip(_SPACE)
            if self._peek() != ".":
                return names
            self._at += 1

    def _value(self, trail: Trail) -> None:
        self._skip(_SPACE)
        match self._peek():
            case "[":
                self._array(trail)
            case "{":
                self._inline_table(trail)
            case _:
                found = _SCALAR.match(self._text, self._at)
                if found is None:
                    raise _LostError
                self._at = found.end()

    def _array(self, trail: Trail) -> None:
        index = 0
        while self._next_item("]"):
            self.lines[*trail, index] = self._here()
            self._value((*trail, index))
            index += 1

    def _inline_table(self, trail: Trail) -> None:
        while self._next_item("}"):
            self._pair(trail)

    def _next_item(self, end: str) -> bool:
        """Go past the bracket or comma before an item; False past the closing bracket."""
        self._skip(_BLANK)
        if self._peek() != end:
            self._at += 1  # the opening bracket, or the comma after an item
            self._skip(_BLANK)
        if self._peek() != end:
            return True
        self._at += 1
        return False

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, blank: re.Pattern[str]) -> None:
        found = blank.match(self._text, self._at)
        if found:
            self._at = found.end()


def _unquoted(part: str) -> str:
    if part[0] not in "\"'":
        return part
    return next(iter(tomllib.loads(f"{part} = 0")))  # escapes are its business
