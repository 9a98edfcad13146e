"""The vocabulary of decisions: states, events, actions and the run they are about.

A `Run` is one service's life as policy sees it. `want` is the user's wish, `state` the fact, and a
restart is "stop, still wanting up". Events say what happened (past tense), actions what to do
(imperative). All of it is plain frozen data: decisions can be made, compared and replayed without one
process. Every `at_ns` is CLOCK_MONOTONIC in nanoseconds.
"""

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """Where a service is; the manual draws the diagram from the table in `decide`."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    EXITED = "exited"
    FAILED = "failed"


class Want(Enum):
    """What the user asked for, apart from what is."""

    UP = "up"
    DOWN = "down"


class After(Enum):
    """What follows once a stopping run has no process left and is still wanted up."""

    START = "start"  # somebody asked for it
    POLICY = "policy"  # the main process ended by itself: the restart policy decides


class Timer(Enum):
    """The deadlines a run can have; each is armed at most once at a time."""

    BACKOFF = "backoff"
    STABLE = "stable"
    GRACE = "grace"


@dataclass(frozen=True, slots=True)
class Exited:
    """How a main process ended: an exit code, or the signal that ended it."""

    code: int | None = None
    signal: int | None = None
    core_dumped: bool = False


@dataclass(frozen=True, slots=True)
class NotSpawned:
    """No program ever ran: the stage between fork and exec that failed, and its errno."""

    stage: str
    errno: int


Cause = Exited | NotSpawned


@dataclass(frozen=True, slots=True)
class Run:
    """One service's life so far."""

    state: State = State.STOPPED
    want: Want = Want.DOWN
    cause: Cause | None = None  # how the latest main process ended
    failures: int = 0  # in a row, until a run proves stable
    restarts: int = 0  # by policy, since the daemon started
    after: After = After.POLICY  # while STOPPING
    rung: int = 0  # of the stop ladder, while STOPPING
    since_ns: int = 0  # when `state` was entered


# --- events ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartAsked:
    """A user, or the daemon at its start, wants the service up."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class StopAsked:
    """A user, or the daemon at its end, wants the service down."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class RestartAsked:
    """A user wants the service down, then up."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The service said, or showed, that it is up."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """The child could not become the service's program."""

    cause: NotSpawned
    at_ns: int


@dataclass(frozen=True, slots=True)
class MainExited:
    """The main process ended and has been reaped."""

    cause: Exited
    at_ns: int


@dataclass(frozen=True, slots=True)
class TreeEmpty:
    """No process of the run is left."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class Stable:
    """The run has been up for `backoff.reset_after`."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class GraceOver:
    """The time that the current rung of the stop ladder had is over."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class BackoffOver:
    """The wait before the next try is over."""

    at_ns: int


Event = (
    StartAsked
    | StopAsked
    | RestartAsked
    | Ready
    | SpawnFailed
    | MainExited
    | TreeEmpty
    | Stable
    | GraceOver
    | BackoffOver
)


# --- actions --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fork:
    """Start the main process."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Send `signal` to the whole tree of the run."""

    signal: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End the whole tree of the run with SIGKILL, and go on until nothing of it is left."""


@dataclass(frozen=True, slots=True)
class ArmTimer:
    """Let `timer` come due at `at_ns`."""

    timer: Timer
    at_ns: int


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Forget `timer`."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class Emit:
    """Tell the log and whoever listens; names stand in `telemetry.names`."""

    event: str
    fields: tuple[tuple[str, object], ...] = ()


Action = Fork | Signal | Kill | ArmTimer | CancelTimer | Emit

Decision = tuple[Run, tuple[Action, ...]]
