from hypothesis import given
from hypothesis import strategies as st

from reaperd.output.lines import Cutter, cut_mark


def cut(cutter: Cutter, data: bytes) -> bytes:
    """Return what a cutter makes of one piece that was read."""
    start = len(cutter.rest)
    buffer = bytearray(cutter.rest + data + b"what an earlier piece left\nbehind")
    return bytes(cutter.cut(buffer, start + len(data)))


def expected(data: bytes, limit: int) -> bytes:
    """Return what has to become of a whole stream, worked out the slow way."""
    *lines, last = data.split(b"\n")
    lines += [last] if last else []
    return b"".join(
        (line if len(line) <= limit else line[:limit] + cut_mark(len(line) - limit)) + b"\n" for line in lines
    )


pieces = st.lists(st.text("ab\n", max_size=30).map(str.encode) | st.binary(max_size=30))


@given(pieces, st.integers(1, 20))
def test_lines_do_not_depend_on_how_they_were_read(read: list[bytes], limit: int) -> None:
    """Whole lines come out, each once and in order; only what is beyond the limit is missing, and counted."""
    cutter = Cutter(limit)
    out = []
    for piece in read:
        out.append(cut(cutter, piece))
        assert out[-1].endswith(b"\n") or not out[-1]
        assert len(cutter.rest) <= limit
    out.append(cutter.finish())
    assert b"".join(out) == expected(b"".join(read), limit)


def test_a_line_without_an_end_is_held_no_further_than_its_limit() -> None:
    """A stream that never ends a line needs no more memory than one line."""
    cutter = Cutter(100)
    for _ in range(1000):
        assert cut(cutter, b"\0" * 1000) == b""
        assert len(cutter.rest) <= 100
    assert cut(cutter, b"\nnext\n") == b"\0" * 100 + cut_mark(999_900) + b"\nnext\n"
