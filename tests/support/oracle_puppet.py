"""A process that does what it is told: each of its threads takes one command at a time and answers.

    python -I -S oracle_puppet.py STAGE

Each thread has a datagram socket whose abstract address is the stage's name and the thread's own id, so that
nobody hands descriptors on, and a new thread, a fork and a new program alike say "hello" when they can be
reached: unix(7). A command is words in a datagram; an answer is numbers in one:

    hello 0 PID TID      a thread is there
    done ERRNO A B       a command was carried out, or refused

It starts in a bare interpreter's time: no import but of modules written in C, ctypes only once it is needed.
"""

import _socket
import _thread
import os
import sys
from typing import Any, Final, NoReturn

WORD_BYTES: Final = 200
_PR_SET_CHILD_SUBREAPER: Final = 36
# exit(2) ends one thread, and libc has no name for it: its _exit is exit_group(2).
_SYS_EXITS: Final = {"x86_64": 60, "i686": 1, "armv7l": 1, "ppc64le": 1, "s390x": 1}
_SYS_EXIT: Final = _SYS_EXITS.get(os.uname().machine, 93)

_sockets: dict[int, _socket.socket] = {}  # by thread; for the child of a fork, who must close them
_libc: list[Any] = []  # a ctypes library has no type to name before it is loaded


def address(stage: str, tid: int | str) -> bytes:
    """Return where the thread `tid` of this stage, or its director, is reached."""
    return f"\0{stage}.{tid}".encode()


def open_socket(stage: str, name: int | str) -> _socket.socket:
    """Return this thread's socket, which a fork of it will close."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    sock.bind(address(stage, name))
    _sockets[_thread.get_native_id()] = sock
    return sock


def be_child(stage: str) -> NoReturn:
    """Go on as the child of a fork: drop what the parent's threads listen on, then serve."""
    for sock in _sockets.values():
        sock.close()
    _sockets.clear()
    serve(stage)


def serve(stage: str) -> NoReturn:
    """Say hello and carry out commands, one after the other, until one of them ends this thread."""
    tid = _thread.get_native_id()
    sock = open_socket(stage, tid)
    sock.connect(address(stage, "director"))
    sock.send(b"hello 0 %d %d" % (os.getpid(), tid))
    while True:
        name, *words = sock.recv(WORD_BYTES).decode().split()
        error, a, b = carry_out(stage, name, *map(int, words))
        sock.send(b"done %d %d %d" % (error, a, b))


def carry_out(stage: str, name: str, *numbers: int) -> tuple[int, int, int]:
    """Carry out one command and return its errno, or 0, and what it brought."""
    try:
        a, b = _COMMANDS[name](stage, *numbers)
    except OSError as error:
        return error.errno or -1, 0, 0
    return 0, a, b


def _fork(stage: str) -> tuple[int, int]:
    pid = os.fork()
    if pid == 0:
        try:
            be_child(stage)
        finally:
            os._exit(99)
    return pid, 0


def _exec(stage: str) -> NoReturn:
    # Without the warnings of forking with threads, which is what this program is for.
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-W", "ignore", __file__, stage])


def _setsid(_stage: str) -> tuple[int, int]:
    os.setsid()
    return os.getsid(0), os.getpgid(0)


def _setpgid(_stage: str, pid: int, pgid: int) -> tuple[int, int]:
    os.setpgid(pid, pgid)
    return 0, 0


def _subreaper(_stage: str, on: int) -> tuple[int, int]:
    if _load_libc().prctl(_PR_SET_CHILD_SUBREAPER, on, 0, 0, 0) < 0:
        raise OSError(-1, "prctl")
    return 0, 0


def _thread_start(stage: str) -> tuple[int, int]:
    _thread.start_new_thread(serve, (stage,))
    return 0, 0


def _thread_exit(_stage: str, code: int) -> tuple[int, int]:
    """End the calling thread alone: the kernel ends the process with the last one."""
    libc = _load_libc()
    _sockets.pop(_thread.get_native_id()).close()
    libc.syscall(_SYS_EXIT, code)  # ctypes has let the interpreter's lock go, so that the others run on
    return 0, 0


def _exit(_stage: str, code: int) -> NoReturn:
    os._exit(code)


def _wait(_stage: str, selector: int) -> tuple[int, int]:
    return os.waitpid(selector, os.WNOHANG)


def _kill(_stage: str, pid: int, number: int) -> tuple[int, int]:
    os.kill(pid, number)
    return 0, 0


def _load_libc() -> Any:
    if not _libc:
        import ctypes  # noqa: PLC0415 - a third of the time in which this program starts, and rarely needed

        libc = ctypes.CDLL(None)
        words = (ctypes.c_ulong,) * 4
        libc.prctl.argtypes = (ctypes.c_int, *words)
        libc.syscall.argtypes = (ctypes.c_long, ctypes.c_long)
        _libc.append(libc)
    return _libc[0]


_COMMANDS: Final[dict[str, Any]] = {
    "fork": _fork,
    "exec": _exec,
    "setsid": _setsid,
    "setpgid": _setpgid,
    "subreaper": _subreaper,
    "thread": _thread_start,
    "thread_exit": _thread_exit,
    "exit": _exit,
    "wait": _wait,
    "kill": _kill,
}

if __name__ == "__main__":
    serve(sys.argv[1])
