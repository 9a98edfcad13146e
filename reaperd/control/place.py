"""Where a daemon can be reached: its socket, or an address and a token. And how to get there, or why not."""

import errno
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from reaperd.errors import ReaperdError, UnavailableError


@dataclass(frozen=True, slots=True)
class Tcp:
    """An address on which a daemon listens besides its socket."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"tcp://[{self.host}]:{self.port}" if ":" in self.host else f"tcp://{self.host}:{self.port}"


Place = Path | Tcp


def tcp_place(text: str) -> Tcp:
    """Return the place that `tcp://HOST:PORT` means.

    Raises:
        ValueError: it is written otherwise.
    """
    parts = urlsplit(text)
    if parts.scheme != "tcp" or not parts.hostname or not parts.port or parts.path or parts.username:
        raise ValueError("write it like tcp://127.0.0.1:9000 or tcp://[::1]:9000")
    return Tcp(parts.hostname, parts.port)


def read_token(path: Path) -> str:
    """Return the token in a file: its only word, or the last one of its first line that is no comment.

    So a line of the daemon's own file, `RIGHT TOKEN`, does as well.

    Raises:
        ReaperdError: there is none.
    """
    try:
        lines = path.read_text("ascii").splitlines()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ReaperdError(f"cannot read the token in {path}: {why}") from error
    for line in lines:
        words = line.split()
        if words and not words[0].startswith("#"):
            return words[-1]
    raise ReaperdError(f"cannot find a token in {path}", hint="put one into it: openssl rand -hex 32")


def connected(place: Place, timeout_s: float) -> socket.socket:
    """Return a socket that is connected to the daemon; each of its calls may take `timeout_s`.

    Raises:
        UnavailableError: nobody listens there.
    """
    if isinstance(place, Tcp):
        return _connected_by_tcp(place, timeout_s)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Blocking, with a limit: a full backlog is worth waiting for, but not for ever. A timeout of
        # Python's makes the socket non-blocking, and then connect(2) says EAGAIN at once.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(timeout_s))
        sock.connect(str(place))
    except OSError as error:
        sock.close()
        raise unreachable(place, *_why(place, error, timeout_s)) from error
    sock.settimeout(timeout_s)
    return sock


def unreachable(place: Place, why: str, hint: str | None) -> UnavailableError:
    """Return the error of a daemon that does not answer."""
    return UnavailableError(f"cannot reach the daemon at {place}: {why}", hint=hint)


def _connected_by_tcp(place: Tcp, timeout_s: float) -> socket.socket:
    try:
        return socket.create_connection((place.host, place.port), timeout_s)
    except TimeoutError as error:
        raise unreachable(place, f"it took no connection within {timeout_s:g} s", None) from error
    except OSError as error:
        hint = "see daemon.control.tcp in its configuration"
        raise unreachable(place, error.strerror or str(error), hint) from error


def _why(path: Path, error: OSError, timeout_s: float) -> tuple[str, str | None]:
    """Return why a socket could not be reached, and what to do about it."""
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            hint = "start it with: reaperd run -c FILE, or say where it listens: --socket, REAPERD_SOCKET"
            return "there is no such socket", hint
        case errno.ECONNREFUSED if not _is_socket(path):
            return "that is no socket", "say where it listens: --socket or REAPERD_SOCKET"
        case errno.ECONNREFUSED:
            hint = "it ended without taking its socket away; start it with: reaperd run -c FILE"
            return "nobody listens there any more", hint
        case errno.EACCES | errno.EPERM:
            hint = "ask as root, as the user whom it runs as, or as one of daemon.control"
            return "permission denied", hint
        case errno.EAGAIN:
            return f"it took no connection within {timeout_s:g} s", "its log says why"
        case _:
            return error.strerror or str(error), None


def _timeval(seconds: float) -> bytes:
    """Return a struct timeval for SO_SNDTIMEO: socket(7)."""
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return True
