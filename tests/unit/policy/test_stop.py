from hypothesis import given
from hypothesis import strategies as st

from reaperd.config.spec import Stop
from reaperd.policy.stop import LAST_RUNG, climb
from reaperd.policy.words import ArmTimer, CancelTimer, Kill, Signal, Timer


@given(st.integers(1, 64), st.integers(0, 10**18), st.integers(0, 10**18))
def test_the_first_rung_asks_and_gives_time(signal: int, timeout_ns: int, now_ns: int) -> None:
    """The configured signal goes out, and the grace begins now."""
    assert climb(Stop(signal, timeout_ns), 0, now_ns) == (
        Signal(signal),
        ArmTimer(Timer.GRACE, now_ns + timeout_ns),
    )


def test_the_last_rung_kills_and_has_no_deadline() -> None:
    """Nothing comes after SIGKILL, so no timer is left behind."""
    assert climb(Stop(), LAST_RUNG, 0) == (CancelTimer(Timer.GRACE), Kill())
