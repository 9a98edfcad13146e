"""A real control plane in a process of its own, for the command line to talk to.

    python tests/support/control_serve.py SOCKET [--slow] NAME...

It prints "ready" once it listens, serves the named services, and ends when it is asked to shut down or its
standard input ends. A service called `failed`, `stopped`, `exited` or `starting` is so; `stuck` fails to
start. With --slow, what waits is announced as "waits PID" and answered after a line arrives on standard
input.
"""

import os
import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from reaperd.control.words import Ask
from reaperd.loop.poller import READ, Phase
from tests.support.control_plane import FakeDaemon, Plane

_STATES: Final = ("failed", "stopped", "exited", "starting")


class TellingDaemon(FakeDaemon):
    """Says on standard output who waits."""

    def waits(self, ask: Ask) -> None:
        """Say so."""
        print("waits", getattr(ask.peer, "pid", 0), flush=True)  # noqa: T201  # whoever started us waits for this


class Script:
    """Standard input: a line settles what waits, its end ends the server."""

    name = "stdin"
    phase = Phase.REPORTS

    def __init__(self, made: Plane, daemon: FakeDaemon) -> None:
        self._made = made
        self._daemon = daemon

    def ready(self, fd: int, events: int) -> None:
        """Do what the script says."""
        del events
        if not os.read(fd, 4096):
            self._daemon.ended = True
            return
        for ticket, ask in list(self._daemon.pending.items()):
            self._made.server.answer(ticket, self._daemon.do(ask))
        self._daemon.pending.clear()

    def failed(self, fd: int) -> None:
        """Never: nothing here raises."""


def serve(path: Path, words: list[str]) -> None:
    """Serve until told to end."""
    names = [word for word in words if not word.startswith("--")]
    daemon = TellingDaemon(*names, slow="--slow" in words)
    daemon.states.update({name: name for name in names if name in _STATES})
    made = Plane(path, daemon)
    made.poller.watch(sys.stdin.fileno(), Script(made, daemon), READ)
    print("ready", flush=True)  # noqa: T201  # whoever started us waits for this
    made.run()
    made.poller.drop(sys.stdin.fileno())
    made.close()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2:])
