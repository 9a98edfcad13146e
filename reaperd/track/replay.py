"""What the process connector told, brought to the table message by message.

A message tells of something that has happened; what is read in /proc is what is so now, later things
included. Three rules make that converge, whatever happens in between:

1. A message older than the last look at its process says nothing new: the look showed it already.
2. A message is a reason to look, wherever it does not say all. A fork does not say the start time, an exec
   not the name, an exit not whether the process is a zombie now or gone, nor who has its children.
3. A process that is born and ends within one batch is not looked at: its pid may be another's already. One
   that did nothing else, and is gone by now, does not come into the table at all: it is a passer-by, of whom
   those are told who want to know.

Whoever is reaped by us, or by others whose pidfds told it, leaves the table at once, while what it did in its
last moments may not have been heard yet. So such pids are remembered until everything has been heard that was
said before: who was forked by one of them is looked at. So are those whom a whole look may have missed.

A fork under a pid that we know alive is that process's own, heard late; under one that we know as a zombie,
too, unless its pidfd says that it has been reaped: `graves`. As long as no message is lost, no third case is
left: a process's exit is heard before its pid is used again.
"""

import time
from collections.abc import Callable

from reaperd.kernel import procconn, procfs
from reaperd.kernel.procconn import Event
from reaperd.model import Change, Process, ProcessTable, Seen
from reaperd.track import look
from reaperd.track.batch import Batch
from reaperd.track.graves import Graves
from reaperd.track.passersby import PassersBy

Tell = Callable[[tuple[Change, ...]], None]


class Replay:
    """Follow messages on a table; `tell` gets what changed, step by step.

    Attributes:
        passersby: those who came and went unseen, and whether somebody is to be told of them.
        settled_ns: the end of the last whole look; forks before it may be of parents that it no longer saw.
    """

    __slots__ = (
        "_batch",
        "_boot_ns",
        "_graves",
        "_older_strays",
        "_strays",
        "_table",
        "_tell",
        "passersby",
        "settled_ns",
    )

    def __init__(self, table: ProcessTable, graves: Graves, tell: Tell) -> None:
        self._table = table
        self._graves = graves
        self._tell = tell
        self._batch = Batch([])
        self._boot_ns = 0  # what the clock of start times is ahead of that of messages: time asleep
        self._strays: set[int] = set()
        self._older_strays: set[int] = set()
        self.passersby = PassersBy(table, tell)
        self.settled_ns = 0

    def departed(self, pid: int) -> None:
        """Note that a process has left the table, whose last forks may still be heard of."""
        self._strays.add(pid)

    def caught_up(self) -> None:
        """Note that everything was heard that had been said when the last batch was read.

        What was noted while that was followed may have had words that came after the read: one more round.
        """
        if self._strays or self._older_strays:
            self._older_strays, self._strays = self._strays, set()

    def play(self, events: list[Event]) -> None:
        """Follow a batch of messages, in their order.

        Raises:
            KernelError: no descriptor is left to look at a process; the rest of the batch is not followed.
        """
        now_ns = time.monotonic_ns()  # first: if we are held up in between, nobody looks younger than he is
        self._boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - now_ns
        self._batch = Batch(events)
        known, passing = self._table.looked_ns, self.passersby.names
        passing.clear()
        for place, event in enumerate(events):
            what, at_ns, pid = event[0], event[2], event[4]  # of most kinds: most are about strangers
            if what == procconn.FORK:
                tid, child = event[5], event[6]
                if tid != child:
                    if (looked_ns := known(child)) is not None and looked_ns < at_ns:
                        self._tell(self._table.thread_started(child, tid))
                elif at_ns <= self.settled_ns or known(pid) is not None or self._is_stray(pid):
                    self._born(pid, child, at_ns, place)
            elif pid in passing:  # it does nothing but end
                self.passersby.went(pid, event[5])
            elif (looked_ns := known(pid)) is not None:
                self._acted(event, place, looked_ns)

    def _acted(self, event: Event, place: int, looked_ns: int) -> None:
        if event[0] == procconn.EXIT:
            self._exited(event, place)
        elif looked_ns < event[2]:
            self._changed(event, place)

    def _changed(self, event: Event, place: int) -> None:
        what, _cpu, at_ns, tid, pid, *_ = event
        if what == procconn.EXEC:
            self._execed(pid, at_ns, place)
        elif what == procconn.SID:
            self._tell(self._table.session_changed(pid, pid))
        elif what == procconn.COMM and tid == pid:
            self._tell(self._table.renamed(pid, procconn.name_of(event)))

    # --- one message ------------------------------------------------------------------------------------

    def _born(self, parent: int, pid: int, at_ns: int, place: int) -> None:
        if not self.passersby.came(self._batch, parent, pid, place):
            self._forked(parent, pid, at_ns, place)

    def _forked(self, parent: int, pid: int, at_ns: int, place: int) -> None:
        process = self._table.get(pid)
        if process is not None:
            if process.is_alive or self._is_still_buried(pid, at_ns):
                return
            self._graves.forget(pid)
            self._tell(self._table.reaped(pid))
        if self._table.get(parent) is None:
            self._seek(pid, at_ns)
            return
        seen = None if self._batch.ends_later(pid, place) else look.read(pid)
        if seen is not None and self._is_younger(seen, at_ns):
            seen = None  # somebody else has that pid already, of whom a later message tells
        self._tell(self._table.forked(parent, pid if seen is None else _living(seen, at_ns)))

    def _seek(self, pid: int, at_ns: int) -> None:
        """Look whether a process whose parent is gone from the table is one of ours."""
        seen = look.read(pid)
        if seen is not None:
            self._tell(self._table.observe(_living(seen, at_ns)))
        if self._table.get(pid) is None:
            self._strays.add(pid)

    def _is_stray(self, pid: int) -> bool:
        """Tell whether a process that is not in the table may have been one of ours until a moment ago."""
        return pid in self._strays or pid in self._older_strays

    def _is_younger(self, seen: Seen, at_ns: int) -> bool:
        """Tell whether a process was started after this moment, as far as the clock of start times tells."""
        return seen.start_time * 1_000_000_000 // procfs.clock_ticks() - self._boot_ns > at_ns

    def _is_still_buried(self, pid: int, at_ns: int) -> bool:
        """Tell whether the zombie that we know is the process that was forked: heard late, seen before."""
        is_reaped = self._graves.is_reaped(pid)
        if is_reaped is None:  # no descriptor was left for it: then by the clock
            return (self._table.looked_ns(pid) or 0) >= at_ns
        return not is_reaped

    def _execed(self, pid: int, at_ns: int, place: int) -> None:
        seen = None if self._batch.ends_later(pid, place) else self._read_same(pid)
        self._tell(self._table.exec(pid, None if seen is None else seen.comm))
        if seen is not None:
            self._tell(self._table.observe(_living(seen, at_ns)))

    def _read_same(self, pid: int) -> Seen | None:
        """Read a process of the table; None if it is gone, or another one has its pid."""
        seen = look.read(pid)
        same = seen is not None and self._table.at(pid, seen.start_time)
        return seen if same else None

    def _exited(self, event: Event, place: int) -> None:
        _what, _cpu, at_ns, tid, pid, status, *_ = event
        process = self._table.get(pid)
        assert process is not None, "the caller has looked"
        if process.is_zombie:
            if tid == pid:
                self._tell(
                    self._table.exited(pid, status)
                )  # seen before it was heard: only the status is new
            return
        if (self._table.looked_ns(pid) or 0) > at_ns:
            return
        if tid != pid:
            self._tell(self._table.thread_ended(pid, tid, status))
            if not self._table.has_dead_leader(pid):
                return
        if self._batch.is_born_later(pid, place):
            self._gone(pid, status)
            return
        self._look_at_dead(pid, status)

    # --- the end of a process ---------------------------------------------------------------------------

    def _look_at_dead(self, pid: int, status: int) -> None:
        """Look what became of a process whose first thread has ended: it may live on, too."""
        seen = look.read(pid)
        process = self._table.get(pid)
        assert process is not None, "nothing has happened to it since"
        if seen is None or self._table.at(pid, seen.start_time) is None:
            self._gone(pid, status)
        elif seen.is_zombie:
            self._find_orphans(process)
            self._tell(self._table.observe(seen._replace(exit_code=status)))
            self._bury(pid)
        elif seen.is_dead_leader or self._has_other_threads(pid):
            # Either the others go on, or one of them called execve(2) and is now the first: same start time.
            self._tell(self._table.observe(seen))
        else:
            self._gone(pid, status)  # it had no other thread, so that the living one is not the same

    def _has_other_threads(self, pid: int) -> bool:
        process = self._table.get(pid)
        return process is not None and self._table.seen(process).num_threads > 1

    def _gone(self, pid: int, status: int) -> None:
        process = self._table.get(pid)
        assert process is not None, "nothing has happened to it since"
        self._find_orphans(process)
        self._tell(self._table.reaped(pid, status))

    def _bury(self, pid: int) -> None:
        process = self._table.get(pid)
        if process is None or process.parent is None or process.parent.pid == self._table.home:
            return  # our own children are reaped, and told of, by us
        if not self._graves.watch(self._table.key(process)):
            self._tell(self._table.reaped(pid))

    def _find_orphans(self, process: Process) -> None:
        """Look where the children of one who has ended are: the kernel knows more subreapers than we do.

        They have moved before it became a zombie. So they are looked at before its end is told, with which
        the table moves whoever is left to the subreaper that it knows.
        """
        for child in process.children:
            seen = self._read_same(child.pid)
            if seen is not None:
                self._tell(self._table.reparented(child.pid, seen.ppid))
            elif child.is_zombie:
                # It has been reaped, and no pidfd was left to tell so. Who lives here has an end to come yet.
                self._tell(self._table.reaped(child.pid))


def _living(seen: Seen, at_ns: int) -> Seen:
    """Return what was seen as of one who lived at `at_ns`: its end has its own message, with the status."""
    return seen._replace(state="R", num_threads=1, tids=(), at_ns=at_ns) if seen.is_zombie else seen
