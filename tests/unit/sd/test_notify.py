from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reaperd.sd.notify import LONGEST_STATUS, Notification, parse

NOTHING = Notification()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"READY=1", replace(NOTHING, ready=True)),
        (b"READY=1\n", replace(NOTHING, ready=True)),
        (b"RELOADING=1\nMONOTONIC_USEC=7", replace(NOTHING, reloading=True)),
        (b"STOPPING=1\nSTATUS=bye", replace(NOTHING, stopping=True, status="bye")),
        (b"MAINPID=42\nWATCHDOG=1", replace(NOTHING, main_pid=42, watchdog=True)),
        (b"WATCHDOG_USEC=500000", replace(NOTHING, watchdog_usec=500_000)),
        (b"STATUS=a=b", replace(NOTHING, status="a=b")),
        (b"STATUS=", replace(NOTHING, status="")),
        (b"STATUS=old\nSTATUS=new", replace(NOTHING, status="new")),
        (b"BARRIER=1", replace(NOTHING, barrier=True)),
    ],
)
def test_what_is_known_is_read(data: bytes, said: Notification) -> None:
    """Each key of sd_notify(3) that we know has its place."""
    assert parse(data) == said


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"READY",
        b"READY=0",
        b"READY=11",
        b" READY=1",
        b"ready=1",
        b"\0READY=1",
        b"STATUS=\xff\xfe",
        b"MAINPID=0",
        b"MAINPID=-1",
        b"MAINPID=1x",
        b"MAINPID=4194305",
        b"MAINPID=" + b"9" * 4000,
        b"WATCHDOG_USEC=18446744073709551616",
        b"BARRIER=1\nFUTURE=1",
        b"X_NEW_KEY=1",
    ],
)
def test_what_is_not_understood_says_nothing(data: bytes) -> None:
    """Unknown, malformed, binary and oversized values are passed over."""
    assert parse(data) == NOTHING


def test_a_bad_line_does_not_spoil_its_neighbours() -> None:
    """Each line stands for itself, and the last value that can be read counts."""
    said = parse(b"READY=1\n\xff\xff\nMAINPID=7\nMAINPID=x\nSTATUS=ok\nSTATUS=\xff")
    assert said == replace(NOTHING, ready=True, main_pid=7, status="ok")


def test_a_status_cannot_command_a_terminal() -> None:
    """What is not printable is shown as a question mark, and the rest is bounded."""
    assert parse(b"STATUS=\x1b[2Jhello\x07").status == "?[2Jhello?"
    assert parse(b"STATUS=" + b"x" * 4000).status == "x" * LONGEST_STATUS


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b"READY=1", b"STATUS=\xc3", b"=", b"\0"])).map(b"\n".join)
)
def test_anything_at_all_can_be_read(data: bytes) -> None:
    """No message raises, and what is kept of it is in bounds."""
    said = parse(data)
    assert said.status is None or (said.status.isprintable() and len(said.status) <= LONGEST_STATUS)
    assert said.main_pid is None or 0 < said.main_pid <= 1 << 22
    assert said.ready == (b"READY=1" in data.split(b"\n"))


@given(st.lists(st.sampled_from([b"READY=1", b"STATUS=x", b"MAINPID=9", b"JUNK", b"WATCHDOG=1"])))
def test_the_order_of_different_keys_does_not_matter(lines: list[bytes]) -> None:
    """Lines of different keys say the same in any order."""
    assert parse(b"\n".join(lines)) == parse(b"\n".join(reversed(lines)))
