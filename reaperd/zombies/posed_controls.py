"""Parents that leave no zombie, or none that stays."""

import os
import signal
import time
from ctypes import c_char_p, c_int, c_void_p
from typing import Final

from reaperd.kernel import libc
from reaperd.zombies.keeper import dead, forever, fork, say

_SA_NOCLDWAIT: Final = 2


def waits(report: int) -> None:
    """Wait for each child."""
    say(report, "ready", 0)
    while True:
        os.waitpid(fork(lambda: time.sleep(0.2)), 0)


def polls(report: int) -> None:
    """Ask for children from time to time, as they end."""
    say(report, "ready", 0)
    while True:
        pid = fork(lambda: None)
        time.sleep(0.2)
        os.waitpid(pid, os.WNOHANG)


def ignores(report: int) -> None:
    """Ignore SIGCHLD from the start."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    say(report, "ready", 0)
    while True:
        dead()
        time.sleep(0.2)


def nocldwait(report: int) -> None:
    """Keep the default disposition and say that nobody will wait: struct sigaction of 64-bit C libraries."""
    action = bytes(8) + bytes(128) + _SA_NOCLDWAIT.to_bytes(8, "little") + bytes(8)
    libc.declare("sigaction", c_int, c_char_p, c_void_p)(signal.SIGCHLD, action, None)
    say(report, "ready", 0)
    while True:
        dead()
        time.sleep(0.2)


def handler_loops(report: int) -> None:
    """Have a handler that waits until nobody is left."""

    def collect(*_: object) -> None:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return

    signal.signal(signal.SIGCHLD, collect)
    say(report, "ready", 0)
    while True:
        fork(lambda: None)
        time.sleep(0.2)


def orphan(report: int) -> None:
    """Leave a living child behind."""
    told, tells = os.pipe()

    def middle() -> None:
        os.write(tells, b"%d" % fork(forever, is_bound=False))

    os.waitpid(fork(middle), 0)
    say(report, "orphan", int(os.read(told, 32)))
    say(report, "ready", 0)
    forever()
