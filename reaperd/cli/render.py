"""Text for people: tables that fit the terminal, colours only where they can be seen, nothing it would obey.

What services and processes call themselves is theirs to choose, so everything printed from outside goes
through `printable` first.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

_RESET: Final = "\x1b[0m"
BOLD: Final = "\x1b[1m"
COLOURS: Final[Mapping[str, str]] = {
    "running": "\x1b[32m",
    "starting": "\x1b[33m",
    "stopping": "\x1b[33m",
    "waiting": "\x1b[33m",
    "backoff": "\x1b[33m",
    "failed": "\x1b[31m",
}
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_BYTES: Final = 1024
_WHOLE: Final = 99.95  # from here on a digit behind the point says nothing
_LEAST_LAST: Final = 20  # cells for the last column, often a sentence, for which spare ones go
_LEAST_CUT: Final = 8  # a column that would have less than this is not cut at all


@dataclass(frozen=True, slots=True)
class Screen:
    """What the output can show.

    Attributes:
        width: of a line, in cells; None where it goes to a file or a pipe, and may be as long as it likes.
        colour: whether colours are welcome.
        moves: whether it understands to go back within a line and to erase it.
    """

    width: int | None = None
    colour: bool = False
    moves: bool = False

    def painted(self, text: str, style: str | None) -> str:
        """Return `text` in `style`, or as it is."""
        return f"{style}{text}{_RESET}" if self.colour and style else text


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its head, the side its cells lean to, and the style of each cell, if any.

    A spare one is left out where the terminal is too narrow for all.
    """

    head: str
    right: bool = False
    styles: Mapping[str, str] | None = None
    spare: bool = False


def screen_of(stream: IO[str], environ: Mapping[str, str] = os.environ) -> Screen:
    """Return what `stream` can show: https://no-color.org, and COLUMNS over what the terminal says."""
    if not stream.isatty():
        return Screen()
    moves = environ.get("TERM", "dumb") != "dumb"
    colour = moves and not environ.get("NO_COLOR")
    columns = environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdecimal() and 0 < len(columns) < 6 and int(columns):
        return Screen(int(columns), colour, moves)
    try:
        width = os.get_terminal_size(stream.fileno()).columns
    except OSError:
        width = 0
    return Screen(width or 80, colour, moves)


def put(text: str) -> None:
    """Print lines; nothing happens where standard output is closed."""
    if sys.stdout is not None:
        sys.stdout.write(text)


def put_json(document: Mapping[str, object], *, is_line: bool = False) -> None:
    """Print one JSON object; everything beyond ASCII is escaped, so that nothing can fool a terminal.

    In one line where it `is_line` of a stream, else for people to read, too.
    """
    import json  # noqa: PLC0415  # the text forms do without

    put(json.dumps(document, indent=None if is_line else 2) + "\n")


def stdout_screen() -> Screen:
    """Return what standard output can show."""
    return Screen() if sys.stdout is None else screen_of(sys.stdout)


def printable(text: str) -> str:
    r"""Return `text` with everything but plain characters and spaces escaped, such as \x1b or \u202e."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def span(seconds: float | None) -> str:
    """Return a duration in its two largest units, such as `3h 05m`; `-` for none."""
    if seconds is None:
        return "-"
    left = max(int(seconds), 0)
    for index, (unit, size) in enumerate(_UNITS):
        count, rest = divmod(left, size)
        if count and size > 1:
            next_unit, next_size = _UNITS[index + 1]
            return f"{count}{unit} {rest // next_size:02}{next_unit}"
    return f"{left}s"


def size(count: object) -> str:
    """Return a number of bytes in the unit that shows it best, such as `12.3M`; `-` for none."""
    if not isinstance(count, int):
        return "-"
    amount, unit = float(count), "B"
    for bigger in "KMGTP":
        if amount < _BYTES:
            break
        amount, unit = amount / _BYTES, bigger
    return f"{count}B" if unit == "B" else f"{amount:.1f}{unit}" if amount < _WHOLE else f"{amount:.0f}{unit}"


def cell(value: object) -> str:
    """Return one value for a table: `-` where there is none."""
    return "-" if value is None or value == "" else printable(str(value))


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], screen: Screen) -> str:
    """Return an aligned table that fits the terminal.

    Where it does not, the last column is cut, then spare ones are left out, the rightmost first, then the
    first column is cut.
    """
    widths = [
        max(cells_of(text) for text in (column.head, *(row[index] for row in rows)))
        for index, column in enumerate(columns)
    ]
    kept = list(range(len(columns)))
    room = None
    if screen.width is not None:
        kept = _kept(columns, widths, screen.width)
        short = _LEAST_CUT - _room(kept, widths, screen.width)
        if short > 0 and widths[-1] > _LEAST_CUT - short:
            widths[0] = max(widths[0] - short, min(widths[0], _LEAST_CUT))
        room = max(_room(kept, widths, screen.width), _LEAST_CUT)
    lines = [[column.head for column in columns], *map(list, rows)]
    styled = [
        [(line[at], _style(columns[at], line[at], is_head=line is lines[0])) for at in kept] for line in lines
    ]
    return "".join(
        _line([columns[at] for at in kept], [widths[at] for at in kept], line, room, screen)
        for line in styled
    )


def _kept(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """Return the places of the columns for which there is room, with some left for the last one."""
    kept = list(range(len(columns)))
    for at in reversed(range(len(columns))):
        if columns[at].spare and _room(kept, widths, width) < min(_LEAST_LAST, widths[-1]):
            kept.remove(at)
    return kept


def _room(kept: Sequence[int], widths: Sequence[int], width: int) -> int:
    """Return how many cells the others leave to the last column."""
    return width - sum(widths[at] for at in kept[:-1]) - 2 * (len(kept) - 1)


def _style(column: Column, text: str, *, is_head: bool) -> str | None:
    if is_head:
        return BOLD
    return column.styles.get(text) if column.styles else None


def _line(
    columns: Sequence[Column],
    widths: Sequence[int],
    line: Sequence[tuple[str, str | None]],
    room: int | None,
    screen: Screen,
) -> str:
    parts = []
    for at, (text, style) in enumerate(line):
        is_last = at == len(line) - 1
        shown = text if room is None else cut(text, room if is_last else widths[at])
        pad = " " * (widths[at] - cells_of(shown))
        painted = screen.painted(shown, style)
        parts.append(pad + painted if columns[at].right else painted if is_last else painted + pad)
    return "  ".join(parts).rstrip(" ") + "\n"


def cut(text: str, room: int) -> str:
    """Return `text` in at most `room` cells, its loss marked; uncut where next to nothing would be left."""
    if room < _LEAST_CUT or cells_of(text) <= room:
        return text
    kept = text
    while cells_of(kept) > room - 3:
        kept = kept[:-1]
    return kept + "..."


def cells_of(text: str) -> int:
    """Return how many cells of a terminal `text` takes: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    import unicodedata  # noqa: PLC0415  # hardly ever needed

    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def texts(value: object) -> list[str]:
    """Return a list of texts that a daemon sent, nothing where it sent something else."""
    return [str(each) for each in value] if isinstance(value, list) else []


def items_of(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:  # Any: JSON
    """Return the items of an answer; what is no object among them is left out."""
    items = document.get("items")
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def wrapped(text: str, screen: Screen, indent: int) -> str:
    """Return `text` as lines that begin with `indent` spaces and end where the terminal does."""
    import textwrap  # noqa: PLC0415  # few commands have that much to say

    pad = " " * indent
    if screen.width is None:
        return f"{pad}{printable(text)}\n"
    lines = textwrap.wrap(printable(text), max(screen.width - indent, 20), break_on_hyphens=False)
    return "".join(f"{pad}{line}\n" for line in lines)
