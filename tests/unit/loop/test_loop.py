import os
import signal
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from reaperd.kernel.wakeup import Wakeup
from reaperd.loop.loop import PATIENCE, Loop
from reaperd.loop.poller import Phase, Poller
from tests.support.pipes import drain, owned_pipe
from tests.support.processes import call_in_process

HANDLED = frozenset({signal.SIGUSR1, signal.SIGUSR2})
STEPS = ["exits", "signals", "timers", "settle"]


class Pipe:
    """Stands for the wakeup pipe; the interpreter's own stays as it is."""

    def __init__(self) -> None:
        self.fd, self.write_fd = os.pipe()
        os.set_blocking(self.fd, False)

    def drain(self) -> bytes:
        """Empty the pipe."""
        return drain(self.fd)


class Parts:
    """What a turn is made of: notes what is called, and raises where it is told to."""

    def __init__(self) -> None:
        self.story: list[str] = []
        self.failures: list[tuple[str, str]] = []
        self.closed: list[str] = []
        self.raising: set[str] = set()
        self.timeout: int | None = 0
        self.turns_left = 1

    def note(self, step: str) -> None:
        """Note a step, or raise in it."""
        self.story.append(step)
        if step in self.raising:
            raise RuntimeError(step)

    def collect_exits(self) -> None:
        """Note it."""
        self.note("exits")

    def take_signals(self) -> None:
        """Note it."""
        self.note("signals")

    def fire_timers(self) -> None:
        """Note it."""
        self.note("timers")

    def settle(self) -> None:
        """Note it."""
        self.note("settle")
        self.turns_left -= 1

    def timeout_ns(self) -> int | None:
        """Return what the test wants."""
        return self.timeout

    def finished(self) -> bool:
        """Tell whether the test has seen enough."""
        return self.turns_left <= 0

    def turn_failed(self, step: str, error: Exception, trace: str) -> None:
        """Keep it."""
        assert "Traceback" in trace
        self.failures.append((step, str(error)))

    def source_closed(self, name: str) -> None:
        """Keep it."""
        self.closed.append(name)


class Talker:
    """A source that notes when it is served, does what it is told to, and never reads."""

    def __init__(
        self, parts: Parts, name: str, phase: Phase, act: Callable[[int], object] | None = None
    ) -> None:
        self.name = name
        self.phase = phase
        self.given_up: list[int] = []
        self._parts = parts
        self._act = act

    def ready(self, fd: int, events: int) -> None:
        """Note it, then do what the test wants."""
        del events
        self._parts.note(self.name)
        if self._act is not None:
            self._act(fd)

    def failed(self, fd: int) -> None:
        """Keep it, and raise where the test wants."""
        self.given_up.append(fd)
        self._parts.note(f"{self.name} failed")


class Setting:
    """A loop with a pipe that always is readable, to hang sources on."""

    def __init__(self, readable_fd: int) -> None:
        self.parts = Parts()
        self.poller = Poller()
        self.pipe = Pipe()
        self.loop = Loop(self.poller, cast("Wakeup", self.pipe), frozenset(), self.parts)
        self._readable_fd = readable_fd
        self.fds: list[int] = []

    def add(self, name: str, phase: Phase, act: Callable[[int], object] | None = None) -> Talker:
        """Watch one more readable descriptor for a new source."""
        talker = Talker(self.parts, name, phase, act)
        self.fds.append(os.dup(self._readable_fd))
        self.poller.watch(self.fds[-1], talker)
        return talker

    def drop(self, fd: int) -> None:
        """Drop and close as a source does with what it owns."""
        self.poller.drop(fd)
        os.close(fd)
        self.fds.remove(fd)

    def close(self) -> None:
        """Close everything."""
        for fd in [*self.fds, self.pipe.fd, self.pipe.write_fd]:
            os.close(fd)
        self.poller.close()


@pytest.fixture
def setting() -> Iterator[Setting]:
    """Yield a loop to hang sources on."""
    with owned_pipe() as (read_fd, write_fd):
        os.write(write_fd, b"x")
        setting = Setting(read_fd)
        yield setting
        setting.close()


def test_the_order_of_a_turn(setting: Setting) -> None:
    """Wakeup, exits, signals, timers, reports, output, control, then decisions."""
    for phase in (Phase.CONTROL, Phase.OUTPUT, Phase.REPORTS):
        setting.add(phase.name, phase)
    os.write(setting.pipe.write_fd, b"\x11")
    setting.loop.turn()
    assert setting.parts.story == ["exits", "signals", "timers", "REPORTS", "OUTPUT", "CONTROL", "settle"]
    assert setting.pipe.drain() == b"", "the wakeup pipe was emptied"


def test_the_loop_turns_until_it_is_finished(setting: Setting) -> None:
    """Not one turn more."""
    setting.parts.turns_left = 3
    setting.loop.run()
    assert setting.parts.story == STEPS * 3


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_raises_is_reported_and_the_turn_goes_on(setting: Setting, step: str) -> None:
    """No part can end the loop or keep the others from their turn."""
    setting.parts.raising = {step}
    setting.loop.turn()
    assert setting.parts.story == STEPS
    assert setting.parts.failures == [(step, step)]


def test_a_source_that_raises_does_not_harm_the_others(setting: Setting) -> None:
    """It is reported by its name."""
    setting.add("bad", Phase.REPORTS)
    setting.add("good", Phase.REPORTS)
    setting.parts.raising = {"bad"}
    setting.loop.turn()
    assert setting.parts.story.count("good") == 1
    assert setting.parts.failures == [("bad", "bad")]


def test_a_source_that_fails_three_turns_running_is_dropped_and_reported(setting: Setting) -> None:
    """It is told, for the descriptor is its own; then the loop is silent about it."""
    bad = setting.add("bad", Phase.CONTROL)
    setting.parts.raising = {"bad"}
    for _ in range(PATIENCE + 2):
        setting.loop.turn()
    assert setting.parts.story.count("bad") == PATIENCE
    assert bad.given_up == setting.fds
    assert setting.parts.closed == ["bad"]
    assert setting.poller.source_of(setting.fds[0]) is None


def test_a_source_that_cannot_even_give_up_is_dropped_all_the_same(setting: Setting) -> None:
    """Its failure to do so is reported too."""
    setting.add("bad", Phase.CONTROL)
    setting.parts.raising = {"bad", "bad failed"}
    for _ in range(PATIENCE):
        setting.loop.turn()
    assert setting.parts.closed == ["bad"]
    assert len(setting.parts.failures) == PATIENCE + 1


def test_success_in_between_forgives(setting: Setting) -> None:
    """Three turns running means running."""
    setting.add("moody", Phase.CONTROL)
    for raising in ({"moody"}, {"moody"}, set[str](), {"moody"}, {"moody"}):
        setting.parts.raising = raising
        setting.loop.turn()
    assert setting.parts.closed == []


def test_a_new_source_does_not_inherit_the_failures_of_a_descriptors_number(setting: Setting) -> None:
    """Two failures of one client are not held against the next that gets the same number."""
    setting.add("bad", Phase.CONTROL)
    setting.parts.raising = {"bad", "next"}
    for _ in range(PATIENCE - 1):
        setting.loop.turn()
    fd = setting.fds[0]
    setting.drop(fd)
    setting.add("next", Phase.CONTROL)
    assert setting.fds == [fd], "the kernel gives the lowest free number"
    setting.loop.turn()
    assert setting.parts.closed == []


def test_a_source_that_lets_go_of_its_descriptor_and_raises_is_not_closed_twice(setting: Setting) -> None:
    """What it dropped itself is no longer counted."""

    def drop_and_raise(fd: int) -> None:
        setting.drop(fd)
        raise RuntimeError("gone")

    bad = setting.add("bad", Phase.CONTROL, drop_and_raise)
    setting.loop.turn()
    assert bad.given_up == []


def test_a_source_that_was_dropped_within_the_turn_is_not_served(setting: Setting) -> None:
    """An earlier source may have ended it."""
    setting.add("later", Phase.CONTROL)
    victim = setting.fds[0]
    setting.add("first", Phase.REPORTS, lambda _fd: setting.drop(victim))
    setting.loop.turn()
    assert "later" not in setting.parts.story


def test_news_of_an_old_descriptor_does_not_reach_a_new_one_of_its_number(setting: Setting) -> None:
    """A client whose number another had when the poll returned is served from the next turn on."""
    setting.add("old", Phase.CONTROL)
    victim = setting.fds[0]

    def replace(_fd: int) -> None:
        if once.pop():
            setting.drop(victim)
            setting.add("new", Phase.CONTROL)

    once = [False, True]
    setting.add("first", Phase.REPORTS, replace)
    setting.loop.turn()
    assert victim in setting.fds, "the kernel gave the same number again"
    assert not {"old", "new"} & set(setting.parts.story)
    setting.loop.turn()
    assert "new" in setting.parts.story


class Recorder(Poller):
    """Keeps the timeouts that it is given and never waits."""

    def __init__(self) -> None:
        super().__init__()
        self.timeouts: list[int | None] = []

    def poll(self, timeout_ns: int | None) -> list[tuple[int, int]]:
        """Keep it."""
        self.timeouts.append(timeout_ns)
        return []


def test_the_poll_waits_as_long_as_the_parts_say(setting: Setting) -> None:
    """Without any deadline it has no timeout at all."""
    recorder = Recorder()
    loop = Loop(recorder, cast("Wakeup", setting.pipe), frozenset(), setting.parts)
    for timeout in (None, 0, 12345):
        setting.parts.timeout = timeout
        loop.turn()
    assert recorder.timeouts == [None, 0, 12345]
    recorder.close()


# --- with real signals, in an interpreter of their own ------------------------------------------------------


def _is_blocked() -> bool:
    return signal.pthread_sigmask(signal.SIG_BLOCK, set()) >= HANDLED


class Signalled(Parts):
    """Sends itself signals within a turn, and notes when their handlers run."""

    def __init__(self) -> None:
        super().__init__()
        self.blocked: list[bool] = []
        self.timeout = None  # a signal ends the poll, or nothing does

    def note(self, step: str) -> None:
        """Note whether signals are blocked, and send one."""
        super().note(step)
        self.blocked.append(_is_blocked())
        if step in {"exits", "settle"}:
            os.kill(os.getpid(), signal.SIGUSR1)
            self.story.append("sent")


def _signals_are_open_only_around_the_poll() -> list[object]:
    parts = Signalled()
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    for number in HANDLED:
        signal.signal(number, lambda *_: parts.story.append("handler"))
    wakeup = Wakeup()
    loop = Loop(Poller(), wakeup, HANDLED, parts)
    os.kill(os.getpid(), signal.SIGUSR2)
    loop.turn()
    loop.turn()
    wakeup.close()
    return [parts.story, all(parts.blocked), _is_blocked()]


def test_signals_are_open_only_around_the_poll() -> None:
    """A handler never runs within a turn, and a signal that comes then ends the next poll."""
    story, all_blocked, blocked_after = call_in_process(_signals_are_open_only_around_the_poll)
    turn = ["handler", "exits", "sent", "signals", "timers", "settle", "sent"]
    assert story == turn * 2
    assert (all_blocked, blocked_after) == (True, True)


def _a_raising_poll_leaves_signals_blocked() -> bool:
    class Broken(Poller):
        def poll(self, timeout_ns: int | None) -> list[tuple[int, int]]:
            del timeout_ns
            raise OSError

    wakeup = Wakeup()
    loop = Loop(Broken(), wakeup, HANDLED, Parts())
    try:
        loop.turn()
    except OSError:
        return _is_blocked()
    return False


def test_signals_are_blocked_again_whatever_the_poll_does() -> None:
    """An exception out of the poll does not leave the window open."""
    assert call_in_process(_a_raising_poll_leaves_signals_blocked)
