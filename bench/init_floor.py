# ruff: noqa: INP001 - a program that stands alone
"""The floor: the least init that CPython allows. It forks, execs, waits in sigwaitinfo, forwards and reaps.

What reaperd's own init costs is compared with this, compiled, under `python3 -I -S`: the rest is what its
features cost. It is no init to use: it has no options, no messages and no care for a terminal or leftovers.
"""

import _signal  # type: ignore[import-not-found]  # the C half of signal: importing signal costs 3 ms

EVERYTHING = _signal.valid_signals()
MASK = _signal.pthread_sigmask(_signal.SIG_BLOCK, EVERYTHING)

import os  # noqa: E402 - signals are blocked first
import sys  # noqa: E402 - the same


def become(command: list[str]) -> None:
    """Run the command in the forked child."""
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGINT):
        _signal.signal(number, _signal.SIG_DFL)
    os.setsid()
    _signal.pthread_sigmask(_signal.SIG_SETMASK, MASK)
    try:
        os.execvp(command[0], command)
    except OSError:
        os._exit(127)


def reap(main: int) -> None:
    """Reap until nothing is left; leave with the command."""
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid == main:
                code = os.waitstatus_to_exitcode(status)
                os._exit(code if code >= 0 else 128 - code)
    except ChildProcessError:
        return


main = os.fork()
if main == 0:
    become(sys.argv[1:])
while True:
    info = _signal.sigwaitinfo(EVERYTHING)
    if info.si_signo == _signal.SIGCHLD:
        reap(main)
    else:
        os.kill(main, info.si_signo)
