"""What a configuration says, resolved and frozen: no text is left to interpret here.

Durations are integers of nanoseconds, signals are numbers, variables are expanded, defaults are filled in.
Two specs are equal exactly when nothing about the service would have to change: a reload compares them.
"""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from reaperd.config.daemon_spec import DaemonSpec
from reaperd.config.listener import Listener

SECOND_NS: Final = 1_000_000_000
EVERY: Final = "all"  # as the only name: every service, so none may be called so


class Restart(Enum):
    """When a service whose main process ended is started again."""

    NEVER = "never"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"


class Scope(Enum):
    """Who gets the first signal of a stop; at the deadline it is the whole tree in any case."""

    MAIN = "main"
    GROUP = "group"
    TREE = "tree"


class Essential(Enum):
    """Which end of a service ends the daemon too."""

    FAILURE = "failure"
    EXIT = "exit"


class HealthAction(Enum):
    """What follows when a service does not answer any more."""

    RESTART = "restart"
    REPORT = "report"


class NotifyAccess(Enum):
    """Whose notifications count as the service's own."""

    TREE = "tree"
    MAIN = "main"


class Overlap(Enum):
    """What a schedule does when the last run has not ended yet."""

    SKIP = "skip"
    QUEUE = "queue"


class Sink(Enum):
    """Where what a service writes goes."""

    INHERIT = "inherit"  # where the daemon's own goes
    PREFIX = "prefix"  # to the daemon's standard output, each line with the service's name
    JSON = "json"  # to the same place, each line as an object
    JOURNAL = "journal"
    SYSLOG = "syslog"
    NULL = "null"
    STDOUT = "stdout"  # of the standard error only: with the standard output


@dataclass(frozen=True, slots=True)
class LogFile:
    """A file that takes lines, and when it is set aside for a new one. Sizes are bytes."""

    file: str
    max_size: int | None = None
    max_age_ns: int | None = None
    keep: int = 5
    compress: bool = False
    max_line: int = 1 << 16
    buffer: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next try: `initial * factor ** (failures - 1)`, at most `max`."""

    initial_ns: int = SECOND_NS // 2
    factor: float = 2.0
    max_ns: int = 30 * SECOND_NS
    jitter: float = 0.1  # give or take this share of the delay, 0 to 1
    reset_after_ns: int = 10 * SECOND_NS


@dataclass(frozen=True, slots=True)
class StartLimit:
    """How many starts within an interval are tried before giving up."""

    count: int = 5
    interval_ns: int = 60 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Stop:
    """How a service is asked to end, and how long until it is made to."""

    signal: int = 15
    timeout_ns: int = 10 * SECOND_NS
    command: tuple[str, ...] = ()  # run in place of the signal; empty for none
    scope: Scope = Scope.TREE


@dataclass(frozen=True, slots=True)
class Reload:
    """How a service is asked to read its own configuration again: by a signal or by a command."""

    signal: int | None = None
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotifyCheck:
    """Well when it says so: READY=1, sd_notify(3)."""


@dataclass(frozen=True, slots=True)
class FdCheck:
    """Well when it writes a line to this descriptor, as programs for s6 do."""

    fd: int


@dataclass(frozen=True, slots=True)
class LogCheck:
    """Well when a line of its output matches a regular expression."""

    pattern: str


@dataclass(frozen=True, slots=True)
class DelayCheck:
    """Well when it has lived for so long."""

    delay_ns: int


@dataclass(frozen=True, slots=True)
class TcpCheck:
    """Well when it accepts a connection."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """Well when it answers with a status of 200 to 399."""

    url: str


@dataclass(frozen=True, slots=True)
class ExecCheck:
    """Well when this command exits with 0."""

    command: tuple[str, ...]


Ready = NotifyCheck | FdCheck | LogCheck | DelayCheck | TcpCheck | HttpCheck | ExecCheck
Asking = TcpCheck | HttpCheck | ExecCheck


@dataclass(frozen=True, slots=True)
class Health:
    """How a running service is asked whether it still answers."""

    check: Asking
    interval_ns: int = 10 * SECOND_NS
    timeout_ns: int = 2 * SECOND_NS
    failures: int = 3  # in a row, before `action`
    action: HealthAction = HealthAction.RESTART


@dataclass(frozen=True, slots=True)
class Zombies:
    """Which zombies under a service are looked for, and how many of them are too many."""

    age_ns: int = 30 * SECOND_NS  # for how long one must have been there to count
    limit: int | None = None  # more are too many; None for any number
    action: HealthAction = HealthAction.RESTART  # what follows then


@dataclass(frozen=True, slots=True)
class Limit:
    """One resource limit: setrlimit(2). -1 is RLIM_INFINITY."""

    resource: int
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class Cron:
    """Times of the wall clock, as crontab(5) writes them."""

    expression: str


@dataclass(frozen=True, slots=True)
class Every:
    """A time apart, by the monotonic clock."""

    interval_ns: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a service is started by itself."""

    when: Cron | Every
    overlap: Overlap = Overlap.SKIP


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service, or one instance of it, as its user wants it."""

    name: str  # of an instance: `base:instance`
    command: tuple[str, ...]
    directory: str | None = None
    user: str | None = None
    group: str | None = None
    environment: tuple[tuple[str, str], ...] = ()  # sorted by name; files first, the table over them
    restart: Restart = Restart.ON_FAILURE
    backoff: Backoff = field(default_factory=Backoff)
    stop: Stop = field(default_factory=Stop)
    base: str = ""  # the name in the file, where it is not `name`
    instance: int | None = None
    supplementary_groups: tuple[str, ...] | None = None  # None: those of the user
    umask: int | None = None
    nice: int | None = None
    oom_score_adj: int | None = None
    clear_environment: bool = False
    requires: tuple[str, ...] = ()  # names as in the file: of a service with instances, all of them
    after: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    start_limit: StartLimit | None = None
    success_exit_codes: tuple[int, ...] = (0,)  # sorted
    success_signals: tuple[int, ...] = ()  # sorted
    ready: Ready | None = None  # None: as soon as it runs
    ready_timeout_ns: int = 30 * SECOND_NS
    health: Health | None = None
    reload: Reload | None = None
    essential: Essential | None = None
    limits: tuple[Limit, ...] = ()  # sorted by resource
    stdout: Sink | LogFile = Sink.INHERIT
    stderr: Sink | LogFile = Sink.INHERIT
    on_failure: tuple[str, ...] = ()
    on_exit: tuple[str, ...] = ()
    oneshot: bool = False
    schedule: Schedule | None = None
    notify_access: NotifyAccess = NotifyAccess.TREE
    watchdog_ns: int | None = None
    sockets: tuple[Listener, ...] = ()  # in the order in which it finds them
    zombies: Zombies | None = None  # None: they are looked for only where the daemon looks at every service
    groups: tuple[str, ...] = ()  # sorted: names that mean it together with others
    memory_max: int | None = None  # bytes
    cpu_weight: int | None = None  # 1 to 10000
    pids_max: int | None = None

    @property
    def is_watched(self) -> bool:
        """Whether something is looked out for while it runs."""
        return self.health is not None or self.watchdog_ns is not None


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration; services stand in the order of the files."""

    source: Path
    daemon: DaemonSpec
    services: tuple[ServiceSpec, ...]
    files: tuple[Path, ...] = ()  # all that were read, the first being `source`
    instances: tuple[tuple[str, int], ...] = ()  # what the files say of those services that have the key
