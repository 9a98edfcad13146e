"""The vocabulary of decisions: states, events, actions and the run they are about.

A `Run` is one service's life as policy sees it. `want` is the user's wish, `state` the fact, and a
restart is "stop, still wanting up". Events say what happened (past tense), actions what to do
(imperative). All of it is plain frozen data: decisions can be made, compared and replayed without one
process. Every `at_ns` is CLOCK_MONOTONIC in nanoseconds.
"""

from dataclasses import dataclass
from enum import Enum

from reaperd.config.spec import Scope


class State(Enum):
    """Where a service is; the manual draws the diagram from the table in `decide`."""

    STOPPED = "stopped"
    WAITING = "waiting"
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
    SCHEDULE = "schedule"  # somebody asked for it, and it waits for its time
    POLICY = "policy"  # the main process ended by itself: the restart policy decides


class Awaits(Enum):
    """What a waiting run waits for."""

    REQUIREMENTS = "requirements"  # others that must be up, or settled, first
    SCHEDULE = "schedule"  # its next time


class HookKind(Enum):
    """The moments at which a service's user may have a command run."""

    EXIT = "on_exit"
    FAILURE = "on_failure"


class Timer(Enum):
    """The deadlines a run can have; each is armed at most once at a time."""

    BACKOFF = "backoff"
    READY = "ready"
    STABLE = "stable"
    GRACE = "grace"


@dataclass(frozen=True, slots=True)
class Exited:
    """How a main process ended: an exit code, or the signal that ended it."""

    code: int | None = None
    signal: int | None = None
    core_dumped: bool = False
    out_of_memory: bool = False  # the kernel ended it, or one of its processes, for want of memory


@dataclass(frozen=True, slots=True)
class NotSpawned:
    """No program ever ran: the stage between fork and exec that failed, and its errno."""

    stage: str
    errno: int
    what: str | None = None  # what it was about, where a service has several


@dataclass(frozen=True, slots=True)
class NotReady:
    """It ran, but did not become ready in time; `reason` is what was last seen to be missing."""

    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Unhealthy:
    """It ran, but did not do well; `reason` says what showed that, `what` which rule it broke."""

    reason: str
    what: str = "failed its health check"


Cause = Exited | NotSpawned | NotReady | Unhealthy


@dataclass(frozen=True, slots=True)
class Run:
    """One service's life so far."""

    state: State = State.STOPPED
    want: Want = Want.DOWN
    cause: Cause | None = None  # how the latest main process ended
    failures: int = 0  # in a row, until a run proves stable
    restarts: int = 0  # by policy, since the daemon started
    awaits: Awaits = Awaits.REQUIREMENTS  # while WAITING
    after: After = After.POLICY  # while STOPPING
    as_asked: bool = False  # the latest main process ended because somebody asked for it
    rung: int = 0  # of the stop ladder, while STOPPING
    rung_until_ns: int = 0  # when the time of that rung is over
    starts: tuple[int, ...] = ()  # when it was started, as far back as the start limit looks
    gave_up: bool = False  # FAILED because the start limit is used up
    queued: bool = False  # its schedule came due while it ran
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
class RequirementsMet:
    """Nothing that must come first holds the service any more."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class ScheduleDue:
    """The service's next time has come."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class Spawned:
    """The child has become the service's program."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The service said, or showed, that it is up."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class ReadyLate:
    """The time to become ready is over; `reason` is what was last seen to be missing."""

    at_ns: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CheckFailed:
    """The service's health check failed too often in a row."""

    cause: Unhealthy
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
class StopAnnounced:
    """The service said that it stops by itself: STOPPING=1 of sd_notify(3)."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class StopCommandFailed:
    """The command that was to stop the service could not be run, or ended badly."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class BackoffOver:
    """The wait before the next try is over."""

    at_ns: int


Event = (
    StartAsked
    | StopAsked
    | RestartAsked
    | RequirementsMet
    | ScheduleDue
    | Spawned
    | Ready
    | ReadyLate
    | CheckFailed
    | SpawnFailed
    | MainExited
    | TreeEmpty
    | Stable
    | GraceOver
    | StopAnnounced
    | StopCommandFailed
    | BackoffOver
)


# --- actions --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fork:
    """Start the main process."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Send `signal` to those of the run that `scope` names."""

    signal: int
    scope: Scope = Scope.TREE


@dataclass(frozen=True, slots=True)
class RunStopCommand:
    """Run the command that asks the service to end."""


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
class AwaitReady:
    """Look out for the service's readiness."""


@dataclass(frozen=True, slots=True)
class WatchHealth:
    """Begin the service's health checks."""


@dataclass(frozen=True, slots=True)
class EndChecks:
    """End all looking out for readiness and health."""


@dataclass(frozen=True, slots=True)
class ArmSchedule:
    """Let `ScheduleDue` come at each of the service's times from now on."""


@dataclass(frozen=True, slots=True)
class CancelSchedule:
    """Let it come no more."""


@dataclass(frozen=True, slots=True)
class RunHook:
    """Run the command that the user wants run at this moment."""

    kind: HookKind


@dataclass(frozen=True, slots=True)
class EndDaemon:
    """Shut the daemon down, and let it leave as this service ended."""

    cause: Cause


@dataclass(frozen=True, slots=True)
class Emit:
    """Tell the log and whoever listens; names stand in `telemetry.names`."""

    event: str
    fields: tuple[tuple[str, object], ...] = ()


Action = (
    Fork
    | Signal
    | RunStopCommand
    | Kill
    | ArmTimer
    | CancelTimer
    | AwaitReady
    | WatchHealth
    | EndChecks
    | ArmSchedule
    | CancelSchedule
    | RunHook
    | EndDaemon
    | Emit
)

Decision = tuple[Run, tuple[Action, ...]]
