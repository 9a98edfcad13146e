"""One client: its socket, its place in HTTP, and what is still to be sent to it.

    READING ──request──► WAITING ──answer──► WRITING ──all sent──► READING, or CLOSED
       │                    └──feed──► STREAMING ──end──┘└──not all read──► DRAINING ──end, enough──► CLOSED
       └────garbage, too much───────────────────────────┘

`exchange` does HTTP, this file the socket; neither ever blocks. One call of `advance` takes at most one chunk
from the socket and gives at most one request, so a client costs a bounded part of a turn whatever it sends.
While WAITING nothing is read: what a client sends ahead stays in its socket, and only that it hangs up is
noticed.

DRAINING is for a client that we refused while it was still sending: closing at once would reset the
connection under it, possibly before it has read why.

While STREAMING the next piece is asked for only when the last one is sent, so a slow reader holds one piece
of memory, whatever happens meanwhile.
"""

import select
import socket
from collections.abc import Callable
from enum import Enum
from typing import Final

from reaperd.control.access import Access
from reaperd.control.exchange import Exchange
from reaperd.control.requests import resolve
from reaperd.control.words import Answer, Ask, Caller, Feed, Remote
from reaperd.loop.poller import READ, WRITE

_CHUNK_BYTES: Final = 8 * 1024
_DRAIN_MAX_BYTES: Final = 1024 * 1024
_PIECE_BYTES: Final = 32 * 1024


class Stage(Enum):
    """Where a client is; the picture stands at the top of the file."""

    READING = "reading"
    WAITING = "waiting"
    WRITING = "writing"
    STREAMING = "streaming"
    DRAINING = "draining"
    CLOSED = "closed"


class Connection:
    """A connected client; owns its socket.

    Attributes:
        caller: who it is.
        stage: where it is.
        since_ns: since when it is there; of a stream, since when it last took something.
        refused: the code of the refusal that `advance` has just given by itself, None where it has not.
        ticket: of the request that the daemon is working on; None unless WAITING.
    """

    __slots__ = (
        "_clock",
        "_drained",
        "_feed",
        "_http",
        "_is_idle",
        "_out",
        "_socket",
        "caller",
        "refused",
        "since_ns",
        "stage",
        "ticket",
    )

    def __init__(self, sock: socket.socket, caller: Caller, clock: Callable[[], int]) -> None:
        self.caller = caller
        self.refused: str | None = None
        self.stage = Stage.READING
        self.since_ns = clock()
        self.ticket: int | None = None
        self._clock = clock
        self._socket = sock
        self._http = Exchange(caller)
        self._out = bytearray()
        self._drained = 0
        self._feed: Feed | None = None
        self._is_idle = False  # the feed had nothing more

    @property
    def fd(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to be said: the server is to close it."""
        return self.stage is Stage.CLOSED

    @property
    def unsent_bytes(self) -> int:
        """How much is held for it."""
        return len(self._out)

    @property
    def is_stuck(self) -> bool:
        """Whether it takes nothing: the rest of an answer, or, where it has asked for more, any other one."""
        return bool(self._out) or self._http.has_more

    @property
    def is_midway(self) -> bool:
        """Whether it has begun a request and not ended it."""
        return self.stage is Stage.READING and self._http.is_begun

    @property
    def is_following(self) -> bool:
        """Whether it is sent a stream."""
        return self.stage is Stage.STREAMING

    @property
    def has_to_act(self) -> bool:
        """Whether the next step is its own: to send, or to take what is there for it."""
        if self.stage is Stage.STREAMING:
            return bool(self._out)
        return self.stage is not Stage.WAITING

    @property
    def events(self) -> int:
        """What to watch the socket for; 0 still reports its hanging up."""
        match self.stage:
            case Stage.WRITING:
                return WRITE
            case Stage.STREAMING if self._out or not self._is_idle:
                return WRITE
            case Stage.STREAMING | Stage.WAITING if isinstance(self.caller, Remote):
                return select.EPOLLRDHUP  # an end of TCP shows as nothing else until we send
            case Stage.READING | Stage.DRAINING if not self._http.has_more:
                return READ | (WRITE if self._out else 0)
            case Stage.READING:
                return WRITE  # writable at once: the next turn reads on from what we hold
            case _:
                return 0

    def advance(self, access: Access) -> Ask | None:
        """Do what the socket is ready for, and return what is asked once a request is complete.

        Raises:
            OSError: the client is gone.
        """
        match self.stage:
            case Stage.READING:
                return self._read(access)
            case Stage.WRITING:
                self._write()
            case Stage.STREAMING:
                self.pump()
            case Stage.DRAINING:
                self._drain()
            case Stage.WAITING | Stage.CLOSED:
                pass
        return None

    def wait(self, ticket: int) -> None:
        """Hold still until the answer to `ticket` is there."""
        self.ticket = ticket
        self._enter(Stage.WAITING)

    def answer(self, answer: Answer, *, close: bool = False) -> None:
        """Send `answer`, as far as the socket takes it now; `advance` sends the rest.

        Raises:
            OSError: the client is gone.
        """
        self._out += self._http.answer(answer, close=close)
        self.ticket = None
        self._enter(Stage.WRITING)
        self._write()

    def stream(self, feed: Feed) -> None:
        """Send what `feed` has, and then what comes.

        Raises:
            OSError: the client is gone.
        """
        self._out += self._http.stream()
        self.ticket = None
        self._feed = feed
        self._enter(Stage.STREAMING)
        if self._http.is_head:
            self._end_stream()
        else:
            self.pump()

    def pump(self) -> None:
        """Send one more piece of the stream.

        Raises:
            OSError: the client is gone.
        """
        if self._feed is None:
            return
        if not self._out:
            piece = self._feed.read(_PIECE_BYTES)
            if piece is None:
                self._end_stream()
                return
            self._is_idle = not piece
            if piece:
                self._out += self._http.piece(piece)
        if self._send():
            self.since_ns = self._clock()

    def _end_stream(self) -> None:
        self._feed = None
        self._out += self._http.end()
        self._enter(Stage.WRITING)
        self._write()

    def flush(self) -> None:
        """Send more of what is unsent.

        Raises:
            OSError: the client is gone.
        """
        self._send()

    def end(self) -> None:
        """Send what a stream still has, and its end: nothing more will come.

        Raises:
            OSError: the client is gone.
        """
        while self._feed is not None:
            piece = self._feed.read(_PIECE_BYTES)
            if not piece:
                self._end_stream()
                return
            self._out += self._http.piece(piece)

    def close(self) -> None:
        """Close the socket; what was not sent is lost. To be called once it is no longer watched."""
        self._enter(Stage.CLOSED)
        self._socket.close()

    def _enter(self, stage: Stage) -> None:
        self.stage = stage
        self.since_ns = self._clock()

    # --- reading ----------------------------------------------------------------------------------------

    def _read(self, access: Access) -> Ask | None:
        """Take what the client sent; what is no request, or asks for nothing we have, is answered here."""
        if not self._http.has_more and not self._receive():
            return None
        request = self._http.next_request()
        if request is None:
            self._go_on_reading()
            return None
        asked = request if isinstance(request, Answer) else resolve(request, access)
        if isinstance(asked, Answer):
            self._note(asked)
            self.answer(asked, close=asked is request)  # what was no request leaves nothing to go on with
            return None
        return asked

    def _receive(self) -> bool:
        """Take one chunk, or the end of the stream; return whether there was either."""
        self._send()  # a "100 Continue" that did not fit
        data = _received(self._socket)
        if data is not None:
            self._http.receive(data)
        return data is not None

    def _go_on_reading(self) -> None:
        if self._http.is_over:
            self._enter(Stage.CLOSED)
        else:
            self._out += self._http.invitation()
            self._send()

    def _note(self, answer: Answer) -> None:
        error = answer.body.get("error")
        if isinstance(error, dict):
            self.refused = error["code"]

    # --- writing ----------------------------------------------------------------------------------------

    def _write(self) -> None:
        self._send()
        if not self._out:
            self._sent()

    def _send(self) -> int:
        """Send what the socket takes; return how much that was."""
        if not self._out:
            return 0
        try:
            sent = self._socket.send(self._out, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0
        del self._out[:sent]
        return sent

    def _sent(self) -> None:
        """Go on after a whole answer: to the next request, or to the end."""
        if self._http.begin_next():
            self._enter(Stage.READING)
        elif self._http.is_all_read:
            self._enter(Stage.CLOSED)
        else:
            self._socket.shutdown(socket.SHUT_WR)
            self._enter(Stage.DRAINING)

    def _drain(self) -> None:
        """Forget what a refused client still sends; close at its end, or when it was enough."""
        data = _received(self._socket)
        if data is None:
            return
        self._drained += len(data)
        if not data or self._drained > _DRAIN_MAX_BYTES:
            self._enter(Stage.CLOSED)


def _received(sock: socket.socket) -> bytes | None:
    """Return one chunk, nothing at the end of the stream, None where there is nothing yet."""
    try:
        return sock.recv(_CHUNK_BYTES, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
