import pytest

from reaperd.config.spec import ServiceSpec
from reaperd.policy.words import Run, State
from reaperd.supervise.service import Service
from reaperd.supervise.settled import is_well
from reaperd.supervise.waiting import PATIENCE_NS, Waiting, WaitingRoom
from reaperd.supervise.wishes import Wishes
from tests.support.fake_world import FakeWorld

ALL = set(State)
UP = {State.RUNNING, State.EXITED}
OVER = {State.STOPPED, State.EXITED, State.FAILED, State.BACKOFF, State.RUNNING}


def in_state(state: State) -> Service:
    """Return a service in a state."""
    return Service(ServiceSpec("web", ("web",)), Run(state))


def wishing(**states: State) -> Wishes:
    """Return the wishes for services that are in these states."""
    world = FakeWorld(ServiceSpec(name, (name,)) for name in states)
    for name, state in states.items():
        world.supervisor.services[name].run = Run(state)
    world.close()
    return world.supervisor.wishes


def answered(room: WaitingRoom, now_ns: int = 0, **states: State) -> list[int]:
    """Return the tickets that are answered now."""
    tickets: list[int] = []
    room.settled(wishing(**states), now_ns, lambda ticket, _waiting: tickets.append(ticket))
    return tickets


@pytest.mark.parametrize(
    ("verb", "settled", "well"),
    [("start", OVER, UP), ("restart", OVER, UP), ("stop", {State.STOPPED}, {State.STOPPED})],
)
def test_each_verb_is_settled_in_its_states(verb: str, settled: set[State], well: set[State]) -> None:
    """And went well in some of these."""
    for state in State:
        room = WaitingRoom()
        room.enter(1, Waiting(verb, ("web",)), 0)
        assert answered(room, web=state) == ([1] if state in settled else [])
        assert is_well(verb, in_state(state)) is (state in well)


def test_an_ask_is_answered_once() -> None:
    """And nobody waits then."""
    room = WaitingRoom()
    room.enter(1, Waiting("stop", ("web",)), 0)
    assert answered(room, web=State.STOPPED) == [1]
    assert answered(room, web=State.STOPPED) == []
    assert room.next_ns() is None


def test_an_ask_about_many_is_settled_with_the_last() -> None:
    """Not with the first."""
    room = WaitingRoom()
    room.enter(1, Waiting("stop", ("web", "db")), 0)
    assert answered(room, web=State.STOPPED, db=State.STOPPING) == []
    assert answered(room, web=State.STOPPED, db=State.STOPPED) == [1]


def test_an_ask_that_takes_too_long_is_answered_all_the_same() -> None:
    """At its own deadline, which the poll is told of; others go on waiting."""
    room = WaitingRoom()
    room.enter(1, Waiting("stop", ("web",)), 0)
    room.enter(2, Waiting("stop", ("web",)), 5)
    assert room.next_ns() == PATIENCE_NS
    assert answered(room, PATIENCE_NS - 1, web=State.STOPPING) == []
    assert answered(room, PATIENCE_NS, web=State.STOPPING) == [1]
    assert room.next_ns() == PATIENCE_NS + 5


def test_who_hangs_up_waits_no_more() -> None:
    """Neither an answer nor a deadline is left of it."""
    room = WaitingRoom()
    room.enter(1, Waiting("stop", ("web",)), 0)
    room.leave(1)
    room.leave(1)
    assert room.next_ns() is None
    assert answered(room, web=State.STOPPED) == []


def test_a_service_that_a_reload_removed_is_stopped_and_not_started() -> None:
    """Nobody waits for what is no longer there."""
    for verb in ("start", "stop", "restart"):
        room = WaitingRoom()
        room.enter(1, Waiting(verb, ("gone",)), 0)
        assert answered(room) == [1]
        assert is_well(verb, None) is (verb == "stop")


def test_an_answer_may_let_another_ask_leave() -> None:
    """Answering one client can show that another has gone."""
    room = WaitingRoom()
    for ticket in (1, 2):
        room.enter(ticket, Waiting("stop", ("web",)), 0)
    room.settled(wishing(web=State.STOPPED), 0, lambda _ticket, _waiting: room.leave(2))
    assert room.next_ns() is None
