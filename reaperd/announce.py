"""Keep the service manager told how the daemon is: what to say when, of sd_notify(3).

    READY=1       the daemon answers and has begun to start its services; again after each reload
    STATUS=       the services in one line; a change is told at once, further ones at most so often
    RELOADING=1   it follows a changed configuration, until all that starts or stops for it has settled
    STOPPING=1    with EXTEND_TIMEOUT_USEC: the services' own times to stop are not the manager's to cut
    WATCHDOG=1    at the end of a turn, so a loop that hangs says nothing

Everything is said at the end of a turn. Nothing wakes the loop for it but the watchdog, where the manager
asks for one, and for a moment a change of STATUS that came too soon after the last one, or a manager that was
busy.
"""

import os
from collections.abc import Callable
from typing import Final, Protocol

from reaperd.config.spec import SECOND_NS
from reaperd.sd.client import Asked, Manager
from reaperd.supervise.shutdown import KILLING_NS, REST_NS, Phase, Shutdown
from reaperd.supervise.summary import summary
from reaperd.supervise.supervisor import Supervisor
from reaperd.verbs import Verbs

STATUS_PAUSE_NS: Final = SECOND_NS // 5  # between two lines
BUSY_PAUSE_NS: Final = SECOND_NS // 10
_MARGIN_NS: Final = 5 * SECOND_NS  # for the last turn, on a busy machine
_MOST_UNSENT: Final = 16
_USEC_NS: Final = 1000


class Announces(Protocol):
    """What the daemon asks of whoever tells about it."""

    def settle(self) -> None:
        """Tell what is new, at the end of a turn."""

    def next_ns(self) -> int | None:
        """Return when there is something to tell even if nothing happens; None for never."""

    def close(self) -> None:
        """Tell no more; the daemon is leaving."""


class Silence:
    """Nobody wants to know."""

    def settle(self) -> None:
        """Say nothing."""

    def next_ns(self) -> int | None:
        """Never wake anybody."""
        return None

    def close(self) -> None:
        """Do nothing: nothing is open."""


class Announcer:
    """Tell the service manager that started the daemon."""

    def __init__(  # noqa: PLR0913 - the parts that it tells about
        self,
        asked: Asked,
        *,
        supervisor: Supervisor,
        shutdown: Shutdown,
        verbs: Verbs,
        clock: Callable[[], int],
        fail: Callable[[str], None],
    ) -> None:
        """`fail` is called with the reason, once, where the manager cannot be told at all."""
        self._manager = Manager(asked.address)
        self._supervisor = supervisor
        self._shutdown = shutdown
        self._verbs = verbs
        self._clock = clock
        self._fail = fail
        self._failed = False
        self._unsent: list[str] = []
        self._again_ns: int | None = None  # when a busy manager is tried again
        self._ready = False
        self._reloads = 0
        self._reloading = False
        self._phase = Phase.UP
        self._moves = -1
        self._status = ""
        self._status_at_ns: int | None = None  # the last time that it was told
        self._status_due_ns: int | None = None  # a change that came too soon
        # Half the time that it allows, as sd_watchdog_enabled(3) recommends.
        self._beat_ns = None if asked.watchdog_ns is None else max(asked.watchdog_ns // 2, 1)
        self._beat_due_ns: int | None = None

    def next_ns(self) -> int | None:
        """Return when there is something to tell even if nothing happens; None for never."""
        due = (self._again_ns, self._status_due_ns, self._beat_due_ns)
        return min((each for each in due if each is not None), default=None)

    def close(self) -> None:
        """Tell no more; the daemon is leaving."""
        self._manager.close()

    def settle(self) -> None:
        """Tell what is new, at the end of a turn."""
        now_ns = self._clock()
        self._follow_reloads(now_ns)
        if not self._ready:
            self._ready = True
            self._say("READY=1", f"MAINPID={os.getpid()}", self._new_status(now_ns))
        if self._shutdown.phase is not self._phase:
            self._follow_end(now_ns)
        self._follow_services(now_ns)
        self._beat(now_ns)
        self._send(now_ns)

    # --- what there is to say ---------------------------------------------------------------------------

    def _follow_reloads(self, now_ns: int) -> None:
        if self._verbs.reloads != self._reloads:
            self._reloads = self._verbs.reloads
            self._reloading = True
            self._say("RELOADING=1", f"MONOTONIC_USEC={now_ns // _USEC_NS}", self._new_status(now_ns))
        if self._reloading and not self._verbs.is_reloading():
            self._reloading = False
            self._say("READY=1", self._new_status(now_ns))

    def _follow_end(self, now_ns: int) -> None:
        first, self._phase = self._phase is Phase.UP, self._shutdown.phase
        if self._phase is Phase.DONE:
            return
        deadline_ns = self._shutdown.deadline_ns or now_ns
        rest_ns = {Phase.SERVICES: REST_NS + KILLING_NS, Phase.REST: KILLING_NS}.get(self._phase, 0)
        extend = f"EXTEND_TIMEOUT_USEC={(deadline_ns - now_ns + rest_ns + _MARGIN_NS) // _USEC_NS}"
        self._say(*(["STOPPING=1"] if first else []), extend, self._new_status(now_ns))

    def _follow_services(self, now_ns: int) -> None:
        if self._supervisor.moves == self._moves:
            return
        told_ns = self._status_at_ns
        if told_ns is not None and now_ns < told_ns + STATUS_PAUSE_NS:
            self._status_due_ns = told_ns + STATUS_PAUSE_NS
            return
        before = self._status
        line = self._new_status(now_ns)
        if self._status != before:
            self._say(line)

    def _new_status(self, now_ns: int) -> str:
        """Return the line of STATUS as of now, which the caller is about to tell."""
        self._moves = self._supervisor.moves
        self._status_at_ns, self._status_due_ns = now_ns, None
        services = summary(self._supervisor.services.values())
        if self._phase is not Phase.UP or self._shutdown.phase is not Phase.UP:
            services = f"stopping: {services}"
        elif self._reloading:
            services = f"reloading: {services}"
        refused = "; the changed configuration was refused, see the log" if self._verbs.refused else ""
        self._status = f"STATUS={services}{refused}"
        return self._status

    def _beat(self, now_ns: int) -> None:
        if self._beat_ns is None or (self._beat_due_ns is not None and now_ns < self._beat_due_ns):
            return
        self._beat_due_ns = now_ns + self._beat_ns
        self._say("WATCHDOG=1")

    # --- saying it --------------------------------------------------------------------------------------

    def _say(self, *lines: str) -> None:
        if len(self._unsent) < _MOST_UNSENT:
            self._unsent.append("\n".join(lines))

    def _send(self, now_ns: int) -> None:
        self._again_ns = None
        while self._unsent:
            try:
                taken = self._manager.tell(self._unsent[0])
            except OSError as error:
                self._unsent.clear()
                if not self._failed:
                    self._failed = True
                    self._fail(error.strerror or str(error))
                return
            if not taken:
                self._again_ns = now_ns + BUSY_PAUSE_NS
                return
            del self._unsent[0]
