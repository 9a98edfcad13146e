"""The process connector against the real kernel."""

import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from reaperd.errors import KernelError
from reaperd.kernel import prctl, procconn
from reaperd.kernel.procconn import Connector, Event
from tests.support.processes import (
    WITHIN_S,
    call_in_pid_namespace,
    call_in_process,
    need_connector,
    wait_until,
)


@contextmanager
def listening(what: int = procconn.ALL, buffer_bytes: int = 1 << 22) -> Iterator[Connector]:
    """Yield a connector, or skip where this machine gives none."""
    try:
        connector = Connector(what, buffer_bytes)
    except KernelError as error:
        pytest.skip(f"no process connector here: {error.message}")
    try:
        yield connector
    finally:
        connector.close()


def events_until(connector: Connector, end: int) -> list[Event]:
    """Return all events up to the exit of `end`."""
    found: list[Event] = []
    deadline = time.monotonic() + WITHIN_S
    while not any(event[0] == procconn.EXIT and event[3:5] == (end, end) for event in found):
        poll = select.poll()
        poll.register(connector.fd, select.POLLIN)
        assert poll.poll(WITHIN_S * 1000), "no event came"
        assert time.monotonic() < deadline, "the exit never came"
        heard = connector.read()
        assert not heard.is_lossy, "a buffer of megabytes was too small"
        found += heard.events
    return found


def live_and_end() -> list[list[int]]:
    """Fork a child that makes a session, changes its name and its program, and ends with 7."""
    with listening() as connector:
        pid = os.fork()
        if pid == 0:
            os.setsid()
            prctl.set_name("a new (name)")
            os.execv("/bin/sh", ["sh", "-c", "exit 7"])
        events = [event for event in events_until(connector, pid) if pid in event[3:9]]
        os.waitpid(pid, 0)
        (named,) = [event for event in events if event[0] == procconn.COMM]
        assert procconn.name_of(named) == "a new (name)"
        return [[event[0], *event[3:7]] for event in events] + [[os.getpid(), pid]]


def test_a_life_is_told_in_its_order() -> None:
    """Fork with the parent, session, name, program, and the exit with its wait status."""
    need_connector()
    *told, (us, pid) = call_in_process(live_and_end)
    assert [event[0] for event in told] == [
        procconn.FORK,
        procconn.SID,
        procconn.COMM,
        procconn.EXEC,
        procconn.EXIT,
    ]
    assert told[0][1:] == [us, us, pid, pid]
    assert told[-1][1:4] == [pid, pid, 7 << 8]


def hear_only_exits() -> list[int]:
    """Subscribe to ends alone and return the kinds that came of one life."""
    with listening(procconn.EXIT) as connector:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        kinds = {event[0] for event in events_until(connector, pid)}
        os.waitpid(pid, 0)
        return sorted(kinds)


def test_the_kernel_filters_by_the_mask() -> None:
    """Who asks for exits alone is not woken by forks, where the kernel knows how: since Linux 6.6."""
    need_connector()
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 6):
        pytest.skip("the filter takes Linux 6.6")
    assert call_in_process(hear_only_exits) == [procconn.EXIT]


def overflow() -> bool:
    """Fork more than a tiny buffer holds, then read until nothing more is lost."""
    with listening(buffer_bytes=4096) as connector:
        for _ in range(200):
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
        first = connector.read()
        assert 0 < len(first.events) < 400
        wait_until(lambda: not connector.read().is_lossy, "a read without a loss")
        return first.is_lossy


def test_a_loss_is_told_once() -> None:
    """Dropped messages show as a loss at the next read, and not again."""
    need_connector()
    assert call_in_process(overflow, is_storm=True)


def ask_where_it_cannot_work() -> list[str | None]:
    """Ask for the connector and return what is said."""
    try:
        Connector().close()
    except KernelError as error:
        return [procconn.why_not(), error.message, error.hint]
    return []


def test_in_a_pid_namespace_it_refuses_and_says_why() -> None:
    """There the kernel would never acknowledge, and its pids would be strangers'."""
    reason, message, hint = call_in_pid_namespace(ask_where_it_cannot_work)
    assert reason in (
        "this is not the machine's first pid namespace",
        "this is not the machine's first user namespace",
    )
    assert message.startswith(f"cannot follow process events: {reason}")
    assert "first PID" in hint
