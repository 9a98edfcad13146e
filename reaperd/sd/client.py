"""Tell the service manager how the daemon is: the client's side of sd_notify(3).

One datagram for each message, never waited for: a manager that is busy is told later, by whoever asks again.
"""

import errno
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

_BUSY: Final = {errno.EAGAIN, errno.ENOBUFS}
_USEC_NS: Final = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """What the service manager asks of whoever it started.

    Attributes:
        address: where it listens: a path, or an abstract name after "@".
        watchdog_ns: how often it wants a sign of life at least; None for never.
    """

    address: str
    watchdog_ns: int | None

    @classmethod
    def of(cls, environment: Mapping[str, str], pid: int) -> Self | None:
        """Return what `environment` asks of the process `pid`; None where nothing does, or of another one."""
        address = environment.get("NOTIFY_SOCKET", "")
        if address[:1] not in {"/", "@"} or len(address) < 2:
            return None
        return cls(address, _watchdog_ns(environment, pid))


def _watchdog_ns(environment: Mapping[str, str], pid: int) -> int | None:
    """Return the interval of sd_watchdog_enabled(3): only for the process that is named, if one is."""
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    usec = environment.get("WATCHDOG_USEC", "")
    if not (usec.isascii() and usec.isdecimal()) or len(usec) > len(str(1 << 64)):
        return None
    return int(usec) * _USEC_NS or None


class Manager:
    """The service manager at the other end of NOTIFY_SOCKET. Owns one socket."""

    __slots__ = ("_address", "_socket")

    def __init__(self, address: str) -> None:
        self._address = os.fsencode(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def close(self) -> None:
        """Close the socket; nothing is told any more."""
        self._socket.close()

    def tell(self, message: str) -> bool:
        """Send one message; return False where the manager is too busy to take it now.

        Raises:
            OSError: it is not there, or may not be reached.
        """
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError as error:
            if error.errno in _BUSY:
                return False
            raise
        return True
