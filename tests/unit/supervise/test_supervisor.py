from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reaperd.config.daemon_spec import DaemonSpec
from reaperd.config.spec import Backoff, Config, DelayCheck, Restart, ServiceSpec
from reaperd.policy.words import State, Want
from reaperd.supervise import reload
from reaperd.supervise.settled import is_settled
from tests.support.fake_world import FakeWorld

NAMES = "abcde"  # a later one may need an earlier one: so there is never a cycle
CLEAN, CRASH = 0, 256
SOME = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)
BACKOFF = Backoff(initial_ns=10**9, jitter=0.0, max_ns=10**9)

Make = Callable[..., FakeWorld]


@pytest.fixture
def make() -> Iterator[Make]:
    """Make worlds, and close them."""
    made: list[FakeWorld] = []

    def world(**specs: dict[str, Any]) -> FakeWorld:
        found = FakeWorld(ServiceSpec(name, (name,), backoff=BACKOFF, **keys) for name, keys in specs.items())
        made.append(found)
        found.supervisor.start(specs)
        found.turn()
        return found

    yield world
    for each in made:
        each.close()


def test_an_undying_service_does_not_hold_up_the_others(make: Make) -> None:
    """Once it has got SIGKILL, those below it are asked to stop."""
    world = make(db={}, web={"requires": ("db",)})
    world.children.undead.add("web")
    world.supervisor.stop(["db"])
    world.turn()
    assert world.states() == {"db": State.RUNNING, "web": State.STOPPING}
    world.wait(10)
    assert world.states() == {"db": State.STOPPED, "web": State.STOPPING}


def test_a_stop_during_a_backoff_ends_it(make: Make) -> None:
    """There is no process to wait for."""
    world = make(web={})
    world.children.end_service("web", CRASH)
    world.turn()
    assert world.states() == {"web": State.BACKOFF}
    world.supervisor.stop(["web"])
    world.turn()
    assert world.states() == {"web": State.STOPPED}
    world.wait(100)
    assert world.children.spawned == ["web"]


def test_fork_failing_is_tried_again_after_a_pause(make: Make) -> None:
    """EAGAIN is a failure like any other."""
    world = make(web={})
    world.children.end_service("web", CRASH)
    world.children.missing.add("web")
    world.wait(1)
    assert world.states() == {"web": State.BACKOFF}
    world.children.missing.clear()
    world.wait(1)
    assert world.states() == {"web": State.RUNNING}


def test_an_optional_neighbour_that_fails_holds_nobody(make: Make) -> None:
    """`after` is order, not need."""
    world = make(log={"ready": DelayCheck(10**9)}, web={"after": ("log",)})
    assert world.states() == {"log": State.STARTING, "web": State.WAITING}
    world.children.end_service("log", CRASH)
    world.turn()
    assert world.states() == {"log": State.BACKOFF, "web": State.RUNNING}


def test_a_dropped_service_is_forgotten_by_those_it_needed(make: Make) -> None:
    """What a reload removed is not looked for at the next stop."""
    world = make(db={}, web={"requires": ("db",)})
    world.supervisor.wishes.remove(["web"])
    world.supervisor.look()
    world.turn()
    world.supervisor.stop(["db"])
    world.turn()
    assert world.states() == {"db": State.STOPPED}


class Ordered(RuleBasedStateMachine):
    """Services that need each other, and everything that users, processes and time can do to them."""

    def __init__(self) -> None:
        super().__init__()
        self.world = FakeWorld([])
        self.config = Config(Path("/c"), DaemonSpec(Path("/s"), Path("/d")), ())

    @initialize(data=st.data())
    def configure(self, data: st.DataObject) -> None:
        """Begin with some services, all wanted up."""
        self.follow(data)

    @rule(data=st.data())
    def follow(self, data: st.DataObject) -> None:
        """Reload: any services with any needs, some of them changed."""
        names = data.draw(st.sets(st.sampled_from(NAMES), min_size=1))
        specs = tuple(self.drawn(name, sorted(names), data) for name in sorted(names))
        new = replace(self.config, services=specs)
        reload.apply(self.world.supervisor, self.config, new)
        self.config = new
        self.world.turn()

    @staticmethod
    def drawn(name: str, names: list[str], data: st.DataObject) -> ServiceSpec:
        """Return one service."""
        earlier = [other for other in names if other < name]
        some = st.lists(st.sampled_from(earlier), max_size=2).map(tuple) if earlier else st.just(())
        return ServiceSpec(
            name,
            (data.draw(st.sampled_from(["one", "two"])),),
            backoff=BACKOFF,
            requires=data.draw(some),
            after=data.draw(some),
            oneshot=(oneshot := data.draw(st.booleans())),
            restart=data.draw(st.sampled_from([Restart.NEVER, Restart.ON_FAILURE])),
            ready=None if oneshot else data.draw(st.none() | st.just(DelayCheck(10**9))),
        )

    @rule(names=SOME, verb=st.sampled_from(["start", "stop", "restart"]))
    def ask(self, names: list[str], verb: str) -> None:
        """Users ask."""
        known = [name for name in names if name in self.world.services]
        getattr(self.world.supervisor, verb)(known)
        self.world.turn()

    @rule(name=st.sampled_from(NAMES), status=st.sampled_from([CLEAN, CRASH]))
    def a_process_ends(self, name: str, status: int) -> None:
        """Well or not."""
        if name in self.world.children.names():
            self.world.children.end_service(name, status)
            self.world.turn()

    @rule(names=st.sets(st.sampled_from(NAMES)), which=st.sampled_from(["stubborn", "missing"]))
    def they_change_their_ways(self, names: set[str], which: str) -> None:
        """From now on these do not end when asked to, or cannot be forked."""
        setattr(self.world.children, which, names)

    @rule(seconds=st.sampled_from([0.5, 1, 30]))
    def time_passes(self, seconds: float) -> None:
        """Timers come due."""
        self.world.wait(seconds)

    @invariant()
    def nobody_waits_without_a_reason(self) -> None:
        """Who waits is held; who is to stop has somebody before him."""
        gates = self.world.supervisor.wishes.gates
        for name, service in self.world.services.items():
            assert (service.run.state is State.WAITING) == bool(gates.held_by(service))
            assert gates.is_queued(name) == bool(gates.stops_after(service))

    @invariant()
    def who_was_removed_is_on_its_way_out(self) -> None:
        """Nobody is there who is neither configured nor leaving, and the leaving ones go down."""
        configured = {spec.name for spec in self.config.services}
        for name, service in self.world.services.items():
            assert (name in configured) != service.leaving
            if service.leaving:
                assert service.run.want is Want.DOWN or self.world.supervisor.wishes.gates.is_to_stop(name)

    @invariant()
    def who_rests_follows_the_latest_file(self) -> None:
        """And has no process."""
        specs = {spec.name: spec for spec in self.config.services}
        for name, service in self.world.services.items():
            if not service.leaving:
                assert (service.next_spec or service.spec) == specs[name]
            if service.at_rest():
                assert service.next_spec is None
                assert not service.again
                assert name not in self.world.children.names()

    def teardown(self) -> None:
        """All stop in the end, each after those that need it, and everybody who waited is answered."""
        self.world.children.stubborn = set()
        self.world.wait(30)
        supervisor = self.world.supervisor
        supervisor.stop(reversed(supervisor.services))
        self.world.turn()
        self.world.wait(30)
        assert not self.world.children.names()
        for name in supervisor.services:
            assert is_settled("stop", name, supervisor.wishes)
        self.world.close()


TestOrdered = Ordered.TestCase
TestOrdered.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
