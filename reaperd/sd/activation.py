"""Sockets that the service manager opened for the daemon: sd_listen_fds(3).

They begin at descriptor 3 and are meant for the process that LISTEN_PID names; LISTEN_FDNAMES says what each
is for. The daemon takes one, for its control socket. What else it was given it closes and says so: nobody
would ever serve it.
"""

import os
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reaperd.errors import ReaperdError

FIRST: Final = 3  # SD_LISTEN_FDS_START
MOST: Final = 1024  # more than any manager passes; a larger number is nobody's
NAMES: Final = ("control", "reaperd.socket")  # what the control socket may be called, where there are others


@dataclass(frozen=True, slots=True)
class Passed:
    """One descriptor from the service manager, and the name that it has there."""

    fd: int
    name: str


def passed(environment: Mapping[str, str], pid: int) -> tuple[Passed, ...]:
    """Return what `environment` says was passed to the process `pid`; nothing where it speaks of another."""
    if environment.get("LISTEN_PID") != str(pid):
        return ()
    count = environment.get("LISTEN_FDS", "")
    if not (count.isascii() and count.isdecimal()) or not 0 < int(count[:6]) <= MOST:
        return ()
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    names += [""] * int(count)
    return tuple(Passed(FIRST + index, names[index]) for index in range(int(count)))


def control_socket(found: tuple[Passed, ...], wanted: Path) -> socket.socket | None:
    """Return the listening control socket among what was passed; None where nothing was. Closes the rest.

    Args:
        found: what was passed.
        wanted: where the configuration says that the daemon answers.

    Raises:
        ReaperdError: none is a socket that the daemon could answer on, or it is another than `wanted`.
    """
    if not found:
        return None
    chosen = next((each for each in found if each.name in NAMES), found[0])
    for each in found:
        if each is not chosen:
            os.close(each.fd)
    if not _is_listener(chosen.fd):
        raise ReaperdError(
            f"cannot answer on descriptor {chosen.fd} ({chosen.name or 'without a name'}) of the service "
            "manager: it is no listening stream socket of AF_UNIX",
            hint="let ListenStream= of its socket unit name a path, with Accept=no",
        )
    listener = socket.socket(fileno=chosen.fd)
    path = os.fsdecode(listener.getsockname())
    if not _is_same(path, wanted):
        listener.close()
        raise ReaperdError(
            f"cannot answer on {path or 'a socket without a name'}, which the service manager passed: the "
            f"configuration says {wanted}",
            hint="let ListenStream= and daemon.socket name the same path",
        )
    listener.setblocking(False)
    listener.set_inheritable(False)
    return listener


def _is_same(path: str, wanted: Path) -> bool:
    try:
        return path == str(wanted) or wanted.samefile(path)
    except (OSError, ValueError):  # an abstract name is no path
        return False


def _is_listener(fd: int) -> bool:
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return False
    except OSError:
        return False
    found = socket.socket(fileno=fd)
    try:
        is_stream = (found.family, found.type) == (socket.AF_UNIX, socket.SOCK_STREAM)
        return is_stream and bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    finally:
        found.detach()
