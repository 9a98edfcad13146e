"""Run a command so that nothing it starts outlives it: see daemon.py.

    python -I -S guardian.py RESULT_FD COMMAND...

It is child subreaper, so whatever the command leaves behind comes to it. To RESULT_FD it writes one JSON line
with the pid of COMMAND, and a last one, once COMMAND has ended or standard input has, with its wait status
and who was left behind. Those are then killed and reaped.
"""

import ctypes
import json
import os
import select
import signal
import sys
from contextlib import suppress

PR_SET_CHILD_SUBREAPER = 36


def main(result_fd: int, command: list[str]) -> None:
    """Guard `command` until it ends or nobody holds our standard input any more."""
    os.set_inheritable(result_fd, False)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    pid = os.fork()
    if pid == 0:
        _become(command)
    _tell(result_fd, {"pid": pid})
    _wait_for_either(pid)
    status = _reaped(pid)
    left = [] if status is None else _left()
    ended = _kill_all(pid)
    _tell(result_fd, {"status": ended if status is None else status, "left": left})


def _become(command: list[str]) -> None:
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)
    finally:
        os._exit(127)


def _wait_for_either(pid: int) -> None:
    poll = select.poll()
    poll.register(os.pidfd_open(pid), select.POLLIN)
    poll.register(0, select.POLLIN)
    poll.poll()


def _reaped(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return status if found else None


def _left() -> list[str]:
    return [f"{_name(child)}[{child}]" for child in _children()]


def _kill_all(command_pid: int) -> int:
    """Kill generation after generation until no child is left; return the wait status of the command."""
    ended = 0
    while True:
        for child in _children():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        try:
            pid, status = os.wait()
        except ChildProcessError:
            return ended
        if pid == command_pid:
            ended = status


def _children() -> list[int]:
    with open("/proc/thread-self/children") as file:  # noqa: PTH123 - pathlib would double the start
        return [int(word) for word in file.read().split()]


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - the same
            return file.read().partition(" (")[2].rpartition(")")[0]
    except OSError:
        return "?"


def _tell(result_fd: int, what: dict[str, object]) -> None:
    with suppress(BrokenPipeError):
        os.write(result_fd, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
