import errno
import os
import resource
from pathlib import Path

import pytest

from reaperd.errors import KernelError
from reaperd.kernel import fds
from tests.support.processes import call_in_process


def test_a_pipe_carries_bytes_and_is_closed_by_exec() -> None:
    """What goes in at the write end comes out at the read end, and neither end is inherited."""
    read, write = fds.pipe()
    os.write(write, b"x")
    assert os.read(read, 1) == b"x"
    assert not os.get_inheritable(read)
    assert not os.get_inheritable(write)
    os.close(write)
    assert os.read(read, 1) == b""
    os.close(read)


def test_a_nonblocking_descriptor_does_not_wait() -> None:
    """A read from an empty pipe says so at once."""
    read, write = fds.pipe()
    fds.set_nonblocking(read)
    with pytest.raises(BlockingIOError):
        os.read(read, 1)
    os.close(read)
    os.close(write)


def test_null_is_empty_and_swallows_all() -> None:
    """Reading gives the end of the file, writing succeeds."""
    fd = fds.open_null()
    assert os.read(fd, 1) == b""
    assert os.write(fd, b"abc") == 3
    os.close(fd)


def test_a_closed_descriptor_is_an_error() -> None:
    """EBADF becomes a KernelError."""
    with pytest.raises(KernelError) as caught:
        fds.set_nonblocking(1_000_000)
    assert caught.value.errno == errno.EBADF


def _close_and_count() -> list[int]:
    high = os.dup2(0, 900)
    for fd in (high, 33, 10):
        os.dup2(0, fd)
    fds.close_from(33)
    return [fd for fd in (10, 33, 900) if Path(f"/proc/self/fd/{fd}").exists()]


def test_everything_from_a_number_on_is_closed() -> None:
    """Descriptors below it stay."""
    assert call_in_process(_close_and_count) == [10]


def _kept_by_exec() -> list[bool]:
    kept = [os.dup2(0, fd) for fd in (20, 30, 40)]
    fds.set_close_on_exec(30)
    return [os.get_inheritable(fd) for fd in kept]


def test_descriptors_from_a_number_on_are_closed_by_exec() -> None:
    """Those below it are still inherited."""
    assert call_in_process(_kept_by_exec) == [True, False, False]


def _full_table() -> list[int | str | None]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (os.dup(0), hard))
    answers: list[int | str | None] = []
    for make in (fds.pipe, fds.open_null):
        try:
            make()
        except KernelError as error:
            answers += [error.errno, error.hint]
    return answers


def test_a_full_descriptor_table_is_an_error_with_a_hint() -> None:
    """EMFILE says which limit to raise."""
    first, hint, second, same = call_in_process(_full_table)
    assert first == second == errno.EMFILE
    assert hint == same
    assert "ulimit -n" in hint


def _raised() -> list[tuple[int, int]]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    before = fds.raise_nofile_limit()
    return [before, resource.getrlimit(resource.RLIMIT_NOFILE), (64, hard)]


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    """The answer is what the limits were, to be given back to children."""
    before, now, lowered = call_in_process(_raised)
    assert before == lowered
    assert now == [lowered[1], lowered[1]]
