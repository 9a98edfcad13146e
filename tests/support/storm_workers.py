"""Workers that make storms of processes: fork, exec, sessions, groups, daemons, threads, pids that come back.

Who takes part in a storm holds the writing end of a pipe, programs included: when nobody does any more, it is
over. How fast it may rage the director says: each act takes room in a pipe that it empties. Some stay beyond
the storm, until the director is gone or kills them; they bear a name by which they are known.
"""

import _thread
import ctypes
import fcntl
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Final, NoReturn

from reaperd.kernel import prctl

LASTING: Final = "lasting"
_ACT_BYTES: Final = 64
_ROOM_BYTES: Final = 4096  # so that 64 acts are all that the director can be behind

_CLONE3: Final = 435  # the same on all machines
_libc: Final = ctypes.PyDLL(None, use_errno=True)  # no lock is let go around the call: the child has it, too

Act = Callable[["Worker"], None]


class Worker:
    """Somebody who makes a storm, until nobody holds the other end of the pipe `pace`."""

    def __init__(self, random: Random, pace: int, raging: int, leash: int) -> None:
        """Take the descriptors over; `leash` ends when the director does."""
        self.random = random
        self.raging = raging
        self.leash = leash
        self.free: deque[int] = deque(maxlen=8)  # pids that were ours and may be used again
        self._pace = pace

    def act(self) -> None:
        """Start something; wait for all, some or nobody.

        Raises:
            BrokenPipeError: the storm is over.
        """
        os.write(self._pace, bytes(_ACT_BYTES))
        self.random.choice(_ACTS)(self)
        for _ in range(self.random.choice([0, 2, 10])):
            with suppress(ChildProcessError):
                pid, _status = os.waitpid(-1, os.WNOHANG)
                if pid:
                    self.free.append(pid)

    def fork(self, body: Callable[[], object]) -> int | None:
        """Fork a child that carries out `body` and ends; None where no pid is free."""
        try:
            pid = os.fork()
        except BlockingIOError:
            with suppress(ChildProcessError):
                os.waitpid(-1, 0)
            return None
        if pid == 0:
            self._be(body)
        return pid

    def fork_as(self, pid: int, body: Callable[[], object]) -> None:
        """Fork a child that has this pid, if it is free and we may choose: clone3(2) with set_tid."""
        wanted = ctypes.c_int(pid)
        words = (0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(wanted), 1, 0)
        if _libc.syscall(_CLONE3, (ctypes.c_uint64 * len(words))(*words), 8 * len(words)) == 0:
            self._be(body)

    def _be(self, body: Callable[[], object]) -> NoReturn:
        self.free.clear()
        try:
            with suppress(OSError):
                body()
        finally:
            os._exit(self.random.randrange(256))

    def last(self) -> None:
        """Take part in the storm no longer, and stay."""
        prctl.set_name(LASTING)
        os.close(self.raging)
        os.read(self.leash, 1)
        os._exit(0)


def work(worker: Worker) -> NoReturn:
    """Make a storm until it is to end, then end."""
    try:
        while True:
            worker.act()
    finally:
        os._exit(0)


def _fork_many(worker: Worker) -> None:
    for _ in range(worker.random.randrange(1, 12)):
        worker.fork(lambda: None)


def _come_back(worker: Worker) -> None:
    """Fork children that have the pids of others who are gone, often within one tick of the clock."""
    for pid in tuple(worker.free):
        worker.fork_as(pid, lambda: None)


def _exec(worker: Worker) -> None:
    worker.fork(lambda: os.execv("/bin/true", ["a worker's (program) S 1 1"]))


def _exec_as_leader(worker: Worker) -> None:
    def body() -> None:
        os.setsid()
        os.execv("/bin/true", ["true"])

    worker.fork(body)


def _daemonize(worker: Worker) -> None:
    def daemon() -> None:
        if worker.random.random() < 0.2:
            worker.last()
        worker.fork(lambda: None)
        time.sleep(worker.random.random() * 0.02)

    def between() -> None:
        os.setsid()
        worker.fork(daemon)

    worker.fork(between)


def _make_group(worker: Worker) -> None:
    def body() -> None:
        os.setpgid(0, 0)
        worker.fork(lambda: time.sleep(0.005))
        worker.fork(lambda: os.setpgid(0, 0))

    if (pid := worker.fork(body)) is not None:
        with suppress(OSError):
            os.setpgid(pid, pid)


def _adopt(worker: Worker) -> None:
    def body() -> None:
        prctl.set_child_subreaper(True)
        _daemonize(worker)
        time.sleep(0.01)

    worker.fork(body)


def _start_threads(worker: Worker) -> None:
    def body() -> None:
        for _ in range(3):
            _thread.start_new_thread(time.sleep, (0.003,))
        time.sleep(worker.random.random() * 0.006)

    worker.fork(body)


def _wander(worker: Worker) -> None:
    """Let a small family change its places slowly enough to be looked at before and after."""
    worker.fork(lambda: _move_about(worker, depth=3))


def _move_about(worker: Worker, depth: int) -> None:
    worker.random.seed(os.getpid() + worker.random.random())  # or all of one family would do the same
    moves: list[Callable[[], object]] = [
        os.setsid,
        lambda: os.setpgid(0, 0),
        lambda: os.setpgid(0, os.getpgid(os.getppid())),
        lambda: prctl.set_child_subreaper(True),
        lambda: prctl.set_child_subreaper(False),
    ]
    for _ in range(3):
        with suppress(OSError):
            worker.random.choice(moves)()
        if depth:
            worker.fork(lambda: _move_about(worker, depth - 1))
        time.sleep(worker.random.random() * 0.02)


_ACTS: Final[list[Act]] = [
    _wander,
    _fork_many,
    _come_back,
    _exec,
    _exec_as_leader,
    _daemonize,
    _make_group,
    _adopt,
    _start_threads,
]


def raging_pipe() -> tuple[int, int]:
    """Return a pipe whose writing end programs inherit: who holds that, rages."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    return reading, writing


def pace_pipe() -> tuple[int, int]:
    """Return a pipe that the director reads to let workers go on, and closes to let them end."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _ROOM_BYTES)
    os.set_blocking(reading, False)
    return reading, writing
