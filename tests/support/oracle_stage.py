"""The real half of the oracle: puppets in a PID namespace, and what /proc shows of them.

The director is PID 1 of the namespace, so all orphans come to it, the namespace goes with it, and whoever is
in /proc is a puppet. It plays the part of the init itself: what PID 1 is told, it does in its own process.

One command is under way at a time. A command has had its effect when it is answered; for a thread that
begins (by fork, exec and thread) the cause to wait for is its hello, for a process that ends its pidfd. Only
the end of one thread among others is nowhere announced: /proc is asked for it.
"""

import os
import secrets
import select
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from reaperd.kernel import procfs
from reaperd.model import Seen
from tests.support import oracle_puppet as puppet

INIT: Final = 1
_WITHIN_S: Final = 30.0  # for what takes milliseconds on an idle machine
_LAST_PID: Final = Path("/proc/sys/kernel/ns_last_pid")


class Answer(NamedTuple):
    """What a call brought: an errno, or 0 and up to two numbers."""

    errno: int = 0
    a: int = 0
    b: int = 0


class Stage:
    """All puppets, and the director's line to each of their threads."""

    def __init__(self) -> None:
        """Begin alone, as the leader of a session: that of PID 1 itself lies outside of the namespace."""
        assert os.getpid() == INIT, "the director is PID 1 of a namespace of its own"
        os.setsid()
        self._name = f"oracle-{secrets.token_hex(8)}"
        self._socket = puppet.open_socket(self._name, "director")
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def call(self, tid: int, name: str, *numbers: int) -> Answer:
        """Let a thread carry out a command that it survives, and return once it has had its effect.

        For a new thread `a` is its id.
        """
        if tid == INIT:
            answer = Answer(*puppet.carry_out(self._name, name, *numbers))
        else:
            self.tell(tid, name, *numbers)
            if name == "exec":
                return self._hello_or_refusal()
            answer = None
        hello = None
        is_new = name in ("fork", "thread")
        while answer is None or (is_new and not answer.errno and hello is None):
            kind, message = self._receive()
            if kind == "hello":
                hello = message
            else:
                answer = message
        return answer if hello is None else Answer(0, hello.b)

    def tell(self, tid: int, name: str, *numbers: int) -> None:
        """Let a thread carry out a command that it does not survive."""
        words = " ".join(map(str, (name, *numbers)))
        self._socket.sendto(words.encode(), puppet.address(self._name, tid))

    def _hello_or_refusal(self) -> Answer:
        kind, message = self._receive()
        return Answer() if kind == "hello" else message

    def _receive(self) -> tuple[str, Answer]:
        assert self._poll.poll(_WITHIN_S * 1000), f"no puppet has answered within {_WITHIN_S} s"
        kind, *numbers = self._socket.recv(puppet.WORD_BYTES).decode().split()
        return kind, Answer(*map(int, numbers))


def look() -> list[Seen]:
    """Return everybody in the namespace, as /proc shows them now."""
    stats = (procfs.read_stat(pid) for pid in procfs.list_pids())
    return [_seen(stat) for stat in stats if stat is not None]


@contextmanager
def ending(pids: Iterable[int]) -> Iterator[None]:
    """Let the body end these processes, and return once each of them is a zombie."""
    fds = {pid: os.pidfd_open(pid) for pid in pids}
    try:
        yield
        for pid, fd in fds.items():
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            assert poll.poll(_WITHIN_S * 1000), f"{pid} has not ended within {_WITHIN_S} s"
    finally:
        for fd in fds.values():
            os.close(fd)


@contextmanager
def ending_thread(pid: int, tid: int) -> Iterator[None]:
    """Let the body end a thread that is not the last one, and return once it has; a leader stays, as Z."""
    yield
    deadline = time.monotonic() + _WITHIN_S
    while not _has_ended(pid, tid):
        assert time.monotonic() < deadline, f"thread {tid} of {pid} has not ended within {_WITHIN_S} s"
        os.sched_yield()


def _has_ended(pid: int, tid: int) -> bool:
    if tid != pid:
        return tid not in procfs.threads(pid)
    stat = procfs.read_stat(pid)
    return stat is not None and stat.state == "Z"


def let_pids_be_reused() -> None:
    """Let the next fork take the lowest free pid, where the kernel can: pid_namespaces(7).

    Not before the clock that start times are counted by has gone on: two processes that have the same pid
    within one tick have the same name, and no table could tell them apart.
    """
    ticks = _ticks()
    while _ticks() == ticks:
        time.sleep(1 / procfs.clock_ticks())
    with suppress(OSError):  # built without CONFIG_CHECKPOINT_RESTORE, or not ours to set
        _LAST_PID.write_text("1")


def _ticks() -> int:
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * procfs.clock_ticks())


def _seen(stat: procfs.Stat) -> Seen:
    is_zombie = stat.is_zombie and not stat.is_dead_leader
    tids = () if is_zombie else tuple(procfs.threads(stat.pid)) if stat.num_threads > 1 else (stat.pid,)
    return Seen(
        pid=stat.pid,
        ppid=stat.ppid,
        pgid=stat.pgid,
        sid=stat.sid,
        start_time=stat.start_time,
        comm=stat.comm,
        state=stat.state,
        num_threads=stat.num_threads,
        exit_code=stat.exit_code if is_zombie else None,
        tids=tids,
    )
