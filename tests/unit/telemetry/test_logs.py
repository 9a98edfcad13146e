import json
import os
import pty
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reaperd.telemetry.logs import LINE_BYTES, Format, Sink, open_log
from tests.support.pipes import drain, fill, owned_pipe

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Yield a pipe's two ends."""
    with owned_pipe() as ends:
        yield ends


def objects(data: bytes) -> list[dict[str, Any]]:
    """Return the JSON object of each line; Any is JSON."""
    return [json.loads(line) for line in data.splitlines()]


# --- the sink -------------------------------------------------------------------------------------------


def test_a_line_comes_out_as_it_went_in(pipe: Pipe) -> None:
    """With one newline at its end."""
    sink = Sink(pipe[1])
    assert sink.write("größe\n") == len("größe\n")
    assert drain(pipe[0]) == "größe\n".encode()


def test_a_full_pipe_drops_and_counts(pipe: Pipe) -> None:
    """Nothing blocks, and the first line that gets through sets the count back."""
    sink = Sink(pipe[1])
    fill(pipe[1])
    for _ in range(3):
        sink.write("lost\n")
    assert sink.dropped == 3
    drain(pipe[0])
    sink.write("here\n")
    assert (drain(pipe[0]), sink.dropped) == (b"here\n", 0)


def test_a_pipe_nobody_reads_from_drops(pipe: Pipe) -> None:
    """EPIPE is no reason to stop."""
    sink = Sink(pipe[1])
    os.close(pipe[0])
    sink.write("lost\n")
    assert sink.dropped == 1


def test_a_descriptor_that_is_not_open_drops(pipe: Pipe) -> None:
    """A daemon that was started without standard error runs without a log."""
    os.close(pipe[1])
    sink = Sink(pipe[1])
    sink.write("lost\n")
    assert sink.dropped == 1


def test_a_full_disk_drops() -> None:
    """ENOSPC is no reason to stop either."""
    fd = os.open("/dev/full", os.O_WRONLY)
    sink = Sink(fd)
    sink.write("lost\n")
    os.close(fd)
    assert sink.dropped == 1


@pytest.mark.parametrize("blocking", [True, False])
def test_the_descriptor_keeps_its_flags(pipe: Pipe, blocking: bool) -> None:  # noqa: FBT001 - parametrized
    """O_NONBLOCK belongs to the open file, which others share, so it is neither set nor cleared."""
    os.set_blocking(pipe[1], blocking)
    sink = Sink(pipe[1])
    sink.write("line\n")
    assert os.get_blocking(pipe[1]) is blocking


@settings(deadline=None)
@given(st.text(max_size=3).map(lambda text: text * 4000))
def test_a_long_line_is_cut_where_a_pipe_takes_it_in_one_piece(text: str) -> None:
    """What is left is whole characters, one line, and marked."""
    with owned_pipe() as (read_fd, write_fd):
        sink = Sink(write_fd)
        sink.write(text + "\n")
        data = drain(read_fd)
        assert len(data) <= LINE_BYTES
        shown = data.decode()
        assert shown.endswith("\n")
        assert shown.rstrip("\n") == text.rstrip("\n").encode(errors="backslashreplace").decode() or (
            shown.endswith("…\n")
        )


def test_a_long_line_does_not_block_a_pipe_with_little_room(pipe: Pipe) -> None:
    """A pipe polls writable from one free page on, and that is as much as is ever written."""
    sink = Sink(pipe[1])
    fill(pipe[1])
    os.read(pipe[0], 4096)
    sink.write("x" * 100_000)
    assert sink.dropped == 0
    sink.write("x" * 100_000)
    assert sink.dropped == 1


@pytest.mark.parametrize("length", [100, 137, 200, 255, 300, 1000])
def test_a_terminal_nobody_reads_from_does_not_block(length: int) -> None:
    """It polls writable with room for one byte, so it is opened anew, and the next line begins a new one."""
    master, terminal = pty.openpty()
    sink = Sink(terminal)
    for _ in range(500):
        sink.write("x" * length)
    assert sink.dropped > 0
    assert os.get_blocking(terminal), "the open file of whoever started us is as it was"
    read = b""
    while sink.dropped:
        read += os.read(master, 65536)
        sink.write("y" * length)
    while not read.endswith(b"y" * length + b"\r\n"):
        read += os.read(master, 65536)
    lines = read.replace(b"\r", b"").splitlines()
    assert all(line in (b"x" * len(line), b"y" * len(line)) for line in lines), "no line holds two"
    assert lines.count(b"y" * length) == 1
    os.close(sink._fd)
    os.close(master)
    os.close(terminal)


# --- lines ----------------------------------------------------------------------------------------------


def test_json_elsewhere_than_on_a_terminal(pipe: Pipe) -> None:
    """One object a line, with time in UTC, level, event and keys; what is absent is null."""
    open_log(Format.AUTO, fd=pipe[1])("service.exited", service="web", pid=7, code=1, signal=None, core=False)
    [line] = objects(drain(pipe[0]))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("time"))
    assert line == {
        "level": "info",
        "event": "service.exited",
        "service": "web",
        "pid": 7,
        "code": 1,
        "signal": None,
        "core": False,
    }


def test_each_event_has_its_level(pipe: Pipe) -> None:
    """As it stands in the list of names."""
    log = open_log(Format.JSON, fd=pipe[1])
    log("service.failed", service="web")
    log("service.backoff", service="web", failures=1, delay=0.5)
    assert [line["level"] for line in objects(drain(pipe[0]))] == ["error", "warning"]


def test_readable_lines_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """In colour, and without it where NO_COLOR says so."""
    for no_color in ("", "1"):
        monkeypatch.setenv("NO_COLOR", no_color)
        master, terminal = pty.openpty()
        open_log(Format.AUTO, fd=terminal)("service.running", service="web", pid=7)
        text = os.read(master, 4096).decode()
        assert ("\x1b[" in text) is (no_color == "")
        plain = re.sub(r"\x1b\[\d*m", "", text)
        assert re.fullmatch(r"\d\d:\d\d:\d\d \[info +\] service.running +service=web pid=7\s+", plain)
        os.close(master)
        os.close(terminal)


def test_a_person_is_not_shown_what_does_not_apply(pipe: Pipe) -> None:
    """Null and false are left out, zero is not."""
    open_log(Format.CONSOLE, fd=pipe[1])(
        "service.exited", service="web", pid=7, code=0, signal=None, core=False
    )
    text = drain(pipe[0]).decode()
    assert "code=0" in text
    assert "signal" not in text
    assert "core" not in text


def test_what_is_said_does_not_depend_on_where(pipe: Pipe) -> None:
    """JSON on a terminal and readable lines in a file can be had too."""
    open_log(Format.CONSOLE, fd=pipe[1])("service.stopped", service="web")
    assert drain(pipe[0]).decode().endswith("service.stopped    service=web\n")


@pytest.mark.parametrize(
    "name", ["evil\x1b[2J", "two\nlines", "bell\a", "right to left \u202e", "tab\t", "\r"]
)
def test_a_terminal_gets_nothing_that_it_would_obey(pipe: Pipe, name: str) -> None:
    """What a process calls itself is quoted where it holds control characters."""
    open_log(Format.CONSOLE, fd=pipe[1])("orphan.adopted", pid=7, name=name, service=None)
    text = drain(pipe[0]).decode()
    assert text.count("\n") == 1
    assert text.removesuffix("\n").isprintable()


def test_json_keeps_every_character(pipe: Pipe) -> None:
    """A program reads the name as it was, on one line."""
    name = "evil\x1b[2J\nä\u202e"
    open_log(Format.JSON, fd=pipe[1])("orphan.adopted", pid=7, name=name, service=None)
    assert objects(drain(pipe[0]))[0]["name"] == name


@pytest.mark.parametrize("how", [Format.JSON, Format.CONSOLE])
def test_lost_lines_are_told_with_the_next_one(pipe: Pipe, how: Format) -> None:
    """As a key, so that a line of JSON stays one; and only once."""
    log = open_log(how, fd=pipe[1])
    fill(pipe[1])
    for _ in range(5):
        log("service.stopped", service="web")
    drain(pipe[0])
    log("service.stopped", service="web")
    log("service.stopped", service="web")
    first, second = drain(pipe[0]).decode().splitlines()
    assert "dropped" not in second
    if how is Format.JSON:
        assert json.loads(first)["dropped"] == 5
    else:
        assert "dropped=5" in first


VALUES = st.one_of(
    st.integers(),
    st.none(),
    st.text(max_size=20),
    st.text(max_size=4).map(lambda text: text * 3000),
    st.lists(st.text(max_size=40).map(lambda text: text * 5), max_size=400),
)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.text("abcdefgh", min_size=1), VALUES, max_size=7))
def test_a_line_of_json_always_is_one(keys: dict[str, object]) -> None:
    """However much there is to say, the object fits in a line; long values are shortened."""
    with owned_pipe() as (read_fd, write_fd):
        open_log(Format.JSON, fd=write_fd)("daemon.reloaded", **keys)
        data = drain(read_fd)
        assert len(data) <= LINE_BYTES
        [line] = objects(data)
        assert set(line) == {*keys, "time", "level", "event"}


def test_a_shortened_traceback_keeps_both_ends(pipe: Pipe) -> None:
    """Where it began and what was raised say the most."""
    trace = "Traceback\n" + "  line\n" * 5000 + "KeyError: 7"
    open_log(Format.JSON, fd=pipe[1])(
        "daemon.turn_failed", step="settle", error="KeyError(7)", traceback=trace
    )
    [line] = objects(drain(pipe[0]))
    assert line["traceback"].startswith("Traceback\n")
    assert line["traceback"].endswith("KeyError: 7")


def test_a_file_takes_lines_too(tmp_path: Path) -> None:
    """A regular file always is writable; the log appends to it."""
    fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    log = open_log(Format.AUTO, fd=fd)
    log("daemon.stopping", cause="SIGTERM")
    log("daemon.stopped", status=0)
    os.close(fd)
    lines = objects((tmp_path / "log").read_bytes())
    assert [line["event"] for line in lines] == ["daemon.stopping", "daemon.stopped"]
