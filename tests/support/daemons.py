"""Run the real daemon on a configuration of the test's own, and follow what it says.

    with daemon(tmp_path, '''[service.web] ...''') as running:
        running.event("service.running", service="web")

The daemon logs one JSON object a line; an event that was said before it is waited for counts.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from reaperd.control.client import Client
from tests.support.processes import ROOT, WITHIN_S, owned, wait_until

DAEMON: Final = (sys.executable, "-m", "reaperd.daemon")
_ACTING: Final = frozenset({"start", "stop", "restart", "shutdown"})
IMPATIENT: Final = (sys.executable, "-m", "tests.support.impatient")  # see there


class Running:
    """A daemon, its log so far and its control socket."""

    def __init__(self, process: "subprocess.Popen[bytes]", source: Path, socket: Path) -> None:
        self.process = process
        self.pid = process.pid
        self.log: list[dict[str, Any]] = []
        self._other: list[str] = []  # lines that are no events
        self._source = source
        self._socket = socket
        self._client = Client(socket)
        self._text = b""

    def event(self, name: str, nth: int = 1, within_s: float = WITHIN_S, **keys: object) -> dict[str, Any]:
        """Return the `nth` event with that name and those keys, waiting for it if need be."""
        deadline = time.monotonic() + within_s
        while len(found := self.events(name, **keys)) < nth:
            assert self._read(deadline - time.monotonic()), f"no {name} {keys} in:\n{self._shown()}"
        return found[nth - 1]

    def events(self, name: str, **keys: object) -> list[dict[str, Any]]:
        """Return the events of that name and those keys that were read so far."""
        wanted = {"event": name, **keys}
        return [each for each in self.log if wanted.items() <= each.items()]

    def ask(self, verb: str, *names: str, wait: bool = True) -> dict[str, Any]:
        """Ask over the control socket; an acting verb answers when it is settled, or at once."""
        answer = dict(self._client.ask(verb, names, wait=wait and verb in _ACTING))
        if wait and verb == "stop":
            assert all(item["ok"] for item in answer["items"]), (
                answer
            )  # it settled, rather than waited too long
        return answer

    def configure(self, services: str) -> None:
        """Write another configuration into the file; a reload follows it."""
        _write(self._source, self._socket, services)

    def row(self, name: str) -> dict[str, Any]:
        """Return what `status` says of one service."""
        (row,) = self.ask("status", name)["items"]
        return dict(row)

    def fds(self) -> list[str]:
        """Return what the daemon's descriptors are, but for connections of ours that it is about to close."""
        self.ask("status")
        samples = []
        for _ in range(10):
            samples.append(self._fds())
            time.sleep(0.01)
        return min(samples, key=len)

    def _fds(self) -> list[str]:
        folder = Path(f"/proc/{self.pid}/fd")
        found = []
        for each in folder.iterdir():
            try:
                found.append(str(each.readlink()))
            except FileNotFoundError:
                continue
        return sorted(found)

    def end(self) -> int:
        """Ask the daemon to end, once, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        while self._read(WITHIN_S):
            pass
        return self.process.wait(WITHIN_S)

    def _read(self, within_s: float) -> bool:
        assert self.process.stderr is not None
        fd = self.process.stderr.fileno()
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        data = os.read(fd, 65536) if poll.poll(max(within_s, 0) * 1000) else b""
        *lines, self._text = (self._text + data).split(b"\n")
        for line in lines:
            if line.startswith(b'{"'):
                self.log.append(json.loads(line))
            else:
                self._other.append(line.decode(errors="replace"))
        return bool(data)

    def _shown(self) -> str:
        return "\n".join([*map(str, self.log), *self._other])


@contextmanager
def daemon(
    folder: Path, services: str, *, program: tuple[str, ...] = DAEMON, stdout: int = subprocess.DEVNULL
) -> Iterator[Running]:
    """Run a daemon on `services`, TOML tables, and end it with all its services on the way out."""
    socket = folder / "c.sock"
    source = folder / "reaperd.toml"
    _write(source, socket, services)
    with owned(
        [*program, "--", source], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE
    ) as process:
        running = Running(process, source, socket)
        try:
            running.event("daemon.started")
            yield running
        finally:
            _end(running)


def _write(source: Path, socket: Path, services: str) -> None:
    state_dir = source.parent / "state"
    source.write_text(f'[daemon]\nsocket = "{socket}"\nstate_dir = "{state_dir}"\n{services}\n')


def _end(running: Running) -> None:
    """Let the daemon end what it started; a kill would leave its services behind."""
    for _ in range(3):
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGTERM)
            try:
                running.process.communicate(timeout=7)
            except subprocess.TimeoutExpired:
                continue


def service(name: str, command: list[str] | str, **keys: object) -> str:
    """Return a service's table; a string is a script for sh. Dollars are the program's own."""
    words = ["sh", "-c", command] if isinstance(command, str) else command
    lines = [f"{key} = {_toml(value)}" for key, value in {"command": words, **keys}.items()]
    return "\n".join([f"[service.{name}]", *lines, ""])


def _toml(value: object, *, expanded: bool = True) -> str:
    match value:
        case dict():
            items = (f"{key} = {_toml(each, expanded=key != 'log')}" for key, each in value.items())
            return f"{{ {', '.join(items)} }}"
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case str() if expanded:
            return json.dumps(value.replace("$", "$$"))
        case _:
            return json.dumps(value)


def sleeper(mark: str) -> list[str]:
    """Return a command that hangs and can be found by `mark`."""
    return ["sh", "-c", "sleep 1000; :", mark]


def alive(mark: str) -> list[int]:
    """Return the pids of living processes that have `mark` among the words of their command line."""
    found = []
    for each in Path("/proc").iterdir():
        if not each.name.isdecimal():
            continue
        try:
            words = (each / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if mark.encode() in words:
            found.append(int(each.name))
    return found


def wait_none(mark: str) -> None:
    """Return once no process with `mark` in its command line is left."""
    wait_until(lambda: not alive(mark), f"nobody with {mark}")
