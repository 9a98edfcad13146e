from dataclasses import replace
from typing import get_args

import pytest

from reaperd.config.spec import (
    Restart,
    Scope,
    ServiceSpec,
)
from reaperd.policy.decide import IGNORED, RESTING, TABLE, decide
from reaperd.policy.stop import FIRST_RUNG, LAST_RUNG, SIGNAL_RUNG
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
    Emit,
    EndChecks,
    Event,
    Exited,
    Fork,
    GraceOver,
    HookKind,
    Kill,
    MainExited,
    NotSpawned,
    Ready,
    ReadyLate,
    RequirementsMet,
    RestartAsked,
    Run,
    RunHook,
    RunStopCommand,
    ScheduleDue,
    Signal,
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
    Want,
    WatchHealth,
)
from tests.unit.policy.cases import (
    ARM_GRACE,
    ARM_STABLE,
    ASKED,
    BACK_OFF,
    CAREFUL,
    COMMANDED,
    CRASHED,
    DUE,
    HOOKED,
    KILLED,
    MISSING,
    NOW,
    OK,
    SPEC,
    TIMED,
    UNWELL,
    S,
    effects,
    told,
    up,
)

Row = tuple[str, ServiceSpec, Run, Event, State, list[Action]]


def timed_start(state: State) -> Row:
    """Return the row of a scheduled service that is started."""
    return (
        f"{state.value}, start, timed",
        TIMED,
        Run(state),
        StartAsked(NOW),
        State.WAITING,
        [ArmSchedule()],
    )


ROWS: list[Row] = [
    *((f"{state.value}, start", SPEC, up(state), StartAsked(NOW), State.WAITING, []) for state in RESTING),
    *(
        (f"{state.value}, restart", SPEC, up(state), RestartAsked(NOW), State.WAITING, [])
        for state in RESTING
    ),
    *map(timed_start, RESTING),
    ("stopped, stop", SPEC, Run(), StopAsked(NOW), State.STOPPED, []),
    ("exited, stop", SPEC, up(State.EXITED), StopAsked(NOW), State.STOPPED, []),
    ("failed, stop", SPEC, up(State.FAILED), StopAsked(NOW), State.STOPPED, []),
    ("waiting, met", SPEC, up(State.WAITING), RequirementsMet(NOW), State.STARTING, [Fork()]),
    ("waiting for its time, met", TIMED, DUE, RequirementsMet(NOW), State.WAITING, []),
    ("waiting for its time, due", TIMED, DUE, ScheduleDue(NOW), State.WAITING, []),
    ("held, due", TIMED, up(State.WAITING), ScheduleDue(NOW), State.WAITING, []),
    ("waiting for its time, start", TIMED, DUE, StartAsked(NOW), State.WAITING, []),
    ("waiting for its time, restart", TIMED, DUE, RestartAsked(NOW), State.WAITING, []),
    ("waiting, stop", SPEC, up(State.WAITING), StopAsked(NOW), State.STOPPED, [CancelTimer(Timer.BACKOFF)]),
    (
        "waiting for its time, stop",
        TIMED,
        DUE,
        StopAsked(NOW),
        State.STOPPED,
        [CancelTimer(Timer.BACKOFF), CancelSchedule()],
    ),
    ("starting, start", SPEC, up(State.STARTING), StartAsked(NOW), State.STARTING, []),
    ("starting, spawned", SPEC, up(State.STARTING), Spawned(NOW), State.RUNNING, [ARM_STABLE]),
    (
        "starting, spawned, not ready yet",
        CAREFUL,
        up(State.STARTING),
        Spawned(NOW),
        State.STARTING,
        [ArmTimer(Timer.READY, NOW + 7 * S), AwaitReady()],
    ),
    (
        "starting, ready",
        CAREFUL,
        up(State.STARTING),
        Ready(NOW),
        State.RUNNING,
        [EndChecks(), CancelTimer(Timer.READY), ARM_STABLE, WatchHealth()],
    ),
    ("starting, ready late", CAREFUL, up(State.STARTING), ReadyLate(NOW), State.STOPPING, ASKED),
    (
        "starting, spawn failed",
        SPEC,
        up(State.STARTING),
        SpawnFailed(MISSING, NOW),
        State.BACKOFF,
        [BACK_OFF],
    ),
    ("starting, main exited", SPEC, up(State.STARTING), MainExited(CRASHED, NOW), State.STOPPING, ASKED),
    ("starting, stop", SPEC, up(State.STARTING), StopAsked(NOW), State.STOPPING, ASKED),
    ("starting, restart", SPEC, up(State.STARTING), RestartAsked(NOW), State.STOPPING, ASKED),
    ("starting, due", TIMED, up(State.STARTING), ScheduleDue(NOW), State.STARTING, []),
    ("running, start", SPEC, up(State.RUNNING), StartAsked(NOW), State.RUNNING, []),
    ("running, stable", SPEC, up(State.RUNNING, failures=3), Stable(NOW), State.RUNNING, []),
    ("running, check failed", CAREFUL, up(State.RUNNING), CheckFailed(UNWELL, NOW), State.STOPPING, ASKED),
    ("running, main exited", SPEC, up(State.RUNNING), MainExited(OK, NOW), State.STOPPING, ASKED),
    ("running, stop", SPEC, up(State.RUNNING), StopAsked(NOW), State.STOPPING, ASKED),
    (
        "running, stop, timed",
        TIMED,
        up(State.RUNNING),
        StopAsked(NOW),
        State.STOPPING,
        [CancelSchedule(), *ASKED],
    ),
    (
        "running, stops itself",
        SPEC,
        up(State.RUNNING),
        StopAnnounced(NOW),
        State.STOPPING,
        [EndChecks(), CancelTimer(Timer.READY), CancelTimer(Timer.STABLE), ARM_GRACE],
    ),
    ("running, restart", SPEC, up(State.RUNNING), RestartAsked(NOW), State.STOPPING, ASKED),
    ("running, due", TIMED, up(State.RUNNING), ScheduleDue(NOW), State.RUNNING, []),
    (
        "stopping, grace over",
        SPEC,
        up(State.STOPPING),
        GraceOver(NOW),
        State.STOPPING,
        [CancelTimer(Timer.GRACE), Kill()],
    ),
    (
        "stopping, command failed",
        COMMANDED,
        up(State.STOPPING),
        StopCommandFailed(NOW),
        State.STOPPING,
        [Signal(2, Scope.MAIN), ARM_GRACE],
    ),
    ("stopping, main exited", SPEC, up(State.STOPPING), MainExited(KILLED, NOW), State.STOPPING, []),
    ("stopping, spawn failed", SPEC, up(State.STOPPING), SpawnFailed(MISSING, NOW), State.STOPPING, []),
    ("stopping, start", SPEC, Run(State.STOPPING), StartAsked(NOW), State.STOPPING, []),
    ("stopping, start, timed", TIMED, Run(State.STOPPING), StartAsked(NOW), State.STOPPING, [ArmSchedule()]),
    ("stopping, restart", SPEC, up(State.STOPPING), RestartAsked(NOW), State.STOPPING, []),
    ("stopping, stop", SPEC, up(State.STOPPING), StopAsked(NOW), State.STOPPING, []),
    ("stopping, stop, timed", TIMED, up(State.STOPPING), StopAsked(NOW), State.STOPPING, [CancelSchedule()]),
    ("stopping, due", TIMED, up(State.STOPPING), ScheduleDue(NOW), State.STOPPING, []),
    (
        "stopping, empty, wanted down",
        SPEC,
        Run(State.STOPPING, cause=CRASHED),
        TreeEmpty(NOW),
        State.STOPPED,
        [CancelTimer(Timer.GRACE)],
    ),
    (
        "stopping, empty, restart asked",
        SPEC,
        up(State.STOPPING, after=After.START, cause=OK),
        TreeEmpty(NOW),
        State.WAITING,
        [CancelTimer(Timer.GRACE)],
    ),
    (
        "stopping, empty, its schedule taken up again",
        TIMED,
        up(State.STOPPING, after=After.SCHEDULE),
        TreeEmpty(NOW),
        State.WAITING,
        [CancelTimer(Timer.GRACE)],
    ),
    (
        "stopping, empty, ended well",
        SPEC,
        up(State.STOPPING, cause=OK),
        TreeEmpty(NOW),
        State.EXITED,
        [CancelTimer(Timer.GRACE)],
    ),
    (
        "stopping, empty, ended well, timed",
        TIMED,
        up(State.STOPPING, cause=OK),
        TreeEmpty(NOW),
        State.WAITING,
        [CancelTimer(Timer.GRACE)],
    ),
    (
        "stopping, empty, crashed",
        HOOKED,
        up(State.STOPPING, cause=CRASHED, failures=1),
        TreeEmpty(NOW),
        State.BACKOFF,
        [
            CancelTimer(Timer.GRACE),
            RunHook(HookKind.EXIT),
            RunHook(HookKind.FAILURE),
            ArmTimer(Timer.BACKOFF, NOW + 2 * S),
        ],
    ),
    ("backoff, over", SPEC, up(State.BACKOFF), BackoffOver(NOW), State.WAITING, []),
    ("backoff, start", SPEC, up(State.BACKOFF), StartAsked(NOW), State.WAITING, [CancelTimer(Timer.BACKOFF)]),
    (
        "backoff, restart",
        SPEC,
        up(State.BACKOFF),
        RestartAsked(NOW),
        State.WAITING,
        [CancelTimer(Timer.BACKOFF)],
    ),
    ("backoff, stop", SPEC, up(State.BACKOFF), StopAsked(NOW), State.STOPPED, [CancelTimer(Timer.BACKOFF)]),
    ("backoff, due", TIMED, up(State.BACKOFF), ScheduleDue(NOW), State.BACKOFF, []),
]


@pytest.mark.parametrize(
    ("spec", "run", "event", "state", "done"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_each_row_of_the_table(
    spec: ServiceSpec, run: Run, event: Event, state: State, done: list[Action]
) -> None:
    """State and event decide the next state and what is done, and `since` follows a change of state."""
    after, actions = decide(run, event, spec)
    assert (after.state, effects(actions)) == (state, done)
    assert after.since_ns == (NOW if state is not run.state else run.since_ns)
    assert decide(run, event, spec) == (after, actions)


def test_no_row_of_the_table_is_left_out() -> None:
    """The rows above are all that is handled."""
    assert {(run.state, type(event)) for _, _, run, event, _, _ in ROWS} - IGNORED == set(TABLE)


EVENTS = get_args(Event)
NEWS_OF_A_PROCESS = {SpawnFailed, MainExited, TreeEmpty}
IMPOSSIBLE = {
    (state, kind) for state in (*RESTING, State.WAITING, State.BACKOFF) for kind in NEWS_OF_A_PROCESS
} | {
    # What never ran has no tree; what runs was spawned; and emptiness is looked for in STOPPING alone.
    (State.STARTING, TreeEmpty),
    (State.RUNNING, TreeEmpty),
    (State.RUNNING, SpawnFailed),
}


def event_of(kind: type[Event]) -> Event:
    """Return an event of this kind."""
    causes = {SpawnFailed: MISSING, MainExited: OK, CheckFailed: UNWELL}
    return kind(causes[kind], NOW) if kind in causes else kind(NOW)  # type: ignore[call-arg,arg-type] # by kind


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("state", State)
def test_each_pair_is_in_exactly_one_place(state: State, kind: type[Event]) -> None:
    """It is handled, ignored or impossible; what is ignored changes nothing, what is impossible is a bug."""
    pair = (state, kind)
    assert [pair in TABLE, pair in IGNORED, pair in IMPOSSIBLE].count(True) == 1
    if pair in IGNORED:
        assert decide(up(state), event_of(kind), SPEC) == (up(state), ())
    if pair in IMPOSSIBLE:
        with pytest.raises(AssertionError, match=f"while {state.value}"):
            decide(up(state), event_of(kind), SPEC)


# --- stories ---------------------------------------------------------------------------------------------


def test_asking_to_start_forgives_failures() -> None:
    """A user's start begins to count failures anew, out of each state that has counted any."""
    for state in (State.FAILED, State.EXITED, State.BACKOFF):
        after, _ = decide(up(state, failures=7), StartAsked(NOW), SPEC)
        assert (after.want, after.failures) == (Want.UP, 0)


def test_a_stable_run_forgives_failures() -> None:
    """After `reset_after` the next failure waits as long as a first one."""
    stable, _ = decide(up(State.RUNNING, failures=5), Stable(NOW), SPEC)
    assert stable.failures == 0


def test_a_failure_before_that_is_not_forgiven() -> None:
    """Becoming ready alone does not forgive, or a program that crashes after its start would never wait."""
    ready, _ = decide(up(State.STARTING, failures=5), Ready(NOW), SPEC)
    assert ready.failures == 5


def test_a_retry_counts_as_a_restart_and_a_users_start_does_not() -> None:
    """`restarts` counts what the policy did by itself."""
    retried, _ = decide(up(State.BACKOFF, restarts=2, failures=4), BackoffOver(NOW), SPEC)
    asked, _ = decide(up(State.BACKOFF, restarts=2), StartAsked(NOW), SPEC)
    assert (retried.restarts, asked.restarts) == (3, 2)
    assert retried.failures == 4, "trying again forgives nothing"


def test_the_cause_is_kept_while_the_tree_is_emptied() -> None:
    """What decides afterwards is how the main process ended, not how its last child was killed."""
    run, _ = decide(up(State.RUNNING), MainExited(OK, NOW), SPEC)
    run, _ = decide(run, GraceOver(NOW), SPEC)
    run, actions = decide(run, TreeEmpty(NOW), SPEC)
    assert (run.state, run.cause, told(actions)) == (State.EXITED, OK, ["service.finished"])


def test_a_stop_while_the_tree_is_emptied_keeps_the_service_down() -> None:
    """A crash that waits for its tree and is then stopped is not started again."""
    run, _ = decide(up(State.RUNNING), MainExited(CRASHED, NOW), SPEC)
    run, actions = decide(run, StopAsked(NOW), SPEC)
    assert actions == ()
    assert decide(run, TreeEmpty(NOW), SPEC)[0].state is State.STOPPED


def test_a_stop_takes_back_a_restart() -> None:
    """The last wish counts."""
    run, _ = decide(up(State.RUNNING), RestartAsked(NOW), SPEC)
    run, _ = decide(run, StopAsked(NOW), SPEC)
    assert decide(run, TreeEmpty(NOW), SPEC)[0].state is State.STOPPED


def test_a_start_takes_back_a_stop() -> None:
    """The stop goes on, for it cannot be called back, and then the service starts at once."""
    run, _ = decide(up(State.RUNNING, failures=3), StopAsked(NOW), SPEC)
    run, actions = decide(run, StartAsked(NOW), SPEC)
    assert actions == ()
    run, _ = decide(run, TreeEmpty(NOW), SPEC)
    assert (run.state, run.awaits, run.failures) == (State.WAITING, Awaits.REQUIREMENTS, 0)


def test_an_old_restart_does_not_outlive_its_run() -> None:
    """A run that was started by a restart and then crashes waits like any other."""
    run = up(State.STOPPING, after=After.START)
    for event in (
        TreeEmpty(NOW),
        RequirementsMet(NOW),
        Spawned(NOW),
        MainExited(CRASHED, NOW),
        TreeEmpty(NOW),
    ):
        run, _ = decide(run, event, SPEC)
    assert run.state is State.BACKOFF


def test_a_second_stop_is_the_next_rung_and_a_third_has_none() -> None:
    """Asked again, SIGKILL comes at once; the grace timer goes; there is nothing beyond."""
    run, first = decide(up(State.RUNNING), StopAsked(NOW), SPEC)
    run, second = decide(run, StopAsked(NOW), SPEC)
    again, third = decide(run, StopAsked(NOW), SPEC)
    assert Signal(15) in first
    assert effects(second) == [CancelTimer(Timer.GRACE), Kill()]
    assert (again, third) == (run, ())
    assert run.rung == LAST_RUNG


def _rungs(*events: Event) -> list[list[Action]]:
    """Return what follows from each event in turn, in the stop of a service with a stop command."""
    run = up(State.RUNNING)
    steps: list[list[Action]] = []
    for event in events:
        run, actions = decide(run, event, COMMANDED)
        steps.append([each for each in actions if not isinstance(each, EndChecks | CancelTimer | Emit)])
    return steps


def _grace(at_ns: int) -> ArmTimer:
    return ArmTimer(Timer.GRACE, at_ns + 5 * S)


def test_who_stops_by_itself_is_told_when_its_time_is_over() -> None:
    """By the signal, then by SIGKILL; no stop command is asked for what was begun already."""
    late = NOW + 5 * S
    assert _rungs(StopAnnounced(NOW), GraceOver(late), GraceOver(late + 5 * S)) == [
        [_grace(NOW)],
        [Signal(2, Scope.MAIN), _grace(late)],
        [Kill()],
    ]


def test_who_stops_by_itself_and_leaves_others_behind_has_them_told() -> None:
    """Nobody has got the signal before the main process has ended."""
    assert _rungs(StopAnnounced(NOW), MainExited(OK, NOW + S))[1] == [Signal(2), _grace(NOW + S)]


def test_who_stops_by_itself_is_asked_all_the_same_where_somebody_asks() -> None:
    """A stop then is the whole stop, and the service stays down."""
    assert _rungs(StopAnnounced(NOW), StopAsked(NOW + S))[1] == [RunStopCommand(), _grace(NOW + S)]
    run, _ = decide(up(State.RUNNING), StopAnnounced(NOW), SPEC)
    assert run.want is Want.UP
    assert decide(run, StopAsked(NOW), SPEC)[0].want is Want.DOWN


def test_a_stop_command_that_fails_is_followed_by_the_signal_and_that_by_sigkill() -> None:
    """Each with its own time."""
    later = NOW + S
    assert _rungs(StopAsked(NOW), StopCommandFailed(later), GraceOver(later + 5 * S)) == [
        [RunStopCommand(), _grace(NOW)],
        [Signal(2, Scope.MAIN), _grace(later)],
        [Kill()],
    ]


def test_a_stop_command_that_does_not_help_in_time_is_followed_by_the_signal() -> None:
    """Whether it ended well or still works; a failure that comes only now changes nothing any more."""
    late = NOW + 5 * S
    assert _rungs(StopAsked(NOW), GraceOver(late), StopCommandFailed(late), StopAsked(late)) == [
        [RunStopCommand(), _grace(NOW)],
        [Signal(2, Scope.MAIN), _grace(late)],
        [],
        [Kill()],
    ]


def test_a_grace_that_ended_with_its_rung_does_not_end_the_next() -> None:
    """A command may fail, or the main process end, in the very turn in which the time was over."""
    late = NOW + 5 * S
    assert _rungs(StopAsked(NOW), StopCommandFailed(late), GraceOver(late))[2] == []
    assert _rungs(StopAsked(NOW), MainExited(OK, late), GraceOver(late))[1:] == [
        [Signal(2), _grace(late)],
        [],
    ]


def test_who_was_stopped_as_asked_is_known_until_it_ends_otherwise() -> None:
    """So that nobody takes the signal of a stop for a crash."""
    running = up(State.RUNNING)
    for ask in (StopAsked(NOW), RestartAsked(NOW)):
        stopping, _ = decide(running, ask, SPEC)
        ended, _ = decide(stopping, MainExited(Exited(signal=15), NOW), SPEC)
        assert (ended.as_asked, ended.cause) == (True, Exited(signal=15))
        otherwise: list[tuple[State, Event]] = [
            (State.RUNNING, MainExited(KILLED, NOW)),
            (State.RUNNING, CheckFailed(UNWELL, NOW)),
            (State.STARTING, SpawnFailed(MISSING, NOW)),
            (State.STARTING, ReadyLate(NOW)),
        ]
        for state, end in otherwise:
            assert not decide(replace(ended, state=state), end, SPEC)[0].as_asked


def test_each_stop_begins_at_the_first_rung() -> None:
    """A run that had to be killed does not make the next stop ruthless."""
    killed = up(State.STOPPING, rung=LAST_RUNG, after=After.START)
    waiting, _ = decide(killed, TreeEmpty(NOW), SPEC)
    started, _ = decide(waiting, RequirementsMet(NOW), SPEC)
    running, _ = decide(started, Spawned(NOW), SPEC)
    rungs: dict[Event, int] = {
        StopAsked(NOW): FIRST_RUNG,
        RestartAsked(NOW): FIRST_RUNG,
        MainExited(OK, NOW): SIGNAL_RUNG,
    }
    for event, rung in rungs.items():
        stopping, actions = decide(running, event, SPEC)
        assert stopping.rung == rung
        assert Signal(15) in actions


@pytest.mark.parametrize(
    ("policy", "cause", "state"),
    [
        (Restart.ALWAYS, OK, State.BACKOFF),
        (Restart.ALWAYS, CRASHED, State.BACKOFF),
        (Restart.ALWAYS, KILLED, State.BACKOFF),
        (Restart.ALWAYS, MISSING, State.BACKOFF),
        (Restart.ON_FAILURE, OK, State.EXITED),
        (Restart.ON_FAILURE, CRASHED, State.BACKOFF),
        (Restart.ON_FAILURE, KILLED, State.BACKOFF),
        (Restart.ON_FAILURE, MISSING, State.BACKOFF),
        (Restart.NEVER, OK, State.EXITED),
        (Restart.NEVER, CRASHED, State.FAILED),
        (Restart.NEVER, KILLED, State.FAILED),
        (Restart.NEVER, MISSING, State.FAILED),
    ],
)
def test_each_restart_policy_after_each_end(
    policy: Restart, cause: Exited | NotSpawned, state: State
) -> None:
    """A run that ended by itself is tried again, is done, or has failed."""
    spec = replace(SPEC, restart=policy)
    if isinstance(cause, NotSpawned):
        run, actions = decide(up(State.STARTING), SpawnFailed(cause, NOW), spec)
    else:
        run, _ = decide(up(State.RUNNING), MainExited(cause, NOW), spec)
        run, actions = decide(run, TreeEmpty(NOW), spec)
    assert (run.state, run.cause, run.want) == (state, cause, Want.UP)
    assert (
        told(actions)[-1]
        == {
            State.BACKOFF: "service.backoff",
            State.EXITED: "service.finished",
            State.FAILED: "service.failed",
        }[state]
    )
