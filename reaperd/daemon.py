"""The daemon: puts the parts together and runs them.

Started as `python -m reaperd.daemon -- FILE` by `reaperd run`, in a fresh interpreter that holds neither
the command line's library nor anything else that parsing needed.
"""

import os
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from reaperd import __version__
from reaperd.children.children import Children
from reaperd.children.plan import Inheritance
from reaperd.config.parse import load
from reaperd.config.spec import Config
from reaperd.control.listen import listen, tidy
from reaperd.control.server import Server
from reaperd.control.words import EVERY, Answer, Ask, refusal, unknown_service
from reaperd.errors import Exit, ReaperdError
from reaperd.kernel import fds, prctl
from reaperd.kernel.wakeup import Wakeup
from reaperd.loop.loop import Loop
from reaperd.loop.poller import Poller
from reaperd.loop.timers import Timers
from reaperd.supervise import reload, state, status
from reaperd.supervise.shutdown import Phase, Shutdown
from reaperd.supervise.supervisor import Supervisor
from reaperd.supervise.waiting import Waiting, WaitingRoom, is_well
from reaperd.supervise.world import Deadline, World
from reaperd.telemetry.logs import Format, Log, open_log
from reaperd.units import format_signal

ACTION_SCHEMA: Final = "reaperd.action/1"
RELOAD_SCHEMA: Final = "reaperd.reload/1"

ENDING: Final = (signal.SIGTERM, signal.SIGINT)
HANDLED: Final = frozenset({signal.SIGCHLD, signal.SIGHUP, *ENDING})


@dataclass(frozen=True, slots=True)
class Caller:
    """What whoever started the daemon gave it, taken down before anything changes it."""

    mask: frozenset[int]
    nofile: tuple[int, int]


class Daemon:
    """The whole: implements `loop.Parts` towards the loop and `control.Daemon` towards its clients."""

    def __init__(self, config: Config, caller: Caller, log: Log) -> None:
        self._config = config
        self._log = log
        self._clock = time.monotonic_ns
        self._signals: deque[int] = deque()
        self._poller = Poller()
        self._timers: Timers[Deadline] = Timers()
        self._children = Children(Inheritance(dict(os.environ), caller.nofile, caller.mask))
        world = World(self._children, self._poller, self._timers, self._clock, log)
        self._supervisor = Supervisor(world)
        self._shutdown = Shutdown(self._supervisor, world)
        self._waiting = WaitingRoom()
        self._farewells: list[int] = []  # tickets of those who wait for the daemon's end
        self._server = Server(listen(config.daemon.socket), self._poller, self, self._clock)

    def run(self) -> Exit:
        """Start every service and turn until all is over; signals in `HANDLED` are blocked by the caller."""
        wakeup = Wakeup()
        signal.signal(signal.SIGCHLD, self._children.reaper.handle)
        for number in HANDLED - {signal.SIGCHLD}:
            signal.signal(number, self._note_signal)
        for spec in self._config.services:
            self._supervisor.add(spec)
        self._supervisor.start(list(self._supervisor.services))
        loop = Loop(self._poller, wakeup, HANDLED, self)
        self.settle()
        loop.run()
        self._say_farewell()
        return self._shutdown.status

    def _note_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)

    # --- what a turn is made of (loop.Parts) ------------------------------------------------------------

    def collect_exits(self) -> None:
        """Apply what the SIGCHLD handler reaped."""
        failure, self._children.reaper.failure = self._children.reaper.failure, None
        self._supervisor.collect_exits()
        if failure is not None:
            self._log("daemon.cannot_reap", error=repr(failure))

    def take_signals(self) -> None:
        """Act on SIGTERM, SIGINT and SIGHUP."""
        while self._signals:
            number = self._signals.popleft()
            if number in ENDING:
                self._shutdown.ask(format_signal(number))
            else:
                self._reload()

    def fire_timers(self) -> None:
        """Act on the timers that are due."""
        now_ns = self._clock()
        self._supervisor.due(self._timers.due(now_ns))
        self._server.expire(now_ns)

    def settle(self) -> None:
        """Decide and perform until quiet, then answer who waited for it."""
        self._supervisor.settle()
        self._shutdown.step()
        self._waiting.settled(self._supervisor.services, self._clock(), self._answer)

    def timeout_ns(self) -> int | None:
        """Return how long the next poll may wait: without timers, for as long as it takes."""
        if self._supervisor.more or self._shutdown.more or self._children.reaper.more:
            return 0
        deadlines = (
            self._timers.next_ns(),
            self._server.next_deadline_ns(),
            self._waiting.next_ns(),
            self._shutdown.deadline_ns,
        )
        nearest = min((each for each in deadlines if each is not None), default=None)
        return None if nearest is None else max(nearest - self._clock(), 0)

    def finished(self) -> bool:
        """Tell whether the daemon is done."""
        return self._shutdown.phase is Phase.DONE

    def turn_failed(self, step: str, error: Exception, trace: str) -> None:
        """Report an exception that a part of a turn raised."""
        self._log("daemon.turn_failed", step=step, error=repr(error), traceback=trace)

    def source_closed(self, name: str) -> None:
        """Report that a source failed too often."""
        self._log("daemon.source_closed", source=name)

    # --- what clients ask (control.Daemon) --------------------------------------------------------------

    def ask(self, ticket: int, ask: Ask) -> Answer | None:
        """Answer at once, or later under the same ticket."""
        match ask.verb:
            case "status":
                return self._status(ask)
            case "reload":
                return self._reload()
            case "shutdown":
                self._shutdown.ask(f"asked by uid {ask.peer.uid}")
                return self._see_end(ticket, ask)
            case "start" | "stop" | "restart":
                return self._act(ticket, ask)

    def hung_up(self, ticket: int) -> None:
        """Forget an ask whose client has left."""
        self._waiting.leave(ticket)
        if ticket in self._farewells:
            self._farewells.remove(ticket)

    def _status(self, ask: Ask) -> Answer:
        services = self._supervisor.services
        names = self._named(ask)
        if isinstance(names, Answer):
            return names
        rows = status.rows([services[name] for name in names], self._timers, self._clock())
        body = {"schema": status.SCHEMA, "items": rows, "unclaimed": self._children.unclaimed()}
        return Answer(200, body)

    def _act(self, ticket: int, ask: Ask) -> Answer | None:
        names = self._named(ask)
        if isinstance(names, Answer):
            return names
        if self._shutdown.phase is not Phase.UP and ask.verb != "stop":
            return refusal(409, "ending", f"cannot {ask.verb}: the daemon is shutting down")
        act = {
            "start": self._supervisor.start,
            "stop": self._supervisor.stop,
            "restart": self._supervisor.restart,
        }[ask.verb]
        act(reversed(names) if ask.verb == "stop" else names)
        waiting = Waiting(ask.verb, names)
        if ask.wait:
            self._waiting.enter(ticket, waiting, self._clock())
            return None
        self._supervisor.settle()
        return self._outcome(waiting)

    def _named(self, ask: Ask) -> tuple[str, ...] | Answer:
        services = self._supervisor.services
        if not ask.names or ask.names == (EVERY,):
            return tuple(services)
        unknown = next((name for name in ask.names if name not in services), None)
        return ask.names if unknown is None else unknown_service(unknown, services)

    def _answer(self, ticket: int, waiting: Waiting) -> None:
        self._server.answer(ticket, self._outcome(waiting))

    def _outcome(self, waiting: Waiting) -> Answer:
        services = self._supervisor.services
        present = [services[name] for name in waiting.names if name in services]
        rows = {row["name"]: row for row in status.rows(present, self._timers, self._clock())}
        items = [
            {
                "name": name,
                "ok": is_well(waiting.verb, services.get(name)),
                "state": rows[name]["state"] if name in rows else None,
                "why": rows[name]["why"] if name in rows else "no longer configured",
            }
            for name in waiting.names
        ]
        return Answer(200, {"schema": ACTION_SCHEMA, "items": items})

    def _see_end(self, ticket: int, ask: Ask) -> Answer | None:
        if not ask.wait:
            return Answer(202, {"schema": ACTION_SCHEMA, "items": []})
        self._farewells.append(ticket)
        return None

    def _say_farewell(self) -> None:
        for ticket in self._farewells:
            self._server.answer(ticket, Answer(200, {"schema": ACTION_SCHEMA, "items": []}))
        self._server.close()

    def _reload(self) -> Answer:
        if self._shutdown.phase is not Phase.UP:
            return refusal(409, "ending", "cannot reload: the daemon is shutting down")
        try:
            new = load(self._config.source)
        except ReaperdError as error:
            self._log("daemon.reload_refused", problem=error.message, hint=error.hint)
            return refusal(422, "configuration", error.message, "nothing was changed; mend the file")
        difference = reload.apply(self._supervisor, self._config, new)
        self._config = new
        changes = {
            "added": difference.added,
            "removed": difference.removed,
            "changed": difference.changed,
            "unchanged": difference.unchanged,
            "needs_restart": difference.daemon,
        }
        self._log("daemon.reloaded", **changes)
        return Answer(200, {"schema": RELOAD_SCHEMA, **changes})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon on the configuration that `argv` names; return its exit status."""
    mask = frozenset(int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED))
    words = [word for word in (sys.argv[1:] if argv is None else argv) if word != "--"]
    try:
        return _run(Path(words[0]), mask)
    except ReaperdError as error:
        sys.stderr.write(f"reaperd: {error.message}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        return error.exit_status


def _run(path: Path, mask: frozenset[int]) -> int:
    config = load(path)
    log = open_log(Format.AUTO)
    lock_fd = state.lock(config.daemon.state_dir)
    caller = Caller(mask, fds.raise_nofile_limit())
    prctl.set_child_subreaper(True)
    fds.set_close_on_exec(3)
    daemon = Daemon(config, caller, log)
    try:
        log(
            "daemon.started",
            in_another_terminal=f"{_command()} status -s {_nearest(config.daemon.socket)}",
            services=len(config.services),
            pid=os.getpid(),
            version=__version__,
        )
        result = daemon.run()
        log("daemon.stopped", status=int(result))
        return result
    finally:
        tidy(config.daemon.socket)
        os.close(lock_fd)


def _command() -> str:
    """Return how a person would call reaperd here: the script beside this interpreter, or by PATH."""
    script = Path(sys.executable).with_name("reaperd")
    return _nearest(script) if script.exists() else "reaperd"


def _nearest(path: Path) -> str:
    """Return the path as one would type it here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    sys.exit(main())
