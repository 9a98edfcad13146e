"""Parents in C that leave zombies and sleep in one system call, and say how that ended: see blocked.c.

with blocked("epoll_wait") as parent:
    ...  # do something to parent.pid about parent.zombies
    ended = parent.ended()
    assert (ended.result, ended.errno) == (0, 0)
"""

import atexit
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from subprocess import PIPE
from typing import Final

import pytest

from reaperd.kernel import procfs
from reaperd.zombies.hold import Target
from reaperd.zombies.inject import Victim
from tests.support.processes import WITHIN_S, need_program, owned, wait_readable, wait_until

_SOURCE: Final = Path(__file__).with_name("blocked.c")
_SOURCE_32: Final = Path(__file__).with_name("blocked_32.c")
_BARE: Final = (
    "-m32",
    "-nostdlib",
    "-static",
    "-ffreestanding",
    "-fno-pie",
    "-no-pie",
    "-fno-stack-protector",
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How its system call ended."""

    result: int
    errno: int
    elapsed_ms: int


@dataclass(frozen=True, slots=True)
class Parent:
    """A parent with its zombies."""

    process: subprocess.Popen[bytes]
    pid: int
    zombies: tuple[int, ...]

    def line(self) -> list[str]:
        """Return the words of the next line that it says."""
        assert self.process.stdout is not None
        wait_readable(self.process.stdout.fileno(), WITHIN_S * 3, "what the parent says")
        return self.process.stdout.readline().decode().split()

    def ended(self) -> Ended:
        """Return how its system call ended, once it has."""
        _, *numbers = self.line()
        return Ended(*map(int, numbers))

    def leave(self) -> int:
        """Let it leave, and return its exit status: 0 for one that nothing has damaged."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(WITHIN_S)

    def target(self) -> Target:
        """Return it as who shall make calls."""
        stat = procfs.read_stat(self.pid)
        assert stat is not None
        return Target(self.pid, stat.start_time)

    def victims(self) -> list[Victim]:
        """Return its zombies as what shall be collected."""
        return [victim_of(pid) for pid in self.zombies]


def victim_of(pid: int) -> Victim:
    """Return a zombie as what its parent, who lives in the same PID namespace, shall collect."""
    stat = procfs.read_stat(pid)
    assert stat is not None
    return Victim(pid, stat.start_time, pid, stat.ppid)


@contextmanager
def blocked(
    call: str,
    zombies: int = 1,
    ms: int = 3000,
    *more: str,
    prefix: Sequence[str] = (),
    flags: Sequence[str] = (),
) -> Iterator[Parent]:
    """Start a parent and return once it sleeps in `call`; it ends on the way out."""
    words = [*prefix, program(*flags), call, str(zombies), str(ms), *more]
    with owned(words, stdin=PIPE, stdout=PIPE, bufsize=0) as process:
        yield _heard(process, ms)


@contextmanager
def blocked_32(*flags: str) -> Iterator[Parent]:
    """Start the 32-bit parent, which sleeps for three seconds, or with -DANOTHER waits for another child."""
    with owned([_compiled(_SOURCE_32, (*_BARE, *flags))], stdin=PIPE, stdout=PIPE, bufsize=0) as process:
        yield _heard(process, 3000)


def _heard(process: subprocess.Popen[bytes], ms: int) -> Parent:
    parent = Parent(process, process.pid, ())
    word, *pids = parent.line()
    assert word == "zombies", f"cannot be made here: {word}"
    if ms:
        wait_until(lambda: _is_asleep(process.pid), f"process {process.pid} to sleep in its call")
    return Parent(process, process.pid, tuple(map(int, pids)))


def _is_asleep(pid: int) -> bool:
    stat = procfs.read_stat(pid)
    return stat is not None and stat.state in "SR"


def program(*flags: str) -> str:
    """Return the compiled program; skip where there is no compiler."""
    return _compiled(_SOURCE, ("-pthread", *flags))


def _compiled(source: Path, flags: tuple[str, ...]) -> str:
    need_program("gcc")
    path, told = _compile(source, flags)
    if told is not None:
        pytest.skip(f"gcc {' '.join(flags)} does not work here: {told}")
    return path


@cache
def _compile(source: Path, flags: tuple[str, ...]) -> tuple[str, str | None]:
    path = f"{_folder()}/{source.stem}{len(flags)}{abs(hash(flags))}"
    done = subprocess.run(
        ["gcc", "-O1", "-w", *flags, "-o", path, source], capture_output=True, text=True, check=False
    )
    return path, None if done.returncode == 0 else done.stderr.strip().rpartition("\n")[2]


@cache
def _folder() -> str:
    folder = tempfile.mkdtemp(prefix="reaperd-blocked-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    Path(folder).chmod(0o755)  # programs of other users are run from it
    return folder
