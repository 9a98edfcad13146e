"""One thread, one loop, no tick: what happens in one turn, and in which order.

Signals are blocked during a turn and open only around the poll. A signal that arrives in between makes
the wakeup pipe readable, so the next poll returns at once; without the pipe the interpreter would resume
the poll until its timeout (PEP 475). The handlers therefore run at one known place, between turns.

A turn: wakeup pipe, exits, other signals, due timers, ready descriptors by phase (reports, output,
control), then decide and perform until quiet. No part can end the loop: what it raises is reported
with the part's name and the turn goes on.
"""

from collections.abc import Callable, Collection
from functools import partial
from typing import Final, Protocol

from reaperd.kernel import signals
from reaperd.kernel.wakeup import Wakeup
from reaperd.loop.poller import Phase, Poller, Watch

_FIRST: Final = frozenset({Phase.WAKEUP})
_LATER: Final = frozenset(Phase) - _FIRST
PATIENCE: Final = 3  # turns running that a source may fail before it is closed


class Parts(Protocol):
    """What a turn is made of; the daemon implements it."""

    def collect_exits(self) -> None:
        """Apply what the SIGCHLD handler reaped."""

    def take_signals(self) -> None:
        """Act on the other signals that came."""

    def fire_timers(self) -> None:
        """Act on the timers that are due."""

    def settle(self) -> None:
        """Decide and perform until nothing is left to decide."""

    def timeout_ns(self) -> int | None:
        """Return how long the next poll may wait; None for as long as it takes."""

    def finished(self) -> bool:
        """Tell whether the daemon is done."""

    def turn_failed(self, step: str, error: Exception, trace: str) -> None:
        """Report an exception that `step` raised."""

    def source_closed(self, name: str) -> None:
        """Report that a source failed too often and is no longer served."""


class _WakeupSource:
    """Empties the wakeup pipe; the handlers have already run by then."""

    name = "wakeup"
    phase = Phase.WAKEUP

    def __init__(self, wakeup: Wakeup) -> None:
        self._wakeup = wakeup

    def ready(self, fd: int, events: int) -> None:
        del fd, events
        self._wakeup.drain()

    def failed(self, fd: int) -> None:
        del fd


class Loop:
    """Run turns until the daemon is finished.

    Args:
        poller: owns all descriptors.
        wakeup: made readable by any signal that arrives.
        handled: the signals that have handlers, blocked by the caller; open only around the poll.
        parts: what a turn is made of.
    """

    __slots__ = ("_handled", "_parts", "_poller")

    def __init__(self, poller: Poller, wakeup: Wakeup, handled: Collection[int], parts: Parts) -> None:
        self._poller = poller
        self._handled = frozenset(handled)
        self._parts = parts
        poller.watch(wakeup.fd, _WakeupSource(wakeup))

    def run(self) -> None:
        """Turn until the daemon is finished."""
        while not self._parts.finished():
            self.turn()

    def turn(self) -> None:
        """Wait for something to happen, then do all that follows from it."""
        events = self._wait(self._parts.timeout_ns())
        ready = [(fd, each, watch) for fd, each in events if (watch := self._poller.watch_of(fd))]
        self._serve(ready, _FIRST)
        self._guarded("exits", self._parts.collect_exits)
        self._guarded("signals", self._parts.take_signals)
        self._guarded("timers", self._parts.fire_timers)
        self._serve(ready, _LATER)
        self._guarded("settle", self._parts.settle)

    def _wait(self, timeout_ns: int | None) -> list[tuple[int, int]]:
        signals.unblock(self._handled)
        try:
            return self._poller.poll(timeout_ns)
        finally:
            signals.block(self._handled)

    def _serve(self, ready: list[tuple[int, int, Watch]], phases: Collection[Phase]) -> None:
        for fd, events, watch in ready:
            source = watch.source
            # An earlier source may have dropped this one, and even have opened the same number anew.
            if source.phase not in phases or self._poller.watch_of(fd) is not watch:
                continue
            if self._guarded(source.name, partial(source.ready, fd, events)):
                watch.failures = 0
            else:
                self._count_failure(fd, watch)

    def _count_failure(self, fd: int, watch: Watch) -> None:
        watch.failures += 1
        if watch.failures < PATIENCE or self._poller.watch_of(fd) is not watch:
            return
        source = watch.source
        self._poller.drop(fd)
        self._guarded(source.name, partial(source.failed, fd))
        self._parts.source_closed(source.name)

    def _guarded(self, step: str, call: Callable[[], None]) -> bool:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - the one place that catches all: PID 1 must go on
            import traceback  # noqa: PLC0415 - it is large, and mostly there is nothing to trace

            self._parts.turn_failed(step, error, traceback.format_exc())
            return False
        return True
