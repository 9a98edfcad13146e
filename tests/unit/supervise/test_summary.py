from reaperd.config.spec import ServiceSpec
from reaperd.policy.words import Run, State
from reaperd.supervise.service import Service
from reaperd.supervise.summary import summary


def services(**states: State) -> list[Service]:
    """Return services in these states."""
    return [
        Service(ServiceSpec(name=name, command=("x",)), Run(state=state)) for name, state in states.items()
    ]


def test_states_are_counted_in_one_order() -> None:
    """What is up comes first; who failed, or is tried again, is named."""
    found = services(a=State.STOPPED, b=State.FAILED, c=State.RUNNING, d=State.BACKOFF, e=State.RUNNING)
    assert summary(found) == "2 running, 1 backoff (d), 1 failed (b), 1 stopped"


def test_a_line_stays_one_however_many_fail() -> None:
    """Three are named."""
    found = services(**{f"s{number}": State.FAILED for number in range(100)})
    assert summary(found) == "100 failed (s0, s1, s2 and 97 more)"


def test_nothing_is_said_to_be_there_where_nothing_is() -> None:
    """A configuration may be empty."""
    assert summary([]) == "no services"
