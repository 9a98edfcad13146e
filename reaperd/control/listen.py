"""Make the control socket's file, and take it away: who else may be there, and who may come.

A socket file outlives its daemon, so its being there says nothing: only connecting tells a living daemon
(it is accepted) from a stale file (ECONNREFUSED). Between that look and the bind another daemon could do
the same; so both happen under a lock of the directory, which the kernel lets go of with its holder.

Mode 0600 holds from the first moment: bind(2) gives the file the socket's own mode, less the umask, and
that is set before. Nobody is accepted before listen(2) anyway.
"""

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from reaperd.errors import ReaperdError
from reaperd.kernel.credentials import lookup
from reaperd.kernel.sockets import is_stale

PATH_MAX_BYTES: Final = 107  # sun_path holds 108 with the NUL: unix(7)
_BACKLOG: Final = 128
_LOCK_PATIENCE_S: Final = 2.0


def listen(path: Path, mode: int = 0o600, group: str | None = None) -> socket.socket:
    """Return a socket that listens at `path`, in a directory that is made where it is missing.

    Its file gets this mode and this group, a name or a number, the daemon's own where None.

    The caller owns the socket, and takes its file away with `tidy` after closing it.

    Raises:
        ReaperdError: another daemon answers there, something else is in the way, the path is too long, or
            the file system refuses.
    """
    _check_length(path)
    try:
        _make_directory(path.parent)
        with _lock(path):
            _make_way(path)
            return _bind(path, mode, group)
    except OSError as error:
        raise _cannot(path, error.strerror or str(error), _hint(path, error)) from error


def tidy(path: Path) -> None:
    """Take away the file of a socket that nobody listens to any more; leave all else alone."""
    with suppress(OSError, ReaperdError), _lock(path):
        if is_stale(path):
            path.unlink()


def _cannot(path: Path, why: str, hint: str | None = None) -> ReaperdError:
    return ReaperdError(f"cannot listen on {path}: {why}", hint=hint)


def _check_length(path: Path) -> None:
    length = len(os.fsencode(path))
    if length > PATH_MAX_BYTES:
        why = f"the path has {length} bytes and a socket's may have {PATH_MAX_BYTES}"
        raise _cannot(path, why, "choose a shorter one: daemon.socket")


def _make_directory(directory: Path) -> None:
    """Make the directory; others may enter root's, for there the socket's own mode decides."""
    mode = 0o755 if os.geteuid() == 0 else 0o700
    directory.mkdir(mode=mode, parents=True, exist_ok=True)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the lock of the directory that `path` is in.

    Others hold it for as long as a bind takes; if somebody keeps it, we do not wait for ever.
    """
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _LOCK_PATIENCE_S
        while not _try_lock(fd):
            if time.monotonic() > deadline:
                raise _cannot(path, "something keeps the lock of its directory", "see lslocks")
            time.sleep(0.01)
        yield
    finally:
        os.close(fd)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make_way(path: Path) -> None:
    """Take away a stale socket file of ours; refuse to touch anything else."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise _cannot(path, "something that is no socket is there", "move it away, or choose another path")
    if not is_stale(path):
        raise _cannot(path, "another daemon answers there", f"see it with: reaperd status --socket {path}")
    if found.st_uid != os.geteuid():
        raise _cannot(path, f"user {found.st_uid} left a socket there", "remove it, or choose another path")
    path.unlink()


def _bind(path: Path, mode: int, group: str | None) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listener.fileno(), mode & 0o700)
        listener.bind(os.fspath(path))
        open_to(path, mode, group)  # a umask may have taken bits away; it never adds any
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def open_to(path: Path, mode: int, group: str | None) -> None:
    """Give the socket's file its group, and only then its mode.

    Raises:
        OSError: EPERM, only root may give it to a group that it is not in.
        ReaperdError: no such group.
    """
    if group is not None:
        identity = lookup(None, group)
        assert identity is not None, "a group was named"
        os.chown(path, -1, identity.gid)
    path.chmod(mode)


def listen_tcp(where: tuple[str, int]) -> socket.socket:
    """Return a socket that listens at an address, which is no name, and a port.

    Raises:
        ReaperdError: it cannot be had.
    """
    host, port = where
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # or a new daemon has to wait: tcp(7)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        why = error.strerror or str(error)
        raise ReaperdError(f"cannot listen on {shown}: {why}", hint="see daemon.control.tcp") from error
    return listener


def _hint(path: Path, error: OSError) -> str | None:
    match error.errno:
        case errno.EACCES | errno.EPERM:
            return f"user {os.geteuid()} may not write to {path.parent}; choose another path: daemon.socket"
        case errno.EROFS:
            return "choose a path on a file system that can be written: daemon.socket"
        case _:
            return None
