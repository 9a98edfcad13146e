"""The control plane's end of the socket: who is connected, how long we are patient, what waits for an answer.

Idle it has one watched descriptor, no deadline and no HTTP library in memory: `connection` is imported at the
first client. What a client does wrong ends in `connection` as an answer or in a closed socket, never as an
exception in the loop.

Limits: `MAX_CLIENTS` at once, `ACCEPTS` and one request per client in a turn, `PATIENCE_NS` for a client to
send its request or take its answer, and much less while no more clients can be taken, so that slow ones make
room. Those who wait for the daemon have no deadline: it is the daemon that settles them.
"""

import errno
import socket
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Final

from reaperd.control.words import Answer, Ask, Daemon, refusal
from reaperd.errors import ReaperdError
from reaperd.kernel.credentials import peer_of
from reaperd.loop.poller import GONE, READ, Phase, Poller

if TYPE_CHECKING:
    from reaperd.control.connection import Connection

MAX_CLIENTS: Final = 128
ACCEPTS: Final = 16
PATIENCE_NS: Final = 10_000_000_000
PRESSED_NS: Final = 500_000_000
PAUSE_NS: Final = 1_000_000_000
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Server:
    """Serve the clients of one listening Unix socket; owns that socket and theirs."""

    name = "control"
    phase = Phase.CONTROL

    def __init__(
        self, listener: socket.socket, poller: Poller, daemon: Daemon, clock: Callable[[], int]
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._poller = poller
        self._daemon = daemon
        self._clock = clock
        self._clients: dict[int, Connection] = {}
        self._waiting: dict[int, Connection] = {}
        self._tickets = count(1)
        self._paused_until_ns: int | None = None
        poller.watch(listener.fileno(), self, READ)

    # --- what the loop calls ----------------------------------------------------------------------------

    def ready(self, fd: int, events: int) -> None:
        """Take new clients, or go on with the one whose socket is `fd`."""
        if fd == self._listener.fileno():
            self._accept()
        elif (client := self._clients.get(fd)) is not None:
            self._advance(client, events)

    def failed(self, fd: int) -> None:
        """Give up the client `fd`; the listener is only left alone for a while."""
        if fd == self._listener.fileno():
            self._pause()
        elif (client := self._clients.get(fd)) is not None:
            self._leave(client)

    def next_deadline_ns(self) -> int | None:
        """Return when `expire` has something to do; None while nobody is connected who has to act."""
        deadlines = [client.since_ns + self._patience_ns for client in self._impatient()]
        if self._paused_until_ns is not None:
            deadlines.append(self._paused_until_ns)
        return min(deadlines, default=None)

    def expire(self, now_ns: int) -> None:
        """Part with clients whose time is over, and listen again after a pause."""
        patience_ns = self._patience_ns
        for client in list(self._impatient()):
            if client.since_ns + patience_ns <= now_ns:
                self._leave(client)
        if self._paused_until_ns is not None and self._paused_until_ns <= now_ns:
            self._listen()

    # --- what the daemon calls --------------------------------------------------------------------------

    def answer(self, ticket: int, answer: Answer) -> None:
        """Send the answer to `ticket`; nothing happens where its client has left."""
        client = self._waiting.pop(ticket, None)
        if client is None:
            return
        try:
            client.answer(answer)
        except OSError:  # it is gone, and will not miss the answer
            self._leave(client)
        else:
            self._follow(client)

    def stop_listening(self) -> None:
        """Let nobody in any more, while those who are here may still get their answers."""
        if self._listener.fileno() >= 0:
            self._poller.drop(self._listener.fileno())
            self._listener.close()
            self._paused_until_ns = None

    def close(self) -> None:
        """Part with every client, and stop listening; who still waits is told that the daemon ends.

        Who waits for the daemon's end takes its closed connection for that: let this be the last step.
        """
        self.stop_listening()
        ending = refusal(503, "ending", "cannot answer: the daemon is ending")
        for ticket in list(self._waiting):
            self.answer(ticket, ending)
        for client in list(self._clients.values()):
            self._leave(client)

    # --- clients come -----------------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(ACCEPTS):
            if len(self._clients) >= MAX_CLIENTS:
                self._poller.drop(self._listener.fileno())  # others stay in the backlog until one leaves
                return
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:  # else level-triggered epoll would never let us rest
                    self._pause()
                    return
                continue  # that client left while it was still in the backlog: accept(2)
            self._welcome(sock)

    def _welcome(self, sock: socket.socket) -> None:
        # Imported here: an idle daemon needs no HTTP, docs/adr/0030.
        from reaperd.control.connection import Connection  # noqa: PLC0415

        sock.setblocking(False)
        try:
            peer = peer_of(sock)
        except ReaperdError:
            sock.close()
            return
        client = Connection(sock, peer, self._clock)
        self._clients[client.fd] = client
        self._poller.watch(client.fd, self, client.events)

    def _pause(self) -> None:
        self._poller.drop(self._listener.fileno())
        self._paused_until_ns = self._clock() + PAUSE_NS

    def _listen(self) -> None:
        self._paused_until_ns = None
        if self._listener.fileno() >= 0:
            self._poller.watch(self._listener.fileno(), self, READ)

    # --- clients act ------------------------------------------------------------------------------------

    def _advance(self, client: "Connection", events: int) -> None:
        if client.ticket is not None:  # it waits for the daemon: all it can do is leave
            if events & GONE:
                self._leave(client)
            return
        try:
            asked = client.advance()
        except OSError:  # reset by its peer, or nobody there to read: no news for anybody
            self._leave(client)
            return
        if asked is not None:
            self._ask(client, asked)
        self._follow(client)

    def _ask(self, client: "Connection", asked: Ask) -> None:
        ticket = next(self._tickets)
        client.wait(ticket)
        self._waiting[ticket] = client
        try:
            answer = self._daemon.ask(ticket, asked)
        except ReaperdError as error:
            answer = refusal(500, "failed", error.message, error.hint)
        except Exception as error:
            kind = type(error).__name__
            self.answer(ticket, refusal(500, "internal", f"cannot answer: {kind} in the daemon; see its log"))
            raise  # a bug of ours and no client's doing: the loop logs it
        if answer is not None:
            self.answer(ticket, answer)

    def _follow(self, client: "Connection") -> None:
        """Watch for what `client` needs next, or part with it once all is said."""
        if client.is_over:
            self._leave(client)
        else:
            self._poller.watch(client.fd, self, client.events)

    def _leave(self, client: "Connection") -> None:
        """Part with `client`; the daemon learns of it only where it still owes an answer."""
        if self._clients.get(client.fd) is not client:
            return  # it was closed on the way here
        del self._clients[client.fd]
        self._poller.drop(client.fd)
        ticket = client.ticket
        client.close()
        if self._paused_until_ns is None:
            self._listen()  # there may have been no room until now
        if ticket is not None and self._waiting.pop(ticket, None) is not None:
            self._daemon.hung_up(ticket)

    # --- patience ---------------------------------------------------------------------------------------

    def _impatient(self) -> Iterator["Connection"]:
        """Yield the clients that are to act, not the daemon."""
        return (client for client in self._clients.values() if client.ticket is None)

    @property
    def _patience_ns(self) -> int:
        return PRESSED_NS if len(self._clients) >= MAX_CLIENTS else PATIENCE_NS
