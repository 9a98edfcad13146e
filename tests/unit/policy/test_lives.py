"""Random lives of one service, as a supervisor could really live them, without one process."""

from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reaperd.config.spec import Backoff, Restart, ServiceSpec, Stop
from reaperd.policy.decide import RESTING, decide
from reaperd.policy.restart import LEAST_NS
from reaperd.policy.stop import LAST_RUNG
from reaperd.policy.words import (
    Action,
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

OF_TIMER: dict[Timer, type[BackoffOver | Stable | GraceOver]] = {
    Timer.BACKOFF: BackoffOver,
    Timer.STABLE: Stable,
    Timer.GRACE: GraceOver,
}
ASKS = st.sampled_from([StartAsked, StopAsked, RestartAsked])
ENDS = st.sampled_from(
    [Exited(code=0), Exited(code=1), Exited(signal=9), Exited(signal=11, core_dumped=True)]
)
DURATIONS = st.sampled_from([0, 1, LEAST_NS, 10**9, 10**12])


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

    @initialize(
        restart=st.sampled_from(Restart),
        max_ns=st.sampled_from([LEAST_NS, 10**9, 10**11]),
        jitter=st.sampled_from([0.0, 0.1, 1.0]),
        grace_ns=DURATIONS,
    )
    def configure(self, restart: Restart, max_ns: int, jitter: float, grace_ns: int) -> None:
        """Any configuration."""
        backoff = Backoff(LEAST_NS, 3.0, max_ns, jitter, reset_after_ns=10**9)
        self.spec = ServiceSpec("web", ("web",), restart=restart, backoff=backoff, stop=Stop(15, grace_ns))

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
        self.queue.append(Ready(self.now_ns))
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
            self.queue.append(Ready(self.now_ns))
        self.main = None
        self.queue.append(MainExited(cause, self.now_ns))
        if ask is not None:
            self.queue.append(ask(self.now_ns))
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
        while self.run.state is State.STOPPING and self.is_empty():
            self.queue.append(TreeEmpty(self.now_ns))
            self.decide_all()

    def decide_all(self) -> None:
        """Decide what has happened so far, and what comes of that."""
        while self.queue:
            self.run, actions = decide(self.run, self.queue.pop(0), self.spec)
            for action in actions:
                self.perform(action)

    def is_empty(self) -> bool:
        """Tell whether the run has no process."""
        return self.main is None and self.others == 0

    def perform(self, action: Action) -> None:
        """Do one action to the plain data, and assert that it could be done."""
        match action:
            case Fork():
                self.fork()
            case Signal(signal=number):
                assert number == self.spec.stop.signal
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
        if self.fork_fails:
            self.queue.append(SpawnFailed(NotSpawned("fork", 11), self.now_ns))
        else:
            self.main = "forked"

    # --- what always holds ------------------------------------------------------------------------------

    @invariant()
    def each_state_has_its_timers(self) -> None:
        """No timer in a state of rest; BACKOFF has one always, so that it cannot be forgotten."""
        allowed: list[set[Timer]] = [set()]
        if self.run.state is State.BACKOFF:
            allowed = [{Timer.BACKOFF}]
        elif self.run.state is State.RUNNING:
            allowed = [{Timer.STABLE}, set()]
        elif self.run.state is State.STOPPING and self.run.rung < LAST_RUNG:
            allowed = [{Timer.GRACE}]
        assert set(self.timers) in allowed

    @invariant()
    def processes_are_where_a_state_says_so(self) -> None:
        """At rest and waiting there is no process; starting and running there is a main one."""
        if self.run.state in (*RESTING, State.BACKOFF):
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


TestLives = Life.TestCase
TestLives.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
