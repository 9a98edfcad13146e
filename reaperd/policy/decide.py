"""The state machine of a service: one table, every pair of state and event in exactly one place.

A pair is handled (`TABLE`), ignored on purpose (`IGNORED`) or impossible: the last is a bug in the caller
and an assertion. What is timed or looked for from outside (timers, checks, readiness, requirements) may
arrive one event late, since several things can happen in one turn and an earlier one may have moved the run
on: so it is ignored wherever it is not handled.

Every start first waits for its requirements, if only for a moment: WAITING, until the supervisor finds that
nothing holds it. Every end of a main process first empties the run's tree: STOPPING, with the cause kept.
Once the tree is empty the run is STOPPED where the user wants it down, starts where a restart was asked
for, and otherwise does whatever the restart policy says.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from reaperd.config.spec import Essential, Overlap, ServiceSpec
from reaperd.policy import restart, stop
from reaperd.policy.words import (
    Action,
    After,
    ArmSchedule,
    ArmTimer,
    AwaitReady,
    Awaits,
    BackoffOver,
    CancelSchedule,
    CancelTimer,
    CheckFailed,
    Decision,
    Emit,
    EndChecks,
    EndDaemon,
    Event,
    Fork,
    GraceOver,
    HookKind,
    MainExited,
    NotReady,
    Ready,
    ReadyLate,
    RequirementsMet,
    RestartAsked,
    Run,
    RunHook,
    ScheduleDue,
    Spawned,
    SpawnFailed,
    Stable,
    StartAsked,
    State,
    StopAnnounced,
    StopAsked,
    StopCommandFailed,
    Timer,
    TreeEmpty,
    Unhealthy,
    Want,
    WatchHealth,
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


# --- on the way up --------------------------------------------------------------------------------------


def _start(run: Run, _event: Event, spec: ServiceSpec) -> Decision:
    wanted = replace(run, want=Want.UP)
    if spec.schedule is not None:
        return _await_schedule(_afresh(wanted), ArmSchedule())
    return _begin(_afresh(wanted)), ()


def _afresh(run: Run) -> Run:
    """Return the run without what earlier tries of it left: nothing of them counts any more."""
    return replace(run, failures=0, starts=(), gave_up=False, queued=False)


def _begin(run: Run) -> Run:
    return replace(run, state=State.WAITING, awaits=Awaits.REQUIREMENTS)


def _await_schedule(run: Run, *actions: Action) -> Decision:
    return replace(run, state=State.WAITING, awaits=Awaits.SCHEDULE), actions


def _met(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    if run.awaits is Awaits.SCHEDULE:
        return run, ()
    starts = restart.recent((*run.starts, event.at_ns), spec.start_limit, event.at_ns)
    starting = replace(run, state=State.STARTING, rung=0, starts=starts)
    return starting, (Emit("service.starting"), Fork())


def _due(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    if run.awaits is Awaits.REQUIREMENTS:
        return _due_while_busy(run, event, spec)
    return _begin(_afresh(run)), ()


def _due_while_busy(run: Run, _event: Event, spec: ServiceSpec) -> Decision:
    if run.want is Want.DOWN:
        return run, ()
    if spec.schedule is not None and spec.schedule.overlap is Overlap.QUEUE:
        return replace(run, queued=True), ()
    return run, (Emit("service.skipped"),)


def _start_waiting(run: Run, _event: Event, _spec: ServiceSpec) -> Decision:
    # Asked for by hand, a scheduled service runs now; one that is held stays held.
    return _begin(_afresh(run)), ()


def _start_now(run: Run, _event: Event, _spec: ServiceSpec) -> Decision:
    return _begin(_afresh(run)), (CancelTimer(Timer.BACKOFF),)


def _retry(run: Run, _event: Event, _spec: ServiceSpec) -> Decision:
    return _begin(replace(run, restarts=run.restarts + 1)), ()


def _spawned(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    if spec.ready is None:
        return _ready(run, event, spec)
    late = ArmTimer(Timer.READY, event.at_ns + spec.ready_timeout_ns)
    return run, (Emit("service.spawned"), late, AwaitReady())


def _ready(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    stable = ArmTimer(Timer.STABLE, event.at_ns + spec.backoff.reset_after_ns)
    actions: tuple[Action, ...] = (Emit("service.running"), stable)
    if spec.ready is not None:
        actions = (EndChecks(), CancelTimer(Timer.READY), *actions)
    if spec.is_watched:
        actions = (*actions, WatchHealth())
    return replace(run, state=State.RUNNING), actions


def _stable(run: Run, _event: Event, _spec: ServiceSpec) -> Decision:
    return replace(run, failures=0), ()


# --- on the way down ------------------------------------------------------------------------------------

_QUIET: Final[tuple[Action, ...]] = (EndChecks(), CancelTimer(Timer.READY), CancelTimer(Timer.STABLE))


def _spawn_failed(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    # No program ever ran, so there is no tree to empty first.
    assert isinstance(event, SpawnFailed)
    failed = replace(run, cause=event.cause, as_asked=False)
    told = Emit("service.spawn_failed", (("stage", event.cause.stage), ("errno", event.cause.errno)))
    decided, actions = _by_policy(failed, event, spec)
    return decided, (told, *actions)


def _exited(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    assert isinstance(event, MainExited)
    ended = replace(run, state=State.STOPPING, after=After.POLICY, cause=event.cause, as_asked=False)
    on_rung = _on_rung(ended, stop.SIGNAL_RUNG, event, spec)
    return on_rung, (_told_exit(event), *_QUIET, *stop.clear(spec.stop, event.at_ns))


def _exited_while_stopping(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    assert isinstance(event, MainExited)
    # What made us stop it says more than how it then ended.
    cause = run.cause if isinstance(run.cause, NotReady | Unhealthy) else event.cause
    ended = replace(run, cause=cause)
    if _nobody_was_told(run, spec):
        rest = stop.clear(spec.stop, event.at_ns)
        return _on_rung(ended, stop.SIGNAL_RUNG, event, spec), (_told_exit(event), *rest)
    rest = stop.main_gone(spec.stop) if run.rung < stop.LAST_RUNG else ()
    return ended, (_told_exit(event), *rest)


def _not_spawned_while_stopping(run: Run, event: Event, _spec: ServiceSpec) -> Decision:
    assert isinstance(event, SpawnFailed)
    return replace(run, cause=event.cause), ()


def _told_exit(event: MainExited) -> Emit:
    cause = event.cause
    return Emit(
        "service.exited",
        (
            ("code", cause.code),
            ("signal", cause.signal),
            ("core", cause.core_dumped),
            ("out_of_memory", cause.out_of_memory),
        ),
    )


def _late(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    late = replace(run, after=After.POLICY, cause=NotReady(), as_asked=False)
    return _stopping(late, event, spec, Emit("service.not_ready"))


def _check_failed(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    assert isinstance(event, CheckFailed)
    failed = replace(run, after=After.POLICY, cause=event.cause, as_asked=False)
    return _stopping(failed, event, spec, Emit("service.unhealthy", (("reason", event.cause.reason),)))


def _stop(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    down = replace(run, want=Want.DOWN, cause=None, as_asked=True, queued=False)
    return _stopping(down, event, spec, *_unscheduled(spec), Emit("service.stopping"))


def _restart(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    again = replace(run, want=Want.UP, after=After.START, cause=None, as_asked=True)
    return _stopping(again, event, spec, Emit("service.stopping"))


def _stops_itself(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    own = replace(run, state=State.STOPPING, after=After.POLICY, cause=None, as_asked=False)
    told = Emit("service.stopping", (("by", "itself"),))
    return _on_rung(own, stop.OWN_RUNG, event, spec), (told, *_QUIET, *stop.wait(spec.stop, event.at_ns))


def _nobody_was_told(run: Run, spec: ServiceSpec) -> bool:
    """Tell whether none of its processes has got the stop signal yet."""
    return run.rung == stop.OWN_RUNG or (run.rung == stop.FIRST_RUNG and bool(spec.stop.command))


def _stopping(run: Run, event: Event, spec: ServiceSpec, *first: Action) -> Decision:
    stopping = _on_rung(replace(run, state=State.STOPPING), stop.FIRST_RUNG, event, spec)
    return stopping, (*first, *_QUIET, *stop.ask(spec.stop, event.at_ns))


def _on_rung(run: Run, rung: int, event: Event, spec: ServiceSpec) -> Run:
    return replace(run, rung=rung, rung_until_ns=event.at_ns + spec.stop.timeout_ns)


def _stop_in_progress(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    # The first wish only changes what comes after, unless nobody has asked yet; the second one hurries.
    if run.rung == stop.OWN_RUNG:
        return _stop(run, event, spec)
    if run.want is Want.UP:
        return replace(run, want=Want.DOWN, queued=False), _unscheduled(spec)
    return _next_rung(run, event, spec)


def _grace_over(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    # It may be the grace of the rung before, when that came to its end in the same turn in another way.
    return (run, ()) if event.at_ns < run.rung_until_ns else _next_rung(run, event, spec)


def _command_failed(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    return _next_rung(run, event, spec) if run.rung == stop.FIRST_RUNG else (run, ())


def _next_rung(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    if run.rung == stop.LAST_RUNG:
        return run, ()
    if _nobody_was_told(run, spec):
        insisting = _on_rung(run, stop.SIGNAL_RUNG, event, spec)
        return insisting, (Emit("service.insisting"), *stop.insist(spec.stop, event.at_ns))
    return replace(run, rung=stop.LAST_RUNG), (Emit("service.killing"), *stop.force())


def _start_after_stop(run: Run, _event: Event, spec: ServiceSpec) -> Decision:
    # Up again after a stop, a scheduled service is what a start makes of it: one that waits for its time.
    if run.want is Want.DOWN and spec.schedule is not None:
        return replace(run, want=Want.UP, after=After.SCHEDULE), (ArmSchedule(),)
    return replace(run, want=Want.UP, after=After.START), ()


def _tree_empty(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    decided, actions = _after_stop(run, event, spec)
    hook = (RunHook(HookKind.EXIT),) if spec.on_exit else ()
    return decided, (CancelTimer(Timer.GRACE), *hook, *actions)


def _after_stop(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    if run.want is Want.DOWN:
        return replace(run, state=State.STOPPED), (Emit("service.stopped"),)
    if run.after is After.START:
        return _begin(_afresh(run)), ()
    if run.after is After.SCHEDULE:
        return _await_schedule(_afresh(run))
    return _by_policy(run, event, spec)


# --- at rest, or not yet --------------------------------------------------------------------------------


def _by_policy(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    failed = not restart.succeeded(run.cause, spec)
    if not restart.due(run.cause, spec):
        decided, actions = _at_rest(run, spec, failed=failed)
    elif restart.used_up(run.starts, spec.start_limit, event.at_ns):
        failed = True  # however well each of its runs ended
        decided, actions = _at_rest(replace(run, gave_up=True), spec, failed=True)
    else:
        decided, actions = _back_off(run, event, spec)
    hook = (RunHook(HookKind.FAILURE),) if failed and spec.on_failure else ()
    return decided, (*hook, *actions)


def _back_off(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    failures = run.failures + 1
    delay_ns = restart.delay_ns(spec.backoff, failures, event.at_ns)
    waiting = replace(run, state=State.BACKOFF, failures=failures)
    told = Emit("service.backoff", (("failures", failures), ("delay", round(delay_ns / 1e9, 3))))
    return waiting, (told, ArmTimer(Timer.BACKOFF, event.at_ns + delay_ns))


def _at_rest(run: Run, spec: ServiceSpec, *, failed: bool) -> Decision:
    told = Emit("service.failed", (("gave_up", run.gave_up),)) if failed else Emit("service.finished")
    actions = (told, *_essential(run, spec, failed=failed))
    if spec.schedule is None:
        return replace(run, state=State.FAILED if failed else State.EXITED), actions
    if run.queued:
        return _begin(_afresh(run)), actions
    return _await_schedule(run, *actions)


def _essential(run: Run, spec: ServiceSpec, *, failed: bool) -> tuple[Action, ...]:
    ends = spec.essential is Essential.EXIT or (spec.essential is Essential.FAILURE and failed)
    return (EndDaemon(run.cause),) if ends and run.cause is not None else ()


def _stop_waiting(run: Run, _event: Event, spec: ServiceSpec) -> Decision:
    stopped = replace(run, state=State.STOPPED, want=Want.DOWN, queued=False)
    return stopped, (CancelTimer(Timer.BACKOFF), *_unscheduled(spec), Emit("service.stopped"))


def _unscheduled(spec: ServiceSpec) -> tuple[Action, ...]:
    return () if spec.schedule is None else (CancelSchedule(),)


def _lay_down(run: Run, _event: Event, _spec: ServiceSpec) -> Decision:
    return replace(run, state=State.STOPPED, want=Want.DOWN), ()


RESTING: Final = (State.STOPPED, State.EXITED, State.FAILED)

TABLE: Final[Mapping[Pair, Step]] = {
    **{(state, StartAsked): _start for state in RESTING},
    **{(state, RestartAsked): _start for state in RESTING},
    (State.EXITED, StopAsked): _lay_down,
    (State.FAILED, StopAsked): _lay_down,
    (State.WAITING, RequirementsMet): _met,
    (State.WAITING, ScheduleDue): _due,
    (State.WAITING, StartAsked): _start_waiting,
    (State.WAITING, RestartAsked): _start_waiting,
    (State.WAITING, StopAsked): _stop_waiting,
    (State.STARTING, Spawned): _spawned,
    (State.STARTING, Ready): _ready,
    (State.STARTING, ReadyLate): _late,
    (State.STARTING, SpawnFailed): _spawn_failed,
    (State.STARTING, MainExited): _exited,
    (State.STARTING, StopAsked): _stop,
    (State.STARTING, RestartAsked): _restart,
    (State.STARTING, ScheduleDue): _due_while_busy,
    (State.RUNNING, Stable): _stable,
    (State.RUNNING, CheckFailed): _check_failed,
    (State.RUNNING, MainExited): _exited,
    (State.RUNNING, StopAsked): _stop,
    (State.RUNNING, StopAnnounced): _stops_itself,
    (State.RUNNING, RestartAsked): _restart,
    (State.RUNNING, ScheduleDue): _due_while_busy,
    (State.STOPPING, MainExited): _exited_while_stopping,
    (State.STOPPING, SpawnFailed): _not_spawned_while_stopping,
    (State.STOPPING, GraceOver): _grace_over,
    (State.STOPPING, StopCommandFailed): _command_failed,
    (State.STOPPING, StopAsked): _stop_in_progress,
    (State.STOPPING, StartAsked): _start_after_stop,
    (State.STOPPING, RestartAsked): _start_after_stop,
    (State.STOPPING, TreeEmpty): _tree_empty,
    (State.STOPPING, ScheduleDue): _due_while_busy,
    (State.BACKOFF, BackoffOver): _retry,
    (State.BACKOFF, StartAsked): _start_now,
    (State.BACKOFF, RestartAsked): _start_now,
    (State.BACKOFF, StopAsked): _stop_waiting,
    (State.BACKOFF, ScheduleDue): _due_while_busy,
}

_MAY_BE_LATE: Final[tuple[type[object], ...]] = (
    Stable,
    GraceOver,
    StopAnnounced,
    StopCommandFailed,
    BackoffOver,
    Ready,
    ReadyLate,
    CheckFailed,
    RequirementsMet,
    ScheduleDue,
    Spawned,
)

IGNORED: Final[frozenset[Pair]] = frozenset(
    {
        (State.STOPPED, StopAsked),  # it is down
        (State.STARTING, StartAsked),  # it is on its way
        (State.RUNNING, StartAsked),  # it is up
    }
    | {(state, late) for state in State for late in _MAY_BE_LATE if (state, late) not in TABLE}
)
