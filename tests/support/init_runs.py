"""Start the init as a real process, in a PID namespace of its own or beside the test, and end it again."""

import functools
import os
import py_compile
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).resolve().parents[2]
PID1 = ROOT / "reaperd" / "pid1.py"
SAYS = ROOT / "tests" / "support" / "init_says.py"
COVERED = ROOT / "tests" / "support" / "init_covered.py"
PATIENCE_S = 60.0  # a bound for what a busy machine may take, never a thing to wait for

# An interpreter that any user can read: those under /root are closed to nobody.
SYSTEM_PYTHON = "/usr/bin/python3"
PYTHON = os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)


@functools.cache
def compiled() -> str:
    """Return pid1.py compiled once for this test run, readable by everybody."""
    folder = tempfile.mkdtemp(prefix="reaperd-init-")
    Path(folder).chmod(0o755)
    return str(py_compile.compile(str(PID1), cfile=f"{folder}/pid1.pyc", doraise=True))


def is_covered() -> bool:
    """Tell whether coverage is being measured, in child processes too."""
    return "COVERAGE_PROCESS_CONFIG" in os.environ or "COVERAGE_PROCESS_START" in os.environ


def init_command(*words: str) -> list[str]:
    """Return the command line that starts the init with `words`."""
    if is_covered():
        return [sys.executable, str(COVERED), str(PID1), *words]
    return [PYTHON, "-I", "-S", compiled(), *words]


NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL")


@functools.cache
def _namespace_refusal() -> str:
    try:
        tried = subprocess.run([*namespace_words(), "true"], capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return tried.stderr if tried.returncode else ""


def namespace_words() -> list[str]:
    """Return the words that put a command into a new PID namespace as its PID 1."""
    return (
        list(NAMESPACE) if os.geteuid() == 0 else [NAMESPACE[0], "--user", "--map-root-user", *NAMESPACE[1:]]
    )


def in_namespace(*words: str) -> list[str]:
    """Return the command line that starts the init as PID 1, or skip where there are no PID namespaces."""
    refusal = _namespace_refusal()
    if refusal:
        pytest.skip(f"no PID namespace here: {refusal.strip()}")
    return [*namespace_words(), *init_command(*words)]


def says(last: int = signal.SIGTERM, status: int = 0) -> list[str]:
    """Return a CMD that says "ready PID" and then each signal it gets, until `last`."""
    return [PYTHON, "-I", "-S", str(SAYS), str(int(last)), str(status)]


def run(
    command: Sequence[str | bytes],
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return its status and output."""
    return subprocess.run(
        command,
        stdin=stdin,
        env=env,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=PATIENCE_S,
        check=False,
    )


class Started:
    """A running init: its pid as the test sees it, and its output line by line."""

    def __init__(self, process: subprocess.Popen[bytes], *, inside: bool) -> None:
        self.process = process
        self.inside = inside
        self._rest = b""

    @property
    def pid(self) -> int:
        """Return the init's own pid, in the test's PID namespace."""
        return children_of(self.process.pid)[0] if self.inside else self.process.pid

    def line(self, within_s: float = PATIENCE_S) -> str:
        """Return the next line of standard output, waiting for it; "" at its end."""
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        while b"\n" not in self._rest:
            assert select.select([fd], [], [], within_s)[0], f"no line within {within_s} s"
            part = os.read(fd, 65536)
            if not part:
                line, self._rest = self._rest, b""
                return line.decode()
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def signal(self, number: int) -> None:
        """Send a signal to the init."""
        os.kill(self.pid, number)

    def enter(self) -> None:
        """Give a CMD that waits in `read line` its line."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit status and what standard error held."""
        status = self.process.wait(PATIENCE_S)
        if self.process.stderr is None:
            return status, ""
        os.set_blocking(self.process.stderr.fileno(), False)  # a leftover may hold the other end
        return status, (self.process.stderr.read() or b"").decode(errors="replace")


@contextmanager
def started(
    command: Sequence[str | bytes],
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stderr: int | IO[bytes] | None = subprocess.PIPE,
    **options: object,
) -> Iterator[Started]:
    """Start a command and make sure that neither it nor what it started outlives the block."""
    process = subprocess.Popen(  # type: ignore[call-overload]  # the options are Popen's own
        command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=env,
        start_new_session=True,
        **options,
    )
    try:
        yield Started(process, inside=command[0] == "unshare")
    finally:
        for pid in (*descendants_of(process.pid), process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait(PATIENCE_S)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def children_of(pid: int) -> list[int]:
    """Return the pids of a process's children, from the kernel's own list."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def descendants_of(pid: int) -> list[int]:
    """Return the pids of all descendants, deepest first."""
    found: list[int] = []
    for child in children_of(pid):
        found = [*descendants_of(child), child, *found]
    return found


def state_of(pid: int) -> str:
    """Return the state letter of a process, "" where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def wait_until_gone(pid: int, within_s: float = PATIENCE_S) -> None:
    """Return once a process has ended; a pidfd polls readable then: pidfd_open(2)."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], within_s)[0], f"pid {pid} still alive after {within_s} s"
    finally:
        os.close(fd)


def wait_for(fact: Callable[[], bool]) -> None:
    """Look in growing pauses until `fact` holds, where the kernel tells nobody of it."""
    pause = 0.001
    while not fact():
        time.sleep(pause)
        pause *= 1.5
        assert pause < 10, "this never became so"
