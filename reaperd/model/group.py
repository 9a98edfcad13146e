"""A process group: the processes that one signal reaches, setpgid(2)."""

import weakref
from typing import TYPE_CHECKING

from reaperd.model.session import Session

if TYPE_CHECKING:
    from reaperd.model.process import Process


class ProcessGroup:
    """Processes that share a pgid, all of them in one session.

    A group knows its processes weakly, they hold it strongly: it disappears with the last of them, zombies
    included. Whoever still holds an empty one holds something that the kernel no longer knows.
    """

    __slots__ = ("__weakref__", "_pgid", "_processes", "_session")

    def __init__(self, pgid: int, session: Session) -> None:
        """Make a group without processes; `Process.create_group` makes one that a process is in."""
        self._pgid = pgid
        self._session = session
        self._processes: dict[int, weakref.ref[Process]] = {}

    @property
    def pgid(self) -> int:
        """The group's number: the pid of the process that made it."""
        return self._pgid

    @property
    def session(self) -> Session:
        """The session, which is the same for as long as the group lives."""
        return self._session

    @property
    def processes(self) -> tuple["Process", ...]:
        """The processes in this group, zombies included."""
        processes = (reference() for reference in self._processes.values())
        return tuple(process for process in processes if process is not None)

    @property
    def is_empty(self) -> bool:
        """Whether the last process has left, so that the kernel no longer knows the group."""
        return not self._processes

    def add(self, process: "Process") -> None:
        """Count `process` in: for the process, which holds the group."""
        if not self._processes:
            self._session.add_group(self)
        self._processes[process.pid] = weakref.ref(process)

    def remove(self, process: "Process") -> None:
        """Count `process` out: for the process, when it moves or is freed.

        The session's entry goes at once and not when it is next read: a shell makes a group for each job.
        """
        del self._processes[process.pid]
        if not self._processes:
            self._session.remove_group(self)

    def __repr__(self) -> str:
        return f"ProcessGroup({self._pgid}, session={self._session.sid})"
