"""The daemon's lines as entries of the journal, with a field for each key: systemd.journal-fields(7).

MESSAGE is what a person reads. PRIORITY and SYSLOG_IDENTIFIER are as from anybody. REAPERD_EVENT is the
event's name, and each of its keys is REAPERD_ and that key in capitals, so that

    journalctl REAPERD_SERVICE=web REAPERD_EVENT=service.exited

finds what it says. An errno stands in ERRNO besides.
"""

import json
import socket
from collections.abc import Mapping
from typing import Final

SOCKET: Final = "/run/systemd/journal/socket"
MOST: Final = 1 << 14  # characters of a value; a datagram has room for many of that length
IDENTIFIER: Final = "reaperd"


class Journal:
    """The journal's socket: entries go out at once or are lost, and never wait.

    Attributes:
        dropped: how many entries were lost since the last one that got through.
    """

    def __init__(self, address: str = SOCKET) -> None:
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.dropped = 0

    def __del__(self) -> None:
        self._socket.close()  # a log has no end of its own

    def write(self, entry: bytes) -> None:
        """Send one entry, or count it as dropped."""
        try:
            self._socket.sendto(entry, self._address)
        except OSError:
            self.dropped += 1
        else:
            self.dropped = 0


def is_there(address: str) -> bool:
    """Tell whether somebody listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        return probe.connect_ex(address) == 0


def entry(priority: int, event: str, keys: Mapping[str, object]) -> bytes:
    """Return an event as the journal takes it: one field a line, or by length where the value has lines."""
    present = {key: value for key, value in keys.items() if value is not None}
    words = [event, *(f"{key}={_quoted(value)}" for key, value in present.items() if value is not False)]
    fields = {
        "MESSAGE": " ".join(words),
        "PRIORITY": str(priority),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "REAPERD_EVENT": event,
        **{f"REAPERD_{key.upper()}": _text(value) for key, value in present.items()},
    }
    if isinstance(present.get("errno"), int):
        fields["ERRNO"] = str(present["errno"])
    return b"".join(_field(name, value) for name, value in fields.items())


def _field(name: str, value: str) -> bytes:
    data = value[:MOST].encode(errors="backslashreplace")
    if b"\n" not in data:
        return b"%b=%b\n" % (name.encode(), data)
    return b"%b\n%b%b\n" % (name.encode(), len(data).to_bytes(8, "little"), data)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _quoted(value: object) -> str:
    """Return a value as one word, in quotes where it would not be one; without anything a terminal obeys."""
    text = _text(value)
    return text if text and text.isprintable() and " " not in text else repr(text)
