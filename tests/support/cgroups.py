"""A cgroup of a test's own, made beside the runner's, and what else a test asks of the real hierarchies."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from reaperd.errors import ReaperdError
from reaperd.kernel import cgroup, cgroup_control
from tests.support.processes import wait_until

_NUMBERS: Final = count(1)
_FILES: Final = {"pids": "pids.max", "memory": "memory.max", "hugetlb": "hugetlb.2MB.max"}


def need_cgroup() -> str:
    """Return the directory of our own cgroup2; skip where there is none that may be divided."""
    own = cgroup.find_own()
    if own is None:
        pytest.skip("no cgroup2 that holds this process is mounted")
    if not os.access(own, os.W_OK) or not os.access(f"{own}/cgroup.procs", os.W_OK):
        pytest.skip(f"{own} may not be written")
    if not (Path(own) / "cgroup.events").exists() and cgroup.kind(own) is not None:
        pytest.skip(f"{own} is no version 2 cgroup")
    return own


@contextmanager
def own_cgroup(place: str | None = None) -> Iterator[str]:
    """Yield a new cgroup; whoever is in it is killed, and it is removed, on the way out."""
    directory = f"{place or need_cgroup()}/test-{os.getpid()}-{next(_NUMBERS)}"
    try:
        cgroup.make(directory)
    except ReaperdError as error:
        pytest.skip(f"{error.message}")
    try:
        yield directory
    finally:
        end_cgroup(directory)


def end_cgroup(directory: str) -> None:
    """Kill all in a cgroup and remove it."""
    cgroup.kill(directory)
    with suppress(ReaperdError):
        wait_until(lambda: cgroup.remove(directory), f"{directory} to be removed")


@contextmanager
def own_v1_cgroup(controller: str) -> Iterator[str]:
    """Yield a new cgroup of a version 1 controller; it must be empty on the way out."""
    own = cgroup.find_own(controller)
    if own is None:
        pytest.skip(f"no version 1 {controller} controller is mounted")
    directory = f"{own}/reaperd-test-{os.getpid()}-{next(_NUMBERS)}"
    try:
        os.mkdir(directory)  # noqa: PTH102 - texts
    except OSError as error:
        pytest.skip(f"{own}: {error.strerror}")
    try:
        yield directory
    finally:
        wait_until(lambda: _removed(directory), f"{directory} to be removed")


@contextmanager
def divisible_cgroup() -> Iterator[tuple[str, str, str]]:
    """Yield a new cgroup that has a controller, which one, and a file with a limit that comes with it.

    Whatever the machine has will do: they are all given in the same way. One test at a time.
    """
    own = need_cgroup()
    found = [(name, file) for name, file in _FILES.items() if name in cgroup_control.controllers(own)]
    if not found:
        pytest.skip(f"{own} has none of the controllers {', '.join(_FILES)}")
    name, file = found[0]
    with Path(tempfile.gettempdir(), "reaperd-test-controllers").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ours = name not in cgroup_control.given(own)
        try:
            cgroup_control.give(own, name)
        except ReaperdError as error:
            pytest.skip(error.message)
        try:
            with own_cgroup() as directory:
                yield directory, name, file
        finally:
            if ours:
                with suppress(ReaperdError):
                    cgroup_control.take(own, name)


def write(path: str, text: str) -> None:
    """Write a control file with one write, whose answer is seen."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _removed(directory: str) -> bool:
    try:
        os.rmdir(directory)  # noqa: PTH106 - texts
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
