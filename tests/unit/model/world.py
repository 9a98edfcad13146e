"""A kernel of plain dictionaries: what the model and the table are compared with.

It finds everything by looking through all processes, as slowly and as plainly as it can.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from reaperd.model import Seen

INIT = 1


@dataclass
class Proc:
    """One process, by numbers alone."""

    pid: int
    start: int
    ppid: int
    pgid: int
    sid: int
    comm: str = "x"
    zombie: bool = False
    subreaper: bool = False
    code: int = 0
    tids: set[int] = field(default_factory=set)

    @property
    def dead_leader(self) -> bool:
        """Whether the first thread has ended and others live."""
        return not self.zombie and self.pid not in self.tids


class World:
    """Processes by pid, in the order in which they came to their parents."""

    def __init__(self) -> None:
        self.clock = 1
        self.procs = {INIT: Proc(INIT, 1, 0, INIT, INIT, tids={INIT})}

    def free_number(self) -> int:
        """Return the lowest number that names nothing: small, so that pids are used again soon."""
        used = {n for p in self.procs.values() for n in (p.pid, p.pgid, p.sid, *p.tids)}
        return next(n for n in range(2, 1 << 20) if n not in used)

    def children(self, pid: int) -> list[Proc]:
        """Return the children in the order in which they came."""
        return [proc for proc in self.procs.values() if proc.ppid == pid]

    def below(self, pid: int) -> list[Proc]:
        """Return all descendants, parents first."""
        found = self.children(pid)
        for proc in found:
            found.extend(self.children(proc.pid))
        return found

    def fork(self, ppid: int) -> Proc:
        """Return a new child of this process."""
        self.clock += 1
        parent, pid = self.procs[ppid], self.free_number()
        child = Proc(pid, self.clock, ppid, parent.pgid, parent.sid, parent.comm, tids={pid})
        self.procs[pid] = child
        return child

    def setsid(self, pid: int) -> bool:
        """Make a session and a group of its own, unless the number is a group already."""
        if any(proc.pgid == pid for proc in self.procs.values()):
            return False
        self.procs[pid].pgid = self.procs[pid].sid = pid
        return True

    def setpgid(self, pid: int, pgid: int) -> bool:
        """Move to a group of its session, or to a new one of its own number."""
        proc = self.procs[pid]
        sids = {other.sid for other in self.procs.values() if other.pgid == pgid}
        if proc.sid == pid or (sids != {proc.sid} and not (pgid == pid and not sids)):
            return False
        proc.pgid = pgid
        return True

    def reaper(self, pid: int) -> int:
        """Return who gets the orphans of this process."""
        above = self.procs[pid].ppid
        while above != INIT and not self.procs[above].subreaper:
            above = self.procs[above].ppid
        return above

    def exit(self, pid: int, code: int) -> None:
        """End a process with all its threads."""
        reaper = self.reaper(pid)
        for orphan in self.children(pid):
            del self.procs[orphan.pid]  # to the end of the order
            self.procs[orphan.pid] = orphan
            orphan.ppid = reaper
        proc = self.procs[pid]
        proc.zombie, proc.code, proc.tids = True, code, set()

    def reap(self, pid: int) -> None:
        """Wait for a zombie."""
        del self.procs[pid]

    def find_zombie(self, pid: int, selector: int) -> int | None:
        """Return what wait4(2) would take."""
        pgid = -selector if selector else self.procs[pid].pgid
        matching = [
            child
            for child in self.children(pid)
            if selector in (-1, child.pid) or (selector <= 0 and child.pgid == pgid)
        ]
        if not matching:
            raise ChildProcessError
        return next((child.pid for child in matching if child.zombie), None)

    def seen(self, pid: int, *, with_tids: bool = True) -> Seen:
        """Return what /proc would show."""
        proc = self.procs[pid]
        return Seen(
            pid,
            proc.ppid,
            proc.pgid,
            proc.sid,
            proc.start,
            proc.comm,
            "Z" if proc.zombie or proc.dead_leader else "S",
            1 if proc.zombie else len(proc.tids | {pid}),
            None,
            tuple(sorted(proc.tids | {pid})) if with_tids and not proc.zombie else (),
        )

    def look(self, pids: Iterable[int]) -> list[Seen]:
        """Return what /proc would show of several."""
        return [self.seen(pid) for pid in pids]
