"""Where a daemon of this user would have its socket and its state, and whether it could."""

import os
import socket
import stat
from pathlib import Path
from typing import Final

from reaperd.config.paths import default_socket, default_state_dir
from reaperd.doctor.findings import Check, Found, no, partly, yes
from reaperd.errors import ReaperdError
from reaperd.kernel.credentials import peer_of

_TIMEOUT_S: Final = 2.0


def checks(path: Path | None) -> tuple[Check, ...]:
    """Return the checks of a control socket (the default one where None) and of the state directory."""
    return (
        Check(
            "socket",
            "is where commands find the daemon",
            "looked at the file, and connected to it",
            "name another one: --socket, REAPERD_SOCKET, daemon.socket",
            lambda: _socket(path or default_socket()),
        ),
        Check(
            "state directory",
            "keeps the daemon's lock and what it remembers",
            "looked at who may write there",
            "name another one: daemon.state_dir",
            lambda: _state(default_state_dir()),
        ),
    )


def _socket(path: Path) -> Found:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return _to_be_made(path.parent, f"{path} is not there: no daemon runs")
    what = f"{path}, mode {stat.S_IMODE(found.st_mode):04o}, of user {found.st_uid}"
    if not stat.S_ISSOCK(found.st_mode):
        return no(f"{what}, is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(_TIMEOUT_S)
        try:
            sock.connect(str(path))
        except ConnectionRefusedError:
            return partly(f"{what}: nobody listens there any more; a new daemon takes it over")
        except OSError as error:
            return no(f"{what}: {error.strerror or error}")
        peer = peer_of(sock)
    return yes(f"{what}; process {peer.pid} of user {peer.uid} listens")


def _state(folder: Path) -> Found:
    try:
        found = folder.stat()
    except FileNotFoundError:
        return _to_be_made(folder, f"{folder} is not there yet")
    if not stat.S_ISDIR(found.st_mode):
        return no(f"{folder} is no directory")
    what = f"{folder}, mode {stat.S_IMODE(found.st_mode):04o}, of user {found.st_uid}"
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ReaperdError(f"cannot write into {what}", hint="run as its owner, or name another")
    return partly(f"{what}: others may write there") if found.st_mode & stat.S_IWOTH else yes(what)


def _to_be_made(folder: Path, why: str) -> Found:
    """Return whether a directory that is not there could be made."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if os.access(there, os.W_OK | os.X_OK):
        return yes(f"{why}; it could be made")
    return no(f"{why}, and this user may not make it in {there}")
