"""One client's place in HTTP, by h11: bytes in, requests out; answers in, bytes out. It knows no socket.

A request is bounded in its head and its body, and a client that sends ahead has its next one left over here
until the answer to the one before is sent.
"""

import json
from http import HTTPStatus
from typing import Final

import h11

from reaperd.control.requests import Request
from reaperd.control.words import Answer, Caller, refusal

HEAD_MAX_BYTES: Final = 8 * 1024
BODY_MAX_BYTES: Final = 64 * 1024
_HEADERS: Final = frozenset({b"authorization", b"host", b"origin", b"accept"})  # those that routes look at
_STREAM_HEADERS: Final = [("Content-Type", "application/x-ndjson"), ("Cache-Control", "no-store")]


class Exchange:
    """Requests and answers of one connection.

    Attributes:
        has_more: it holds more than the last request: `next_request` goes on without new bytes.
        is_begun: a request has begun and not ended.
        is_over: the client has ended its side.
    """

    __slots__ = ("_body", "_caller", "_head", "_http", "has_more", "is_begun", "is_over")

    def __init__(self, caller: Caller) -> None:
        self.has_more = False
        self.is_begun = False
        self.is_over = False
        self._caller = caller
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX_BYTES)
        self._head: h11.Request | None = None
        self._body = bytearray()

    # --- what comes -------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take what the client sent; nothing stands for the end of it."""
        self._http.receive_data(data)
        self.is_begun = self.is_begun or bool(data)

    def next_request(self) -> Request | Answer | None:
        """Return a request once it is complete, or the refusal of what is none and ends the exchange."""
        self.has_more = False
        try:
            return self._next_request()
        except h11.RemoteProtocolError as error:
            why = str(error).partition(": bytearray(")[0]  # not what it sent: that may be long, and binary
            return refusal(error.error_status_hint, "bad-request", f"cannot read this as HTTP: {why}")

    def _next_request(self) -> Request | Answer | None:
        while True:
            match self._http.next_event():
                case h11.Request() as head:
                    self._head = head
                    self._body.clear()
                    if _declared_bytes(head) > BODY_MAX_BYTES:
                        return _too_large()
                case h11.Data(data=data):
                    self._body += data
                    if len(self._body) > BODY_MAX_BYTES:
                        return _too_large()
                case h11.EndOfMessage():
                    return self._complete()
                case h11.ConnectionClosed():
                    self.is_over = True
                    return None
                case _:  # NEED_DATA: the rest is yet to come
                    return None

    def _complete(self) -> Request:
        assert self._head is not None, "a message ended that never began"
        method, target = self._head.method.decode("latin-1"), self._head.target.decode("latin-1")
        body = bytes(self._body)
        self._body.clear()
        self.is_begun = False
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in self._head.headers
            if name in _HEADERS
        }
        return Request(method, target, body, self._caller, headers)

    # --- what goes --------------------------------------------------------------------------------------

    @property
    def is_head(self) -> bool:
        """Whether the request wants no body for an answer."""
        return self._head is not None and self._head.method == b"HEAD"

    def invitation(self) -> bytes:
        """Return "100 Continue" for a client that waits for it before its body: RFC 9110, 10.1.1."""
        if not self._http.they_are_waiting_for_100_continue:
            return b""
        return self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b""

    def answer(self, answer: Answer, *, close: bool) -> bytes:
        """Return a whole answer."""
        if answer.text is not None:
            body, media = answer.text.encode(), []
        else:
            body = json.dumps(answer.body, default=_plain).encode() + b"\n"
            media = [("Content-Type", "application/json")]
        headers = [
            *media,
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            *answer.headers,
            *([("Connection", "close")] if close else []),
        ]
        reason = HTTPStatus(answer.status).phrase
        head = self._http.send(h11.Response(status_code=answer.status, headers=headers, reason=reason)) or b""
        return head + (b"" if self.is_head else self.piece(body)) + self.end()

    def stream(self) -> bytes:
        """Return the head of a stream; pieces follow, and an end."""
        return self._http.send(h11.Response(status_code=200, headers=_STREAM_HEADERS, reason="OK")) or b""

    def piece(self, data: bytes) -> bytes:
        """Return some of a body as it is sent."""
        return self._http.send(h11.Data(data=data)) or b""

    def end(self) -> bytes:
        """Return what ends a body."""
        return self._http.send(h11.EndOfMessage()) or b""

    def begin_next(self) -> bool:
        """Go on to the next request after a whole answer; False where there is none to come."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        data, ended = self._http.trailing_data
        self.has_more = bool(data) or ended
        return True

    @property
    def is_all_read(self) -> bool:
        """Whether the client sends nothing more that belongs to this request."""
        return self._http.their_state in {h11.MUST_CLOSE, h11.CLOSED, h11.DONE}


def _too_large() -> Answer:
    return refusal(413, "bad-request", f"cannot take a body of more than {BODY_MAX_BYTES} bytes")


def _declared_bytes(head: h11.Request) -> int:
    """Return the length that a request announces for its body; h11 has checked that it is a number."""
    return next((int(value) for name, value in head.headers if name == b"content-length"), 0)


def _plain(value: object) -> object:
    """Return what JSON can carry for a value that it does not know: paths and the like become text."""
    return str(value)
