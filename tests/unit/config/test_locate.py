import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reaperd.config.locate import Trail, lines_of, nearest_line

EXAMPLE = '''\
# a comment with [brackets] and "quotes"
[daemon]
socket = "s"  # = "t"

[service.web]
command = [
  "a", # first
  'b ] # not a comment',
]
environment = { A = "1", "B.C" = "}" }
stop.signal = "TERM"
text = """
[service.fake]
quoted ""two"" and \\"
"""""
last = 1979-05-27 07:32:00

[[rule]]
x = 1
[[rule]]
x = 2
[rule.deep]
y = 3

[a.b.c]
[a]
'''


@pytest.mark.parametrize(
    ("trail", "line"),
    [
        (("daemon",), 2),
        (("daemon", "socket"), 3),
        (("service",), 5),
        (("service", "web"), 5),
        (("service", "web", "command"), 6),
        (("service", "web", "command", 0), 7),
        (("service", "web", "command", 1), 8),
        (("service", "web", "environment", "B.C"), 10),
        (("service", "web", "stop"), 11),
        (("service", "web", "stop", "signal"), 11),
        (("service", "web", "text"), 12),
        (("service", "web", "last"), 16),
        (("rule",), 18),
        (("rule", 1), 20),
        (("rule", 1, "x"), 21),
        (("rule", 1, "deep", "y"), 23),
        (("a", "b", "c"), 25),
        (("a",), 26),
    ],
)
def test_each_thing_has_its_line(trail: Trail, line: int) -> None:
    """Keys, tables, elements and dotted keys are found on the line they stand on."""
    lines = lines_of(EXAMPLE)
    assert lines[trail] == line


def test_what_is_not_there_has_the_line_of_what_is_around_it() -> None:
    """A missing key is reported at its table, and a missing table nowhere."""
    lines = lines_of(EXAMPLE)
    assert nearest_line(lines, ("daemon", "missing", "deeper")) == 2
    assert nearest_line(lines, ("nowhere",)) is None


@pytest.mark.parametrize(
    "text", ["a = ", "a", "= 1", "[", "a = [", "a = {", "a = [1,,2]", 'a = "', "[[[", "a = " + "[" * 5000]
)
def test_a_text_it_cannot_follow_still_ends(text: str) -> None:
    """A text that is no TOML gives the lines found so far, in finite time."""
    assert all(line == 1 for line in lines_of(text).values())


def test_windows_line_ends_count_once() -> None:
    """A carriage return before the newline adds no line."""
    assert lines_of("a = 1\r\n\r\nb = 2\r\n") == {("a",): 1, ("b",): 3}


# A random document as text: every way to write a key and a value, mixed.
_bare = st.from_regex(r"[A-Za-z0-9_-]{1,3}", fullmatch=True)
_quoted = st.sampled_from(['"a.b"', "'c d'", '"\\u0041"', '"#"', "'='", '"]"'])
_scalars = st.sampled_from(
    [
        "1",
        "-2.5",
        "true",
        '"x"',
        "'y'",
        '"# ] } ,"',
        "'''\na'b''\n'''",
        '"""\n[t]\nk = "\\"\n"""',
        "07:32:00",
        '"\\\\"',
    ]
)
_gaps = st.sampled_from(["", " ", "\n", " # , ] }\n", "\n\n  "])


def _array(items: list[str], gap: str) -> str:
    return "[" + gap + f",{gap}".join(items) + gap + "]"


def _inline(items: list[tuple[str, str]]) -> str:
    return "{ " + ", ".join(f"{key} = {value}" for key, value in items) + " }"


_values = st.recursive(
    _scalars,
    lambda inner: (
        st.builds(_array, st.lists(inner, max_size=3), _gaps)
        | st.builds(_inline, st.lists(st.tuples(_bare | _quoted, inner), max_size=3))
    ),
    max_leaves=6,
)
_keys = st.lists(_bare | _quoted, min_size=1, max_size=3).map(" . ".join)
_pairs = st.tuples(_keys, _values).map(lambda pair: f"{pair[0]} = {pair[1]}")
_headers = st.tuples(_keys, st.booleans()).map(lambda made: f"[[{made[0]}]]" if made[1] else f"[ {made[0]} ]")
_statements = st.lists(_pairs | _headers | st.sampled_from(["", "# comment", "  "]), max_size=10)


def _trails(value: object, trail: Trail = ()) -> Iterator[Trail]:
    if trail:
        yield trail
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    for name, part in inner:
        yield from _trails(part, (*trail, name))


@given(_statements)
def test_it_finds_exactly_what_tomllib_finds(statements: list[str]) -> None:
    """On any valid document the walker and tomllib agree about every name and index there is."""
    valid: list[str] = []
    for statement in statements:  # keep what leaves the document valid
        try:
            tomllib.loads("\n".join([*valid, statement]))
        except tomllib.TOMLDecodeError:
            continue
        valid.append(statement)
    text = "\n".join(valid)
    assert set(lines_of(text)) == set(_trails(tomllib.loads(text)))


@given(_statements)
def test_a_pair_is_found_on_its_own_line(statements: list[str]) -> None:
    """A key put behind any valid document is found on the line it was put on."""
    text = "\n".join(statements)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    added = f"{text}\n[zzzz]\nkey = 1"
    assert lines_of(added)["zzzz", "key"] == added.count("\n") + 1
