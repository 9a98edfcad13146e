"""Which process belongs to which run, and the model of them all.

The daemon is child subreaper, so every descendant of a run either stands below the run's main process or
has come to us as an orphan, and a run's tree is empty exactly when none of our unreaped children belongs
to it. An orphan announces itself by nothing at all: we look among our children after each death and
before each stop, and ask of a new one, in this order

1. its cgroup, where runs have one: see `leaves`;
2. its known chain of parents: a walk has seen it below a run before;
3. the tag among its limits, which a run's main process is given and hands on: see `tags`;
4. the marker in its environment, for who has set all his limits anew;
5. its session or process group: those of a run's main process, or of an orphan that the run already has.

Whoever answers to none of these is unclaimed: listed, and ended at shutdown. The number of a session can
outlive our knowledge of its members and be used again, so it is asked for last.

One look is enough to tell that a run's tree is empty. Whoever ends hands its children over before it can be
reaped, and we reap nobody while we look: so all of the run is among our children, living or dead, or below
them. A zombie, too, still carries its tag.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from reaperd.children.plan import MARKER
from reaperd.children.tags import tag_for, tag_of
from reaperd.kernel import procfs
from reaperd.kernel.procfs import Stat
from reaperd.model import Change, Forked, Process
from reaperd.track import look
from reaperd.track.tracker import Tracker

GONE: Final = frozenset("ZX")  # ended: nothing to signal, and its own parent's to reap until that ends

_MOST_CLIMBS: Final = 4  # a parent that ends on the way hands its children to us: then climb again


@dataclass(frozen=True, slots=True)
class Claim:
    """Hung on a process of the model: the run it belongs to."""

    run_id: str


@dataclass(slots=True)
class _Kin:
    """What is known of one run's processes."""

    numbers: Counter[int] = field(default_factory=Counter)  # sids and pgids, with how many hold them here
    children: dict[int, tuple[int, int]] = field(default_factory=dict)  # our children: pid to (sid, pgid)


class Family:
    """Our unreaped children, each with the run it belongs to, and the model of all that descends from us.

    Attributes:
        tracker: keeps the model in step; what is observed here is told there.
    """

    __slots__ = ("_kin", "_leaf_run_of", "_run_of", "_run_of_number", "_run_of_tag", "tracker")

    def __init__(self, leaf_run_of: Callable[[int], str | None], tracker: Tracker) -> None:
        self.tracker = tracker
        tracker.follow(self._claim_forked)
        self._leaf_run_of = leaf_run_of
        self._kin: dict[str, _Kin] = {}
        self._run_of: dict[int, str | None] = {}
        self._run_of_number: dict[int, str] = {}
        self._run_of_tag: dict[int, str] = {}

    def born(self, run_id: str, pid: int) -> None:
        """Note the main process of a new run; it leads the session and group of its own pid.

        Raises:
            KernelError: no descriptor is left to look at it; then nothing is noted.
        """
        table = self.tracker.table
        child = look.read(pid)  # with its start time: an earlier one with this pid may not be known as gone
        self._kin[run_id] = _Kin()
        self._run_of_tag[tag_for(run_id)] = run_id
        self.tracker.tell(table.forked(table.home, pid if child is None else child))
        self.tracker.tell(table.session_changed(pid, pid))
        self._add(run_id, pid, (pid, pid))
        # The session may outlive its leader, so this number stays with the run to its end.
        self._kin[run_id].numbers[pid] += 1

    def unborn(self, run_id: str, pid: int) -> None:
        """Forget a run whose main process cannot be followed after all, and is being ended."""
        self.reaped(pid, signal.SIGKILL)
        self.ended(run_id)

    def reaped(self, pid: int, status: int) -> str | None:
        """Forget a child that is gone; return the run it belonged to, if any."""
        self.tracker.tell(self.tracker.table.reaped(pid, status))
        run_id = self._run_of.pop(pid, None)
        kin = None if run_id is None else self._kin.get(run_id)
        if kin is not None and pid in kin.children:
            self._release(kin, kin.children.pop(pid))
        return run_id

    def ended(self, run_id: str) -> None:
        """Forget a run whose tree is empty."""
        kin = self._kin.pop(run_id, None)
        if kin is None:
            return
        del self._run_of_tag[tag_for(run_id)]
        for number in kin.numbers:
            self._run_of_number.pop(number, None)

    def adopt(self) -> list[tuple[Stat, str | None]]:
        """Look for orphans that came to us; return each new one with the run that has it now."""
        adopted: list[tuple[Stat, str | None]] = []
        fresh = [pid for pid in procfs.children(os.getpid()) if pid not in self._run_of]
        for stat in filter(None, map(procfs.read_stat, fresh)):
            run_id = self.claim(stat)
            self.tracker.tell(self.tracker.table.observe(look.of_stat(stat)))
            self._add(run_id, stat.pid, (stat.sid, stat.pgid))
            adopted.append((stat, run_id))
        self._lose_vanished()
        return adopted

    def _lose_vanished(self) -> None:
        """Let the model forget descendants that it gave to us and whose own parents had reaped them."""
        table = self.tracker.table
        for process in self.tracker.home.children:
            if process.pid not in self._run_of:
                seen = look.read(process.pid)
                is_there = seen is not None and table.at(seen.pid, seen.start_time) is process
                self.tracker.tell(table.observe(seen) if is_there and seen else table.reaped(process.pid))

    def claim(self, stat: Stat) -> str | None:
        """Return whose orphan this is, a zombie or not, by all that is known of it."""
        by_leaf = self._leaf_run_of(stat.pid)
        if by_leaf in self._kin:
            return by_leaf
        return self._by_chain(stat) or self._by_tag(stat) or self._by_marker(stat) or self._by_number(stat)

    def claim_dead(self, stat: Stat) -> str | None:
        """Return whose orphan this was that has been reaped: nothing can be read of it any more."""
        return self._by_chain(stat) or self._by_number(stat)

    def run_of(self, pid: int) -> str | None:
        """Return the run that a descendant of ours belongs to; None for a stranger and for who is gone.

        By its parents alone, up to the child of ours that it stands below: a stranger can write any marker
        into his environment. To be called within a turn, so that no child of ours is reaped meanwhile.
        """
        for _ in range(_MOST_CLIMBS):
            child = _child_above(pid)
            if child is not None:
                return self._run_of[child.pid] if child.pid in self._run_of else self.claim(child)
            if procfs.read_stat(pid) is None:
                return None
        return None

    def is_empty(self, run_id: str) -> bool:
        """Tell whether nothing of the run is left, as of the latest look."""
        kin = self._kin.get(run_id)
        return kin is None or not kin.children

    def members(self, run_id: str) -> list[Stat]:
        """Walk the run's tree and return who lives in it; remembers them, for when they are orphaned."""
        kin = self._kin.get(run_id)
        return [] if kin is None else list(alive(self._walk(run_id, kin)))

    def tops(self, run_id: str) -> list[int]:
        """Return our children that belong to a run: all of it is they and what is below them."""
        kin = self._kin.get(run_id)
        return [] if kin is None else list(kin.children)

    def unclaimed(self) -> list[int]:
        """Return the pids of orphans that belong to no run."""
        return [pid for pid, run_id in self._run_of.items() if run_id is None]

    def everybody(self) -> list[Stat]:
        """Walk all that descends from the daemon and return who lives."""
        return list(alive(procfs.descendants(os.getpid())))

    def _walk(self, run_id: str, kin: _Kin) -> Iterator[Stat]:
        for pid in list(kin.children):
            stat = procfs.read_stat(pid)
            below = procfs.descendants(pid)
            if stat is not None:
                yield stat
                self._observe(stat, below)
            for each in below:
                self._claim(run_id, each.pid)
            yield from below

    def _observe(self, top: Stat, below: Iterable[Stat]) -> None:
        table = self.tracker.table
        self.tracker.tell(table.observe(look.of_stat(top)))
        process = table.at(top.pid, top.start_time)
        if process is not None:
            self.tracker.observe_below(process, list(map(look.of_stat, below)))

    def _add(self, run_id: str | None, pid: int, numbers: tuple[int, int]) -> None:
        self._run_of[pid] = run_id
        if run_id is None:
            return
        self._claim(run_id, pid)
        kin = self._kin[run_id]
        kin.children[pid] = numbers
        for number in set(numbers):
            kin.numbers[number] += 1
            self._run_of_number[number] = run_id

    def _claim(self, run_id: str, pid: int) -> None:
        process = self.tracker.table.get(pid)
        if process is not None:
            process.set_data(Claim(run_id))

    def _claim_forked(self, changes: tuple[Change, ...]) -> None:
        """Let a child that was heard of, or seen, belong where its parent does."""
        for change in changes:
            if isinstance(change, Forked):
                claim = self._claim_of(self.tracker.table.get(change.parent.pid))
                child = self.tracker.table.find(change.key)
                if claim is not None and child is not None:
                    child.set_data(claim)

    def _claim_of(self, process: Process | None) -> Claim | None:
        return None if process is None else process.data(Claim)

    def _release(self, kin: _Kin, numbers: tuple[int, int]) -> None:
        for number in set(numbers):
            kin.numbers[number] -= 1
            if kin.numbers[number] <= 0:
                del kin.numbers[number]
                self._run_of_number.pop(number, None)

    def _by_chain(self, stat: Stat) -> str | None:
        claim = self._claim_of(self.tracker.table.at(stat.pid, stat.start_time))
        return claim.run_id if claim is not None and claim.run_id in self._kin else None

    def _by_tag(self, stat: Stat) -> str | None:
        tag = tag_of(stat.pid)
        return None if tag is None else self._run_of_tag.get(tag)

    def _by_marker(self, stat: Stat) -> str | None:
        run_id = os.fsdecode(procfs.environ_value(stat.pid, MARKER.encode()) or b"")
        return run_id if run_id in self._kin else None

    def _by_number(self, stat: Stat) -> str | None:
        return self._run_of_number.get(stat.sid) or self._run_of_number.get(stat.pgid)


def _child_above(pid: int) -> Stat | None:
    """Climb from a process to the child of ours that it stands below, or is; None where a step fails."""
    us = os.getpid()
    stat = procfs.read_stat(pid)
    while stat is not None and stat.ppid != us:
        stat = procfs.read_stat(stat.ppid) if stat.ppid > 0 else None
    return stat


def alive(stats: Iterable[Stat]) -> Iterator[Stat]:
    """Give those that live: a leader that has ended while other threads of it go on is one."""
    return (stat for stat in stats if stat.state not in GONE or stat.num_threads > 1)
