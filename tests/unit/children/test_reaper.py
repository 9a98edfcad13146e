import signal
import time

import pytest

from reaperd.children import reaper as module
from reaperd.children.reaper import Reaper


def _no_leaf(_pid: int) -> None:
    """Without cgroups nobody is in a run's leaf."""


class Interrupted(Reaper):
    """A reaper whose looks are interrupted by further signals, `interruptions` times, at their very end."""

    def __init__(self, interruptions: int, finds: int = 0) -> None:
        super().__init__(_no_leaf)
        self.looks = 0
        self.nested = 0
        self._interruptions = interruptions
        self._finds = finds

    def _reap_up_to(self, most: int) -> int:
        self.looks += 1
        looks = self.looks
        if self._interruptions:
            self._interruptions -= 1
            self.handle(signal.SIGCHLD, None)
        self.nested += self.looks - looks
        self.more = most <= self._finds
        return most - self._finds


@pytest.mark.parametrize("interruptions", [0, 1, 2, 5])
def test_a_signal_during_the_last_look_is_followed_by_another(interruptions: int) -> None:
    """A child that dies just after it was looked for is found; nothing else would announce it."""
    reaper = Interrupted(interruptions)
    reaper.handle(signal.SIGCHLD, None)
    assert reaper.looks == 1 + interruptions
    assert reaper.nested == 0, "the interrupted call does the work, not the interrupting one"
    reaper.close()


def test_interruptions_do_not_make_a_call_longer_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A storm of deaths cannot keep the handler from coming to its end."""
    monkeypatch.setattr(module, "BATCH", 10)
    reaper = Interrupted(interruptions=100, finds=3)
    reaper.handle(signal.SIGCHLD, None)
    assert reaper.looks == 4
    assert reaper.more
    reaper.more = False
    reaper.close()


class Broken(Reaper):
    """A reaper that cannot look."""

    def _reap_up_to(self, most: int) -> int:
        raise OSError(most)


def test_no_exception_leaves_the_handler() -> None:
    """It would surface in whatever code the signal hit; it is kept for the turn, and the next call works."""
    reaper = Broken(_no_leaf)
    for _ in range(2):
        reaper.failure = None
        reaper.handle(signal.SIGCHLD, None)
        assert isinstance(reaper.failure, OSError)
    reaper.close()


def test_a_look_that_failed_is_followed_by_another_at_once_and_then_after_a_second() -> None:
    """A reaper that cannot look does not keep the loop busy."""
    reaper = Broken(_no_leaf)
    assert reaper.next_ns() is None
    before_ns = time.monotonic_ns()
    reaper.handle(signal.SIGCHLD, None)
    first_ns = reaper.next_ns()
    assert first_ns is not None
    assert before_ns <= first_ns <= time.monotonic_ns()
    reaper.handle(signal.SIGCHLD, None)
    second_ns = reaper.next_ns()
    assert second_ns is not None
    assert second_ns >= first_ns + module.AGAIN_NS
    reaper.close()
