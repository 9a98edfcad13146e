"""The journal and syslog: one datagram to a Unix socket for each line.

To the journal go fields (its native protocol, systemd.journal-fields(7)): MESSAGE, PRIORITY,
SYSLOG_IDENTIFIER and SYSLOG_FACILITY as from anybody, REAPERD_SERVICE and REAPERD_STREAM besides. To syslog
goes what RFC 3164 describes. A line that begins with its priority, such as `<4>`, has that one:
sd-daemon(3); others are informational.

While the socket takes nothing whoever writes waits. While nobody is there lines are held and then dropped,
and the socket is looked for anew.
"""

import errno
import re
import socket
import time
from abc import abstractmethod
from typing import Final

from reaperd.output.lines import cut_mark
from reaperd.output.outlet import Desk, Outlet

JOURNAL: Final = "/run/systemd/journal/socket"
SYSLOG: Final = "/dev/log"

_BUFFER: Final = 1 << 20
_INFO: Final = 6
_DAEMON: Final = 3  # the facility: syslog(3)
_CUT: Final = 2048  # bytes that any syslog takes; of a line for which the socket has no room
_PRIORITY: Final = re.compile(rb"<([0-7])>")


class DatagramOutlet(Outlet):
    """Send each line to a socket."""

    chunk = 1 << 15

    def __init__(self, name: str, desk: Desk, address: str) -> None:
        super().__init__(name, desk, _BUFFER)
        self._address = address
        self._socket: socket.socket | None = None

    @abstractmethod
    def _datagram(self, priority: int, text: bytes) -> bytes:
        """Return what is sent for a line."""

    def _write(self, data: memoryview) -> int:
        sock = self._connected()
        done = 0
        try:
            for line in _lines(data):
                self._send(sock, line)
                done += len(line)
        except BlockingIOError:
            if not done:
                raise
        except OSError:
            self._release()  # who listens there later listens to another socket
            if not done:
                raise
        return done

    def _send(self, sock: socket.socket, line: bytes) -> None:
        text = line.removesuffix(b"\n")
        match = _PRIORITY.match(text)
        priority, text = (int(match[1]), text[match.end() :]) if match else (_INFO, text)
        try:
            sock.send(self._datagram(priority, text))
        except OSError as error:
            if error.errno != errno.EMSGSIZE or len(text) <= _CUT:
                raise
            sock.send(self._datagram(priority, text[:_CUT] + cut_mark(len(text) - _CUT)))

    def _probe(self) -> None:
        self._connected()

    def _connected(self) -> socket.socket:
        if self._socket is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            try:
                sock.connect(self._address)
            except OSError:
                sock.close()
                raise
            self._socket, self.fd = sock, sock.fileno()
        return self._socket

    def _release(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = self.fd = None


class JournalOutlet(DatagramOutlet):
    """Send each line of one output of one service to the journal."""

    def __init__(self, service: str, stream: str, desk: Desk, address: str = JOURNAL) -> None:
        super().__init__(f"journal:{service}:{stream}", desk, address)
        fields = (
            f"SYSLOG_IDENTIFIER={service}",
            f"SYSLOG_FACILITY={_DAEMON}",
            f"REAPERD_SERVICE={service}",
            f"REAPERD_STREAM={stream}",
        )
        self._fields = "".join(f"{field}\n" for field in fields).encode()

    def _datagram(self, priority: int, text: bytes) -> bytes:
        return b"MESSAGE=%b\nPRIORITY=%d\n%b" % (text, priority, self._fields)


class SyslogOutlet(DatagramOutlet):
    """Send each line of one output of one service to syslog."""

    def __init__(self, service: str, stream: str, desk: Desk, address: str = SYSLOG) -> None:
        super().__init__(f"syslog:{service}:{stream}", desk, address)
        self._tag = service.replace(":", "-").encode()  # a colon would end it

    def _datagram(self, priority: int, text: bytes) -> bytes:
        now = time.strftime("%b %e %H:%M:%S").encode()
        return b"<%d>%b %b: %b" % (_DAEMON << 3 | priority, now, self._tag, text.replace(b"\0", b" "))


def _lines(data: memoryview) -> list[bytes]:
    """Return lines with their ends; only a line feed ends one."""
    *lines, rest = data.tobytes().split(b"\n")
    return [*(line + b"\n" for line in lines), *([rest] if rest else [])]
