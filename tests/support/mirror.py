"""A reader of the changes that a table tells, who must know from them alone what the table shows."""

from collections.abc import Iterable
from typing import NamedTuple

from reaperd.model import Seen, changes


class Fact(NamedTuple):
    """What must agree of one process."""

    ppid: int
    pgid: int
    sid: int
    comm: str
    is_zombie: bool
    is_dead_leader: bool
    tids: frozenset[int]


class Mirror:
    """A tree that is built from the changes alone."""

    def __init__(self, root: Seen) -> None:
        self.facts = {root.key: fact(root, root.tids)}

    def read(self, told: Iterable[changes.Change]) -> None:
        """Take what changed."""
        for change in told:
            self.take(change)

    def take(self, change: changes.Change) -> None:
        """Take one change; what it is about must be there, or must not, as its kind says."""
        key = change.key
        if isinstance(change, changes.Identified):
            self.facts[key] = self.facts.pop(change.old)
            return
        old = self.facts.get(key)
        if isinstance(change, changes.Forked) or (isinstance(change, changes.Adopted) and change.old is None):
            parent = change.parent if isinstance(change, changes.Forked) else change.new
            assert old is None
            self.facts[key] = Fact(
                parent.pid, change.pgid, change.sid, change.comm, False, False, frozenset({key.pid})
            )
            return
        assert old is not None
        if isinstance(change, (changes.Reaped, changes.Left)):
            assert old.is_zombie or isinstance(change, changes.Left)
            del self.facts[key]
            return
        self.facts[key] = self.after(change, old)

    def after(self, change: changes.Change, old: Fact) -> Fact:
        """Return what is true of a process after something happened to it."""
        match change:
            case changes.Reparented():
                assert change.old is not None
                assert change.old.pid == old.ppid
                return old._replace(ppid=change.new.pid)
            case changes.SessionChanged():
                assert change.old == old.sid
                return old._replace(sid=change.new)
            case changes.GroupChanged():
                assert change.old == old.pgid
                return old._replace(pgid=change.new)
            case changes.Execed(comm=comm) | changes.Renamed(new=comm):
                return old._replace(comm=comm)
            case changes.ThreadStarted(tid=tid) | changes.ThreadEnded(tid=tid):
                assert (tid in old.tids) == isinstance(change, changes.ThreadEnded)
                tids = old.tids ^ {tid}
                return old._replace(tids=tids, is_dead_leader=change.key.pid not in tids)
            case changes.Exited():
                assert not old.is_zombie
                return old._replace(is_zombie=True, is_dead_leader=False, tids=frozenset())
            case _:
                raise AssertionError(change)


def fact(seen: Seen, tids: Iterable[int]) -> Fact:
    """Return what must agree of one process."""
    return Fact(
        seen.ppid, seen.pgid, seen.sid, seen.comm, seen.is_zombie, seen.is_dead_leader, frozenset(tids)
    )
