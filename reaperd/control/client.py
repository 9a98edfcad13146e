"""Ask the daemon from another process: one connection, one request, one answer."""

import errno
import json
import socket
import stat
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import h11

from reaperd.errors import Exit, ReaperdError, UnavailableError

TIMEOUT_S: Final = 10.0
_WATCH_S: Final = 0.1
_CHUNK_BYTES: Final = 65536
_HEAD_MAX_BYTES: Final = 16 * 1024
_READING: Final = {"status": "/v1/services", "why": "/v1/why", "tree": "/v1/tree"}
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


class Client:
    """Ask the daemon that listens at `path`.

    `timeout_s` is how long it may take to accept, to take the request and, for what it answers at once, to
    answer. An answer that is to come when all is settled may take as long as that takes.
    """

    def __init__(self, path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s

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
                sock.sendall(_request(verb, names, wait=wait, more=more))
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

    def _connected(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Blocking, with a limit: a full backlog is worth waiting for, but not for ever. A timeout of
            # Python's makes the socket non-blocking, and then connect(2) says EAGAIN at once.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(self._timeout_s))
            sock.connect(str(self._path))
        except OSError as error:
            sock.close()
            raise self._unreachable(error) from error
        sock.settimeout(self._timeout_s)
        return sock

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
            case errno.ECONNREFUSED if not _is_socket(self._path):
                return self._error("that is no socket", "say where it listens: --socket or REAPERD_SOCKET")
            case errno.ECONNREFUSED:
                return self._error(
                    "nobody listens there any more",
                    "it ended without taking its socket away; start it with: reaperd run -c FILE",
                )
            case errno.EACCES | errno.EPERM:
                return self._error("permission denied", "ask as root, or as the user whom it runs as")
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
        return UnavailableError(f"cannot reach the daemon at {self._path}: {why}", hint=hint)


def _request(verb: str, names: Sequence[str], *, wait: bool, more: Mapping[str, object]) -> bytes:
    """Return the whole request, head and body."""
    body = b""
    if verb in _READING:
        query = "&".join(f"name={quote(name, safe='')}" for name in names)
        method, target = "GET", f"{_READING[verb]}?{query}" if query else _READING[verb]
    elif verb == "scale":
        method, target = "POST", f"/v1/services/{quote(names[0], safe='')}/scale"
        body = json.dumps({"wait": wait, **more}).encode()
    else:
        method, target = "POST", f"/v1/{verb}"
        fields = dict(more) if verb == "reload-services" else {"wait": wait, **more}
        if names:
            fields["names"] = list(names)
        body = json.dumps(fields).encode()
    http = h11.Connection(h11.CLIENT)
    headers = [("Host", "reaperd"), ("Content-Length", str(len(body)))]
    if body:
        headers.append(("Content-Type", "application/json"))
    head = http.send(h11.Request(method=method, target=target, headers=headers)) or b""
    return head + (http.send(h11.Data(data=body)) or b"")


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
