"""The daemon put together from its parts, and run."""

import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

from reaperd import __version__
from reaperd.announce import Announcer, Announces, Silence
from reaperd.children.children import Children
from reaperd.children.plan import Inheritance
from reaperd.config.daemon_spec import Cgroups, Connector
from reaperd.config.paths import make_folder
from reaperd.config.spec import Config
from reaperd.control.doors import Doors
from reaperd.control.server import Server
from reaperd.kernel import fds, prctl
from reaperd.kernel.wakeup import Wakeup
from reaperd.loop.loop import Loop
from reaperd.loop.poller import Poller
from reaperd.loop.timers import Timers
from reaperd.measures import Measures
from reaperd.sd import activation
from reaperd.sd.client import Asked
from reaperd.supervise import state
from reaperd.supervise.shutdown import KILLING_NS, Phase, Shutdown
from reaperd.supervise.supervisor import Supervisor
from reaperd.supervise.tracking import Tracking
from reaperd.supervise.world import Deadline, World
from reaperd.telemetry.events import Told
from reaperd.telemetry.logs import Format, Log, open_log
from reaperd.teller import Teller
from reaperd.track.hearing import connect
from reaperd.track.tracker import Tracker
from reaperd.units import format_signal
from reaperd.verbs import Verbs

_PAUSE_S: Final = 0.005  # between two looks for who is left, where no loop waits for them any more
ENDING: Final = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Caller:
    """What whoever started the daemon gave it, taken down before anything changes it."""

    mask: frozenset[int]
    nofile: tuple[int, int]
    asked: Asked | None = None  # by the service manager
    listener: socket.socket | None = None  # the control socket, where the service manager opened it


class Daemon:
    """The whole: implements `loop.Parts`, what a turn is made of."""

    def __init__(self, config: Config, caller: Caller, log: Log) -> None:
        self._told = Told(log)
        self._log = log = self._told
        self._clock = time.monotonic_ns
        self._signals: deque[int] = deque()
        self._poller = Poller()
        self._timers: Timers[Deadline] = Timers()
        inherited = Inheritance(dict(os.environ), caller.nofile, caller.mask)
        connector, why_not = connect(wanted=config.daemon.process_connector is Connector.AUTO)
        tracker = Tracker(config.daemon.track, connector, why_not)
        self._children = Children(inherited, cgroups=config.daemon.cgroup is Cgroups.AUTO, tracker=tracker)
        world = World(self._children, self._poller, self._timers, self._clock, log)
        self._supervisor = Supervisor(world)
        self._tracking = Tracking(world, self._supervisor.look, config.daemon.heal_interval_ns)
        self._shutdown = Shutdown(self._supervisor, world, config.daemon.shutdown_timeout_ns)
        self._forwards = dict(config.daemon.forward_signals)
        self._teller = Teller(self._supervisor, world)
        self._verbs = Verbs(config, self._supervisor, self._shutdown, world, self._teller)
        self._doors = Doors(config.daemon, self._poller, log, caller.listener)
        self._server = Server(self._doors.unix, self._poller, self._verbs, self._clock, self._doors.access)
        self._server.census.tell = log
        self._doors.serve(self._server)
        self._verbs.say = self._server.answer
        self._verbs.doors = self._teller.doors = self._doors
        self._teller.ring = self._told.ring
        self._teller.facts = Measures(self._supervisor, world, self._told, self._server.census).collect
        self._announces = self._announcer(caller.asked)

    def _announcer(self, asked: Asked | None) -> Announces:
        if asked is None:
            return Silence()

        def fail(problem: str) -> None:
            self._log("daemon.not_told", to=asked.address, problem=problem)

        return Announcer(
            asked,
            supervisor=self._supervisor,
            shutdown=self._shutdown,
            verbs=self._verbs,
            clock=self._clock,
            fail=fail,
        )

    def tell(self, name: str, **keys: object) -> None:
        """Tell an event about the daemon as a whole."""
        self._log(name, **keys)

    def run(self, handled: frozenset[int]) -> int:
        """Start every service and turn until all is over; what it handles is blocked by the caller."""
        handled |= self._forwards.keys()
        wakeup = Wakeup()
        signal.signal(signal.SIGCHLD, self._children.reaper.handle)
        for number in handled - {signal.SIGCHLD}:
            signal.signal(number, self._note_signal)
        for spec in self._verbs.config.services:
            self._supervisor.wishes.add(spec)
        self._supervisor.wishes.arrange(self._supervisor.services)
        self._supervisor.know_identities()
        self._supervisor.zombies.follow(self._verbs.config.daemon.zombies)
        self._supervisor.start(list(self._supervisor.services))
        loop = Loop(self._poller, wakeup, handled, self)
        self.settle()
        loop.run()
        return self._shutdown.status

    def end(self, free: Callable[[], None]) -> None:
        """Answer who waited for the end, `free` what a next daemon needs, and only then let clients go.

        A client takes the closed connection for the end of the daemon and may start the next one at once.
        """
        self._supervisor.end_outputs()
        self._verbs.end()
        self._server.stop_listening()
        self._doors.close()
        self._children.close()
        free()
        self._announces.close()
        self._server.close()

    def abandon(self) -> None:
        """Kill and reap all that descends from us: without the daemon nobody would look after it."""
        deadline_ns = self._clock() + KILLING_NS
        while not self._children.nobody_left() and self._clock() < deadline_ns:
            self._children.kill_everybody()
            self._children.reaper.handle(signal.SIGCHLD, None)
            self._children.apply()
            time.sleep(_PAUSE_S)
        self._server.stop_listening()
        self._doors.close()
        self._children.close()

    def _note_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)

    def collect_exits(self) -> None:
        """Apply what the SIGCHLD handler reaped."""
        failure, self._children.reaper.failure = self._children.reaper.failure, None
        self._supervisor.collect_exits()
        if failure is not None:
            self._log("daemon.cannot_reap", error=repr(failure))

    def take_signals(self) -> None:
        """Act on SIGTERM, SIGINT and SIGHUP, and hand on what is to be handed on."""
        while self._signals:
            number = self._signals.popleft()
            if number in ENDING:
                self._shutdown.ask(format_signal(number))
            elif number in self._forwards:
                self._supervisor.forward(number, self._forwards[number])
            else:
                self._verbs.reload()

    def fire_timers(self) -> None:
        """Act on the timers that are due."""
        now_ns = self._clock()
        self._supervisor.due(self._timers.due(now_ns))
        self._server.expire(now_ns)
        self._tracking.expire(now_ns)

    def settle(self) -> None:
        """Decide and perform until quiet, then answer who waited for it."""
        self._supervisor.settle()
        if self._supervisor.ending is not None:
            self._shutdown.follow(self._supervisor.ending)
            self._supervisor.settle()
        self._shutdown.step()
        self._verbs.settle()
        self._announces.settle()
        if self._told.ring.is_fresh:
            self._told.ring.is_fresh = False
            self._server.feed()
        self._teller.tidings.settle(has_followers=self._server.has_followers, feed=self._server.feed)

    def timeout_ns(self) -> int | None:
        """Return how long the next poll may wait: without timers, for as long as it takes."""
        if self._supervisor.more or self._shutdown.more:
            return 0
        if self._told.ring.is_fresh and self._server.has_followers:
            return 0
        deadlines = (
            self._timers.next_ns(),
            self._children.reaper.next_ns(),
            self._server.next_deadline_ns(),
            self._verbs.next_ns(),
            self._shutdown.deadline_ns,
            self._announces.next_ns(),
            self._tracking.next_ns(),
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


def run(config: Config, mask: frozenset[int], handled: frozenset[int]) -> int:
    """Run the daemon on a configuration; return its exit status.

    Args:
        config: what to run.
        mask: the signals that whoever started us had blocked.
        handled: those that we act upon, which are blocked now.

    Raises:
        ReaperdError: it cannot begin, for a reason that a person can mend.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, dict(config.daemon.forward_signals))
    log = open_log(Format(config.daemon.log.format.value), config.daemon.log.level.value)
    _make_folders(config)  # before the state: where both are one directory, it has to be ours alone
    lock_fd = state.lock(config.daemon.state_dir)
    pid = os.getpid()
    listener = activation.control_socket(activation.passed(os.environ, pid), config.daemon.socket)
    caller = Caller(mask, fds.raise_nofile_limit(), Asked.of(os.environ, pid), listener)
    prctl.set_child_subreaper(True)
    fds.set_close_on_exec(3)
    daemon = Daemon(config, caller, log)
    daemon.tell(
        "daemon.started",
        in_another_terminal=f"{_command()} status -s {_nearest(config.daemon.socket)}",
        services=len(config.services),
        pid=pid,
        version=__version__,
    )

    try:
        result = daemon.run(handled)
    except Exception:
        daemon.abandon()
        os.close(lock_fd)
        raise
    daemon.end(partial(os.close, lock_fd))
    log("daemon.stopped", status=int(result))
    return result


def _make_folders(config: Config) -> None:
    """Make a plain user's directory for the socket; where everybody may write beside it, it must be ours."""
    if os.geteuid() != 0:
        make_folder(config.daemon.socket.parent)


def _command() -> str:
    """Return how a person would call reaperd here: the script beside this interpreter, or by PATH."""
    script = Path(sys.executable).with_name("reaperd")
    return _nearest(script) if script.exists() else "reaperd"


def _nearest(path: Path) -> str:
    """Return the path as one would type it here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
