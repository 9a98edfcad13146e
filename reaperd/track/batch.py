"""One batch of the process connector's messages, looked through before it is followed."""

from reaperd.kernel import procconn
from reaperd.kernel.procconn import Event


class Batch:
    """Where each pid is born and ends for the last time in it, and who does anything besides.

    A place is that of a message in the batch; -1 is before all of them.
    """

    __slots__ = ("_births", "_busy", "_ends")

    def __init__(self, events: list[Event]) -> None:
        self._births = {
            event[6]: place
            for place, event in enumerate(events)
            if event[0] == procconn.FORK and event[5] == event[6]
        }
        self._ends = {
            event[4]: place
            for place, event in enumerate(events)
            if event[0] == procconn.EXIT and event[3] == event[4]
        }
        self._busy = {event[4] for event in events if event[0] != procconn.EXIT}
        self._busy.update(event[6] for event in events if event[0] == procconn.FORK and event[5] != event[6])

    def ends_later(self, pid: int, place: int) -> bool:
        """Tell whether a process with this pid ends after this place."""
        return self._ends.get(pid, -1) > place

    def is_born_later(self, pid: int, place: int) -> bool:
        """Tell whether a process with this pid is born after this place: another than before."""
        return self._births.get(pid, -1) > place

    def is_all_of(self, pid: int, parent: int, place: int) -> bool:
        """Tell whether one born at this place does nothing here but end, and not after its parent does."""
        ends = self._ends.get(pid, -1)
        if ends < place or self._births[pid] != place or pid in self._busy:
            return False
        return self._ends.get(parent, ends) >= ends
