"""Bring a tree to what a look at many processes showed.

A look is not one moment: processes fork, end and are reparented while it goes on, so that a parent may be
missing from it, or have ended by the time its child is read. The steps are in an order that says no more
than what happened, whatever the order of the look:

1. a pid with another start time is another process: the old one is lost;
2. parents before children, each one seen comes or is followed to its new place;
3. then those that ended become zombies, when their children have already been put where they are;
4. then those that are missing are lost, from the leaves up.
"""

from collections.abc import Iterable

from reaperd.model.changes import Change
from reaperd.model.entry import Entry
from reaperd.model.process import Process
from reaperd.model.snapshot import Seen
from reaperd.model.tree import Tree, descendants


class _Look:
    """One comparison of a tree with what was seen."""

    __slots__ = ("by_pid", "by_ppid", "done", "out", "tree")

    def __init__(self, tree: Tree, look: Iterable[Seen], out: list[Change]) -> None:
        self.tree = tree
        self.out = out
        self.by_pid = {seen.pid: seen for seen in look}
        self.by_ppid: dict[int, list[Seen]] = {}
        self.done: set[int] = set()
        for seen in self.by_pid.values():
            self.by_ppid.setdefault(seen.ppid, []).append(seen)

    def lose_reused(self) -> None:
        """Lose those whose pid belongs to another process now; a root that is not ours is not looked at."""
        for pid, seen in list(self.by_pid.items()):
            entry = self.tree.entries.get(pid)
            if entry is None or entry.is_same(seen.start_time, seen.inode):
                continue
            if entry.process.is_init:
                del self.by_pid[pid]
            else:
                self.tree.lose(entry, self.out)

    def follow_all(self, top: Process) -> None:
        """Let everybody seen come or move, in the order in which parents are known."""
        entries = self.tree.entries
        if top.pid in self.by_pid:
            self._follow_one(self.by_pid[top.pid])
        self._follow_below(top.pid)
        # Parents that we know and that ended before the look reached them: the children show where they were.
        for ppid in self.by_ppid:
            if ppid in entries and ppid not in self.by_pid:
                self._follow_below(ppid)
        # The rest of those that we know: their parent is outside, or too new for this look.
        for pid, seen in self.by_pid.items():
            if pid in entries and pid not in self.done:
                if self._is_outside(seen):
                    self.tree.leave(entries[pid], seen.ppid, self.out)
                else:
                    self._follow_one(seen)
                self._follow_below(pid)

    def _is_outside(self, seen: Seen) -> bool:
        """Whether the look shows all ancestors, up to one without parent, and no root of ours among them."""
        passed: set[int] = set()
        while seen.ppid in self.by_pid and seen.pid not in passed:
            passed.add(seen.pid)
            seen = self.by_pid[seen.ppid]
        return seen.ppid == 0

    def _follow_below(self, pid: int) -> None:
        self.done.add(pid)
        pids = [pid]
        for ppid in pids:
            for seen in self.by_ppid.get(ppid, ()):
                if seen.pid not in self.done:
                    self.done.add(seen.pid)
                    pids.append(seen.pid)
                    self._follow_one(seen)

    def _follow_one(self, seen: Seen) -> None:
        entry = self.tree.entries.get(seen.pid)
        if entry is not None:
            parent = entry.process.parent
            is_there = parent is not None and parent.pid == seen.ppid
            if is_there or self.tree.follow_parent(entry, seen.ppid, self.out):
                self.tree.follow(entry, seen, self.out)
            return
        parent = self.tree.host(seen.ppid)
        if parent is not None:
            self.tree.enter(seen, parent, self.out)

    def end_zombies(self) -> None:
        """Let those that have ended become zombies."""
        for pid, seen in self.by_pid.items():
            if not seen.is_zombie:
                continue
            entry = self.tree.entries.get(pid)
            if entry is not None and not entry.process.is_init:
                self.tree.end(entry, seen.exit_code, self.out)

    def lose_missing(self, top: Process) -> None:
        """Lose those below `top` that were not seen, from the leaves up."""
        missing = [process for process in descendants(top) if process.pid not in self.by_pid]
        certain = set(missing) if top.is_init else _certain(missing, top)
        for process in reversed(missing):
            if process in certain:
                self.tree.lose(self.tree.entries[process.pid], self.out)


def _certain(missing: list[Process], top: Process) -> set[Process]:
    """Return which of those missing below `top` are gone for certain.

    A living parent's child cannot go elsewhere. The child of one that is gone may have, to a reaper above
    `top` where this look did not go: such an orphan stays until a look finds or misses it there.
    """
    out_of_sight = set(missing)
    certain: set[Process] = set()
    for process in missing:  # parents come first
        parent = process.parent
        if parent in certain:
            reaper = _reaper_outside(process, certain)
            if reaper not in out_of_sight and reaper.is_below(top):
                certain.add(process)
        elif parent not in out_of_sight:
            certain.add(process)
    return certain


def _reaper_outside(process: Process, gone: set[Process]) -> Process:
    reaper = process.reaper()
    while reaper in gone:
        reaper = reaper.reaper()
    return reaper


def sync(tree: Tree, look: Iterable[Seen], top: Entry, out: list[Change]) -> None:
    """Bring `tree` to `look`, which showed all that is below `top`; `top` itself need not be in it."""
    comparison = _Look(tree, look, out)
    comparison.lose_reused()
    if tree.entries.get(top.process.pid) is not top:
        return  # the look found another process with its pid: nothing is known of those below
    comparison.follow_all(top.process)
    comparison.end_zombies()
    if tree.entries.get(top.process.pid) is top:
        comparison.lose_missing(top.process)
