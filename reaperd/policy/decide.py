"""The state machine of a service: one table, every pair of state and event in exactly one place.

A pair is handled (`TABLE`), ignored on purpose (`IGNORED`) or impossible: the last is a bug in the caller
and an assertion. Timer events may arrive one event late, since several can come due in one turn and an
earlier one may have moved the run on: so they are ignored wherever they are not handled.

Every end of a main process first empties the run's tree: STOPPING, with the cause kept. Once the tree is
empty the run is STOPPED where the user wants it down, STARTING where a restart was asked for, and
otherwise whatever the restart policy says.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from reaperd.config.spec import ServiceSpec
from reaperd.policy import restart, stop
from reaperd.policy.words import (
    After,
    ArmTimer,
    BackoffOver,
    CancelTimer,
    Decision,
    Emit,
    Event,
    Fork,
    GraceOver,
    MainExited,
    Ready,
    RestartAsked,
    Run,
    SpawnFailed,
    Stable,
    StartAsked,
    State,
    StopAsked,
    Timer,
    TreeEmpty,
    Want,
)

Step = Callable[[Run, Event, ServiceSpec], Decision]
Pair = tuple[State, type[object]]


def decide(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    """Return the next run and what to do. Pure: same input, same answer.

    Raises:
        AssertionError: the pair is impossible, so the caller's picture of the run is wrong.
    """
    key = (run.state, type(event))
    if key in IGNORED:
        return run, ()
    if key not in TABLE:
        raise AssertionError(f"{type(event).__name__} while {run.state.value}")
    after, actions = TABLE[key](run, event, spec)
    if after.state is not run.state:
        after = replace(after, since_ns=event.at_ns)
    return after, actions


def _start(run: Run, _event: Event, _spec: ServiceSpec) -> Decision:
    return _starting(replace(run, want=Want.UP, failures=0))


def _starting(run: Run) -> Decision:
    return replace(run, state=State.STARTING, rung=0), (Emit("service.starting"), Fork())


def _start_now(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    started, actions = _start(run, event, spec)
    return started, (CancelTimer(Timer.BACKOFF), *actions)


def _retry(run: Run, _event: Event, _spec: ServiceSpec) -> Decision:
    return _starting(replace(run, restarts=run.restarts + 1))


def _ready(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    stable = ArmTimer(Timer.STABLE, event.at_ns + spec.backoff.reset_after_ns)
    return replace(run, state=State.RUNNING), (Emit("service.running"), stable)


def _stable(run: Run, _event: Event, _spec: ServiceSpec) -> Decision:
    return replace(run, failures=0), ()


def _spawn_failed(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    # No program ever ran, so there is no tree to empty first.
    assert isinstance(event, SpawnFailed)
    failed = replace(run, cause=event.cause)
    told = Emit("service.spawn_failed", (("stage", event.cause.stage), ("errno", event.cause.errno)))
    decided, actions = _by_policy(failed, event, spec)
    return decided, (told, *actions)


def _exited(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    ended = replace(_with_cause(run, event), state=State.STOPPING, after=After.POLICY, rung=0)
    rest = stop.climb(spec.stop, 0, event.at_ns)
    return ended, (_told_exit(event), CancelTimer(Timer.STABLE), *rest)


def _exited_while_stopping(run: Run, event: Event, _spec: ServiceSpec) -> Decision:
    return _with_cause(run, event), (_told_exit(event),)


def _not_spawned_while_stopping(run: Run, event: Event, _spec: ServiceSpec) -> Decision:
    return _with_cause(run, event), ()


def _with_cause(run: Run, event: Event) -> Run:
    assert isinstance(event, MainExited | SpawnFailed)
    return replace(run, cause=event.cause)


def _told_exit(event: Event) -> Emit:
    assert isinstance(event, MainExited)
    cause = event.cause
    return Emit(
        "service.exited", (("code", cause.code), ("signal", cause.signal), ("core", cause.core_dumped))
    )


def _stop(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    return _stopping(replace(run, want=Want.DOWN), event, spec)


def _restart(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    return _stopping(replace(run, want=Want.UP, after=After.START), event, spec)


def _stopping(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    first = stop.climb(spec.stop, 0, event.at_ns)
    stopping = replace(run, state=State.STOPPING, rung=0)
    return stopping, (Emit("service.stopping"), CancelTimer(Timer.STABLE), *first)


def _stop_in_progress(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    # The first wish for down only changes what comes after; asking again hurries.
    if run.want is Want.UP:
        return replace(run, want=Want.DOWN), ()
    return _next_rung(run, event, spec)


def _next_rung(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    if run.rung == stop.LAST_RUNG:
        return run, ()
    rung = run.rung + 1
    return replace(run, rung=rung), (Emit("service.killing"), *stop.climb(spec.stop, rung, event.at_ns))


def _start_after_stop(run: Run, _event: Event, _spec: ServiceSpec) -> Decision:
    return replace(run, want=Want.UP, after=After.START), ()


def _tree_empty(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    decided, actions = _after_stop(run, event, spec)
    return decided, (CancelTimer(Timer.GRACE), *actions)


def _after_stop(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    if run.want is Want.DOWN:
        return replace(run, state=State.STOPPED), (Emit("service.stopped"),)
    if run.after is After.START:
        return _starting(replace(run, failures=0))
    return _by_policy(run, event, spec)


def _by_policy(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    if not restart.due(spec.restart, run.cause):
        if restart.succeeded(run.cause):
            return replace(run, state=State.EXITED), (Emit("service.finished"),)
        return replace(run, state=State.FAILED), (Emit("service.failed"),)
    failures = run.failures + 1
    delay_ns = restart.delay_ns(spec.backoff, failures, event.at_ns)
    waiting = replace(run, state=State.BACKOFF, failures=failures)
    told = Emit("service.backoff", (("failures", failures), ("delay", round(delay_ns / 1e9, 3))))
    return waiting, (told, ArmTimer(Timer.BACKOFF, event.at_ns + delay_ns))


def _stop_waiting(run: Run, _event: Event, _spec: ServiceSpec) -> Decision:
    stopped = replace(run, state=State.STOPPED, want=Want.DOWN)
    return stopped, (CancelTimer(Timer.BACKOFF), Emit("service.stopped"))


def _lay_down(run: Run, _event: Event, _spec: ServiceSpec) -> Decision:
    return replace(run, state=State.STOPPED, want=Want.DOWN), ()


RESTING: Final = (State.STOPPED, State.EXITED, State.FAILED)

TABLE: Final[Mapping[Pair, Step]] = {
    **{(state, StartAsked): _start for state in RESTING},
    **{(state, RestartAsked): _start for state in RESTING},
    (State.EXITED, StopAsked): _lay_down,
    (State.FAILED, StopAsked): _lay_down,
    (State.STARTING, Ready): _ready,
    (State.STARTING, SpawnFailed): _spawn_failed,
    (State.STARTING, MainExited): _exited,
    (State.STARTING, StopAsked): _stop,
    (State.STARTING, RestartAsked): _restart,
    (State.RUNNING, Stable): _stable,
    (State.RUNNING, MainExited): _exited,
    (State.RUNNING, StopAsked): _stop,
    (State.RUNNING, RestartAsked): _restart,
    (State.STOPPING, MainExited): _exited_while_stopping,
    (State.STOPPING, SpawnFailed): _not_spawned_while_stopping,
    (State.STOPPING, GraceOver): _next_rung,
    (State.STOPPING, StopAsked): _stop_in_progress,
    (State.STOPPING, StartAsked): _start_after_stop,
    (State.STOPPING, RestartAsked): _start_after_stop,
    (State.STOPPING, TreeEmpty): _tree_empty,
    (State.BACKOFF, BackoffOver): _retry,
    (State.BACKOFF, StartAsked): _start_now,
    (State.BACKOFF, RestartAsked): _start_now,
    (State.BACKOFF, StopAsked): _stop_waiting,
}

_TIMED: Final[tuple[type[object], ...]] = (Stable, GraceOver, BackoffOver)

IGNORED: Final[frozenset[Pair]] = frozenset(
    {
        (State.STOPPED, StopAsked),  # it is down
        (State.STARTING, StartAsked),  # it is on its way
        (State.RUNNING, StartAsked),  # it is up
        (State.STOPPING, Ready),  # said before it noticed that it is being stopped
    }
    | {(state, timed) for state in State for timed in _TIMED if (state, timed) not in TABLE}
)
