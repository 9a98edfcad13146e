"""What ends in a run's cgroup without being below us: nobody tells us of that but the cgroup."""

from collections.abc import Callable

from reaperd.children.children import Children
from reaperd.loop.poller import Phase


class Emptied:
    """Have a look taken when a cgroup may have become empty. Implements `loop.poller.Source`."""

    name = "cgroups"
    phase = Phase.REPORTS

    def __init__(self, children: Children, look: Callable[[], None]) -> None:
        self._children = children
        self._look = look

    def ready(self, fd: int, events: int) -> None:
        """Let services that are being emptied be looked at in this turn."""
        del fd, events
        self._children.drain_emptied()
        self._look()

    def failed(self, fd: int) -> None:
        """Do without: the next death or request makes us look, too."""
