"""A session: process groups that share a sid and perhaps a terminal, setsid(2)."""

import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reaperd.model.group import ProcessGroup


class Session:
    """Process groups that were made by the session's leader and its descendants.

    A session knows its groups weakly, they hold it strongly: it disappears with the last of them.
    """

    __slots__ = ("__weakref__", "_groups", "_sid")

    def __init__(self, sid: int) -> None:
        """Make a session without groups; `Process.create_session` makes one that a process is in."""
        self._sid = sid
        self._groups: dict[int, weakref.ref[ProcessGroup]] = {}

    @property
    def sid(self) -> int:
        """The session's number: the pid of the process that made it."""
        return self._sid

    @property
    def process_groups(self) -> tuple["ProcessGroup", ...]:
        """The groups that have a process in them."""
        groups = (reference() for reference in self._groups.values())
        return tuple(group for group in groups if group is not None)

    def group(self, pgid: int) -> "ProcessGroup | None":
        """Return the group with this number that has a process in it, or None."""
        reference = self._groups.get(pgid)
        return reference() if reference is not None else None

    def add_group(self, group: "ProcessGroup") -> None:
        """Count `group` among the session's: for the group, when its first process comes."""
        self._groups[group.pgid] = weakref.ref(group)

    def remove_group(self, group: "ProcessGroup") -> None:
        """Forget `group`: for the group, when its last process has gone."""
        if self.group(group.pgid) is group:
            del self._groups[group.pgid]

    def __repr__(self) -> str:
        return f"Session({self._sid})"
