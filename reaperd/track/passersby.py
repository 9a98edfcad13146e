"""Processes that were born and gone before anybody could look, so that the table need not know them.

On a busy machine they are nearly all there are, and each would cost a look and a place in the table for a
moment that is over. Those who follow every change are told of their fork, end and reap, made of the messages
alone.
"""

import os
from collections.abc import Callable
from typing import Final

from reaperd.model import Change, Exited, ProcessKey, ProcessTable, Reaped
from reaperd.track.batch import Batch

_NOBODY: Final = ProcessKey(0, 0)  # nobody wanted to know a name


class PassersBy:
    """Those of the batch that is being followed; `tell` gets what changed.

    Attributes:
        names: of those whose end is still to come, by pid, each with its parent's.
        are_wanted: whether somebody is to be told of them.
    """

    __slots__ = ("_table", "_tell", "are_wanted", "names")

    def __init__(self, table: ProcessTable, tell: Callable[[tuple[Change, ...]], None]) -> None:
        self._table = table
        self._tell = tell
        self.names: dict[int, tuple[ProcessKey, ProcessKey]] = {}
        self.are_wanted = False

    def came(self, batch: Batch, parent: int, pid: int, place: int) -> bool:
        """Take a newborn for a passer-by, or say that it is none.

        It is one if it does nothing in this batch but end, if its parent does not end before it, and if
        nobody has its pid any more: then its parent has waited for it, or asked not to have to.
        """
        if not batch.is_all_of(pid, parent, place):
            return False
        process = self._table.get(parent)
        if process is None or not process.is_alive or self._table.get(pid) is not None or _is_there(pid):
            return False
        key = _NOBODY
        if self.are_wanted:
            key, changes = self._table.came_by(process, pid)
            self._tell(changes)
        self.names[pid] = key, self._table.key(process)
        return True

    def went(self, pid: int, status: int) -> None:
        """Let a passer-by end, with this wait status."""
        key, parent = self.names.pop(pid)
        if key is not _NOBODY:
            self._tell((Exited(key, status), Reaped(key, status, parent)))


def _is_there(pid: int) -> bool:
    """Tell whether any process has this pid now, a zombie included: kill(2). Cheaper than a look."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
