"""A socket that a service is given open, resolved and frozen as in `spec`."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Transport(Enum):
    """What is spoken at an address."""

    TCP = "tcp"
    UDP = "udp"
    UNIX = "unix"


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that a service is given open."""

    transport: Transport
    host: str  # an address in numbers; of unix: a path, or a name after "@"
    port: int = 0
    name: str = "socket"
    mode: int = 0o660  # of a file, as are user and group
    user: str | None = None
    group: str | None = None
    backlog: int = 4096

    @property
    def address(self) -> str:
        """Where it listens, as one would write it."""
        if self.transport is Transport.UNIX:
            return f"unix://{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport.value}://{host}:{self.port}"

    @property
    def path(self) -> Path | None:
        """The socket's file, if it has one."""
        has_file = self.transport is Transport.UNIX and not self.host.startswith("@")
        return Path(self.host) if has_file else None
