"""Ask the daemon from another process: one connection, one request, one answer."""

import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

import h11

from reaperd.control.place import Place, connected, unreachable
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
        with connected(self._place, self._timeout_s) as sock:
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
        with connected(self._place, self._timeout_s) as sock:
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
        with connected(self._place, self._timeout_s) as sock:
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

    def _silent(self, error: OSError) -> UnavailableError:
        if isinstance(error, TimeoutError):
            return self._error(f"no answer within {self._timeout_s:g} s", "its log says why")
        return self._error("it ended before it answered", "its log says why")

    def _strange(self, error: Exception) -> UnavailableError:
        return self._error(f"what answers there speaks otherwise ({error})", "is that reaperd's socket?")

    def _error(self, why: str, hint: str | None) -> UnavailableError:
        return unreachable(self._place, why, hint)


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
