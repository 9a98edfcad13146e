import os
from pathlib import Path

import pytest

from reaperd.output import compress, rotation
from reaperd.output.reading import Reader, time_of


def lines(first: int, last: int) -> list[bytes]:
    """Return numbered lines."""
    return [b"%d\n" % number for number in range(first, last + 1)]


class Log:
    """A log that is written to and rotated."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = 0

    def write(self, count: int) -> None:
        """Append numbered lines."""
        with self.path.open("ab") as file:
            file.writelines(lines(self.last + 1, self.last + count))
        self.last += count

    def rotate(self, *, packed: bool = False) -> None:
        """Begin a new file."""
        rotation.set_aside(str(self.path))
        self.path.touch()
        if packed:
            assert compress.main([str(self.path)]) == 0


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """A log of 30 lines in three files, the oldest compressed."""
    made = Log(tmp_path / "web.log")
    for packed in (True, False):
        made.write(10)
        made.rotate(packed=packed)
    made.write(10)
    return made


@pytest.mark.parametrize("most", [None, 0, 1, 9, 10, 11, 20, 25, 30, 31])
def test_the_last_lines_of_all_files(log: Log, most: int | None) -> None:
    """In order, from as many files as it takes."""
    reader = Reader(str(log.path))
    assert list(reader.start(most)) == lines(1 if most is None else max(31 - most, 1), 30)
    reader.close()


def test_the_last_lines_of_a_large_file(tmp_path: Path) -> None:
    """However long the lines are; one that has not ended is not one yet."""
    path = tmp_path / "web.log"
    body = [b"x" * 70_000 + b"\n", *lines(1, 20_000), b"y" * 200_000 + b"\n"]
    path.write_bytes(b"".join(body) + b"begun")
    for most in (0, 1, 2, 3, 15_000, 20_001, 20_002, 30_000):
        reader = Reader(str(path))
        assert list(reader.start(most)) == (body[-most:] if most else [])
        with path.open("ab") as file:
            file.write(b" and ended\n")
        assert list(reader.more()) == [b"begun and ended\n"]
        reader.close()
        path.write_bytes(b"".join(body) + b"begun")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("times", [0, 1, 2, 3])
def test_what_comes_is_followed_across_rotations(log: Log, times: int, *, packed: bool) -> None:
    """However many there were since the last look, compressed or not: each line once, in order."""
    reader = Reader(str(log.path))
    assert list(reader.start(0)) == []
    for _ in range(2):
        first = log.last + 1
        for _ in range(times):
            log.write(3)
            log.rotate(packed=packed)
        log.write(4)
        assert list(reader.more()) == lines(first, log.last)
    assert list(reader.more()) == []
    reader.close()


def test_a_log_that_comes_goes_and_is_emptied_is_followed(tmp_path: Path) -> None:
    """Whatever is there is read once."""
    log = Log(tmp_path / "deep/web.log")
    reader = Reader(str(log.path))
    assert list(reader.start()) == list(reader.more()) == []
    log.path.parent.mkdir()
    log.write(2)
    log.rotate()
    log.write(1)
    assert list(reader.more()) == lines(1, 3)
    os.truncate(log.path, 0)
    assert list(reader.more()) == []
    log.write(1)
    assert list(reader.more()) == lines(4, 4)
    log.path.unlink()
    assert list(reader.more()) == []
    log.write(1)
    assert list(reader.more()) == lines(5, 5)
    reader.close()


def test_lines_are_as_old_as_they_say(tmp_path: Path) -> None:
    """Without a time of its own a line is as old as the one before it."""
    path = tmp_path / "web.log"
    body = [
        b"? unknown\n",
        b"2026-01-01T10:00:00Z old\n",
        b"  more\n",
        b'{"t": "2026-01-01 12:00:00+01:00"}\n',
        b" m\n",
    ]
    path.write_bytes(b"".join(body))
    moment = time_of(b"2026-01-01T10:30:00Z")
    reader = Reader(str(path), moment)
    assert list(reader.start()) == [body[0], *body[3:]]
    reader.close()
    reader = Reader(str(path), moment)
    assert list(reader.start(1)) == body[4:]
    reader.close()


@pytest.mark.parametrize("line", [b"", b"now", b"2026-99-01T10:00:00Z", b"x" * 100 + b"2026-01-01T10:00:00Z"])
def test_what_tells_no_time(line: bytes) -> None:
    """Or an impossible one, or one far from its beginning."""
    assert time_of(line) is None
