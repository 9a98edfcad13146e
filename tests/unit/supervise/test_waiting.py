import pytest

from reaperd.config.spec import SECOND_NS, DelayCheck, ServiceSpec, Stop
from reaperd.policy.words import Awaits, Exited, Run, State, StopAsked
from reaperd.supervise.service import Service
from reaperd.supervise.settled import is_settled, is_well
from reaperd.supervise.waiting import MARGIN_NS, Waiting, WaitingRoom, patience_ns
from reaperd.supervise.wishes import Wishes
from tests.support.fake_world import FakeWorld

S = SECOND_NS
UP = {State.RUNNING, State.EXITED}
OVER = {State.STOPPED, State.EXITED, State.FAILED, State.BACKOFF, State.RUNNING}


def in_state(state: State, name: str = "web") -> Service:
    """Return a service in a state."""
    return Service(ServiceSpec(name, (name,)), Run(state))


def wishes_of(*services: Service) -> Wishes:
    """Return wishes that know these services as they are."""
    wishes = FakeWorld(service.spec for service in services).supervisor.wishes
    wishes.services = {service.spec.name: service for service in services}
    wishes.arrange(list(wishes.services))
    for service in services:
        wishes.gates.file(service)
    return wishes


def answered(room: WaitingRoom, now_ns: int = 0, **states: State) -> list[int]:
    """Return the tickets that are answered now."""
    tickets: list[int] = []
    wishes = wishes_of(*(in_state(state, name) for name, state in states.items()))
    room.settled(wishes, now_ns, lambda ticket, _waiting: tickets.append(ticket))
    return tickets


@pytest.mark.parametrize(
    ("verb", "settled", "well"),
    [("start", OVER, UP), ("restart", OVER, UP), ("stop", {State.STOPPED}, {State.STOPPED})],
)
def test_each_verb_is_settled_in_its_states(verb: str, settled: set[State], well: set[State]) -> None:
    """And went well in some of these. One that waits is settled where what it needs does not come."""
    for state in State:
        room = WaitingRoom()
        room.enter(1, Waiting(verb, ("web",)), S)
        assert answered(room, web=state) == ([1] if state in settled else [])
        assert is_well(verb, in_state(state)) is (state in well)


def test_a_service_between_two_times_of_its_schedule_is_settled_and_well() -> None:
    """It was started, and waits for its time; to be stopped is something else."""
    web = Service(ServiceSpec("web", ("web",)), Run(State.WAITING, awaits=Awaits.SCHEDULE))
    assert is_settled("start", "web", wishes_of(web))
    assert is_well("start", web)
    assert not is_settled("stop", "web", wishes_of(web))


def test_who_waits_for_one_that_does_not_come_is_settled_but_not_well() -> None:
    """While the other is on its way there is something to wait for."""
    web = Service(ServiceSpec("web", ("web",), requires=("db",)), Run(State.WAITING))
    db = in_state(State.STARTING, "db")
    assert not is_settled("start", "web", wishes_of(web, db))
    db.run = Run(State.FAILED, cause=Exited(code=1))
    assert is_settled("start", "web", wishes_of(web, db))
    assert not is_well("start", web)


def test_a_oneshot_is_settled_when_its_work_is_done() -> None:
    """While it runs it has not been what was asked for."""
    job = Service(ServiceSpec("job", ("job",), oneshot=True), Run(State.RUNNING))
    assert not is_settled("start", "job", wishes_of(job))
    job.run = Run(State.EXITED, cause=Exited(code=0))
    assert is_settled("start", "job", wishes_of(job))
    assert is_well("start", job)


def test_what_is_still_to_come_by_itself_is_waited_for() -> None:
    """A stop that waits for others, a start after a stop, and the end of one that is no longer configured."""
    web = in_state(State.RUNNING)
    wishes = wishes_of(web)
    assert is_settled("start", "web", wishes)
    wishes.gates.queue(web, StopAsked)
    assert not is_settled("start", "web", wishes)
    wishes.gates.keep("web")
    for mark in ("again", "leaving"):
        web = in_state(State.STOPPED)
        setattr(web, mark, True)
        assert not is_settled("stop", "web", wishes_of(web))


def test_an_ask_is_answered_once() -> None:
    """And nobody waits then."""
    room = WaitingRoom()
    room.enter(1, Waiting("stop", ("web",)), S)
    assert answered(room, web=State.STOPPED) == [1]
    assert answered(room, web=State.STOPPED) == []
    assert room.next_ns() is None


def test_an_ask_about_many_is_settled_with_the_last() -> None:
    """Not with the first."""
    room = WaitingRoom()
    room.enter(1, Waiting("stop", ("web", "db")), S)
    assert answered(room, web=State.STOPPED, db=State.STOPPING) == []
    assert answered(room, web=State.STOPPED, db=State.STOPPED) == [1]


def test_an_ask_that_takes_too_long_is_answered_all_the_same() -> None:
    """At its own deadline, which the poll is told of; others go on waiting."""
    room = WaitingRoom()
    room.enter(1, Waiting("stop", ("web",)), S)
    room.enter(2, Waiting("stop", ("web",)), S + 5)
    assert room.next_ns() == S
    assert answered(room, S - 1, web=State.STOPPING) == []
    assert answered(room, S, web=State.STOPPING) == [1]
    assert room.next_ns() == S + 5


def test_patience_follows_what_users_give_their_services() -> None:
    """A service that may take ten minutes to stop, and one that may take twenty to be ready, get them."""
    slow = Service(ServiceSpec("slow", ("x",), stop=Stop(15, 600 * S)), Run())
    heavy = ServiceSpec("heavy", ("x",), ready=DelayCheck(S), ready_timeout_ns=1200 * S)
    assert patience_ns([]) == MARGIN_NS
    assert patience_ns([slow]) == 600 * S + MARGIN_NS
    assert patience_ns([slow, Service(heavy, Run())]) == 1800 * S + MARGIN_NS
    # What only the next run follows counts, too; readiness that is not asked for does not.
    assert (
        patience_ns([Service(ServiceSpec("heavy", ("x",)), Run(), next_spec=heavy)]) == 1210 * S + MARGIN_NS
    )


def test_who_hangs_up_waits_no_more() -> None:
    """Neither an answer nor a deadline is left of it."""
    room = WaitingRoom()
    room.enter(1, Waiting("stop", ("web",)), S)
    room.leave(1)
    room.leave(1)
    assert room.next_ns() is None
    assert answered(room, web=State.STOPPED) == []


def test_a_service_that_a_reload_removed_is_stopped_and_not_started() -> None:
    """Nobody waits for what is no longer there."""
    for verb in ("start", "stop", "restart"):
        room = WaitingRoom()
        room.enter(1, Waiting(verb, ("gone",)), S)
        assert answered(room) == [1]
        assert is_well(verb, None) is (verb == "stop")


def test_an_answer_may_let_another_ask_leave() -> None:
    """Answering one client can show that another has gone."""
    room = WaitingRoom()
    for ticket in (1, 2):
        room.enter(ticket, Waiting("stop", ("web",)), S)
    room.settled(wishes_of(in_state(State.STOPPED)), 0, lambda _ticket, _waiting: room.leave(2))
    assert room.next_ns() is None
