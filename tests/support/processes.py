"""Own, watch and reap real processes; run a scenario where the test runner cannot be touched by it.

The runner never forks by hand, never becomes a subreaper and never adopts anything: what needs that is a
scenario, a plain function of a test file that runs in an interpreter of its own.

    def make_a_zombie() -> str:
        ...
        return state

    def test_a_dead_child_is_a_zombie() -> None:
        assert call_in_process(make_a_zombie) == "Z"

Arguments and results travel as JSON. In a PID namespace the scenario itself is PID 1. A scenario that forks
by the hundred says `is_storm=True`: coverage would have each of its children write a file.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from inspect import getsourcefile
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest

from reaperd.errors import KernelError
from reaperd.kernel.procconn import Connector

ROOT: Final = Path(__file__).resolve().parents[2]
WITHIN_S: Final = 60.0  # for what takes milliseconds on an idle machine: a bound, never a thing to wait for


# --- watching -------------------------------------------------------------------------------------------


@contextmanager
def pidfd(pid: int) -> Iterator[int]:
    """Yield a pidfd of `pid`."""
    fd = os.pidfd_open(pid)
    try:
        yield fd
    finally:
        os.close(fd)


def wait_readable(fd: int, within_s: float = WITHIN_S, what: str = "descriptor") -> None:
    """Return once `fd` can be read, or has reached its end."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    assert poll.poll(within_s * 1000), f"{what} still not readable after {within_s} s"


def wait_gone(pid: int, within_s: float = WITHIN_S) -> None:
    """Return once `pid` has ended, zombie or reaped; a pidfd polls readable then: pidfd_open(2)."""
    with suppress(ProcessLookupError), pidfd(pid) as fd:
        wait_readable(fd, within_s, f"pid {pid}")


def wait_zombie(pid: int, within_s: float = WITHIN_S) -> None:
    """Return once our child `pid` is a zombie, and leave it one; also a leader whose threads live on."""
    wait_until(lambda: state_of(pid) == "Z", f"pid {pid} to be a zombie", within_s)


def wait_reaped(pid: int, within_s: float = WITHIN_S) -> None:
    """Return once `pid` has been reaped by its parent."""
    wait_until(lambda: state_of(pid) is None, f"pid {pid} to be reaped", within_s)


def wait_state(pid: int, states: str, within_s: float = WITHIN_S) -> None:
    """Return once the kernel shows `pid` in one of `states`, such as "T" or "SD"."""
    wait_until(lambda: (state_of(pid) or "gone") in states, f"pid {pid} in state {states}", within_s)


def state_of(pid: int) -> str | None:
    """Return the one-letter state of `pid`, None if it is gone; read apart from the code under test."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return line.rpartition(")")[2].split()[0]


def wait_until(is_so: Callable[[], bool], what: str, within_s: float = WITHIN_S) -> None:
    """Return once `is_so()`: the last resort where the kernel offers no event; pauses grow to 50 ms."""
    deadline = time.monotonic() + within_s
    pause = 0.001
    while not is_so():
        assert time.monotonic() < deadline, f"still waiting for {what} after {within_s} s"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


# --- owning ---------------------------------------------------------------------------------------------


@contextmanager
def owned(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start `command`, and end and reap it on the way out; `options` are those of Popen."""
    process = subprocess.Popen([os.fspath(word) for word in command], **options)
    try:
        yield process
    finally:
        _end(process)


@contextmanager
def owned_namespace(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start `command` as PID 1 of a new PID namespace; everything in it ends on the way out."""
    with owned([*pid_namespace(), *command], **options) as process:
        yield process


@contextmanager
def owned_child(body: Callable[[], object]) -> Iterator[int]:
    """Fork a child that runs `body`, and kill and reap it on the way out. For scenarios only."""
    pid = fork_child(body)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def fork_child(body: Callable[[], object]) -> int:
    """Fork a child that runs `body` and leaves by _exit: 0, or 1 with a traceback. For scenarios only."""
    pid = os.fork()
    if pid == 0:
        _run_and_leave(body)
    return pid


def _run_and_leave(body: Callable[[], object]) -> NoReturn:
    status = 1
    try:
        body()
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it was, the parent's code must never run twice
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def sleep_forever() -> None:
    """Wait for a signal that ends this process."""
    while True:
        signal.pause()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait(WITHIN_S)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()


# --- scenarios ------------------------------------------------------------------------------------------


def call_in_process(
    scenario: Callable[..., Any], *arguments: Any, within_s: float = 60.0, is_storm: bool = False
) -> Any:
    """Run `scenario`, a function of a test file, in a new interpreter and return what it returns."""
    return _call([], scenario, arguments, within_s, _environment(is_storm=is_storm))


def call_in_pid_namespace(
    scenario: Callable[..., Any], *arguments: Any, within_s: float = 60.0, is_storm: bool = False
) -> Any:
    """Run `scenario` as PID 1 of a new PID namespace, with its own /proc; skip where none can be made."""
    return _call(pid_namespace(), scenario, arguments, within_s, _environment(is_storm=is_storm))


def _environment(*, is_storm: bool) -> dict[str, str]:
    """Return our environment, for a storm without what would measure its coverage."""
    return {name: value for name, value in os.environ.items() if not (is_storm and "COVERAGE" in name)}


def _call(
    prefix: list[str],
    scenario: Callable[..., Any],
    arguments: tuple[Any, ...],
    within_s: float,
    environment: dict[str, str],
) -> Any:
    source = getsourcefile(scenario)
    assert source is not None, "a scenario is a function of a file"
    with tempfile.TemporaryFile() as result:
        words = [source, scenario.__name__, str(result.fileno()), json.dumps(arguments)]
        with owned(
            [*prefix, sys.executable, "-m", "tests.support.scenario", *words],
            cwd=ROOT,
            env=environment,
            pass_fds=[result.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            output = _output_within(process, within_s, scenario.__name__)
        assert process.returncode == 0, f"{scenario.__name__} left with {process.returncode}:\n{output}"
        result.seek(0)
        return json.load(result)


def _output_within(process: subprocess.Popen[bytes], within_s: float, name: str) -> str:
    try:
        return process.communicate(timeout=within_s)[0].decode(errors="replace")
    except subprocess.TimeoutExpired:
        process.kill()
        output = process.communicate()[0].decode(errors="replace")
        pytest.fail(f"{name} not done after {within_s} s:\n{output}")


# --- what this machine allows ---------------------------------------------------------------------------


def pid_namespace() -> list[str]:
    """Return the words that start a command as PID 1 of a new PID namespace; skip where none can be made."""
    words, refusal = _pid_namespace()
    if refusal is not None:
        pytest.skip(f"no PID namespace here: {refusal}")
    return list(words)


@cache
def _pid_namespace() -> tuple[tuple[str, ...], str | None]:
    words = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]
    if os.geteuid() != 0:
        words[1:1] = ["--user", "--map-root-user"]
    if shutil.which(words[0]) is None:
        return tuple(words), "unshare (util-linux) is missing"
    tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    return tuple(words), None if tried.returncode == 0 else tried.stderr.strip()


def need_root() -> None:
    """Skip unless the tests run as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


def need_program(name: str) -> str:
    """Return the path of `name`; skip where it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def need_connector() -> None:
    """Skip where the kernel tells nobody of forks, execs and exits."""
    try:
        Connector().close()
    except KernelError as error:
        pytest.skip(f"no process connector here: {error.message}")


def unprivileged(command: Sequence[str | Path]) -> list[str]:
    """Return the words that run `command` as a plain user: as it is, or as nobody for root.

    An interpreter must be one that everybody may read, such as /usr/bin/python3.
    """
    words = [os.fspath(word) for word in command]
    if os.geteuid() != 0:
        return words
    setpriv = need_program("setpriv")
    return [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", *words]


def system_python() -> str:
    """Return an interpreter of Python 3.11 or newer that every user may run; skip where there is none."""
    path = "/usr/bin/python3"
    asked = [path, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if not Path(path).exists() or subprocess.run(asked, check=False).returncode != 0:
        pytest.skip(f"{path} is missing or older than 3.11")
    return path
