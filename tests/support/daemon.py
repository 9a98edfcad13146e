"""A real daemon for a test: started on a configuration, heard through its log, asked over its socket.

    with daemon(tmp_path, {"web": {"command": ["sleep", "1000"]}}) as reaperd:
        reaperd.wait_for("service.running", service="web")
        reaperd.ask("stop", "web")

A test waits for causes: lines of the daemon's log (`wait_for`), lines that services print (`hear`), answers
(`ask`). On the way out the daemon is told to end, must leave with 0 and must have left nobody behind. It
runs below a guardian, which ends and reaps whatever a broken daemon leaves, so that neither the test runner
nor the machine inherits anything.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

from reaperd.control.client import Client
from tests.support.processes import ROOT, WITHIN_S, pid_namespace

GUARDIAN: Final = Path(__file__).with_name("guardian.py")
# The last words of a shell script that waits for signals. A shell that has forked is no good for that: its
# child may get a signal while it still has the shell's handlers, and lose it. Nothing is ever read here.
REST: Final = 'read _ <> "$NEVER"'

DAEMON: Final = (sys.executable, "-m", "reaperd.daemon", "--")  # with a configuration after it

EXPANDED: Final = {"command", "environment"}  # keys whose dollars the daemon would take for variables

Event = dict[str, Any]  # a line of the log
Services = Mapping[str, Mapping[str, object]]


class Lines:
    """Collect the lines of a pipe as they come; each is taken once."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._changed = threading.Condition()
        self._fresh: list[str] = []
        self._all: list[str] = []
        self._ended = False
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        with os.fdopen(self._fd, encoding="utf-8", errors="replace") as pipe:
            for line in pipe:
                with self._changed:
                    self._fresh.append(line)
                    self._all.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def take(self, is_it: Callable[[str], bool], what: str, within_s: float) -> str:
        """Return the first line that `is_it` and was not taken yet; wait for it."""
        deadline = time.monotonic() + within_s
        seen = 0
        with self._changed:
            while True:
                for index in range(seen, len(self._fresh)):
                    if is_it(self._fresh[index]):
                        return self._fresh.pop(index)
                seen = len(self._fresh)
                left_s = deadline - time.monotonic()
                if self._ended or left_s <= 0:
                    how = "the pipe ended" if self._ended else f"{within_s} s"
                    raise AssertionError(f"no {what} after {how}; seen:\n{self.tail()}")
                self._changed.wait(left_s)

    def all(self) -> list[str]:
        """Return every line so far, taken or not."""
        with self._changed:
            return list(self._all)

    def wait_end(self, within_s: float) -> bool:
        """Tell whether everybody who could write has ended within the time."""
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def tail(self) -> str:
        """Return the latest lines, for a message."""
        return "".join(self._all[-60:])


class Daemon:
    """A daemon under test.

    Attributes:
        config: its configuration file.
        socket: where it answers.
        log: the lines of its standard error, its services' included.
        said: the lines of its standard output, which its services share.
    """

    def __init__(
        self,
        directory: Path,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        settings: Mapping[str, object],
    ) -> None:
        self._settings = settings
        self.config = directory / "reaperd.toml"
        self.socket = directory / "c.sock"
        result_read, result_write = os.pipe()
        log_read, log_write = os.pipe()
        said_read, said_write = os.pipe()
        guardian = [sys.executable, "-I", "-S", str(GUARDIAN), str(result_write), *command]
        self._guardian = subprocess.Popen(
            guardian,
            stdin=subprocess.PIPE,
            stdout=said_write,
            stderr=log_write,
            pass_fds=[result_write],
            cwd=ROOT,
            env={**os.environ, **environment},
        )
        for fd in (result_write, log_write, said_write):
            os.close(fd)
        self.log = Lines(log_read)
        self.said = Lines(said_read)
        self._result = Lines(result_read)
        self._started: Event | None = None
        self._ended: Event | None = None
        self.command_pid: int = json.loads(self._result.take(lambda _line: True, "pid", WITHIN_S))["pid"]

    # --- hearing ----------------------------------------------------------------------------------------

    def wait_for(self, event: str, *, within_s: float = WITHIN_S, **keys: object) -> Event:
        """Return the first line about `event` with these keys that was not returned before; wait for it."""

        def is_it(line: str) -> bool:
            found = parsed(line)
            return (
                found is not None
                and found["event"] == event
                and all(found.get(key) == value for key, value in keys.items())
            )

        what = " ".join([event, *(f"{key}={value}" for key, value in keys.items())])
        found = parsed(self.log.take(is_it, what, within_s))
        assert found is not None
        return found

    def events(self, event: str | None = None, **keys: object) -> list[Event]:
        """Return the lines so far that are about `event` and have these keys."""
        found = [each for each in map(parsed, self.log.all()) if each is not None]
        return [
            each
            for each in found
            if event in (None, each["event"]) and all(each.get(key) == value for key, value in keys.items())
        ]

    def hear(self, word: str, within_s: float = WITHIN_S) -> list[str]:
        """Return the words after `word` on the first untaken line that a service began with it."""
        what = f'service to say "{word}"'
        try:
            return self.said.take(lambda line: line.split()[:1] == [word], what, within_s).split()[1:]
        except AssertionError as error:
            error.add_note(f"the log:\n{self.log.tail()}")
            raise

    def hear_pid(self, word: str, within_s: float = WITHIN_S) -> int:
        """Return the number that a service said after `word`."""
        return int(self.hear(word, within_s)[0])

    # --- asking -----------------------------------------------------------------------------------------

    def ask(self, verb: str, *names: str, wait: bool = True, within_s: float = 60.0) -> dict[str, Any]:
        """Ask over the socket; an answer that never comes ends the daemon and the test."""
        watchdog = threading.Timer(within_s, self.kill)
        watchdog.start()
        try:
            return Client(self.socket).ask(verb, names, wait=wait and verb != "status")
        finally:
            watchdog.cancel()
            watchdog.join()

    def status(self, name: str) -> dict[str, Any]:
        """Return what the daemon says of a service."""
        item: dict[str, Any] = self.ask("status", name)["items"][0]
        return item

    def state(self, name: str) -> str:
        """Return the state of a service."""
        return str(self.status(name)["state"])

    def main_pid(self, name: str) -> int:
        """Return the main process of a service."""
        return int(self.status(name)["pid"])

    # --- changing ---------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The daemon's own pid, once it said that it has started; its own view of it in a PID namespace."""
        if self._started is None:
            self._started = self.wait_for("daemon.started")
        return int(self._started["pid"])

    def send(self, number: int) -> None:
        """Send a signal to the daemon itself."""
        os.kill(self.pid, number)

    def configure(self, services: Services) -> None:
        """Write another configuration, to be used by a reload."""
        self.config.write_text(toml(self.config.parent, services, self._settings))

    def reload(self, services: Services) -> Event:
        """Write another configuration, send SIGHUP and wait until the daemon follows it."""
        self.configure(services)
        self.send(signal.SIGHUP)
        return self.wait_for("daemon.reloaded")

    # --- ending -----------------------------------------------------------------------------------------

    def wait_end(self, within_s: float = WITHIN_S) -> int:
        """Return the exit status of the daemon, negative for a signal, once it and all are gone."""
        if self._ended is None:
            line = self._result.take(lambda line: '"status"' in line, "end of the daemon", within_s)
            self._ended = json.loads(line)
        return os.waitstatus_to_exitcode(self._ended["status"])

    @property
    def left(self) -> list[str]:
        """Who was alive or unreaped when the daemon had ended."""
        assert self._ended is not None, "wait_end comes first"
        return list(self._ended["left"])

    def end(self, number: int = signal.SIGTERM, within_s: float = WITHIN_S) -> None:
        """Send a signal to the daemon; it must leave with 0 and leave nobody behind."""
        self.send(number)
        status = self.wait_end(within_s)
        assert (status, self.left) == (0, []), f"left with {status}, behind: {self.left}\n{self.log.tail()}"

    @property
    def is_over(self) -> bool:
        """Whether the daemon is known to have ended."""
        return self._ended is not None

    def kill(self) -> None:
        """End the daemon and all below it, whatever it does."""
        assert self._guardian.stdin is not None
        with suppress(OSError):
            self._guardian.stdin.close()

    def close(self) -> None:
        """Reap the guardian, which ends once nothing is left below it."""
        self.kill()
        try:
            self._guardian.wait(WITHIN_S)
        except subprocess.TimeoutExpired:
            self._guardian.kill()
            self._guardian.wait()
            raise
        for lines in (self.log, self.said, self._result):
            assert lines.wait_end(WITHIN_S), "somebody who outlived the guardian still holds a pipe"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


# As a prefix: a daemon whose coverage is not measured, which costs descriptors and memory of its own.
UNMEASURED: Final = ("env", "-u", "COVERAGE_PROCESS_CONFIG", "-u", "COVERAGE_PROCESS_START")


@contextmanager
def daemon(
    directory: Path,
    services: Services,
    *,
    prefix: Sequence[str] = (),
    program: Sequence[str] = DAEMON,
    environment: Mapping[str, str] | None = None,
    cgroups: bool = True,
    settings: Mapping[str, object] | None = None,
    ends: bool = True,
) -> Iterator[Daemon]:
    """Start a daemon in `directory` that has these services, and end it on the way out.

    Args:
        directory: for its configuration, socket and state.
        services: the tables of the configuration.
        prefix: words in front of its command, such as strace's.
        program: its command, but for the configuration.
        environment: variables besides our own.
        cgroups: each run may have a cgroup, where the machine lets it; else processes are told apart without.
        settings: further keys of its own.
        ends: on the way out, if it has not ended yet, it has to by SIGTERM, with nobody left behind.
    """
    keys = {**(settings or {}), **({} if cgroups else {"cgroup": "no"})}
    (directory / "reaperd.toml").write_text(toml(directory, services, keys))
    never = directory / "never"
    if not never.exists():
        os.mkfifo(never)
    command = [*prefix, *program, str(directory / "reaperd.toml")]
    with Daemon(directory, command, {"NEVER": str(never), **(environment or {})}, settings=keys) as made:
        yield made
        if ends and not made.is_over:
            made.end()


@contextmanager
def daemon_as_init(
    directory: Path,
    services: Services,
    program: Sequence[str] = DAEMON,
    settings: Mapping[str, object] | None = None,
) -> Iterator[Daemon]:
    """Start a daemon as PID 1 of a PID namespace; pids that it tells are those of the namespace.

    `send` reaches it by its pid outside. All that is in the namespace ends with it, whatever it does.
    """
    prefix = pid_namespace()
    with daemon(directory, services, prefix=prefix, program=program, settings=settings, ends=False) as made:
        assert made.pid == 1
        outside = int(Path(f"/proc/{made.command_pid}/task/{made.command_pid}/children").read_text())
        made._started = {"pid": outside}
        yield made
        if not made.is_over:
            made.end()


# --- configurations -------------------------------------------------------------------------------------


def toml(directory: Path, services: Services, settings: Mapping[str, object] | None = None) -> str:
    """Return the text of a configuration whose daemon keeps to `directory`; dollars are the programs' own."""
    keys = {"socket": str(directory / "c.sock"), "state_dir": str(directory / "state")}
    parts = [_table("daemon", {**keys, **(settings or {})})]
    for name, service in services.items():
        expanded = {key: _undollared(value) if key in EXPANDED else value for key, value in service.items()}
        parts.append(_table(f"service.{json.dumps(name)}", expanded))
    return "\n".join(parts)


def _undollared(value: object) -> object:
    match value:
        case str():
            return value.replace("$", "$$")
        case list():
            return [_undollared(each) for each in value]
        case Mapping():
            return {key: _undollared(each) for key, each in value.items()}
        case _:
            return value


def _table(name: str, keys: Mapping[str, object]) -> str:
    return "\n".join([f"[{name}]", *(f"{key} = {_value(value)}" for key, value in keys.items()), ""])


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + " }"
    return json.dumps(value)  # TOML writes strings, numbers, booleans and arrays of these as JSON does


def sh(script: str, **keys: object) -> dict[str, object]:
    """Return a service that runs a shell script."""
    return {"command": ["sh", "-c", script], **keys}


def sleeper(**keys: object) -> dict[str, object]:
    """Return a service that runs until it is told to end."""
    return {"command": ["sleep", "1000"], **keys}


def parsed(line: str) -> Event | None:
    """Return a line of the log as an event, or None where it is something else."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "event" in found else None
