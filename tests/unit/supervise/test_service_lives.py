import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reaperd.children.child import StageFailed
from reaperd.children.sweep import Progress
from reaperd.config.daemon_spec import DaemonSpec
from reaperd.config.spec import Backoff, Config, Every, Reload, Restart, Schedule, ServiceSpec, Stop
from reaperd.control.words import Answer, Ask
from reaperd.errors import Exit, ReaperdError
from reaperd.kernel.credentials import Peer
from reaperd.loop.poller import Poller
from reaperd.loop.timers import Timers
from reaperd.policy.stop import LAST_RUNG
from reaperd.policy.words import State, Timer
from reaperd.supervise import reload
from reaperd.supervise.service import Service
from reaperd.supervise.shutdown import KILLING_NS, LEAST_NS, REST_NS, Phase, Shutdown
from reaperd.supervise.supervisor import Supervisor
from reaperd.supervise.world import Deadline, World
from reaperd.telemetry.names import EVENTS
from reaperd.teller import Teller
from reaperd.verbs import Verbs
from tests.support.fake_children import FakeChildren
from tests.support.fake_clock import FakeClock

S = 1_000_000_000
WEB = ServiceSpec(
    "web",
    ("/srv/web",),
    restart=Restart.ALWAYS,
    backoff=Backoff(S, 2.0, 8 * S, 0.0, 60 * S),
    stop=Stop(15, 5 * S),
)
DAY_NS = 86400 * S
DB = replace(WEB, name="db", command=("/srv/db",), restart=Restart.NEVER)


class Machine:
    """A supervisor and its end on fake children and a fake clock, with a turn that is the loop's in small."""

    def __init__(self, *specs: ServiceSpec, shutdown_timeout_ns: int | None = None) -> None:
        self.clock = FakeClock()
        self.children = FakeChildren(self.clock)
        self.poller = Poller()
        self.timers: Timers[Deadline] = Timers()
        self.story: list[tuple[str, dict[str, object]]] = []
        self.world = world = World(
            self.children.as_children(), self.poller, self.timers, self.clock, self.log, self.wall
        )
        self.supervisor = Supervisor(world)
        self.shutdown = Shutdown(self.supervisor, world, shutdown_timeout_ns)
        self.config = Config(Path("x.toml"), DaemonSpec(Path("s"), Path("d")), specs)
        for spec in specs:
            self.supervisor.wishes.add(spec)
        self.supervisor.wishes.arrange(list(self.supervisor.services))

    def wall(self) -> int:
        """Tell the time of day."""
        return DAY_NS + self.clock()

    def log(self, name: str, /, **keys: object) -> None:
        """Keep what is told, and hold it to the list of names."""
        assert set(keys) <= EVENTS[name][1] | {"service"}, name
        self.story.append((name, keys))

    def told(self, service: str) -> list[str]:
        """Return what was told of a service since the last call."""
        told = [name for name, keys in self.story if keys.get("service") == service]
        self.story = [(name, keys) for name, keys in self.story if keys.get("service") != service]
        return told

    def turn(self, pass_ns: int = 0) -> None:
        """Let time pass, then do what a turn does."""
        self.clock.advance(pass_ns)
        self.supervisor.collect_exits()
        self.supervisor.due(self.timers.due(self.clock()))
        for fd, events in self.poller.poll(0):
            source = self.poller.source_of(fd)
            assert source is not None
            source.ready(fd, events)
        self.supervisor.settle()
        self.shutdown.step()

    def settle(self) -> None:
        """Turn until nobody has died any more."""
        for _ in range(4):
            self.turn()

    def __getitem__(self, name: str) -> Service:
        return self.supervisor.services[name]

    def state(self, name: str = "web") -> State:
        """Return where a service is."""
        return self[name].run.state

    def main(self, name: str = "web") -> int:
        """Return the pid of a service's living main process."""
        pid = self[name].main
        assert pid is not None
        return pid

    def run_id(self, name: str = "web") -> str:
        """Return the id of a service's run."""
        run_id = self[name].run_id
        assert run_id is not None
        return run_id

    def up(self, *names: str) -> None:
        """Start services and let their execs work."""
        self.supervisor.start(names)
        self.turn()
        for name in names:
            self.children.exec_works(self.main(name))
        self.turn()
        assert {self.state(name) for name in names} == {State.RUNNING}

    def reload(self, *specs: ServiceSpec) -> None:
        """Follow another configuration."""
        new = replace(self.config, services=specs)
        reload.apply(self.supervisor, self.config, new)
        self.config = new


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Yield a machine with two services."""
    machine = Machine(WEB, DB)
    yield machine
    machine.children.close()
    machine.settle()  # reads the reports to their end, which closes them
    machine.poller.close()


def test_a_start_forks_and_is_running_once_the_exec_worked(machine: Machine) -> None:
    """Not before."""
    machine.supervisor.start(["web"])
    machine.turn()
    assert (machine.state(), machine.state("db")) == (State.STARTING, State.STOPPED)
    machine.children.exec_works(machine.main())
    machine.turn()
    assert machine.state() is State.RUNNING
    assert machine.told("web") == ["service.starting", "service.running"]


def test_a_crash_waits_and_is_forked_again(machine: Machine) -> None:
    """With another pid and a run of its own; the old run is forgotten."""
    machine.up("web")
    first, run_id = machine.main(), machine.run_id()
    machine.children.dies(first, 9)
    machine.turn()
    assert (machine.state(), machine["web"].main) == (State.BACKOFF, None)
    assert machine.children.ended_runs == [run_id]
    machine.turn(S)
    assert machine.state() is State.STARTING
    assert machine.main() != first
    assert machine["web"].run.restarts == 1


def test_a_crash_waits_for_its_tree_first(machine: Machine) -> None:
    """What the main process left behind gets the stop signal, then SIGKILL; only then is it tried again."""
    machine.up("web")
    stray = machine.children.orphan(machine.run_id())
    machine.children.dies(machine.main(), 256)
    machine.turn()
    assert machine.state() is State.STOPPING
    assert machine.children.alive[stray].signals == [15]
    machine.turn(5 * S)
    machine.settle()
    assert machine.state() is State.BACKOFF
    assert stray not in machine.children.alive


def test_who_comes_late_is_told_to_stop_too(machine: Machine) -> None:
    """It was being forked while the others got the signal."""
    machine.up("web")
    machine.supervisor.stop(["web"])
    machine.turn()
    stray = machine.children.orphan(machine.run_id())
    machine.children.dies(machine.main())
    machine.turn()
    assert machine.children.alive[stray].signals == [15]


def test_a_stop_leaves_other_services_and_strangers_alone(machine: Machine) -> None:
    """Only the run's own tree is told."""
    machine.up("web", "db")
    stranger = machine.children.orphan(None)
    machine.supervisor.stop(["web"])
    machine.turn()
    assert machine.children.alive[machine.main()].signals == [15]
    assert machine.children.alive[machine.main("db")].signals == []
    assert machine.children.alive[stranger].signals == []


def test_an_exec_that_fails_is_told_with_its_problem(machine: Machine) -> None:
    """The report decides, not the exit status; no process and no run is left of it."""
    machine.supervisor.start(["db"])
    machine.turn()
    machine.children.exec_fails(machine.main("db"))
    machine.turn()
    assert machine.state("db") is State.FAILED
    [keys] = [keys for name, keys in machine.story if name == "service.spawn_failed"]
    assert keys["problem"] == 'cannot start "db": exec of /srv/db: No such file or directory'
    assert machine["db"].run_id is None
    assert len(machine.children.ended_runs) == 1
    assert machine["db"].report_fd is None


def test_an_exec_that_fails_while_it_is_being_stopped(machine: Machine) -> None:
    """Ends in STOPPED."""
    machine.supervisor.start(["web"])
    machine.turn()
    machine.supervisor.stop(["web"])
    machine.turn()
    machine.children.exec_fails(machine.main())
    machine.turn()
    assert machine.state() is State.STOPPED


def test_a_program_that_ends_before_anybody_looked_was_running(machine: Machine) -> None:
    """Its report is read to the end before its exit is judged."""
    machine.supervisor.start(["db"])
    machine.turn()
    machine.children.dies(machine.main("db"), 0)
    machine.turn()
    assert machine.state("db") is State.EXITED
    assert machine.told("db")[-4:] == [
        "service.starting",
        "service.running",
        "service.exited",
        "service.finished",
    ]


@pytest.mark.parametrize("refusal", [StageFailed("fork", errno.EAGAIN), ReaperdError("cannot find user x")])
def test_a_fork_that_fails_is_tried_again_later(
    machine: Machine, refusal: StageFailed | ReaperdError
) -> None:
    """Within one turn it is decided once, so a machine without processes is not a machine without time."""
    machine.children.refusal = refusal
    machine.supervisor.start(["web"])
    machine.turn()
    assert (machine.state(), machine["web"].run.failures) == (State.BACKOFF, 1)
    machine.turn(S)
    assert machine["web"].run.failures == 2
    machine.children.refusal = None
    machine.turn(2 * S)
    assert machine.state() is State.STARTING


def test_a_stop_right_after_a_start_in_one_turn(machine: Machine) -> None:
    """Ends down, and nothing was ever forked."""
    machine.supervisor.start(["web"])
    machine.supervisor.stop(["web"])
    machine.turn()
    assert machine.state() is State.STOPPED
    assert machine.children.forks == []
    assert len(machine.timers) == 0


def test_a_stop_in_the_turn_in_which_the_fork_failed(machine: Machine) -> None:
    """Ends down, without a next try."""
    machine.children.refusal = StageFailed("fork", errno.EAGAIN)
    machine.supervisor.start(["web"])
    machine.supervisor.settle()
    machine.supervisor.stop(["web"])
    machine.turn()
    assert machine.state() is State.STOPPED
    assert len(machine.timers) == 0


def test_a_stop_in_the_turn_of_the_fork(machine: Machine) -> None:
    """Tells the child that is not yet its program, and ends down."""
    machine.supervisor.start(["web"])
    machine.supervisor.settle()
    machine.supervisor.stop(["web"])
    machine.turn()
    assert machine.state() is State.STOPPING
    machine.children.dies(machine.main(), 15)
    machine.turn()
    assert machine.state() is State.STOPPED
    assert len(machine.timers) == 0


@pytest.mark.parametrize("crashed", [False, True])
def test_two_stops_in_one_turn_are_one(machine: Machine, crashed: bool) -> None:  # noqa: FBT001 - parametrized
    """Whoever asks second cannot know of the first, so nobody is hurried, whatever is decided in between.

    Neither while the service is up nor while it is on its way to another run; in the next turn it is.
    """
    machine.up("web")
    stray = machine.children.orphan(machine.run_id())
    if crashed:
        machine.children.dies(machine.main(), 256)
        machine.turn()
    machine.clock.advance(S)
    machine.supervisor.collect_exits()
    for _ in range(3):
        machine.supervisor.stop(["web"])
        machine.supervisor.settle()
    machine.shutdown.ask("SIGTERM")
    machine.supervisor.settle()
    assert machine.state() is State.STOPPING
    assert machine["web"].run.rung < LAST_RUNG
    assert machine.children.alive[stray].signals == [15]
    machine.turn()
    machine.supervisor.stop(["web"])
    machine.settle()
    assert machine.state() is State.STOPPED


def test_a_start_between_two_stops_of_one_turn_does_not_bring_it_up(machine: Machine) -> None:
    """The latest wish counts; this is no second stop either."""
    machine.up("web")
    machine.supervisor.restart(["web"])
    machine.turn()
    machine.supervisor.collect_exits()
    for verb in (machine.supervisor.stop, machine.supervisor.start, machine.supervisor.stop):
        verb(["web"])
        machine.supervisor.settle()
    assert machine["web"].run.rung < LAST_RUNG
    machine.children.dies(machine.main(), 15)
    machine.settle()
    assert machine.state() is State.STOPPED


def test_a_stop_in_the_turn_of_a_reload_keeps_the_service_down(machine: Machine) -> None:
    """The reload stops it to start it afresh, as a job; the user's stop is not taken for that one."""
    machine.up("web")
    machine.supervisor.collect_exits()
    machine.reload(replace(WEB, schedule=Schedule(Every(S))), DB)
    machine.supervisor.stop(["web"])
    machine.supervisor.settle()
    assert machine["web"].run.rung < LAST_RUNG
    machine.children.dies(machine.main(), 15)
    machine.settle()
    assert machine.state() is State.STOPPED


def test_an_ask_in_the_turn_in_which_a_service_goes(machine: Machine) -> None:
    """Is about one that is no longer there, and is told so."""
    teller = Teller(machine.supervisor, machine.world)
    verbs = Verbs(machine.config, machine.supervisor, machine.shutdown, machine.world, teller)
    machine.up("web")
    machine.reload(DB)
    machine.turn()
    machine.children.dies(machine.main(), 15)
    machine.supervisor.collect_exits()
    answer = verbs.ask(1, Ask("restart", ("web",), wait=True, peer=Peer(1, 0, 0)))
    assert isinstance(answer, Answer)
    assert answer.status == 404


def test_when_a_state_began_is_noted_by_the_wall_clock(machine: Machine) -> None:
    """Once, as it begins: nothing that happens later moves it."""
    began_ns = machine.wall()
    assert machine["web"].since_wall_ns == began_ns
    machine.clock.advance(5 * S)
    machine.up("web")
    assert machine["web"].since_wall_ns == began_ns + 5 * S
    machine.turn(3 * S)
    assert machine["web"].since_wall_ns == began_ns + 5 * S
    machine.supervisor.stop(["web"])
    machine.turn()
    assert machine["web"].since_wall_ns == began_ns + 8 * S


def test_a_bug_over_one_service_does_not_forget_the_others(machine: Machine) -> None:
    """What was not decided is decided in the next turn, which does not wait for anything."""
    machine.children.refusal = RuntimeError("a bug")
    machine.supervisor.start(["web", "db"])
    with pytest.raises(RuntimeError):
        machine.supervisor.settle()
    machine.children.refusal = None
    assert machine.supervisor.more
    machine.turn()
    assert machine.state("db") is State.STARTING
    assert not machine.supervisor.more


def test_a_tree_that_cannot_be_killed_is_told_once_and_tried_again_when_asked(machine: Machine) -> None:
    """Meanwhile the others are served and nothing spins."""
    machine.up("web", "db")
    machine.children.kill_says = Progress.STUCK
    machine.supervisor.stop(["web"])
    machine.turn()
    machine.turn(5 * S)
    machine.settle()
    assert machine.told("web").count("service.stuck") == 1
    assert (machine.state(), machine["web"].stuck, machine.supervisor.more) == (State.STOPPING, True, False)
    machine.children.kill_says = Progress.KILLED
    machine.supervisor.stop(["web"])
    machine.settle()
    assert machine.state() is State.STOPPED


def test_a_kill_that_takes_several_turns_does_not_wait_between_them(machine: Machine) -> None:
    """And ends the service."""
    machine.up("web")
    machine.children.kill_says = Progress.MORE
    machine.supervisor.stop(["web"])
    machine.turn()
    machine.turn(5 * S)
    assert machine.supervisor.more
    machine.turn()
    assert machine.supervisor.more
    machine.children.kill_says = Progress.KILLED
    machine.settle()
    assert (machine.state(), machine.supervisor.more) == (State.STOPPED, False)


def test_a_storm_of_orphans_is_one_line(machine: Machine) -> None:
    """With their number and a few names."""
    machine.up("web")
    for pid in [machine.children.orphan(machine.run_id(), f"s{number}") for number in range(50)]:
        machine.children.dies(pid)
    machine.children.dies(machine.children.orphan(None, "x"))
    machine.turn()
    [keys] = [keys for name, keys in machine.story if name == "orphans.reaped"]
    assert (keys["count"], keys["services"]) == (51, ["web"])
    assert machine.state() is State.RUNNING


# --- reload ---------------------------------------------------------------------------------------------


def test_a_reload_touches_only_what_changed(machine: Machine) -> None:
    """Unchanged services keep their pid, changed ones restart with the new spec, new ones start."""
    machine.up("web", "db")
    kept, old = machine.main("db"), machine.main()
    new = replace(WEB, command=("/srv/web2",))
    machine.reload(replace(WEB, name="app"), DB, new)
    machine.turn()
    machine.children.dies(old, 15)
    machine.settle()
    assert machine.main("db") == kept
    assert machine.children.forks[-1].command == ("/srv/web2",)
    assert machine.state("app") is State.STARTING
    assert list(machine.supervisor.services) == ["app", "db", "web"]


def test_a_removed_service_goes_and_nothing_of_it_stays(machine: Machine) -> None:
    """Neither a timer nor a run."""
    machine.up("web", "db")
    machine.reload(DB)
    machine.turn()
    assert "web" in machine.supervisor.services, "it is on its way down"
    machine.children.dies(machine.main(), 15)
    machine.settle()
    assert list(machine.supervisor.services) == ["db"]
    assert [what for what in machine.timers._armed if what[0] == "web"] == []
    assert len(machine.children.ended_runs) == 1


def test_a_service_that_is_just_being_started_is_not_asked_to_reload() -> None:
    """Before its exec the signal would end it: who asks is told, and nothing is sent."""
    machine = Machine(replace(WEB, reload=Reload(signal=1)))
    assert machine.supervisor.reload_service("web") == "it does not run"
    machine.supervisor.start(["web"])
    machine.turn()
    pid = machine.main()
    assert machine.supervisor.reload_service("web") == "it is just being started"
    assert machine.children.alive[pid].signals == []
    machine.children.exec_works(pid)
    machine.turn()
    assert machine.supervisor.reload_service("web") is None
    assert machine.children.alive[pid].signals == [1]
    machine.children.close()
    machine.poller.close()


def test_a_removed_service_cannot_be_started_again(machine: Machine) -> None:
    """It is no longer configured, so a start or a restart does not keep it."""
    machine.up("web")
    machine.reload(DB)
    machine.turn()
    machine.supervisor.start(["web"])
    machine.supervisor.restart(["web"])
    machine.turn()
    machine.children.dies(machine.main(), 15)
    machine.settle()
    assert "web" not in machine.supervisor.services


def test_a_removed_service_that_comes_back_while_it_goes_down_stays(machine: Machine) -> None:
    """And starts with its new spec once it is down."""
    machine.up("web")
    machine.reload(DB)
    machine.turn()
    machine.reload(DB, replace(WEB, command=("/srv/web3",)))
    machine.turn()
    machine.children.dies(machine.main(), 15)
    machine.settle()
    assert machine.state() is State.STARTING
    assert machine.children.forks[-1].command == ("/srv/web3",)


def test_a_service_that_a_user_stopped_stays_down_when_it_changes(machine: Machine) -> None:
    """The next start follows the new spec."""
    machine.up("web")
    machine.supervisor.stop(["web"])
    machine.turn()
    machine.reload(replace(WEB, command=("/srv/web4",)), DB)
    machine.turn()
    machine.children.dies(machine.main(), 15)
    machine.settle()
    assert machine.state() is State.STOPPED
    machine.up("web")
    assert machine.children.forks[-1].command == ("/srv/web4",)


def test_removing_a_service_that_is_being_stopped_does_not_hurry_it(machine: Machine) -> None:
    """Its grace is its own."""
    machine.up("web")
    machine.supervisor.stop(["web"])
    machine.turn()
    machine.reload(DB)
    machine.turn()
    assert machine.children.alive[machine.main()].signals == [15]


# --- the end --------------------------------------------------------------------------------------------


def test_the_end_stops_everything_and_is_done(machine: Machine) -> None:
    """Services in reverse order, strangers too; nobody left is the end."""
    machine.up("web", "db")
    stranger = machine.children.orphan(None)
    machine.shutdown.ask("SIGTERM")
    machine.turn()
    stopping = [keys["service"] for name, keys in machine.story if name == "service.stopping"]
    assert stopping == ["db", "web"]
    assert machine.children.alive[stranger].signals == [15]
    for pid in list(machine.children.alive):
        machine.children.dies(pid, 15)
    machine.settle()
    assert (machine.shutdown.phase, machine.shutdown.status) == (Phase.DONE, Exit.OK)


def test_the_end_does_not_hurry_who_is_on_the_way_down_already(machine: Machine) -> None:
    """A service that a user has just stopped keeps the rest of its grace."""
    machine.up("web", "db")
    machine.supervisor.stop(["web"])
    machine.turn()
    machine.shutdown.ask("SIGTERM")
    machine.turn()
    assert machine.children.alive[machine.main()].signals == [15]
    assert machine["web"].run.rung < LAST_RUNG


def test_asking_for_the_end_again_hurries(machine: Machine) -> None:
    """SIGKILL for who is still stopping."""
    machine.up("web", "db")
    machine.shutdown.ask("SIGINT")
    machine.turn()
    machine.shutdown.ask("SIGINT")
    machine.settle()
    assert machine.shutdown.phase is Phase.DONE


def test_the_end_keeps_the_longest_grace_of_all() -> None:
    """A service that may take ten minutes has ten minutes."""
    machine = Machine(WEB, replace(DB, stop=Stop(15, 600 * S)))
    machine.up("web", "db")
    machine.shutdown.ask("SIGTERM")
    machine.turn()
    machine.turn(599 * S)
    machine.settle()
    assert machine.children.alive[machine.main("db")].signals == [15]
    machine.turn(S)
    machine.settle()
    assert machine.shutdown.phase is Phase.DONE
    machine.poller.close()


def test_the_end_has_as_long_as_the_user_says() -> None:
    """For all services together, whatever each of them may take: then whoever is left is killed."""
    machine = Machine(WEB, replace(DB, stop=Stop(15, 600 * S)), shutdown_timeout_ns=7 * S)
    machine.up("web", "db")
    machine.shutdown.ask("SIGTERM")
    machine.turn()
    machine.turn(7 * S - 1)
    assert machine.children.alive[machine.main("db")].signals == [15]
    machine.turn(1)
    machine.settle()
    assert machine.shutdown.phase is Phase.DONE
    machine.poller.close()


def test_a_service_that_cannot_be_killed_does_not_keep_the_daemon(machine: Machine) -> None:
    """Each phase has a deadline; who is left behind is told, and the status says that something is wrong."""
    machine.up("web")
    machine.children.immortal = True
    machine.shutdown.ask("SIGTERM")
    machine.turn()
    for phase, duration_ns in ((Phase.KILLING, LEAST_NS), (Phase.DONE, KILLING_NS)):
        machine.turn(duration_ns - 1)
        assert machine.shutdown.phase < phase
        machine.turn(1)
        assert machine.shutdown.phase is phase
    assert_left_behind(machine, machine.main())


def test_a_stranger_that_cannot_be_killed_does_not_keep_the_daemon(machine: Machine) -> None:
    """It has a moment to go by itself first."""
    stranger = machine.children.orphan(None)
    machine.children.immortal = True
    machine.turn()
    machine.shutdown.ask("SIGTERM")
    machine.turn()
    assert machine.shutdown.phase is Phase.REST
    for phase, duration_ns in ((Phase.KILLING, REST_NS), (Phase.DONE, KILLING_NS)):
        machine.turn(duration_ns - 1)
        assert machine.shutdown.phase < phase
        machine.turn(1)
        assert machine.shutdown.phase is phase
    assert_left_behind(machine, stranger)


def assert_left_behind(machine: Machine, pid: int) -> None:
    """Check what is told of one that did not end, and how the daemon leaves."""
    [keys] = [keys for name, keys in machine.story if name == "daemon.left_behind"]
    assert keys["pids"] == [pid]
    assert machine.shutdown.status is Exit.INTERNAL
    assert machine.shutdown.deadline_ns is None


def test_nobody_restarts_during_the_end(machine: Machine) -> None:
    """A service that waits for its next try is down at once."""
    machine.up("web")
    machine.children.dies(machine.main(), 256)
    machine.turn()
    assert machine.timers.at_ns(("web", Timer.BACKOFF)) is not None
    machine.shutdown.ask("SIGTERM")
    machine.settle()
    assert machine.shutdown.phase is Phase.DONE
    assert len(machine.timers) == 0
