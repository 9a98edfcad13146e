from dataclasses import replace

import pytest

from reaperd.config.spec import Backoff, Restart, ServiceSpec, Stop
from reaperd.policy.decide import RESTING, decide
from reaperd.policy.stop import LAST_RUNG
from reaperd.policy.words import (
    Action,
    After,
    ArmTimer,
    BackoffOver,
    CancelTimer,
    Emit,
    Event,
    Exited,
    Fork,
    GraceOver,
    Kill,
    MainExited,
    NotSpawned,
    Ready,
    RestartAsked,
    Run,
    Signal,
    SpawnFailed,
    Stable,
    StartAsked,
    State,
    StopAsked,
    Timer,
    TreeEmpty,
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


ROWS: list[tuple[str, Run, Event, State, list[Action]]] = [
    ("stopped, start", Run(), StartAsked(NOW), State.STARTING, [Fork()]),
    ("exited, start", up(State.EXITED), StartAsked(NOW), State.STARTING, [Fork()]),
    ("failed, start", up(State.FAILED), StartAsked(NOW), State.STARTING, [Fork()]),
    ("stopped, restart", Run(), RestartAsked(NOW), State.STARTING, [Fork()]),
    ("stopped, stop", Run(), StopAsked(NOW), State.STOPPED, []),
    ("exited, stop", up(State.EXITED), StopAsked(NOW), State.STOPPED, []),
    ("failed, stop", up(State.FAILED), StopAsked(NOW), State.STOPPED, []),
    ("starting, start", up(State.STARTING), StartAsked(NOW), State.STARTING, []),
    ("starting, ready", up(State.STARTING), Ready(NOW), State.RUNNING, [ARM_STABLE]),
    (
        "starting, spawn failed",
        up(State.STARTING),
        SpawnFailed(MISSING, NOW),
        State.BACKOFF,
        [ArmTimer(Timer.BACKOFF, NOW + S)],
    ),
    (
        "starting, main exited",
        up(State.STARTING),
        MainExited(CRASHED, NOW),
        State.STOPPING,
        [CancelTimer(Timer.STABLE), Signal(15), ARM_GRACE],
    ),
    (
        "starting, stop",
        up(State.STARTING),
        StopAsked(NOW),
        State.STOPPING,
        [CancelTimer(Timer.STABLE), Signal(15), ARM_GRACE],
    ),
    (
        "starting, restart",
        up(State.STARTING),
        RestartAsked(NOW),
        State.STOPPING,
        [CancelTimer(Timer.STABLE), Signal(15), ARM_GRACE],
    ),
    ("running, start", up(State.RUNNING), StartAsked(NOW), State.RUNNING, []),
    ("running, stable", up(State.RUNNING, failures=3), Stable(NOW), State.RUNNING, []),
    (
        "running, main exited",
        up(State.RUNNING),
        MainExited(OK, NOW),
        State.STOPPING,
        [CancelTimer(Timer.STABLE), Signal(15), ARM_GRACE],
    ),
    (
        "running, stop",
        up(State.RUNNING),
        StopAsked(NOW),
        State.STOPPING,
        [CancelTimer(Timer.STABLE), Signal(15), ARM_GRACE],
    ),
    (
        "running, restart",
        up(State.RUNNING),
        RestartAsked(NOW),
        State.STOPPING,
        [CancelTimer(Timer.STABLE), Signal(15), ARM_GRACE],
    ),
    (
        "stopping, grace over",
        up(State.STOPPING),
        GraceOver(NOW),
        State.STOPPING,
        [CancelTimer(Timer.GRACE), Kill()],
    ),
    ("stopping, ready", up(State.STOPPING), Ready(NOW), State.STOPPING, []),
    ("stopping, main exited", up(State.STOPPING), MainExited(KILLED, NOW), State.STOPPING, []),
    ("stopping, spawn failed", up(State.STOPPING), SpawnFailed(MISSING, NOW), State.STOPPING, []),
    ("stopping, start", Run(state=State.STOPPING), StartAsked(NOW), State.STOPPING, []),
    ("stopping, stop", up(State.STOPPING), StopAsked(NOW), State.STOPPING, []),
    (
        "stopping, empty, wanted down",
        Run(state=State.STOPPING, cause=CRASHED),
        TreeEmpty(NOW),
        State.STOPPED,
        [CancelTimer(Timer.GRACE)],
    ),
    (
        "stopping, empty, restart asked",
        up(State.STOPPING, after=After.START, cause=OK),
        TreeEmpty(NOW),
        State.STARTING,
        [CancelTimer(Timer.GRACE), Fork()],
    ),
    (
        "stopping, empty, ended well",
        up(State.STOPPING, cause=OK),
        TreeEmpty(NOW),
        State.EXITED,
        [CancelTimer(Timer.GRACE)],
    ),
    (
        "stopping, empty, crashed",
        up(State.STOPPING, cause=CRASHED, failures=1),
        TreeEmpty(NOW),
        State.BACKOFF,
        [CancelTimer(Timer.GRACE), ArmTimer(Timer.BACKOFF, NOW + 2 * S)],
    ),
    ("backoff, over", up(State.BACKOFF), BackoffOver(NOW), State.STARTING, [Fork()]),
    (
        "backoff, start",
        up(State.BACKOFF),
        StartAsked(NOW),
        State.STARTING,
        [CancelTimer(Timer.BACKOFF), Fork()],
    ),
    (
        "backoff, restart",
        up(State.BACKOFF),
        RestartAsked(NOW),
        State.STARTING,
        [CancelTimer(Timer.BACKOFF), Fork()],
    ),
    ("backoff, stop", up(State.BACKOFF), StopAsked(NOW), State.STOPPED, [CancelTimer(Timer.BACKOFF)]),
]


@pytest.mark.parametrize(
    ("run", "event", "state", "done"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_each_row_of_the_table(run: Run, event: Event, state: State, done: list[Action]) -> None:
    """State and event decide the next state and what is done, and `since` follows a change of state."""
    after, actions = decide(run, event, SPEC)
    assert (after.state, effects(actions)) == (state, done)
    assert after.since_ns == (NOW if state is not run.state else run.since_ns)
    assert decide(run, event, SPEC) == (after, actions)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("late", [Stable(NOW), GraceOver(NOW), BackoffOver(NOW)])
def test_a_timer_that_is_one_event_late_changes_nothing(state: State, late: Event) -> None:
    """A timer that came due in the turn in which its state ended is passed over."""
    handled = {State.RUNNING: Stable, State.STOPPING: GraceOver, State.BACKOFF: BackoffOver}
    if handled.get(state) is not type(late):
        assert decide(up(state), late, SPEC) == (up(state), ())


@pytest.mark.parametrize("state", [*RESTING, State.BACKOFF])
@pytest.mark.parametrize(
    "event", [MainExited(OK, NOW), SpawnFailed(MISSING, NOW), TreeEmpty(NOW), Ready(NOW)]
)
def test_news_of_a_process_that_cannot_be_is_a_bug(state: State, event: Event) -> None:
    """Where no process is, none can end, become ready or leave an empty tree."""
    with pytest.raises(AssertionError, match=f"while {state.value}"):
        decide(up(state), event, SPEC)


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
    run, actions = decide(run, TreeEmpty(NOW), SPEC)
    assert (run.state, run.failures, effects(actions)[-1]) == (State.STARTING, 0, Fork())


def test_an_old_restart_does_not_outlive_its_run() -> None:
    """A run that was started by a restart and then crashes waits like any other."""
    run = up(State.STOPPING, after=After.START)
    for event in (TreeEmpty(NOW), Ready(NOW), MainExited(CRASHED, NOW), TreeEmpty(NOW)):
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


def test_each_stop_begins_at_the_first_rung() -> None:
    """A run that had to be killed does not make the next stop ruthless."""
    killed = up(State.STOPPING, rung=LAST_RUNG, after=After.START)
    started, _ = decide(killed, TreeEmpty(NOW), SPEC)
    running, _ = decide(started, Ready(NOW), SPEC)
    for event in (StopAsked(NOW), RestartAsked(NOW), MainExited(OK, NOW)):
        stopping, actions = decide(running, event, SPEC)
        assert stopping.rung == 0
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
