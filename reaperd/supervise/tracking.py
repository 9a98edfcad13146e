"""The model kept in step within the loop: what makes the daemon hear, look, and tell the supervisor.

A machine may fork a thousand times a second, and most of it is no business of ours. So after each batch of
messages the connector is left alone for a moment; it is watched again once a moment has brought nothing. That
bounds the wake-ups on a busy machine, lets what is born and ends within a moment be followed without a look,
and costs an idle machine nothing: no timer is armed while nothing happens.
"""

from collections.abc import Callable
from typing import Final

from reaperd.errors import KernelError
from reaperd.loop.poller import Phase
from reaperd.model import Adopted, Change
from reaperd.supervise.world import World
from reaperd.track.standing import Standing

MOMENT_NS: Final = 20_000_000


class Tracking:
    """Let the tracker hear and look when it is time. Implements `loop.poller.Source`.

    Attributes:
        heal_interval_ns: the time between two looks at everybody that nothing asked for; None for no such
        look.
    """

    name = "process events"
    phase = Phase.REPORTS

    def __init__(self, world: World, look: Callable[[], None], heal_interval_ns: int | None) -> None:
        """Follow from now on; `look` is called where an orphan has come to the daemon."""
        self._tracker = world.children.tracker
        self._poller = world.poller
        self._clock = world.clock
        self._log = world.log
        self._look = look
        self._hears_at_ns: int | None = None
        self._adopted = False
        self.heal_interval_ns = heal_interval_ns
        self._heals_at_ns = None if heal_interval_ns is None else self._clock() + heal_interval_ns
        self._poller.watch(self._tracker.graves.fd, self)
        if self._tracker.fd is not None:
            self._poller.watch(self._tracker.fd, self)
        self._tracker.follow(self._note)

    def ready(self, fd: int, events: int) -> None:
        """Follow what the connector tells, or let zombies go that others have reaped."""
        del events
        if fd == self._tracker.graves.fd:
            self._tracker.bury()
        else:
            self._hear()

    def failed(self, fd: int) -> None:
        """Go on without the connector; the pidfds of zombies may be read again at the next look."""
        if fd == self._tracker.fd:
            self._hears_at_ns = None
            self._tracker.disconnect("it failed three times running")

    def next_ns(self) -> int | None:
        """Return when there is something to do that no descriptor announces; None where there is nothing."""
        due = (self._hears_at_ns, self._tracker.due_ns, self._heals_at_ns)
        return min((each for each in due if each is not None), default=None)

    def expire(self, now_ns: int) -> None:
        """Hear and look where it is time.

        Raises:
            KernelError: no descriptor is left.
        """
        if self._hears_at_ns is not None and self._hears_at_ns <= now_ns:
            self._hear()
        due_ns = self._tracker.due_ns
        is_healing = self._heals_at_ns is not None and self._heals_at_ns <= now_ns
        if is_healing:
            assert self.heal_interval_ns is not None, "it is armed"
            self._heals_at_ns = now_ns + self.heal_interval_ns
        if is_healing or (due_ns is not None and due_ns <= now_ns):
            self._tracker.refresh()
        if is_healing:
            self._look()

    def _hear(self) -> None:
        fd = self._tracker.fd
        assert fd is not None, "it was watched"
        try:
            has_heard = self._tracker.hear()
        except KernelError as error:
            self._log("tracking.failed", error=error.message)
            has_heard = True
        if has_heard and not self._tracker.has_more:
            self._poller.drop(fd)
            self._hears_at_ns = self._clock() + MOMENT_NS
        else:
            self._poller.watch(fd, self)
            self._hears_at_ns = None
        if self._adopted:
            self._adopted = False
            self._look()

    def _note(self, changes: tuple[Change, ...]) -> None:
        self._adopted = self._adopted or any(isinstance(change, Adopted) for change in changes)


def row(standing: Standing, heal_interval_ns: int | None) -> dict[str, object]:
    """Return how well the model knows the real tree, as `status` answers it."""
    return {
        "scope": standing.scope.value,
        "source": standing.source.value,
        "why_not": standing.why_not,
        "processes": standing.processes,
        "zombies": standing.zombies,
        "messages": standing.messages,
        "lag": standing.lag_s,
        "losses": standing.losses,
        "looks": standing.looks,
        "look_time": standing.look_s,
        "dirty": standing.is_dirty,
        "heal_interval": None if heal_interval_ns is None else heal_interval_ns / 1e9,
    }
