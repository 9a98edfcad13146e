"""The process connector: the kernel tells of every fork, exec and exit of the machine as it happens.

A netlink socket in a multicast group; each message is one fixed record: struct nlmsghdr, struct cn_msg and
struct proc_event of linux/cn_proc.h. It works in the machine's first PID and user namespaces only, and says
so by silence: elsewhere a request is not acknowledged, though messages about strangers may arrive. So the
acknowledgement is required. The kernel answers within the request itself: there is nothing to wait for.

What it never tells: setpgid(2), the reparenting of orphans, and the reap of a zombie. Messages that find no
room are dropped; the socket then reports ENOBUFS once, before those that are queued already.

Source: drivers/connector/cn_proc.c, netlink(7).
"""

import os
import socket
import struct
from contextlib import suppress
from errno import ENOBUFS, EPERM
from typing import Final, NamedTuple

from reaperd.errors import KernelError
from reaperd.kernel.failure import failure
from reaperd.kernel.recvmmsg import Rooms

# enum proc_cn_event
_ACK: Final = 0
FORK: Final = 0x1
EXEC: Final = 0x2
SID: Final = 0x80
COMM: Final = 0x200
EXIT: Final = 0x8000_0000
ALL: Final = FORK | EXEC | SID | COMM | EXIT

EVENT_BYTES: Final = 76
MOST: Final = 1024  # messages a read: one turn's work is bounded

_NETLINK_CONNECTOR: Final = 11  # linux/netlink.h; unknown to the socket module
_CN_IDX_PROC: Final = 1
_CN_VAL_PROC: Final = 1
_NLMSG_DONE: Final = 3
_LISTEN: Final = 1
_IGNORE: Final = 2
_SO_RCVBUFFORCE: Final = 33  # asm-generic/socket.h
_BUFFER_BYTES: Final = 8 * 1024 * 1024  # 20,000 messages that wait: they take 832 bytes each
_EVENT: Final = struct.Struct("=36xIIQ6I")
_HEADER: Final = struct.Struct("=IHHIIIIIIHH")  # nlmsghdr, then cn_msg, whose ack is word 8
_ERR: Final = struct.Struct("=I")
_COMM: Final = struct.Struct("=4I")
_NAMESPACES: Final = (("pid", "pid:[4026531836]"), ("user", "user:[4026531837]"))  # linux/proc_ns.h

Event = tuple[int, int, int, int, int, int, int, int, int]
"""One message: what, cpu, when (CLOCK_MONOTONIC in ns), then six numbers.

FORK   parent's thread, parent, child's thread, child    (only a thread where the child's two differ)
EXEC   thread, process
SID    thread, process
COMM   thread, process, then 16 bytes of name: `name_of`
EXIT   thread, process, wait status, signal, parent's thread, parent    (one for each thread that ends)
"""


class Heard(NamedTuple):
    """What one read brought."""

    events: list[Event]  # in the order in which the kernel sent them, `MOST` at most
    is_lossy: bool  # messages were dropped since the last read
    has_more: bool  # as many came as a read takes: there may be more


class Connector:
    """A subscription to the machine's process events; close it."""

    __slots__ = ("_rooms", "_socket", "buffer_bytes")

    def __init__(
        self, what: int = FORK | EXEC | SID | COMM | EXIT, buffer_bytes: int = _BUFFER_BYTES
    ) -> None:
        """Subscribe to the events in the mask `what`, which the kernel filters by since Linux 6.6.

        Args:
            what: the events wanted, ored; on an older kernel all come, and `read` lets the others pass.
            buffer_bytes: room for messages that wait; without CAP_NET_ADMIN at most net.core.rmem_max.

        Raises:
            KernelError: EPERM, not here: another PID or user namespace, an old kernel and no root, or no
                acknowledgement; ECONNREFUSED, another network namespace; EPROTONOSUPPORT, not in this kernel.
        """
        _require_initial_namespaces()
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, _NETLINK_CONNECTOR
            )
        except OSError as error:
            raise _no("socket", error) from error
        self._rooms = Rooms(MOST, EVENT_BYTES)
        try:
            self.buffer_bytes = self._make_room(buffer_bytes)
            self._socket.bind((0, _CN_IDX_PROC))
            self._listen(what)
        except OSError as error:
            self._socket.close()
            raise _no("bind", error) from error
        except KernelError:
            self._socket.close()
            raise

    @property
    def fd(self) -> int:
        """Polls readable while messages wait, or some were dropped."""
        return self._socket.fileno()

    def read(self) -> Heard:
        """Return the messages that wait, up to `MOST` of them; what remains leaves `fd` readable.

        Raises:
            KernelError: the socket is broken.
        """
        fd, rooms = self._socket.fileno(), self._rooms
        filled, is_lossy = 0, False
        while filled < MOST:
            try:
                filled += rooms.receive(fd, filled)
            except BlockingIOError:
                break
            except InterruptedError:
                continue
            except OSError as error:
                if error.errno != ENOBUFS:
                    raise failure("recvmmsg", error, what="read process events") from error
                is_lossy = True
        return Heard(decode(rooms.of_the_kernel(filled)), is_lossy, filled == MOST)

    def close(self) -> None:
        """End the subscription; said too, or kernels before 6.6 would go on making messages for nobody."""
        with suppress(OSError):
            self._socket.send(request(0, _IGNORE))
        self._socket.close()

    def _make_room(self, buffer_bytes: int) -> int:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer_bytes)
        except PermissionError:  # without CAP_NET_ADMIN, as far as net.core.rmem_max goes
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    def _listen(self, what: int) -> None:
        # First for all events: a mask keeps the acknowledgement from its own sender. Then with the mask,
        # which kernels before 6.6 drop unseen.
        token = int.from_bytes(os.urandom(4), "little") >> 1
        self._socket.send(request(token, _LISTEN))
        refused = self._acknowledgement(token)
        if refused is None:
            raise KernelError("send", EPERM, what="follow process events: no acknowledgement", hint=_HINT)
        if refused:
            raise KernelError("send", refused, what="follow process events", hint=_HINT)
        self._socket.send(request(token, _LISTEN, what))

    def _acknowledgement(self, token: int) -> int | None:
        """Return the errno of the answer to our own request, 0 for yes; None where none has come.

        Messages before it are dropped: whoever listens looks at everything afterwards.
        """
        slot = bytearray(EVENT_BYTES)
        while True:
            try:
                size, address = self._socket.recvfrom_into(slot)
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno == ENOBUFS:
                    continue
                raise
            is_ours = address[0] == 0 and size == EVENT_BYTES and _HEADER.unpack_from(slot)[8] == token + 1
            if is_ours and _EVENT.unpack(slot)[0] == _ACK:
                return int(_ERR.unpack_from(slot, 52)[0])


def decode(data: memoryview | bytes) -> list[Event]:
    """Return the messages in `data`, which holds one record after the other, without the acknowledgements."""
    return [event for event in _EVENT.iter_unpack(data) if event[0]]


def name_of(event: Event) -> str:
    """Return the name that a COMM message carries; undecodable bytes as surrogates."""
    return os.fsdecode(_COMM.pack(*event[5:9]).split(b"\0", 1)[0])


def request(token: int, *words: int) -> bytes:
    """Return a request of these words; the answer says `token` + 1."""
    body = b"".join(map(_ERR.pack, words))
    size = _HEADER.size + len(body)
    header = (size, _NLMSG_DONE, 0, 0, os.getpid(), _CN_IDX_PROC, _CN_VAL_PROC, 0, token, len(body), 0)
    return _HEADER.pack(*header) + body


def why_not() -> str | None:
    """Return why the connector cannot work where this process is, None where it may: the cheap look."""
    for kind, initial in _NAMESPACES:
        try:
            name = os.readlink(f"/proc/self/ns/{kind}")  # noqa: PTH115 - text, not a path
        except OSError:
            return "/proc/self/ns cannot be read"
        if name != initial:
            return f"this is not the machine's first {kind} namespace"
    return None


_HINT: Final = "it takes the machine's first PID, user and network namespaces, and before Linux 6.6 root"


def _require_initial_namespaces() -> None:
    if (reason := why_not()) is not None:
        raise KernelError("bind", EPERM, what=f"follow process events: {reason}", hint=_HINT)


def _no(call: str, error: OSError) -> KernelError:
    return KernelError(call, error.errno or EPERM, what="follow process events", hint=_HINT)
