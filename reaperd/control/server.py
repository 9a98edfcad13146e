"""The control plane's end of its sockets: who is connected, what they may cost, who waits for an answer.

Idle it has its listeners watched, no deadline and no HTTP library in memory: `connection` is imported at the
first client. What a client does wrong ends in `connection` as an answer or in a closed socket, never as an
exception in the loop.

What one can cost is bounded. `census` says who may come in. A turn takes in `ACCEPTS` clients and serves
requests for `TURN_NS`; those whose turn does not come are readable in the next one. A client has
`PATIENCE_NS` to send its request or take its answer, a follower of a stream `STALLED_NS` to take anything,
and all have much less while there is no room for others. Answers that are not taken fill `HELD_BYTES` at
most. Those who wait for the daemon have no deadline: it is the daemon that settles them.
"""

import errno
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

from reaperd.control.access import Access, Right
from reaperd.control.census import Census
from reaperd.control.words import Answer, Ask, Caller, Daemon, Feed, Remote, refusal
from reaperd.errors import ReaperdError
from reaperd.kernel.credentials import Peer, peer_of
from reaperd.loop.poller import GONE, READ, Phase, Poller

if TYPE_CHECKING:
    from reaperd.control.connection import Connection

ACCEPTS: Final = 16
PATIENCE_NS: Final = 10_000_000_000
STALLED_NS: Final = 30_000_000_000
PRESSED_NS: Final = 500_000_000
PAUSE_NS: Final = 1_000_000_000
TURN_NS: Final = 20_000_000
FLUSH_NS: Final = 2_000_000_000
HELD_BYTES: Final = 32 * 1024 * 1024
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_FULL_BODY: Final = (
    b'{"error": {"code": "full", "message": "cannot take this client: too many are connected", '
    b'"hint": "close some, or try again"}}\n'
)
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Retry-After: 1\r\nContent-Length: %d\r\n\r\n%b" % (len(_FULL_BODY), _FULL_BODY)
)


class Server:
    """Serve the clients of listening sockets; owns those sockets and the clients'.

    Attributes:
        access: who may do what.
        census: who is there, and how many were refused and why.
    """

    name = "control"
    phase = Phase.CONTROL

    def __init__(
        self,
        listener: socket.socket,
        poller: Poller,
        daemon: Daemon,
        clock: Callable[[], int],
        access: Access | None = None,
    ) -> None:
        self.access = access or Access()
        self.census = Census()
        self._listeners: dict[int, socket.socket] = {}
        self._poller = poller
        self._daemon = daemon
        self._clock = clock
        self._clients: dict[int, Connection] = {}
        self._waiting: dict[int, Connection] = {}
        self._tickets = count(1)
        self._paused_until_ns: int | None = None
        self._spent_ns = 0  # of this turn
        self._is_full = False  # the listeners are not watched until somebody leaves
        self.listen_on(listener)

    # --- listeners --------------------------------------------------------------------------------------

    def listen_on(self, listener: socket.socket) -> None:
        """Take clients from one more listening socket, which is ours from now on."""
        listener.setblocking(False)
        self._listeners[listener.fileno()] = listener
        if self._paused_until_ns is None and not self._is_full:
            self._poller.watch(listener.fileno(), self, READ)

    def close_listener(self, listener: socket.socket) -> None:
        """Take no clients from a listening socket any more; those who came by it stay."""
        if self._listeners.pop(listener.fileno(), None) is not None:
            self._poller.drop(listener.fileno())
            listener.close()

    # --- what the loop calls ----------------------------------------------------------------------------

    def ready(self, fd: int, events: int) -> None:
        """Take new clients, or go on with the one whose socket is `fd`."""
        if fd in self._listeners:
            self._accept(self._listeners[fd])
        elif (client := self._clients.get(fd)) is not None:
            self._advance(client, events)

    def failed(self, fd: int) -> None:
        """Give up the client `fd`; a listener is only left alone for a while."""
        if fd in self._listeners:
            self._pause()
        elif (client := self._clients.get(fd)) is not None:
            self._leave(client)

    def next_deadline_ns(self) -> int | None:
        """Return when `expire` has something to do; None while nobody is connected who has to act."""
        deadlines = [self._due_ns(client) for client in self._impatient()]
        if self._paused_until_ns is not None:
            deadlines.append(self._paused_until_ns)
        return min(deadlines, default=None)

    def expire(self, now_ns: int) -> None:
        """Begin a turn: part with clients whose time is over, and listen again after a pause."""
        self._spent_ns = 0
        for client in list(self._impatient()):
            if self._due_ns(client) <= now_ns:
                self._give_up(client)
        if self._paused_until_ns is not None and self._paused_until_ns <= now_ns:
            self._listen()

    # --- what the daemon calls --------------------------------------------------------------------------

    @property
    def has_followers(self) -> bool:
        """Whether anybody follows a stream."""
        return any(client.is_following for client in self._clients.values())

    def feed(self) -> None:
        """Let those who follow a stream have what is new in it."""
        for client in [each for each in self._clients.values() if each.is_following]:
            self._guarded(client, client.pump)

    def answer(self, ticket: int, answer: Answer | Feed) -> None:
        """Send the answer to `ticket`; nothing happens where its client has left."""
        client = self._waiting.pop(ticket, None)
        if client is None:
            return
        if not isinstance(answer, Answer):
            self._guarded(client, partial(client.stream, answer))
            return
        if sum(each.unsent_bytes for each in self._clients.values()) > HELD_BYTES:
            self.census.refused(client.caller, "busy")
            answer = refusal(503, "busy", "cannot answer: too many answers are not taken", "try again")
        self._guarded(client, partial(client.answer, answer))

    def stop_listening(self) -> None:
        """Let nobody in any more, while those who are here may still get their answers."""
        for listener in list(self._listeners.values()):
            self.close_listener(listener)
        self._paused_until_ns = None

    def close(self) -> None:
        """Part with every client, and stop listening; who still waits is told that the daemon ends.

        What was answered is still sent, in a bounded time. Who waits for the daemon's end takes its closed
        connection for that: let this be the last step.
        """
        self.stop_listening()
        ending = refusal(503, "ending", "cannot answer: the daemon is ending")
        for ticket in list(self._waiting):
            self.answer(ticket, ending)
        for client in list(self._clients.values()):
            self._guarded(client, client.end)
        self._flush(time.monotonic_ns() + FLUSH_NS)
        for client in list(self._clients.values()):
            self._leave(client)

    def _flush(self, until_ns: int) -> None:
        """Send what is unsent, to all at once, for as long as anybody takes it, and not after `until_ns`."""
        poll = select.poll()
        unsent = {fd: client for fd, client in self._clients.items() if client.unsent_bytes}
        for fd in unsent:
            poll.register(fd, select.POLLOUT)
        while unsent and (left_ns := until_ns - time.monotonic_ns()) > 0:
            for fd, _events in poll.poll(left_ns / 1e6):
                client = unsent[fd]
                with suppress(OSError):
                    client.flush()
                    if client.unsent_bytes:
                        continue
                poll.unregister(fd)
                del unsent[fd]

    # --- clients come -----------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTS):
            if self.census.is_full:
                self._is_full = True  # others stay in the backlog until one leaves
                self._rest()
                return
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:  # else level-triggered epoll would never let us rest
                    self._pause()
                    return
                continue  # that client left while it was still in the backlog: accept(2)
            self._welcome(sock, address)

    def _welcome(self, sock: socket.socket, address: object) -> None:
        # Imported here: an idle daemon needs no HTTP, docs/adr/0030.
        from reaperd.control.connection import Connection  # noqa: PLC0415

        sock.setblocking(False)
        try:
            caller = _caller(sock, address)
        except (ReaperdError, OSError):
            sock.close()
            return
        is_admin = isinstance(caller, Peer) and self.access.of_peer(caller) is Right.ADMIN
        if not self.census.admits(caller, is_admin=is_admin):
            self.census.refused(caller, "full")
            with suppress(OSError):
                sock.send(_FULL, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            sock.close()
            return
        client = Connection(sock, caller, self._clock)
        self._clients[client.fd] = client
        self.census.came(caller)
        self._poller.watch(client.fd, self, client.events)

    def _pause(self) -> None:
        self._rest()
        self._paused_until_ns = self._clock() + PAUSE_NS

    def _rest(self) -> None:
        for fd in self._listeners:
            self._poller.drop(fd)

    def _listen(self) -> None:
        self._paused_until_ns, self._is_full = None, False
        for fd in self._listeners:
            self._poller.watch(fd, self, READ)

    # --- clients act ------------------------------------------------------------------------------------

    def _advance(self, client: "Connection", events: int) -> None:
        if events & (GONE | select.EPOLLRDHUP) and not client.has_to_act:
            self._leave(client)  # it waits for us: all it can do is leave
            return
        if client.ticket is not None or self._spent_ns > TURN_NS:
            return
        began_ns = self._clock()
        try:
            asked = client.advance(self.access)
        except OSError:  # reset by its peer, or nobody there to read: no news for anybody
            self._leave(client)
            return
        if client.refused is not None:
            self.census.refused(client.caller, client.refused)
            client.refused = None
        if asked is not None:
            self._ask(client, asked)
        self._follow(client)
        self._spent_ns += self._clock() - began_ns

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

    def _guarded(self, client: "Connection", act: Callable[[], None]) -> None:
        try:
            act()
        except OSError:  # it is gone, and will not miss the answer
            self._leave(client)
        else:
            self._follow(client)

    def _follow(self, client: "Connection") -> None:
        """Watch for what `client` needs next, or part with it once all is said."""
        if client.is_over:
            self._leave(client)
        elif self._clients.get(client.fd) is client:
            self._poller.watch(client.fd, self, client.events)

    def _leave(self, client: "Connection") -> None:
        """Part with `client`; the daemon learns of it only where it still owes an answer."""
        if self._clients.get(client.fd) is not client:
            return  # it was closed on the way here
        del self._clients[client.fd]
        self.census.left(client.caller)
        self._poller.drop(client.fd)
        ticket = client.ticket
        client.close()
        if self._paused_until_ns is None and self._is_full:
            self._listen()  # there was no room until now
        if ticket is not None and self._waiting.pop(ticket, None) is not None:
            self._daemon.hung_up(ticket)

    # --- patience ---------------------------------------------------------------------------------------

    def _impatient(self) -> Iterator["Connection"]:
        """Yield the clients that are to act, not the daemon."""
        return (client for client in self._clients.values() if client.has_to_act)

    def _due_ns(self, client: "Connection") -> int:
        patience_ns = STALLED_NS if client.is_following else PATIENCE_NS
        return client.since_ns + (PRESSED_NS if self.census.is_pressed else patience_ns)

    def _give_up(self, client: "Connection") -> None:
        """Part with a client that has taken too long, and say so where it can be heard."""
        if client.is_midway:
            self.census.refused(client.caller, "timeout")
            with suppress(OSError):
                client.answer(refusal(408, "timeout", "cannot wait any longer for this request"), close=True)
        elif client.is_stuck:
            self.census.dropped(client.caller, client.unsent_bytes)
        self._leave(client)


def _caller(sock: socket.socket, address: object) -> Caller:
    if sock.family == socket.AF_UNIX:
        return peer_of(sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a follower may be gone without a word
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    assert isinstance(address, tuple), "of AF_INET and AF_INET6"
    host, port = address[0], address[1]
    return Remote(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
