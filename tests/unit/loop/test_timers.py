from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from reaperd.loop.timers import Timers

NAMES = st.sampled_from("abcdef")
TIMES = st.integers(0, 20)


class AgainstNaive(RuleBasedStateMachine):
    """The heap against a list of (when, number of the arming, what) that is searched each time."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: Timers[str] = Timers()
        self.naive: list[tuple[int, int, str]] = []
        self.armed = 0

    def forget(self, what: str) -> None:
        """Take `what` out of the list."""
        self.naive = [entry for entry in self.naive if entry[2] != what]

    @rule(what=NAMES, at_ns=TIMES)
    def arm(self, what: str, at_ns: int) -> None:
        """Arming again moves."""
        self.forget(what)
        self.armed += 1
        self.naive.append((at_ns, self.armed, what))
        self.timers.arm(what, at_ns)

    @rule(what=NAMES, times=st.integers(60, 90))
    def arm_often(self, what: str, times: int) -> None:
        """Many moves of one timer, which leave many dead entries in the heap."""
        for at_ns in range(times):
            self.arm(what, at_ns % 20)

    @rule(what=NAMES)
    def cancel(self, what: str) -> None:
        """Cancelling what is not armed does nothing."""
        self.forget(what)
        self.timers.cancel(what)

    @rule(now_ns=TIMES)
    def due(self, now_ns: int) -> None:
        """What is due comes out once, earliest first, then in the order of arming."""
        expected = sorted(entry for entry in self.naive if entry[0] <= now_ns)
        self.naive = [entry for entry in self.naive if entry[0] > now_ns]
        assert self.timers.due(now_ns) == [what for _, _, what in expected]

    @invariant()
    def same(self) -> None:
        """Both know the same timers."""
        assert len(self.timers) == len(self.naive)
        assert self.timers.next_ns() == min((at_ns for at_ns, _, _ in self.naive), default=None)
        at = {what: at_ns for at_ns, _, what in self.naive}
        assert all(self.timers.at_ns(what) == at.get(what) for what in "abcdef")

    @invariant()
    def bounded(self) -> None:
        """Dead entries do not pile up."""
        assert len(self.timers._heap) <= max(64, 2 * 6) + 1


TestAgainstNaive = AgainstNaive.TestCase


def test_without_timers_there_is_no_deadline() -> None:
    """So a poll needs no timeout."""
    timers: Timers[str] = Timers()
    timers.arm("a", 5)
    timers.cancel("a")
    assert timers.next_ns() is None
    assert timers.due(10**18) == []


@given(st.lists(TIMES, max_size=30))
def test_names_are_never_compared(times: list[int]) -> None:
    """Equal deadlines of things that have no order are no error."""
    timers: Timers[object] = Timers()
    things = [object() for _ in times]
    for thing, at_ns in zip(things, times, strict=True):
        timers.arm(thing, at_ns)
    assert set(timers.due(20)) == set(things)
