"""Runs, specs and causes that the tests of decisions share."""

from dataclasses import replace

from reaperd.config.spec import (
    Backoff,
    DelayCheck,
    Every,
    Health,
    Overlap,
    Restart,
    Schedule,
    Scope,
    ServiceSpec,
    Stop,
    TcpCheck,
)
from reaperd.policy.words import (
    Action,
    ArmTimer,
    Awaits,
    CancelTimer,
    Emit,
    EndChecks,
    Exited,
    NotSpawned,
    Run,
    Signal,
    State,
    Timer,
    Unhealthy,
    Want,
)

S = 1_000_000_000
NOW = 1_000 * S
SPEC = ServiceSpec(
    "web",
    ("web",),
    restart=Restart.ON_FAILURE,
    backoff=Backoff(initial_ns=S, factor=2.0, max_ns=8 * S, jitter=0.0, reset_after_ns=60 * S),
    stop=Stop(signal=15, timeout_ns=5 * S),
)
OK, CRASHED, KILLED = Exited(code=0), Exited(code=1), Exited(signal=9)
MISSING = NotSpawned("exec", 2)
ARM_GRACE, ARM_STABLE = ArmTimer(Timer.GRACE, NOW + 5 * S), ArmTimer(Timer.STABLE, NOW + 60 * S)


def effects(actions: tuple[Action, ...]) -> list[Action]:
    """Return what is done, without what is only told."""
    return [action for action in actions if not isinstance(action, Emit)]


def told(actions: tuple[Action, ...]) -> list[str]:
    """Return the names of what is told."""
    return [action.event for action in actions if isinstance(action, Emit)]


def up(state: State, **more: object) -> Run:
    """Return a run that is wanted up."""
    return replace(Run(state=state, want=Want.UP), **more)  # type: ignore[arg-type] # its own fields


QUIET: list[Action] = [EndChecks(), CancelTimer(Timer.READY), CancelTimer(Timer.STABLE)]
ASKED: list[Action] = [*QUIET, Signal(15), ARM_GRACE]
CAREFUL = replace(SPEC, ready=DelayCheck(S), ready_timeout_ns=7 * S, health=Health(TcpCheck("localhost", 80)))
TIMED = replace(SPEC, schedule=Schedule(Every(60 * S)))
PATIENT = replace(SPEC, schedule=Schedule(Every(60 * S), Overlap.QUEUE))
COMMANDED = replace(SPEC, stop=Stop(signal=2, timeout_ns=5 * S, command=("bye",), scope=Scope.MAIN))
HOOKED = replace(SPEC, on_exit=("bye",), on_failure=("page",))
UNWELL = Unhealthy("no answer")
BACK_OFF = ArmTimer(Timer.BACKOFF, NOW + S)
DUE = up(State.WAITING, awaits=Awaits.SCHEDULE)
