from dataclasses import replace

import pytest

from reaperd.config.spec import (
    Essential,
    Restart,
    Scope,
    ServiceSpec,
    StartLimit,
    Stop,
)
from reaperd.policy.decide import decide
from reaperd.policy.words import (
    Action,
    Awaits,
    BackoffOver,
    CancelTimer,
    CheckFailed,
    Emit,
    EndDaemon,
    Exited,
    HookKind,
    MainExited,
    NotReady,
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
    StartAsked,
    State,
    StopAsked,
    Timer,
    TreeEmpty,
    Want,
)
from tests.unit.policy.cases import (
    ARM_GRACE,
    CAREFUL,
    CRASHED,
    DUE,
    HOOKED,
    KILLED,
    MISSING,
    NOW,
    OK,
    PATIENT,
    QUIET,
    SPEC,
    TIMED,
    UNWELL,
    S,
    effects,
    told,
    up,
)

# --- start limit -----------------------------------------------------------------------------------------

LIMITED = replace(SPEC, start_limit=StartLimit(count=3, interval_ns=60 * S))


def crash(run: Run, spec: ServiceSpec, at_ns: int, cause: Exited = CRASHED) -> tuple[Run, tuple[Action, ...]]:
    """Return a waiting run after a start that crashed at once, and what was done then."""
    for event in (RequirementsMet(at_ns), Spawned(at_ns), MainExited(cause, at_ns)):
        run, _ = decide(run, event, spec)
    return decide(run, TreeEmpty(at_ns), spec)


def test_a_used_up_start_limit_gives_up() -> None:
    """The last start that the limit allows is made; the failure after it is final, and says why."""
    run = up(State.WAITING)
    for number in range(2):
        run, _ = crash(run, LIMITED, NOW + number * S)
        assert (run.state, run.gave_up) == (State.BACKOFF, False)
        run, _ = decide(run, BackoffOver(NOW + number * S), LIMITED)
    run, actions = crash(run, LIMITED, NOW + 2 * S)
    assert (run.state, run.gave_up, run.want) == (State.FAILED, True, Want.UP)
    assert actions[-1] == Emit("service.failed", (("gave_up", True),))


def test_starts_long_ago_do_not_count() -> None:
    """Only what happened within the interval uses the limit up."""
    run = up(State.WAITING)
    for number in range(10):
        run, _ = crash(run, LIMITED, NOW + number * 30 * S)
        assert run.state is State.BACKOFF
        run, _ = decide(run, BackoffOver(NOW + number * 30 * S), LIMITED)


@pytest.mark.parametrize("spec", [replace(LIMITED, restart=Restart.ALWAYS), LIMITED])
def test_failures_before_the_program_runs_use_the_limit_too(spec: ServiceSpec) -> None:
    """A program that is not there is not looked for for ever."""
    run = up(State.WAITING)
    for _ in range(3):
        run, _ = decide(replace(run, state=State.WAITING), RequirementsMet(NOW), spec)
        run, _ = decide(run, SpawnFailed(MISSING, NOW), spec)
    assert run.state is State.FAILED


def test_giving_up_is_a_failure_however_well_each_run_ended() -> None:
    """A service that should not end and ends well too often has failed, with all that follows from that."""
    spec = replace(LIMITED, restart=Restart.ALWAYS, on_failure=("page",), essential=Essential.FAILURE)
    run = up(State.WAITING, starts=(NOW, NOW))
    run, actions = crash(run, spec, NOW, OK)
    assert run.state is State.FAILED
    assert effects(actions)[1:] == [RunHook(HookKind.FAILURE), EndDaemon(OK)]


def test_asking_to_start_gives_all_starts_back() -> None:
    """A user who mended it has the whole limit again."""
    failed = up(State.FAILED, starts=(NOW, NOW, NOW), gave_up=True, failures=3)
    for event in (StartAsked(NOW), RestartAsked(NOW)):
        run, _ = decide(failed, event, LIMITED)
        assert (run.starts, run.gave_up, run.failures) == ((), False, 0)


# --- readiness and health --------------------------------------------------------------------------------


def test_a_late_service_is_tried_again_for_being_late() -> None:
    """However it ends when it is stopped for that, the cause is that it was not ready."""
    run, actions = decide(up(State.STARTING), ReadyLate(NOW, "refused"), CAREFUL)
    assert Emit("service.not_ready", (("reason", "refused"),)) in actions
    run, _ = decide(run, MainExited(OK, NOW), CAREFUL)
    run, _ = decide(run, TreeEmpty(NOW), CAREFUL)
    assert (run.state, run.cause, run.failures) == (State.BACKOFF, NotReady("refused"), 1)


def test_an_unhealthy_service_is_tried_again_for_that() -> None:
    """Its clean end upon our signal is no success."""
    run, _ = decide(up(State.RUNNING), CheckFailed(UNWELL, NOW), CAREFUL)
    run, _ = decide(run, MainExited(OK, NOW), CAREFUL)
    run, _ = decide(run, TreeEmpty(NOW), CAREFUL)
    assert (run.state, run.cause) == (State.BACKOFF, UNWELL)


# --- essential -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("essential", "policy", "cause", "ends"),
    [
        (Essential.EXIT, Restart.ON_FAILURE, OK, True),
        (Essential.EXIT, Restart.ON_FAILURE, CRASHED, False),
        (Essential.EXIT, Restart.NEVER, CRASHED, True),
        (Essential.FAILURE, Restart.NEVER, CRASHED, True),
        (Essential.FAILURE, Restart.NEVER, OK, False),
        (None, Restart.NEVER, CRASHED, False),
    ],
)
@pytest.mark.parametrize("spec", [SPEC, TIMED], ids=["plain", "timed"])
def test_an_essential_service_ends_the_daemon(
    spec: ServiceSpec,
    essential: Essential | None,
    policy: Restart,
    cause: Exited,
    ends: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """It does so once it is not to be started again, with how it ended."""
    spec = replace(spec, essential=essential, restart=policy)
    run, _ = decide(up(State.RUNNING), MainExited(cause, NOW), spec)
    _, actions = decide(run, TreeEmpty(NOW), spec)
    assert (EndDaemon(cause) in actions) is ends


def test_a_stop_of_an_essential_service_ends_nothing_else() -> None:
    """What a user wants down has not failed."""
    spec = replace(SPEC, essential=Essential.EXIT)
    run, _ = decide(up(State.RUNNING), StopAsked(NOW), spec)
    run, _ = decide(run, MainExited(KILLED, NOW), spec)
    assert effects(decide(run, TreeEmpty(NOW), spec)[1]) == [CancelTimer(Timer.GRACE)]


# --- stop commands, scopes and hooks ---------------------------------------------------------------------


def test_a_stop_command_stands_for_the_signal() -> None:
    """Once the main process has ended by it, the signal goes to those it left behind."""
    spec = replace(SPEC, stop=Stop(command=("bye",), timeout_ns=5 * S))
    run, actions = decide(up(State.RUNNING), StopAsked(NOW), spec)
    assert effects(actions) == [*QUIET, RunStopCommand(), ARM_GRACE]
    assert effects(decide(run, MainExited(OK, NOW), spec)[1]) == [Signal(15), ARM_GRACE]


def test_a_narrow_scope_widens_when_the_main_process_has_ended() -> None:
    """Who did not get the first signal gets it then."""
    spec = replace(SPEC, stop=Stop(scope=Scope.MAIN, timeout_ns=5 * S))
    run, actions = decide(up(State.RUNNING), StopAsked(NOW), spec)
    assert Signal(15, Scope.MAIN) in actions
    assert effects(decide(run, MainExited(OK, NOW), spec)[1]) == [Signal(15)]
    killing, _ = decide(run, StopAsked(NOW), spec)
    assert effects(decide(killing, MainExited(OK, NOW), spec)[1]) == []


def test_hooks_run_when_it_ended_and_when_it_failed() -> None:
    """A clean end has no failure, and a program that never ran has no end."""
    run, _ = decide(up(State.RUNNING), MainExited(OK, NOW), HOOKED)
    assert RunHook(HookKind.FAILURE) not in decide(run, TreeEmpty(NOW), HOOKED)[1]
    assert RunHook(HookKind.EXIT) in decide(run, TreeEmpty(NOW), HOOKED)[1]
    never_ran = decide(up(State.STARTING), SpawnFailed(MISSING, NOW), HOOKED)[1]
    assert [action for action in never_ran if isinstance(action, RunHook)] == [RunHook(HookKind.FAILURE)]


# --- schedules -------------------------------------------------------------------------------------------


def test_a_scheduled_run_begins_when_it_is_due_or_asked_for() -> None:
    """Either way the requirements are looked at first, and nothing of earlier tries counts."""
    for event in (ScheduleDue(NOW), StartAsked(NOW), RestartAsked(NOW)):
        run, _ = decide(replace(DUE, failures=4, gave_up=True, starts=(1,)), event, TIMED)
        assert run == up(State.WAITING)


@pytest.mark.parametrize(
    "state", [State.WAITING, State.STARTING, State.RUNNING, State.STOPPING, State.BACKOFF]
)
def test_what_comes_due_too_early_is_skipped_or_queued(state: State) -> None:
    """As its user wants it; a stopped one's time means nothing any more."""
    run, actions = decide(up(state), ScheduleDue(NOW), TIMED)
    assert (run, told(actions)) == (up(state), ["service.skipped"])
    run, actions = decide(up(state), ScheduleDue(NOW), PATIENT)
    assert (run.queued, actions) == (True, ())
    down = replace(up(state), want=Want.DOWN)
    if state is not State.WAITING:
        assert decide(down, ScheduleDue(NOW), PATIENT) == (down, ())


def test_a_queued_run_follows_at_once_and_only_one_does() -> None:
    """However often it came due meanwhile; it begins afresh."""
    run = up(State.STOPPING, cause=CRASHED, queued=True, failures=3, starts=(NOW,), gave_up=True)
    run, _ = decide(run, TreeEmpty(NOW), replace(PATIENT, restart=Restart.NEVER))
    assert run == replace(up(State.WAITING), cause=CRASHED, since_ns=NOW)


def test_a_start_after_a_stop_takes_the_schedule_up_again() -> None:
    """It is as if the stop had been waited for: nothing runs before its time."""
    run, _ = decide(up(State.RUNNING), StopAsked(NOW), TIMED)
    run, _ = decide(run, StartAsked(NOW), TIMED)
    run, _ = decide(run, TreeEmpty(NOW), TIMED)
    assert (run.state, run.awaits, run.want) == (State.WAITING, Awaits.SCHEDULE, Want.UP)


def test_a_restart_of_a_scheduled_run_runs_it_again() -> None:
    """Whoever restarts what runs wants it to run."""
    run, _ = decide(up(State.RUNNING, queued=True), RestartAsked(NOW), TIMED)
    run, _ = decide(run, TreeEmpty(NOW), TIMED)
    assert (run.state, run.awaits, run.queued) == (State.WAITING, Awaits.REQUIREMENTS, False)


def test_a_scheduled_run_that_failed_waits_for_its_next_time() -> None:
    """A schedule has no end but a stop."""
    run, _ = decide(up(State.RUNNING), MainExited(CRASHED, NOW), replace(TIMED, restart=Restart.NEVER))
    run, actions = decide(run, TreeEmpty(NOW), replace(TIMED, restart=Restart.NEVER))
    assert (run.state, run.awaits, told(actions)) == (State.WAITING, Awaits.SCHEDULE, ["service.failed"])
