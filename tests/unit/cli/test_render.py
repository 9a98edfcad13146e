import io
import os
import pty
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reaperd.cli.render import (
    COLOURS,
    Column,
    Screen,
    cell,
    cells_of,
    printable,
    screen_of,
    size,
    span,
    table,
)

COLUMNS = (Column("NAME"), Column("STATE", styles=COLOURS), Column("PID", right=True), Column("WHY"))


@given(st.text())
def test_printable_obeys_nobody(text: str) -> None:
    """Nothing that a terminal would obey, and no other invisible character, is left."""
    shown = printable(text)
    assert shown.isprintable()
    assert not any(unicodedata.category(char) in {"Cc", "Cf", "Cs"} for char in shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, caf\u00e9", "plain text, caf\u00e9"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\tc", "a\\x0ab\\x09c"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u202eb", "a\\u202eb"),
        ("\udc80", "\\udc80"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_printable_examples(text: str, shown: str) -> None:
    """Control characters, direction marks and bytes that were no text are shown by their numbers."""
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (-1, "0s"),
        (0.9, "0s"),
        (59.9, "59s"),
        (60, "1m 00s"),
        (3723.5, "1h 02m"),
        (86_400 * 12 + 3600 * 4, "12d 04h"),
    ],
)
def test_span(seconds: float | None, text: str) -> None:
    """A duration is shown in its two largest units."""
    assert span(seconds) == text


def test_cell() -> None:
    """What is not there is a dash; everything else is text without surprises."""
    assert [cell(value) for value in (None, "", 0, "\x07")] == ["-", "-", "0", "\\x07"]


def test_table_aligns_by_cells() -> None:
    """Columns line up also under wide and combining characters, and no line ends in spaces."""
    rows = [("web", "running", "7", "-"), ("\u4e16\u754c", "failed", "12345", "e\u0301 x")]
    assert table(COLUMNS, rows, Screen()).splitlines() == [
        "NAME  STATE      PID  WHY",
        "web   running      7  -",
        "\u4e16\u754c  failed   12345  e\u0301 x",
    ]


def test_table_without_rows() -> None:
    """No row, the head alone."""
    assert table(COLUMNS, [], Screen()) == "NAME  STATE  PID  WHY\n"


def test_table_fits_the_terminal() -> None:
    """Only the last column is cut, and only where a terminal's width is known."""
    rows = [("web", "running", "7", "a very long reason that does not fit at all")]
    assert max(map(len, table(COLUMNS, rows, Screen(40)).splitlines())) == 40
    assert table(COLUMNS, rows, Screen(40)).endswith("...\n")
    assert "at all" in table(COLUMNS, rows, Screen())


@given(st.text(max_size=30), st.integers(30, 60))
def test_table_never_leaves_the_terminal(text: str, width: int) -> None:
    """Whatever a reason is made of, its line has no more cells than the terminal."""
    shown = table(COLUMNS, [("web", "running", "7", cell(text * 3))], Screen(width))
    assert all(cells_of(line) <= width for line in shown.splitlines())


def test_a_narrow_terminal_has_fewer_columns() -> None:
    """Spare ones go, the rightmost first, then long names are cut: what tells most stays."""
    columns = (
        Column("NAME"),
        Column("STATE", styles=COLOURS),
        Column("UPTIME", right=True, spare=True),
        Column("MEMORY", right=True, spare=True),
        Column("WHY"),
    )
    rows = [("a-service-with-a-long-name", "running", "1h 02m", "12.3M", "before that: exited with 3")]
    heads = {
        width: table(columns, rows, Screen(width)).splitlines()[0].split() for width in (100, 72, 60, 40)
    }
    assert heads == {
        100: ["NAME", "STATE", "UPTIME", "MEMORY", "WHY"],
        72: ["NAME", "STATE", "UPTIME", "WHY"],
        60: ["NAME", "STATE", "WHY"],
        40: ["NAME", "STATE", "WHY"],
    }
    assert table(columns, rows, Screen(40)).splitlines()[1] == "a-service-with-a-l...  running  befor..."
    assert all(
        len(line) <= width for width in heads for line in table(columns, rows, Screen(width)).splitlines()
    )


def test_colours_do_not_shift_columns() -> None:
    """Colours are put around the text alone: without them the table is the same."""
    rows = [("web", "running", "7", "-"), ("db", "failed", "-", "x")]
    plain, coloured = table(COLUMNS, rows, Screen()), table(COLUMNS, rows, Screen(colour=True))
    for code in ("\x1b[0m", "\x1b[1m", *COLOURS.values()):
        coloured = coloured.replace(code, "")
    assert [line.rstrip() for line in coloured.splitlines()] == plain.splitlines()


def test_screen_of_a_pipe() -> None:
    """What is no terminal gets neither colours nor a width."""
    assert screen_of(io.StringIO(), {"COLUMNS": "80", "TERM": "xterm"}) == Screen()


@pytest.mark.parametrize(
    ("environ", "screen"),
    [
        ({"TERM": "xterm", "COLUMNS": "99"}, Screen(99, colour=True, moves=True)),
        ({"TERM": "xterm", "COLUMNS": "99", "NO_COLOR": "1"}, Screen(99, moves=True)),
        ({"TERM": "xterm", "COLUMNS": "99", "NO_COLOR": ""}, Screen(99, colour=True, moves=True)),
        ({"TERM": "dumb", "COLUMNS": "0"}, Screen(80)),
        ({"COLUMNS": "wide"}, Screen(80)),
    ],
)
def test_screen_of_a_terminal(environ: dict[str, str], screen: Screen) -> None:
    """A terminal has a width, and colours unless NO_COLOR or TERM says otherwise; a dumb one only prints."""
    leader, follower = pty.openpty()
    try:
        with os.fdopen(follower, "w") as stream:
            assert screen_of(stream, environ) == screen
    finally:
        os.close(leader)


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (None, "-"),
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1.0K"),
        (12_900_000, "12.3M"),
        (104_857_600, "100M"),
        (1 << 30, "1.0G"),
        (1 << 62, "4096P"),
    ],
)
def test_sizes(count: int | None, shown: str) -> None:
    """Sizes have the unit in which they are short, and a digit behind the point while it says something."""
    assert size(count) == shown
