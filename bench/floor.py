# ruff: noqa: INP001 - a program that stands alone
"""The floor in Python: what floor.c does, under `python3 -I -S`, by posix_spawn or os.fork.

Usage: floor.py fork|spawn NUMBER PROGRAM FIFO SOCKET
       floor.py status SOCKET
"""

import _signal  # type: ignore[import-not-found]  # the C halves: what is in Python around them costs 10 ms
import _socket
import os
import select
import sys
from collections.abc import Callable

EVERYTHING = _signal.valid_signals()


def fork(words: list[str]) -> int:
    """Start a program as reaperd must: nothing may be heard or reaped before it is known."""
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, EVERYTHING)
    pid = os.fork()
    if pid == 0:
        try:
            _signal.set_wakeup_fd(-1)
            for number in (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGCHLD, _signal.SIGTERM):
                _signal.signal(number, _signal.SIG_DFL)
            _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
            os.execv(words[0], words)
        finally:
            os._exit(127)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
    return pid


def spawn(words: list[str]) -> int:
    """Start a program as the C library does it."""
    ours = (_signal.SIGPIPE, _signal.SIGXFSZ)
    return os.posix_spawn(words[0], words, os.environ, setsigmask=(), setsigdef=ours)


def run(start: Callable[[list[str]], int], count: int, program: str, fifo: str, path: str) -> None:
    """Run the programs until SIGTERM."""
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(16)
    waking, woken = os.pipe()
    os.set_blocking(woken, False)
    _signal.set_wakeup_fd(woken)
    for number in (_signal.SIGCHLD, _signal.SIGTERM):
        _signal.signal(number, lambda _number, _frame: None)
    running = {start([program, str(number), fifo]): number for number in range(count)}
    poll = select.poll()
    poll.register(waking, select.POLLIN)
    poll.register(listener.fileno(), select.POLLIN)
    going = True
    while running:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                client = _socket.socket(fileno=listener._accept()[0])  # noqa: SLF001 - what socket calls
                client.sendall("".join(f"s{each} running {pid}\n" for pid, each in running.items()).encode())
                client.close()
            elif _signal.SIGTERM in os.read(waking, 4096):
                going = False
                for pid in running:
                    os.kill(pid, _signal.SIGTERM)
        try:
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                each = running.pop(pid)
                if going:
                    running[start([program, str(each), fifo])] = each
        except ChildProcessError:
            pass


if sys.argv[1] == "status":
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    server.connect(sys.argv[2])
    while text := server.recv(65536):
        os.write(1, text)
else:
    run({"fork": fork, "spawn": spawn}[sys.argv[1]], int(sys.argv[2]), *sys.argv[3:])
