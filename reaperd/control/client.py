"""Ask the daemon from another process: one connection, one request, one answer."""

import errno
import json
import socket
import stat
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import h11

from reaperd.errors import Exit, ReaperdError, UnavailableError

TIMEOUT_S: Final = 10.0
_WATCH_S: Final = 0.1
_CHUNK_BYTES: Final = 65536
_HEAD_MAX_BYTES: Final = 16 * 1024
_AT_ONCE: Final = frozenset({"reload-services", "signal"})
_READING: Final = {
    "status": "/v1/services",
    "why": "/v1/why",
    "events": "/v1/events",
    "tree": "/v1/tree",
    "metrics": "/metrics",
}
_EXITS: Final[Mapping[str, Exit]] = {"unknown-service": Exit.UNKNOWN, "configuration": Exit.CONFIG}

Reply = dict[str, Any]  # Any: whatever JSON the daemon sent
Watch = Callable[[], None]


class RefusedError(ReaperdError):
    """The daemon answered, and the answer is no.

    Attributes:
        status: the HTTP status.
        code: the reason, for programs.
    """

    def __init__(self, status: int, code: str, message: str, hint: str | None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.exit_status = _EXITS.get(code, Exit.FAILED)


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


class Client:
    """Ask the daemon that listens at `place`, over TCP with a token.

    `timeout_s` is how long it may take to accept, to take the request and, for what it answers at once, to
    answer. An answer that is to come when all is settled may take as long as that takes.
    """

    def __init__(self, place: Place, timeout_s: float = TIMEOUT_S, token: str | None = None) -> None:
        self._place = place
        self._timeout_s = timeout_s
        self._token = token

    def ask(
        self,
        verb: str,
        names: Sequence[str] = (),
        *,
        wait: bool = False,
        watch: Watch | None = None,
        **more: object,
    ) -> Reply:
        """Send one request and return the JSON object that answers it.

        What a verb takes besides goes into `more`, as the route calls it. A `shutdown` that waits returns
        when the daemon has closed the connection: it is gone then. `watch` is called some times a second
        while an answer is waited for.

        Raises:
            UnavailableError: nobody listens there, or what does so does not answer as the daemon would.
            RefusedError: the daemon says no.
        """
        with self._connected() as sock:
            try:
                sock.sendall(self._request(verb, names, wait=wait, more=more))
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused while we were sending: the reason is there to be read
            except OSError as error:
                raise self._silent(error) from error
            receive = _receiver(sock, watch) if wait else sock.recv
            try:
                status, body = self._answer(receive)
                if verb == "shutdown" and wait and status < 300:
                    while receive(_CHUNK_BYTES):
                        pass
            except OSError as error:
                raise self._silent(error) from error
        return self._understood(status, body)

    def lines(self, verb: str, names: Sequence[str] = (), *, follow: bool, **more: object) -> Iterator[bytes]:
        """Give the lines of a stream as they come.

        Raises:
            UnavailableError: nobody listens there, or what does so does not answer as the daemon would.
            RefusedError: the daemon says no.
        """
        with self._connected() as sock:
            try:
                sock.sendall(self._request(verb, names, wait=False, more={**more, "follow": follow}))
                sock.settimeout(None if follow else self._timeout_s)
                yield from self._lines(sock)
            except OSError as error:
                raise self._silent(error) from error

    def text(self, verb: str, **headers: str) -> str:
        """Return an answer that is a text.

        Raises:
            UnavailableError: nobody listens there, or what does so does not answer as the daemon would.
            RefusedError: the daemon says no.
        """
        with self._connected() as sock:
            try:
                sock.sendall(self._request(verb, (), wait=False, more={}, headers=headers))
                status, body = self._answer(sock.recv)
            except OSError as error:
                raise self._silent(error) from error
        if status >= 300:
            self._understood(status, body)
        return body.decode(errors="replace")

    def _lines(self, sock: socket.socket) -> Iterator[bytes]:
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_MAX_BYTES)
        http.send(h11.Request(method="GET", target="/", headers=[("Host", "reaperd")]))
        http.send(h11.EndOfMessage())
        status, rest = 0, b""
        try:
            while True:
                match http.next_event():
                    case h11.NEED_DATA:
                        http.receive_data(sock.recv(_CHUNK_BYTES))
                    case h11.Response(status_code=status):
                        pass
                    case h11.Data(data=data):
                        *lines, rest = (rest + data).split(b"\n")
                        if status < 300:
                            yield from lines
                        else:
                            rest = b"\n".join([*lines, rest])
                    case _:
                        break
        except h11.RemoteProtocolError as error:
            raise self._error("it ended within its answer", "its log says why") from error
        if status >= 300:
            self._understood(status, rest)

    def _connected(self) -> socket.socket:
        if isinstance(self._place, Tcp):
            return self._connected_by_tcp(self._place)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Blocking, with a limit: a full backlog is worth waiting for, but not for ever. A timeout of
            # Python's makes the socket non-blocking, and then connect(2) says EAGAIN at once.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(self._timeout_s))
            sock.connect(str(self._place))
        except OSError as error:
            sock.close()
            raise self._unreachable(error) from error
        sock.settimeout(self._timeout_s)
        return sock

    def _connected_by_tcp(self, place: Tcp) -> socket.socket:
        try:
            return socket.create_connection((place.host, place.port), self._timeout_s)
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise self._error(f"it took no connection within {self._timeout_s:g} s", None) from error
            hint = "see daemon.control.tcp in its configuration"
            raise self._error(error.strerror or str(error), hint) from error

    def _answer(self, receive: Callable[[int], bytes]) -> tuple[int, bytes]:
        """Return the status and the body of the one response."""
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_MAX_BYTES)
        http.send(h11.Request(method="GET", target="/", headers=[("Host", "reaperd")]))
        http.send(h11.EndOfMessage())
        status, body, is_over = 0, bytearray(), False
        try:
            while True:
                match http.next_event():
                    case h11.NEED_DATA:
                        data = receive(_CHUNK_BYTES)
                        is_over = not data
                        http.receive_data(data)
                    case h11.Response(status_code=status):
                        pass
                    case h11.Data(data=data):
                        body += data
                    case h11.EndOfMessage():
                        return status, bytes(body)
                    case h11.ConnectionClosed():
                        break
        except h11.RemoteProtocolError as error:
            if not is_over:
                raise self._strange(error) from error
        raise self._error("it ended before it answered", "its log says why")

    def _request(
        self,
        verb: str,
        names: Sequence[str],
        *,
        wait: bool,
        more: Mapping[str, object],
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Return the whole request, head and body."""
        body = b""
        if verb in _READING:
            key = "service" if verb == "events" else "name"
            query = urlencode([*((key, name) for name in names), *_words(more)])
            method, target = "GET", f"{_READING[verb]}?{query}" if query else _READING[verb]
        elif verb == "scale":
            method, target = "POST", f"/v1/services/{quote(names[0], safe='')}/scale"
            body = json.dumps({"wait": wait, **more}).encode()
        else:
            method, target = "POST", f"/v1/{verb}"
            fields = dict(more) if verb in _AT_ONCE else {"wait": wait, **more}
            if names:
                fields["names"] = list(names)
            body = json.dumps(fields).encode()
        heads = [("Host", "localhost"), ("Content-Length", str(len(body))), *(headers or {}).items()]
        if self._token is not None:
            heads.append(("Authorization", f"Bearer {self._token}"))
        if body:
            heads.append(("Content-Type", "application/json"))
        http = h11.Connection(h11.CLIENT)
        head = http.send(h11.Request(method=method, target=target, headers=heads)) or b""
        return head + (http.send(h11.Data(data=body)) or b"")

    # --- what went wrong --------------------------------------------------------------------------------

    def _understood(self, status: int, body: bytes) -> Reply:
        """Return the answer as it is, or raise the refusal that it is."""
        try:
            reply = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise self._strange(error) from error
        if not isinstance(reply, dict):
            raise self._strange(TypeError("no JSON object"))
        if status < 300:
            return reply
        refusal = reply.get("error")
        if not isinstance(refusal, dict):
            raise self._strange(TypeError(f"status {status} without a reason"))
        hint = refusal.get("hint")
        code, message = str(refusal.get("code")), str(refusal.get("message"))
        raise RefusedError(status, code, message, None if hint is None else str(hint))

    def _unreachable(self, error: OSError) -> UnavailableError:
        match error.errno:
            case errno.ENOENT | errno.ENOTDIR:
                return self._error(
                    "there is no such socket",
                    "start it with: reaperd run -c FILE, or say where it listens: --socket, REAPERD_SOCKET",
                )
            case errno.ECONNREFUSED if isinstance(self._place, Path) and not _is_socket(self._place):
                return self._error("that is no socket", "say where it listens: --socket or REAPERD_SOCKET")
            case errno.ECONNREFUSED:
                return self._error(
                    "nobody listens there any more",
                    "it ended without taking its socket away; start it with: reaperd run -c FILE",
                )
            case errno.EACCES | errno.EPERM:
                hint = "ask as root, as the user whom it runs as, or as one of daemon.control"
                return self._error("permission denied", hint)
            case errno.EAGAIN:
                return self._error(f"it took no connection within {self._timeout_s:g} s", "its log says why")
            case _:
                return self._error(error.strerror or str(error), None)

    def _silent(self, error: OSError) -> UnavailableError:
        if isinstance(error, TimeoutError):
            return self._error(f"no answer within {self._timeout_s:g} s", "its log says why")
        return self._error("it ended before it answered", "its log says why")

    def _strange(self, error: Exception) -> UnavailableError:
        return self._error(f"what answers there speaks otherwise ({error})", "is that reaperd's socket?")

    def _error(self, why: str, hint: str | None) -> UnavailableError:
        return UnavailableError(f"cannot reach the daemon at {self._place}: {why}", hint=hint)


def _words(more: Mapping[str, object]) -> list[tuple[str, str]]:
    return [(key, str(value)) for key, value in more.items() if value is not None]


def _receiver(sock: socket.socket, watch: Watch | None) -> Callable[[int], bytes]:
    """Return how to receive for as long as it takes, with a call of `watch` now and then."""
    sock.settimeout(None if watch is None else _WATCH_S)

    def receive(most: int) -> bytes:
        while True:
            try:
                return sock.recv(most)
            except TimeoutError:
                assert watch is not None, "without it there is no timeout"
                watch()

    return receive


def _timeval(seconds: float) -> bytes:
    """Return a struct timeval for SO_SNDTIMEO: socket(7)."""
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return True
