"""A control plane without a daemon behind it: real sockets, the real server, and services made of words.

`FakeDaemon` behaves as a daemon seen from the control plane: it knows some services, changes their states,
and settles what waits when it is told to. `Plane` turns the poller, as the loop would.
"""

import json
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reaperd.config.spec import EVERY
from reaperd.control.listen import listen, tidy
from reaperd.control.server import Server
from reaperd.control.words import Answer, Ask, refusal, unknown_service
from reaperd.loop.poller import Poller

_AFTER = {"start": "running", "stop": "stopped", "restart": "running"}


class FakeDaemon:
    """Services by name and state; with `slow`, whoever waits is answered by `settle`."""

    def __init__(self, *names: str, slow: bool = False) -> None:
        self.states = dict.fromkeys(names, "running")
        self.slow = slow
        self.asks: list[Ask] = []
        self.pending: dict[int, Ask] = {}
        self.gone: list[int] = []
        self.raising: Exception | None = None
        self.ended = False

    def ask(self, ticket: int, ask: Ask) -> Answer | None:
        """Answer as a daemon would."""
        self.asks.append(ask)
        if self.raising is not None:
            raise self.raising
        if self.slow and ask.wait:
            self.pending[ticket] = ask
            self.waits(ask)
            return None
        return self.do(ask)

    def waits(self, ask: Ask) -> None:
        """Somebody waits from now on; a test may want to know."""

    def hung_up(self, ticket: int) -> None:
        """Forget the ask."""
        self.gone.append(ticket)
        self.pending.pop(ticket, None)

    def do(self, ask: Ask) -> Answer:
        """Carry `ask` out and return its answer."""
        names = self.states if ask.names in {(), (EVERY,)} else ask.names
        for name in names:
            if name not in self.states:
                return unknown_service(name, self.states)
        if ask.verb == "shutdown":
            self.ended = True
            return Answer(200, {"schema": "reaperd.action/1", "items": []})
        if ask.verb == "reload" and "broken" in self.states:
            return refusal(
                422, "configuration", "cannot use this configuration: 1 problem\n  f:1: no", "mend it"
            )
        if ask.verb == "reload":
            items = [{"name": "new", "change": "added"}, {"name": "old", "change": "removed"}]
            return Answer(200, {"schema": "reaperd.reload/1", "items": items, "needs_restart": []})
        return Answer(200, self._body(ask, list(names)))

    def _body(self, ask: Ask, names: list[str]) -> dict[str, object]:
        if ask.verb == "status":
            return {"schema": "reaperd.status/1", "items": [self._item(name) for name in names]}
        for name in names:
            self.states[name] = _AFTER.get(ask.verb, self.states[name])
        stuck = {name for name in names if name.startswith("stuck")}
        return {
            "schema": "reaperd.action/1",
            "items": [
                {
                    "name": name,
                    "ok": name not in stuck,
                    "state": "failed" if name in stuck else self.states[name],
                    "why": "it ended with exit status 1" if name in stuck else None,
                }
                for name in names
            ],
        }

    def _item(self, name: str) -> dict[str, object]:
        state = self.states[name]
        return {
            "name": name,
            "state": state,
            "want": "up" if state != "stopped" else "down",
            "pid": 4242 if state == "running" else None,
            "restarts": 3,
            "failures": 0,
            "since": "2024-05-06T07:08:09Z",
            "uptime": 3723.5 if state == "running" else None,
            "memory": 12_900_000 if state == "running" else None,
            "why": "exit status 1\x1b[31m" if state == "failed" else None,
        }


class Plane:
    """A server on a real socket, and the few lines of a loop that it needs."""

    def __init__(self, path: Path, daemon: FakeDaemon, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.path = path
        self.daemon = daemon
        self.clock = clock
        self.poller = Poller()
        self.server = Server(listen(path), self.poller, daemon, clock)

    def turn(self, timeout_ns: int | None = 0) -> int:
        """Serve what is ready, waiting for up to `timeout_ns`, and return how many descriptors were."""
        ready = self.poller.poll(timeout_ns)
        for fd, events in ready:
            source = self.poller.source_of(fd)
            if source is not None:
                source.ready(fd, events)
        self.server.expire(self.clock())
        return len(ready)

    def settle(self) -> None:
        """Turn until nothing is ready any more."""
        while self.turn():
            pass

    def run(self) -> None:
        """Turn until the daemon was asked to shut down."""
        while not self.daemon.ended:
            due = self.server.next_deadline_ns()
            self.turn(None if due is None else max(due - self.clock(), 0))

    def connect(self) -> socket.socket:
        """Return a client that is connected, and does not wait for ever."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(10)
        try:
            client.connect(str(self.path))
        except OSError:
            client.close()
            raise
        return client

    def close(self) -> None:
        """End the server and take its file away."""
        self.server.close()
        self.poller.close()
        tidy(self.path)


@contextmanager
def plane(
    directory: Path, daemon: FakeDaemon, clock: Callable[[], int] = time.monotonic_ns
) -> Iterator[Plane]:
    """Yield a control plane whose socket is in `directory`."""
    made = Plane(directory / "c.sock", daemon, clock)
    try:
        yield made
    finally:
        made.close()


def request(method: str, target: str, body: bytes = b"", *headers: str) -> bytes:
    """Return the bytes of one HTTP request."""
    length = [f"Content-Length: {len(body)}"] if body else []
    lines = [f"{method} {target} HTTP/1.1", "Host: reaperd", *length, *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def read_available(client: socket.socket) -> bytes:
    """Return what has arrived, and nothing where nothing has."""
    poll = select.poll()
    poll.register(client, select.POLLIN)
    data = b""
    while poll.poll(0):
        chunk = client.recv(65536)
        data += chunk
        if not chunk:
            break
    return data


def answers(data: bytes) -> list[tuple[int, Any]]:  # Any: JSON
    """Return the (status, body) pairs in `data`, one for each response."""
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        status = int(lines[0].split()[1])
        fields = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:])}
        length = int(fields.get("content-length", 0))
        found.append((status, json.loads(rest[:length]) if length else None))
        data = rest[length:]
    return found


def unmeasured(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without what makes child processes measure coverage, which imports modules itself."""
    return {key: value for key, value in environ.items() if not key.startswith("COVERAGE")}
