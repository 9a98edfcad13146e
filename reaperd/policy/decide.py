"""The state machine of a service: one table, every pair of state and event in exactly one place.

A pair is handled (`TABLE`), ignored on purpose (`IGNORED`) or impossible: the last is a bug in the caller
and an assertion. What is timed or looked for from outside (timers, checks, readiness, requirements) may
arrive one event late, since several things can happen in one turn and an earlier one may have moved the run
on: so it is ignored wherever it is not handled.

The steps stand in `way_up` and `way_down`, and what the restart policy makes of an end in `after_end`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from reaperd.config.spec import ServiceSpec
from reaperd.policy import way_down, way_up
from reaperd.policy.words import (
    BackoffOver,
    CheckFailed,
    Decision,
    Event,
    GraceOver,
    MainExited,
    Ready,
    ReadyLate,
    RequirementsMet,
    RestartAsked,
    Run,
    ScheduleDue,
    Spawned,
    SpawnFailed,
    Stable,
    StartAsked,
    State,
    StopAnnounced,
    StopAsked,
    StopCommandFailed,
    TreeEmpty,
)

Step = Callable[[Run, Event, ServiceSpec], Decision]
Pair = tuple[State, type[object]]

RESTING: Final = (State.STOPPED, State.EXITED, State.FAILED)

TABLE: Final[Mapping[Pair, Step]] = {
    **{(state, StartAsked): way_up.start for state in RESTING},
    **{(state, RestartAsked): way_up.start for state in RESTING},
    (State.EXITED, StopAsked): way_down.lay_down,
    (State.FAILED, StopAsked): way_down.lay_down,
    (State.WAITING, RequirementsMet): way_up.met,
    (State.WAITING, ScheduleDue): way_up.due,
    (State.WAITING, StartAsked): way_up.start_waiting,
    (State.WAITING, RestartAsked): way_up.start_waiting,
    (State.WAITING, StopAsked): way_down.stop_waiting,
    (State.STARTING, Spawned): way_up.spawned,
    (State.STARTING, Ready): way_up.ready,
    (State.STARTING, ReadyLate): way_down.late,
    (State.STARTING, SpawnFailed): way_down.spawn_failed,
    (State.STARTING, MainExited): way_down.exited,
    (State.STARTING, StopAsked): way_down.stop_asked,
    (State.STARTING, RestartAsked): way_down.restart_asked,
    (State.STARTING, ScheduleDue): way_up.due_while_busy,
    (State.RUNNING, Stable): way_up.stable,
    (State.RUNNING, CheckFailed): way_down.check_failed,
    (State.RUNNING, MainExited): way_down.exited,
    (State.RUNNING, StopAsked): way_down.stop_asked,
    (State.RUNNING, StopAnnounced): way_down.stop_announced,
    (State.RUNNING, RestartAsked): way_down.restart_asked,
    (State.RUNNING, ScheduleDue): way_up.due_while_busy,
    (State.STOPPING, MainExited): way_down.exited_while_stopping,
    (State.STOPPING, SpawnFailed): way_down.not_spawned_while_stopping,
    (State.STOPPING, GraceOver): way_down.grace_over,
    (State.STOPPING, StopCommandFailed): way_down.command_failed,
    (State.STOPPING, StopAsked): way_down.stop_in_progress,
    (State.STOPPING, StartAsked): way_down.start_after_stop,
    (State.STOPPING, RestartAsked): way_down.start_after_stop,
    (State.STOPPING, TreeEmpty): way_down.tree_empty,
    (State.STOPPING, ScheduleDue): way_up.due_while_busy,
    (State.BACKOFF, BackoffOver): way_up.retry,
    (State.BACKOFF, StartAsked): way_up.start_now,
    (State.BACKOFF, RestartAsked): way_up.start_now,
    (State.BACKOFF, StopAsked): way_down.stop_waiting,
    (State.BACKOFF, ScheduleDue): way_up.due_while_busy,
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
