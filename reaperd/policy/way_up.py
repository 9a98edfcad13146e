"""Steps of a run on its way up: from somebody's wish to a service that is ready, and has proved stable.

Every start first waits for its requirements, if only for a moment: WAITING, until the supervisor finds that
nothing holds it.
"""

from dataclasses import replace

from reaperd.config.spec import Overlap, ServiceSpec
from reaperd.policy import restart
from reaperd.policy.words import (
    Action,
    ArmSchedule,
    ArmTimer,
    AwaitReady,
    Awaits,
    CancelTimer,
    Decision,
    Emit,
    EndChecks,
    Event,
    Fork,
    Run,
    State,
    Timer,
    Want,
    WatchHealth,
)


def start(run: Run, _event: Event, spec: ServiceSpec) -> Decision:
    """Follow a wish for up, of a service at rest."""
    wanted = replace(run, want=Want.UP)
    if spec.schedule is not None:
        return await_schedule(afresh(wanted), ArmSchedule())
    return begin(afresh(wanted)), ()


def afresh(run: Run) -> Run:
    """Return the run without what earlier tries of it left: nothing of them counts any more."""
    return replace(run, failures=0, starts=(), gave_up=False, queued=False)


def begin(run: Run) -> Run:
    """Return the run on its way, beginning with its wait for its requirements."""
    return replace(run, state=State.WAITING, awaits=Awaits.REQUIREMENTS)


def await_schedule(run: Run, *actions: Action) -> Decision:
    """Let the run wait for its next time, which these actions lead to."""
    return replace(run, state=State.WAITING, awaits=Awaits.SCHEDULE), actions


def met(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    """Start it: nothing holds it any more."""
    if run.awaits is Awaits.SCHEDULE:
        return run, ()
    starts = restart.recent((*run.starts, event.at_ns), spec.start_limit, event.at_ns)
    starting = replace(run, state=State.STARTING, rung=0, starts=starts)
    return starting, (Emit("service.starting"), Fork())


def due(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    """Follow the schedule, of a service that waits."""
    if run.awaits is Awaits.REQUIREMENTS:
        return due_while_busy(run, event, spec)
    return begin(afresh(run)), ()


def due_while_busy(run: Run, _event: Event, spec: ServiceSpec) -> Decision:
    """Follow the schedule, of a service that has not ended yet."""
    if run.want is Want.DOWN:
        return run, ()
    if spec.schedule is not None and spec.schedule.overlap is Overlap.QUEUE:
        return replace(run, queued=True), ()
    return run, (Emit("service.skipped"),)


def start_waiting(run: Run, _event: Event, _spec: ServiceSpec) -> Decision:
    """Follow a wish for up, of a service that waits."""
    # Asked for by hand, a scheduled service runs now; one that is held stays held.
    return begin(afresh(run)), ()


def start_now(run: Run, _event: Event, _spec: ServiceSpec) -> Decision:
    """Follow a wish for up, of a service that waits for its next try."""
    return begin(afresh(run)), (CancelTimer(Timer.BACKOFF),)


def retry(run: Run, _event: Event, _spec: ServiceSpec) -> Decision:
    """Try again: the wait after a failure is over."""
    return begin(replace(run, restarts=run.restarts + 1)), ()


def spawned(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    """Look out for its readiness, now that its program runs."""
    if spec.ready is None:
        return ready(run, event, spec)
    late = ArmTimer(Timer.READY, event.at_ns + spec.ready_timeout_ns)
    return run, (Emit("service.spawned"), late, AwaitReady())


def ready(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    """Count it as running."""
    stable = ArmTimer(Timer.STABLE, event.at_ns + spec.backoff.reset_after_ns)
    actions: tuple[Action, ...] = (Emit("service.running"), stable)
    if spec.ready is not None:
        actions = (EndChecks(), CancelTimer(Timer.READY), *actions)
    if spec.is_watched:
        actions = (*actions, WatchHealth())
    return replace(run, state=State.RUNNING), actions


def stable(run: Run, _event: Event, _spec: ServiceSpec) -> Decision:
    """Forget its failures: it has run for long enough."""
    return replace(run, failures=0), ()
