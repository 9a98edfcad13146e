import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from reaperd.output.lines import Buffer
from reaperd.output.looks import json_lines, marked, prefixed
from reaperd.output.streams import Shape


def shaped(shape: Shape, lines: Buffer) -> bytes:
    """Return what becomes of lines, in one piece."""
    return b"".join(shape(lines))


def test_each_line_has_its_name_before_it() -> None:
    """A mark tells the standard error; the bytes of a line are as they were, empty lines too."""
    assert shaped(prefixed("web:1", "stdout"), b"a\n\n\xff\r\n") == b"web:1 | a\nweb:1 | \nweb:1 | \xff\r\n"
    assert shaped(prefixed("web", "stderr"), memoryview(b"oh\n")) == b"web ! oh\n"


def test_what_a_helper_says_is_told_from_what_its_service_says() -> None:
    """By its name before each line, behind a priority that the journal is to see; in JSON by a key."""
    assert shaped(marked("on_exit"), b"a\n\n<4>b <5>c\n") == b"[on_exit] a\n[on_exit] \n<4>[on_exit] b <5>c\n"
    assert shaped(marked("stop"), memoryview(b"<9>\\1\n")) == b"[stop] <9>\\1\n"
    assert shaped(prefixed("web", "stderr", "stop"), b"oh\n") == b"web (stop) ! oh\n"
    found = json.loads(shaped(json_lines("web", "stdout", "on_exit"), b"a\n"))
    assert (found["service"], found["helper"], found["message"]) == ("web", "on_exit", "a")


def test_each_line_is_an_object() -> None:
    """Whatever is in it; the time is RFC 3339 in UTC."""
    text = shaped(json_lines("web", "stderr"), b'say "hi"\n\n\xff\0\x1b[1m\xe2\x82\xac\n').decode("ascii")
    found = [json.loads(line) for line in text.splitlines()]
    assert [each.pop("message") for each in found] == ['say "hi"', "", "\\xff\0\x1b[1m\N{EURO SIGN}"]
    for each in found:
        assert datetime.fromisoformat(each.pop("time")).tzinfo is UTC
        assert each == {"service": "web", "stream": "stderr"}


@given(
    st.lists(st.text(st.characters(max_codepoint=0x100, exclude_characters="\n"), max_size=12), min_size=1)
)
def test_each_line_is_told_as_it_is(texts: list[str]) -> None:
    """Whether lines are made into objects all at once or one after the other."""
    lines = shaped(json_lines("web", "stdout"), "".join(f"{text}\n" for text in texts).encode())
    told = [json.loads(line) for line in lines.split(b"\n")[:-1]]
    assert [each["message"] for each in told] == texts
    assert all((each["service"], each["stream"]) == ("web", "stdout") for each in told)


@given(st.text(st.sampled_from('a"\\\t b{}\x7f'), max_size=30))
def test_the_quick_way_writes_what_the_slow_one_does(text: str) -> None:
    """To the byte: a line beyond ASCII in the same piece makes all of them go the slow way."""
    shape = json_lines("web", "stdout")
    quick, slow = (
        shaped(shape, f"{text}\n".encode()),
        shaped(shape, f"{text}\n€\n".encode()).split(b"\n")[0] + b"\n",
    )
    assert quick.partition(b'"service"')[2] == slow.partition(b'"service"')[2]


def test_many_lines_become_objects_in_several_pieces() -> None:
    """None of the lines is missing or cut at the seams, however long it is, and a piece is whole objects."""
    lines = [b"%d " % number + b"x" * (number % 977) for number in range(400)]
    lines[200:200] = [b"y" * 70_000, b"", b'"' * 40_000]
    pieces = list(json_lines("web", "stdout")(memoryview(b"\n".join(lines) + b"\n")))
    told = [json.loads(line)["message"].encode() for piece in pieces for line in piece.splitlines()]
    assert told == lines
    assert len(pieces) > 2
