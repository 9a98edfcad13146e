import signal
import time

import pytest

from reaperd.output.matcher import LONGEST_LINE, Matcher


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "a*a*a*b", ".*.*x"])
def test_a_line_that_takes_too_long_is_given_up(pattern: str) -> None:
    """No expression on no line holds the loop; what is given up matches no more."""
    signal.alarm(30)  # the end of a matcher that goes on for years
    before = signal.getsignal(signal.SIGVTALRM)
    matcher = Matcher(pattern)
    began = time.process_time()
    assert not matcher.feed(b"a" * 4000 + b"!\n")
    assert time.process_time() - began < 5
    signal.alarm(0)
    assert matcher.gave_up
    assert not matcher.feed(b"aaaabx\n")
    assert signal.getsignal(signal.SIGVTALRM) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)


def test_the_bound_holds_where_its_signal_is_blocked() -> None:
    """A mask that somebody left us is put aside for that long, and is as before afterwards."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGVTALRM})
    signal.alarm(30)
    try:
        matcher = Matcher("(a+)+$")
        assert not matcher.feed(b"a" * 4000 + b"!\n")
        assert matcher.gave_up
        assert signal.SIGVTALRM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.alarm(0)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def test_a_line_is_found_over_several_reads_and_up_to_its_longest() -> None:
    """A line may come in parts; what is beyond the limit is not looked at."""
    matcher = Matcher("ready$")
    assert not matcher.feed(b"not yet\nrea")
    assert matcher.feed(b"dy\r\n")
    assert not matcher.feed(b"x" * LONGEST_LINE + b"ready\n")
    assert not matcher.gave_up
