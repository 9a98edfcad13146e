"""What a configuration says of the daemon itself, resolved and frozen as in `spec`."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path


class LogLevel(Enum):
    """Which of the daemon's own lines are written: these and what is worse."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(Enum):
    """What the daemon's own lines look like."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"
    JOURNAL = "journal"


@dataclass(frozen=True, slots=True)
class Log:
    """The daemon's own lines."""

    level: LogLevel = LogLevel.INFO
    format: LogFormat = LogFormat.AUTO


@dataclass(frozen=True, slots=True)
class Grant:
    """Whom a right is given: a user or a group."""

    name: str  # as it is written; a group has an "@" before it
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True)
class Control:
    """Who may ask the daemon for what, and where besides its socket."""

    mode: int | None = None  # None for what the others need
    group: str | None = None
    read: tuple[Grant, ...] = ()
    operate: tuple[Grant, ...] = ()
    admin: tuple[Grant, ...] = ()
    tcp: tuple[str, int] | None = None
    token_file: str | None = None  # wherever `tcp` is

    @property
    def socket_mode(self) -> int:
        """The mode of the socket's file."""
        if self.mode is not None:
            return self.mode
        if self.group is not None:
            return 0o660
        return 0o666 if self.read or self.operate or self.admin else 0o600


class Cgroups(Enum):
    """Whether runs have control groups of their own."""

    AUTO = "auto"  # where the machine lets the daemon make them
    NO = "no"


class Connector(Enum):
    """Whether the kernel tells the daemon of forks, execs and exits."""

    AUTO = "auto"  # where the machine lets it
    NO = "no"


class Track(Enum):
    """Who is in the daemon's model of processes."""

    DESCENDANTS = "descendants"
    ALL = "all"


class ZombieRemedy(Enum):
    """What the daemon does about zombies that stay under a service."""

    REPORT = "report"
    NUDGE = "nudge"  # send SIGCHLD to parents that listen
    INJECT = "inject"  # the same, then let parents collect them by calls that they make for us


@dataclass(frozen=True, slots=True)
class DaemonSpec:
    """The daemon's own settings."""

    socket: Path
    state_dir: Path
    log: Log = field(default_factory=Log)
    control: Control = field(default_factory=Control)
    shutdown_timeout_ns: int | None = None  # None for what the services' own timeouts take
    cgroup: Cgroups = Cgroups.AUTO
    track: Track = Track.DESCENDANTS
    process_connector: Connector = Connector.AUTO
    heal_interval_ns: int | None = None  # None for never
    forward_signals: tuple[tuple[int, tuple[str, ...]], ...] = ()  # to services by their names in the file
    zombies: ZombieRemedy | None = None  # None: only at services that ask for it, and to report
