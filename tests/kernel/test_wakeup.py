import os
import select
import signal
import threading
from pathlib import Path

import pytest

from reaperd.kernel.wakeup import Wakeup
from tests.support.processes import call_in_process, fork_child


def _signal_ends_a_poll() -> list[bool]:
    got: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, _frame: got.append(number))
    wakeup = Wakeup()
    poll = select.poll()
    poll.register(wakeup.fd, select.POLLIN)
    before = poll.poll(0)
    os.kill(os.getpid(), signal.SIGUSR1)
    after = poll.poll()  # no timeout: returns because of the signal, or never
    numbers = wakeup.drain()
    answers = [before == [], bool(after), got == [signal.SIGUSR1], numbers == bytes([signal.SIGUSR1])]
    answers += [wakeup.drain() == b"", poll.poll(0) == []]
    wakeup.close()
    return answers


def test_a_signal_makes_the_descriptor_readable_until_it_is_drained() -> None:
    """Its number can be read, once, and then the poll is quiet again."""
    assert all(call_in_process(_signal_ends_a_poll))


def _far_more_signals_than_room() -> list[bool]:
    count = 0

    def handler(_number: int, _frame: object) -> None:
        nonlocal count
        count += 1

    signal.signal(signal.SIGUSR1, handler)
    wakeup = Wakeup()
    for _ in range(70_000):
        os.kill(os.getpid(), signal.SIGUSR1)
    answers = [count == 70_000, len(wakeup.drain()) == 65_536, wakeup.drain() == b""]
    wakeup.close()
    return answers


def test_a_full_pipe_neither_blocks_nor_warns() -> None:
    """Numbers beyond the pipe's room are dropped; every handler still runs."""
    assert all(call_in_process(_far_more_signals_than_room))


def signal_to_a_child(disown: bool) -> int:  # noqa: FBT001 - a scenario's arguments are plain
    """Return how many bytes a signal to a forked child leaves in our pipe."""
    signal.signal(signal.SIGUSR1, lambda *_: None)
    wakeup = Wakeup()

    def body() -> None:
        if disown:
            Wakeup.disown()
        os.kill(os.getpid(), signal.SIGUSR1)

    os.waitpid(fork_child(body), 0)
    length = len(wakeup.drain())
    wakeup.close()
    return length


def test_a_child_that_disowned_the_pipe_wakes_nobody() -> None:
    """The pipe is shared by fork: without disowning it a child's signals wake its parent."""
    assert call_in_process(signal_to_a_child, False) == 1
    assert call_in_process(signal_to_a_child, True) == 0


def _closed_and_given_back() -> list[bool]:
    outer = Wakeup()
    inner = Wakeup()
    inner.close()
    back = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(back)
    outer.close()
    return [back != -1, signal.set_wakeup_fd(-1) == -1, not Path(f"/proc/self/fd/{back}").exists()]


def test_closing_gives_the_former_descriptor_back() -> None:
    """Who had the wakeup descriptor before has it again, and nothing stays open."""
    assert all(call_in_process(_closed_and_given_back))


def _inherited() -> list[bool]:
    wakeup = Wakeup()
    answers = [os.get_inheritable(wakeup.fd), os.get_blocking(wakeup.fd)]
    wakeup.close()
    return answers


def test_the_descriptors_are_closed_by_exec_and_never_block() -> None:
    """No program that we start holds the pipe, and a drain returns at once."""
    assert call_in_process(_inherited) == [False, False]


def test_only_the_main_thread_may_have_it() -> None:
    """In another thread it is refused, and no descriptor stays open."""
    caught: list[BaseException] = []

    def make() -> None:
        with pytest.raises(ValueError, match="main thread") as info:
            Wakeup()
        caught.append(info.value)

    before = set(Path("/proc/self/fd").iterdir())
    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    assert caught
    assert set(Path("/proc/self/fd").iterdir()) == before
