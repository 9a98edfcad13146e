import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reaperd.errors import KernelError
from reaperd.loop.poller import GONE, WRITE, Phase, Poller, timeout_ms
from tests.support.pipes import drain, owned_pipe

DAY_NS = 86_400_000_000_000


class Owner:
    """A source that does nothing."""

    def __init__(self, name: str, phase: Phase = Phase.CONTROL) -> None:
        self.name = name
        self.phase = phase

    def ready(self, fd: int, events: int) -> None:
        """Serve nobody."""

    def failed(self, fd: int) -> None:
        """Mind nothing."""


@pytest.fixture
def poller() -> Iterator[Poller]:
    """Yield a poller that is closed afterwards."""
    poller = Poller()
    yield poller
    poller.close()


def test_ready_descriptors_come_in_the_order_of_their_phases(poller: Poller) -> None:
    """Whatever the order in which they were watched or became ready."""
    phases = [Phase.CONTROL, Phase.WAKEUP, Phase.OUTPUT, Phase.REPORTS, Phase.WAKEUP, Phase.OUTPUT]
    pipes = [os.pipe() for _ in phases]
    for (read_fd, write_fd), phase in zip(pipes, phases, strict=True):
        poller.watch(read_fd, Owner(phase.name, phase))
        os.write(write_fd, b"x")
    ready = poller.poll(0)
    owners = [poller.source_of(fd) for fd, _ in ready]
    assert [owner.phase for owner in owners if owner] == sorted(phases)
    for fd in (fd for pipe in pipes for fd in pipe):
        os.close(fd)


def test_nothing_ready_is_an_empty_list(poller: Poller) -> None:
    """A poll of no descriptors, or of quiet ones, just waits its time."""
    assert poller.poll(0) == []
    with owned_pipe() as (read_fd, _):
        poller.watch(read_fd, Owner("quiet"))
        assert poller.poll(1) == []


def test_a_dropped_descriptor_is_silent(poller: Poller) -> None:
    """It belongs to nobody, and dropping it twice is harmless."""
    with owned_pipe() as (read_fd, write_fd):
        poller.watch(read_fd, Owner("one"))
        os.write(write_fd, b"x")
        poller.drop(read_fd)
        poller.drop(read_fd)
        assert poller.poll(0) == []
        assert poller.source_of(read_fd) is None
        assert poller.watch_of(read_fd) is None


def test_watching_again_changes_owner_and_events(poller: Poller) -> None:
    """The watch stays the same one, for the descriptor does."""
    with owned_pipe() as (_, write_fd):
        one, other = Owner("one"), Owner("other")
        poller.watch(write_fd, one, 0)
        assert poller.poll(0) == []
        watch = poller.watch_of(write_fd)
        poller.watch(write_fd, other, WRITE)
        assert poller.poll(0) == [(write_fd, WRITE)]
        assert poller.source_of(write_fd) is other
        assert poller.watch_of(write_fd) is watch


def test_a_number_that_comes_back_is_another_watch(poller: Poller) -> None:
    """A descriptor that was dropped, closed and opened anew is told from the one before."""
    owner = Owner("one")
    with owned_pipe() as (read_fd, _):
        poller.watch(read_fd, owner)
        before = poller.watch_of(read_fd)
        poller.drop(read_fd)
        poller.watch(read_fd, owner)
        assert poller.watch_of(read_fd) is not before


def test_a_hang_up_is_told_unasked(poller: Poller) -> None:
    """Even where neither reading nor writing is waited for."""
    with owned_pipe() as (read_fd, write_fd):
        poller.watch(read_fd, Owner("one"), 0)
        os.close(write_fd)
        [(fd, events)] = poller.poll(None)
        assert fd == read_fd
        assert events & GONE


def test_a_descriptor_that_cannot_be_watched_is_not_owned(poller: Poller) -> None:
    """A regular file always is ready, so epoll refuses it: EPERM."""
    fd = os.open(__file__, os.O_RDONLY)
    with pytest.raises(KernelError, match="watch a descriptor: epoll_ctl: Operation not permitted"):
        poller.watch(fd, Owner("file"))
    assert poller.source_of(fd) is None
    os.close(fd)


def test_many_ready_descriptors_come_in_one_poll(poller: Poller) -> None:
    """None is left for the next turn, so the order of phases holds for all."""
    with owned_pipe() as (read_fd, write_fd):
        os.write(write_fd, b"x")
        copies = [os.dup(read_fd) for _ in range(100)]
        for fd in copies:
            poller.watch(fd, Owner("copy"))
        assert sorted(fd for fd, _ in poller.poll(0)) == sorted(copies)
        for fd in copies:
            poller.drop(fd)
            os.close(fd)
        assert drain(read_fd) == b"x"


def test_a_deadline_in_the_far_future_is_waited_for_in_steps(poller: Poller) -> None:
    """epoll_wait takes 24 days at most; a longer timer is no error."""
    with owned_pipe() as (read_fd, write_fd):
        poller.watch(read_fd, Owner("one"))
        os.write(write_fd, b"x")
        assert poller.poll(36_500 * DAY_NS)


@given(st.integers(-(10**20), 10**20))
def test_a_timeout_is_never_too_short(timeout_ns: int) -> None:
    """A timer is due when its poll returns, and at most a millisecond late."""
    waited_ms = timeout_ms(timeout_ns)
    assert 0 <= waited_ms <= 2**31 - 1
    if timeout_ns <= 24 * DAY_NS:
        assert 0 <= waited_ms * 1_000_000 - max(timeout_ns, 0) < 1_000_000
