"""Sockets that others connect to: socket(7), ip(7), unix(7). Every descriptor made here is close-on-exec."""

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final

_STREAM: Final = socket.SOCK_STREAM
_OURS: Final = 0o600  # until it is known whose it is


def listen_tcp(host: str, port: int, backlog: int) -> socket.socket:
    """Return a socket that accepts connections at a numeric address; the caller owns it.

    A port that connections of a former listener still linger at is no obstacle: SO_REUSEADDR, socket(7).

    Raises:
        OSError: EADDRINUSE, EADDRNOTAVAIL, EACCES of a port below 1024, EMFILE.
    """
    made = socket.socket(_family(host), _STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(backlog)
    except BaseException:
        made.close()
        raise
    return made


def bind_udp(host: str, port: int) -> socket.socket:
    """Return a socket that receives datagrams at a numeric address; the caller owns it.

    Raises:
        OSError: as of `listen_tcp`.
    """
    made = socket.socket(_family(host), socket.SOCK_DGRAM)
    try:
        made.bind((host, port))
    except BaseException:
        made.close()
        raise
    return made


def listen_unix(path: str, backlog: int) -> socket.socket:
    """Return a socket that accepts connections at `path`, or at an abstract name after "@".

    The file is of mode 0600 from the first moment. One that somebody left there and nobody listens to is
    taken away first. The caller owns socket and file.

    Raises:
        OSError: EADDRINUSE, something else is there; ENOENT, ENOTDIR or EACCES of the directory; EMFILE.
    """
    made = socket.socket(socket.AF_UNIX, _STREAM)
    try:
        if path.startswith("@"):
            made.bind("\0" + path[1:])
        else:
            _make_way(Path(path))
            os.fchmod(made.fileno(), _OURS)  # bind(2) gives the file the socket's own mode, less the umask
            made.bind(path)
        made.listen(backlog)
    except BaseException:
        made.close()
        raise
    return made


def is_stale(path: Path) -> bool:
    """Return whether `path` is a socket to which nobody listens.

    ECONNREFUSED says so: connect(2). EAGAIN is a living one's full backlog, and EPROTOTYPE or EACCES are
    somebody else's business: all of these are taken for living.

    Raises:
        OSError: ENOENT, there is nothing.
    """
    with socket.socket(socket.AF_UNIX, _STREAM) as probe:
        probe.setblocking(False)
        return stat.S_ISSOCK(path.lstat().st_mode) and probe.connect_ex(os.fspath(path)) == errno.ECONNREFUSED


def _make_way(path: Path) -> None:
    try:
        stale = is_stale(path)
    except FileNotFoundError:
        return
    if stale:
        path.unlink()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
