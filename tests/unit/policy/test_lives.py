"""Random lives of one service, as a supervisor could really live them, without one process."""

from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reaperd.config.spec import (
    Backoff,
    DelayCheck,
    Essential,
    Every,
    Health,
    Overlap,
    Restart,
    Schedule,
    Scope,
    ServiceSpec,
    StartLimit,
    Stop,
    TcpCheck,
)
from reaperd.policy.decide import RESTING, decide
from reaperd.policy.restart import LEAST_NS
from reaperd.policy.stop import LAST_RUNG
from reaperd.policy.words import (
    Action,
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
    EndDaemon,
    Event,
    Exited,
    Fork,
    GraceOver,
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
    Unhealthy,
    Want,
    WatchHealth,
)

OF_TIMER: dict[Timer, type[BackoffOver | Stable | GraceOver | ReadyLate]] = {
    Timer.BACKOFF: BackoffOver,
    Timer.READY: ReadyLate,
    Timer.STABLE: Stable,
    Timer.GRACE: GraceOver,
}
ASKS = st.sampled_from([StartAsked, StopAsked, RestartAsked])
ENDS = st.sampled_from(
    [Exited(code=0), Exited(code=1), Exited(signal=9), Exited(signal=11, core_dumped=True)]
)
DURATIONS = st.sampled_from([0, 1, LEAST_NS, 10**9, 10**12])
SCHEDULES = st.none() | st.sampled_from(Overlap).map(lambda overlap: Schedule(Every(10**9), overlap))
LIMITS = st.none() | st.builds(StartLimit, st.integers(1, 3), st.sampled_from([1, 10**9, 10**12]))


class Life(RuleBasedStateMachine):
    """One service with its processes, timers and clock as plain data; rules are what can happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = ServiceSpec("web", ("web",))
        self.run = Run()
        self.now_ns = 10**9
        self.timers: dict[Timer, int] = {}
        self.main: str | None = None  # "forked", then "running" once its exec worked
        self.others = 0  # processes of the run besides the main one
        self.fork_fails = False
        self.failed_at_ns: int | None = None  # when a failure put it into BACKOFF
        self.queue: list[Event] = []
        self.held = False  # something that it requires is not there
        self.armed = False  # its schedule
        self.looking: set[str] = set()  # for readiness, for health
        self.started: list[int] = []  # since a user or the schedule last began afresh

    @initialize(
        schedule=SCHEDULES,
        limit=LIMITS,
        checked=st.booleans(),
        essential=st.none() | st.sampled_from(Essential),
        scope=st.sampled_from(Scope),
        command=st.sampled_from([(), ("bye",)]),
        restart=st.sampled_from(Restart),
        max_ns=st.sampled_from([LEAST_NS, 10**9, 10**11]),
        jitter=st.sampled_from([0.0, 0.1, 1.0]),
        grace_ns=DURATIONS,
    )
    def configure(
        self,
        *,
        schedule: Schedule | None,
        limit: StartLimit | None,
        checked: bool,
        essential: Essential | None,
        scope: Scope,
        command: tuple[str, ...],
        restart: Restart,
        max_ns: int,
        jitter: float,
        grace_ns: int,
    ) -> None:
        """Any configuration."""
        self.spec = ServiceSpec(
            "web",
            ("web",),
            restart=restart,
            backoff=Backoff(LEAST_NS, 3.0, max_ns, jitter, reset_after_ns=10**9),
            stop=Stop(15, grace_ns, command, scope),
            schedule=schedule,
            start_limit=limit,
            ready=DelayCheck(1) if checked else None,
            ready_timeout_ns=grace_ns,
            health=Health(TcpCheck("localhost", 1)) if checked else None,
            essential=essential,
            on_exit=command,
            on_failure=command,
        )

    # --- what happens -----------------------------------------------------------------------------------

    @rule(asks=st.lists(ASKS, min_size=1, max_size=3))
    def ask(self, asks: list[type[StartAsked | StopAsked | RestartAsked]]) -> None:
        """Users ask, several in one turn."""
        self.queue += [each(self.now_ns) for each in asks]
        self.settle()

    @rule(asks=st.lists(ASKS, max_size=2), passed_ns=DURATIONS)
    def timers_come_due(
        self, asks: list[type[StartAsked | StopAsked | RestartAsked]], passed_ns: int
    ) -> None:
        """Time passes; what came before in the same turn is decided before the timers are."""
        assume(self.timers)
        self.now_ns = max(self.now_ns + passed_ns, min(self.timers.values()))
        due = sorted((at_ns, timer.value) for timer, at_ns in self.timers.items() if at_ns <= self.now_ns)
        self.queue += [each(self.now_ns) for each in asks]
        for _, value in due:
            del self.timers[Timer(value)]
            self.queue.append(OF_TIMER[Timer(value)](self.now_ns))
        self.settle()

    @precondition(lambda self: self.main == "forked")
    @rule(more=st.integers(0, 2))
    def the_exec_works(self, more: int) -> None:
        """The report pipe comes to its end, and the program may have forked by then."""
        self.main = "running"
        self.others = more
        self.queue.append(Spawned(self.now_ns))
        self.settle()

    @precondition(lambda self: "ready" in self.looking)
    @rule()
    def it_becomes_ready(self) -> None:
        """What looked out for it has seen it."""
        self.looking.remove("ready")
        self.queue.append(Ready(self.now_ns))
        self.settle()

    @precondition(lambda self: "health" in self.looking)
    @rule()
    def it_fails_its_check(self) -> None:
        """Too often in a row."""
        self.queue.append(CheckFailed(Unhealthy("no answer"), self.now_ns))
        self.settle()

    @precondition(lambda self: self.armed)
    @rule(ask=ASKS | st.none())
    def its_time_comes(self, ask: type[StartAsked | StopAsked | RestartAsked] | None) -> None:
        """And a user may have asked for something in the same turn, before it is decided."""
        self.queue += [each(self.now_ns) for each in [ask] if each is not None]
        self.queue.append(ScheduleDue(self.now_ns))
        self.settle()

    @rule(held=st.booleans())
    def what_it_requires_comes_and_goes(self, held: bool) -> None:  # noqa: FBT001 - drawn
        """It holds a start, and nothing else."""
        self.held = held
        self.settle()

    @precondition(lambda self: self.main == "forked")
    @rule()
    def the_exec_fails(self) -> None:
        """The child reports the stage and leaves."""
        self.main = None
        self.queue.append(SpawnFailed(NotSpawned("exec", 2), self.now_ns))
        self.settle()

    @precondition(lambda self: self.main is not None)
    @rule(cause=ENDS, ask=ASKS | st.none())
    def the_main_process_ends(
        self, cause: Exited, ask: type[StartAsked | StopAsked | RestartAsked] | None
    ) -> None:
        """A child that dies on its way to the exec has closed its report: ready first, then dead."""
        if self.main == "forked":
            self.queue.append(Spawned(self.now_ns))
        self.main = None
        self.queue.append(MainExited(cause, self.now_ns))
        if ask is not None:
            self.queue.append(ask(self.now_ns))
        self.settle()

    @precondition(lambda self: self.run.state is State.STOPPING and self.spec.stop.command)
    @rule()
    def its_stop_command_fails(self) -> None:
        """On whatever rung the stop is by now."""
        self.queue.append(StopCommandFailed(self.now_ns))
        self.settle()

    @precondition(lambda self: self.main == "running")
    @rule()
    def it_says_that_it_stops(self) -> None:
        """In whatever state the run is."""
        self.queue.append(StopAnnounced(self.now_ns))
        self.settle()

    @precondition(lambda self: self.main == "running")
    @rule(more=st.integers(1, 3))
    def it_forks(self, more: int) -> None:
        """The run has further processes."""
        self.others += more

    @precondition(lambda self: self.others > 0)
    @rule()
    def another_process_ends(self) -> None:
        """One process of the run besides the main one is gone."""
        self.others -= 1
        self.settle()

    @rule(fails=st.booleans())
    def the_machine_runs_out_of_processes(self, fails: bool) -> None:  # noqa: FBT001 - drawn
        """From now on fork(2) fails, or works again."""
        self.fork_fails = fails

    # --- decide and perform -----------------------------------------------------------------------------

    def settle(self) -> None:
        """Decide and perform until quiet, as the supervisor does."""
        self.decide_all()
        while (self.run.state is State.STOPPING and self.is_empty()) or self.may_start():
            kind = TreeEmpty if self.run.state is State.STOPPING else RequirementsMet
            self.queue.append(kind(self.now_ns))
            self.decide_all()

    def may_start(self) -> bool:
        """Tell whether it waits for its requirements, and has them."""
        return not self.held and self.run.state is State.WAITING and self.run.awaits is Awaits.REQUIREMENTS

    def decide_all(self) -> None:
        """Decide what has happened so far, and what comes of that."""
        while self.queue:
            self.run, actions = decide(self.run, self.queue.pop(0), self.spec)
            if not self.run.starts:
                self.started.clear()
            for action in actions:
                self.perform(action)

    def is_empty(self) -> bool:
        """Tell whether the run has no process."""
        return self.main is None and self.others == 0

    def perform(self, action: Action) -> None:  # noqa: C901, PLR0912 - flat, one case an action
        """Do one action to the plain data, and assert that it could be done."""
        match action:
            case Fork():
                self.fork()
            case Signal(signal=number):
                assert number == self.spec.stop.signal
            case RunStopCommand():
                assert self.spec.stop.command
                assert self.main is not None, "there is somebody to ask"
            case AwaitReady():
                assert not self.looking
                self.looking.add("ready")
            case WatchHealth():
                assert not self.looking
                self.looking.add("health")
            case EndChecks():
                self.looking.clear()
            case ArmSchedule():
                assert self.spec.schedule is not None
                self.armed = True
            case CancelSchedule():
                self.armed = False
            case RunHook():
                assert self.spec.on_exit, "no hook without a command"
            case EndDaemon():
                assert self.spec.essential is not None
                assert self.is_empty()
            case Kill():
                assert self.run.rung == LAST_RUNG
            case ArmTimer(timer=timer, at_ns=at_ns):
                assert at_ns >= self.now_ns
                self.timers[timer] = at_ns
                if timer is Timer.BACKOFF:
                    assert LEAST_NS <= at_ns - self.now_ns <= self.spec.backoff.max_ns
                    self.failed_at_ns = self.now_ns
            case CancelTimer(timer=timer):
                self.timers.pop(timer, None)
            case Emit():
                pass

    def fork(self) -> None:
        """Fork: never beside a living process of the run, and by the policy never without a pause."""
        assert self.is_empty()
        assert self.run.want is Want.UP
        if self.failed_at_ns is not None and self.run.failures:  # nobody asked, so it is a retry
            assert self.now_ns - self.failed_at_ns >= LEAST_NS
        self.failed_at_ns = None
        assert not self.held
        self.count_start()
        if self.fork_fails:
            self.queue.append(SpawnFailed(NotSpawned("fork", 11), self.now_ns))
        else:
            self.main = "forked"

    def count_start(self) -> None:
        """No more starts than the limit allows, unless somebody asked afresh."""
        limit = self.spec.start_limit
        if limit is not None:
            self.started = [at_ns for at_ns in self.started if at_ns > self.now_ns - limit.interval_ns]
            self.started.append(self.now_ns)
            assert len(self.started) <= limit.count

    # --- what always holds ------------------------------------------------------------------------------

    @invariant()
    def each_state_has_its_timers(self) -> None:
        """No timer in a state of rest; BACKOFF has one always, so that it cannot be forgotten."""
        allowed: list[set[Timer]] = [set()]
        if self.run.state is State.BACKOFF:
            allowed = [{Timer.BACKOFF}]
        elif self.run.state is State.STARTING and self.looking:
            allowed = [{Timer.READY}]
        elif self.run.state is State.RUNNING:
            allowed = [{Timer.STABLE}, set()]
        elif self.run.state is State.STOPPING and self.run.rung < LAST_RUNG:
            allowed = [{Timer.GRACE}]
        assert set(self.timers) in allowed

    @invariant()
    def processes_are_where_a_state_says_so(self) -> None:
        """At rest and waiting there is no process; starting and running there is a main one."""
        if self.run.state in (*RESTING, State.BACKOFF, State.WAITING):
            assert self.is_empty()
        elif self.run.state is State.STOPPING:
            assert not self.is_empty()
        else:
            assert self.main is not None

    @invariant()
    def what_is_wanted_down_goes_down(self) -> None:
        """Nothing starts a service that a user has stopped."""
        if self.run.want is Want.DOWN:
            assert self.run.state in {State.STOPPED, State.STOPPING}

    @invariant()
    def its_schedule_follows_its_users_wish(self) -> None:
        """Its times come due while it is wanted up, and at no other time."""
        assert self.armed == (self.spec.schedule is not None and self.run.want is Want.UP)

    @invariant()
    def who_waits_is_held_or_not_due(self) -> None:
        """Nothing waits without a reason, and only who runs is looked at."""
        if self.run.state is State.WAITING:
            assert self.held or self.run.awaits is Awaits.SCHEDULE
            assert self.spec.schedule is not None or self.run.awaits is Awaits.REQUIREMENTS
        assert not self.looking or self.run.state is (
            State.STARTING if "ready" in self.looking else State.RUNNING
        )

    @invariant()
    def a_scheduled_service_rests_only_when_it_is_down(self) -> None:
        """However its runs end, the next time comes."""
        if self.spec.schedule is not None:
            assert self.run.state not in {State.EXITED, State.FAILED}

    @invariant()
    def counts_are_counts(self) -> None:
        """A waiting run has failed at least once."""
        assert self.run.failures >= (1 if self.run.state is State.BACKOFF else 0)
        assert self.run.restarts >= 0

    def teardown(self) -> None:
        """A stop ends in STOPPED once the processes have gone, whatever happened before."""
        self.ask([StopAsked])
        if self.main is not None:
            self.main = None
            self.queue.append(MainExited(Exited(signal=9), self.now_ns))
        self.others = 0
        self.queue.append(GraceOver(self.now_ns))
        self.settle()
        assert (self.run.state, self.run.want, self.timers) == (State.STOPPED, Want.DOWN, {})
        assert not self.armed
        assert not self.looking


TestLives = Life.TestCase
TestLives.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
