"""Moments of the wall clock as text."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from reaperd.moments import rfc3339


@given(st.integers(min_value=0, max_value=4_102_444_800 * 10**9), st.integers(min_value=1, max_value=9))
def test_it_is_the_moment_cut_off(at_ns: int, digits: int) -> None:
    """With as many digits as asked for, never rounded up to a moment that has not come."""
    text = rfc3339(at_ns, digits)
    whole, _, rest = text.removesuffix("Z").partition(".")
    assert len(rest) == digits
    assert int(datetime.fromisoformat(f"{whole}Z").timestamp()) == at_ns // 10**9
    assert int(rest) == at_ns % 10**9 // 10 ** (9 - digits)


def test_it_is_utc() -> None:
    """As RFC 3339 has it."""
    assert rfc3339(1_500_000_000) == "1970-01-01T00:00:01.500Z"
    assert datetime.fromisoformat(rfc3339(0)).tzinfo is UTC
