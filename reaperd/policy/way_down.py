"""Steps of a run on its way down: from a wish, an end or a failure to an empty tree, and on from there.

Every end of a main process first empties the run's tree: STOPPING, with the cause kept. Once the tree is
empty the run is STOPPED where the user wants it down, starts where a restart was asked for, and otherwise
does whatever the restart policy says.
"""

from dataclasses import replace
from typing import Final

from reaperd.config.spec import ServiceSpec
from reaperd.policy import after_end, stop, way_up
from reaperd.policy.words import (
    Action,
    After,
    ArmSchedule,
    CancelSchedule,
    CancelTimer,
    CheckFailed,
    Decision,
    Emit,
    EndChecks,
    Event,
    HookKind,
    MainExited,
    NotReady,
    ReadyLate,
    Run,
    RunHook,
    SpawnFailed,
    State,
    Timer,
    Unhealthy,
    Want,
)

_QUIET: Final[tuple[Action, ...]] = (EndChecks(), CancelTimer(Timer.READY), CancelTimer(Timer.STABLE))


def spawn_failed(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    """Go on after a start that came to no program."""
    # No program ever ran, so there is no tree to empty first.
    assert isinstance(event, SpawnFailed)
    failed = replace(run, cause=event.cause, as_asked=False)
    told = Emit("service.spawn_failed", (("stage", event.cause.stage), ("errno", event.cause.errno)))
    decided, actions = after_end.by_policy(failed, event, spec)
    return decided, (told, *actions)


def exited(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    """Empty the tree after the main process ended by itself."""
    assert isinstance(event, MainExited)
    ended = replace(run, state=State.STOPPING, after=After.POLICY, cause=event.cause, as_asked=False)
    on_rung = _on_rung(ended, stop.SIGNAL_RUNG, event, spec)
    return on_rung, (_told_exit(event), *_QUIET, *stop.clear(spec.stop, event.at_ns))


def exited_while_stopping(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    """Go on with a stop after which, or before which, the main process ended."""
    assert isinstance(event, MainExited)
    # What made us stop it says more than how it then ended.
    cause = run.cause if isinstance(run.cause, NotReady | Unhealthy) else event.cause
    ended = replace(run, cause=cause)
    if _nobody_was_told(run, spec):
        rest = stop.clear(spec.stop, event.at_ns)
        return _on_rung(ended, stop.SIGNAL_RUNG, event, spec), (_told_exit(event), *rest)
    rest = stop.main_gone(spec.stop) if run.rung < stop.LAST_RUNG else ()
    return ended, (_told_exit(event), *rest)


def not_spawned_while_stopping(run: Run, event: Event, _spec: ServiceSpec) -> Decision:
    """Take note that there never was a program to stop."""
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


def late(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    """Stop it, for it did not become ready in time."""
    assert isinstance(event, ReadyLate)
    unready = replace(run, after=After.POLICY, cause=NotReady(event.reason), as_asked=False)
    return _stopping(unready, event, spec, Emit("service.not_ready", (("reason", event.reason),)))


def check_failed(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    """Stop it, for it is not well."""
    assert isinstance(event, CheckFailed)
    failed = replace(run, after=After.POLICY, cause=event.cause, as_asked=False)
    return _stopping(failed, event, spec, Emit("service.unhealthy", (("reason", event.cause.reason),)))


def stop_asked(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    """Follow a wish for down."""
    down = replace(run, want=Want.DOWN, cause=None, as_asked=True, queued=False)
    return _stopping(down, event, spec, *unscheduled(spec), Emit("service.stopping"))


def restart_asked(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    """Follow a wish for down, then up."""
    again = replace(run, want=Want.UP, after=After.START, cause=None, as_asked=True)
    return _stopping(again, event, spec, Emit("service.stopping"))


def stop_announced(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    """Give it time, for it stops by itself."""
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


def stop_in_progress(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    """Follow a wish for down, of a service that is on its way there."""
    # The first wish only changes what comes after, unless nobody has asked yet; the second one hurries.
    if run.rung == stop.OWN_RUNG:
        return stop_asked(run, event, spec)
    if run.want is Want.UP:
        return replace(run, want=Want.DOWN, queued=False), unscheduled(spec)
    return _next_rung(run, event, spec)


def grace_over(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    """Go on to the next rung: the time of the one before is over."""
    # It may be the grace of the rung before, when that came to its end in the same turn in another way.
    return (run, ()) if event.at_ns < run.rung_until_ns else _next_rung(run, event, spec)


def command_failed(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    """Go on to the next rung: the command that was to stop it failed."""
    return _next_rung(run, event, spec) if run.rung == stop.FIRST_RUNG else (run, ())


def _next_rung(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    if run.rung == stop.LAST_RUNG:
        return run, ()
    if _nobody_was_told(run, spec):
        insisting = _on_rung(run, stop.SIGNAL_RUNG, event, spec)
        return insisting, (Emit("service.insisting"), *stop.insist(spec.stop, event.at_ns))
    return replace(run, rung=stop.LAST_RUNG), (Emit("service.killing"), *stop.force())


def start_after_stop(run: Run, _event: Event, spec: ServiceSpec) -> Decision:
    """Follow a wish for up, of a service on its way down."""
    # Up again after a stop, a scheduled service is what a start makes of it: one that waits for its time.
    if run.want is Want.DOWN and spec.schedule is not None:
        return replace(run, want=Want.UP, after=After.SCHEDULE), (ArmSchedule(),)
    return replace(run, want=Want.UP, after=After.START), ()


def tree_empty(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    """Go on from a run of which nobody is left."""
    decided, actions = _after_stop(run, event, spec)
    hook = (RunHook(HookKind.EXIT),) if spec.on_exit else ()
    return decided, (CancelTimer(Timer.GRACE), *hook, *actions)


def _after_stop(run: Run, event: Event, spec: ServiceSpec) -> Decision:
    if run.want is Want.DOWN:
        return replace(run, state=State.STOPPED), (Emit("service.stopped"),)
    if run.after is After.START:
        return way_up.begin(way_up.afresh(run)), ()
    if run.after is After.SCHEDULE:
        return way_up.await_schedule(way_up.afresh(run))
    return after_end.by_policy(run, event, spec)


def stop_waiting(run: Run, _event: Event, spec: ServiceSpec) -> Decision:
    """Follow a wish for down, of a service that waits."""
    stopped = replace(run, state=State.STOPPED, want=Want.DOWN, queued=False)
    return stopped, (CancelTimer(Timer.BACKOFF), *unscheduled(spec), Emit("service.stopped"))


def unscheduled(spec: ServiceSpec) -> tuple[Action, ...]:
    """Return what ends the schedule, if there is one."""
    return () if spec.schedule is None else (CancelSchedule(),)


def lay_down(run: Run, _event: Event, _spec: ServiceSpec) -> Decision:
    """Follow a wish for down, of a service that has ended by itself."""
    return replace(run, state=State.STOPPED, want=Want.DOWN), ()
