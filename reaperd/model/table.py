"""One tree of processes in step with the real one, by what is observed of it.

Each observation says what changed, as records of `changes`; one that says nothing new answers with none, so
observations may come twice and in any order that the kernel could have shown them in. An observation about
a process that is not in the table, or that an older one with the same pid was meant by, changes nothing.
The kernel is right where the model's own rules would refuse.

The root is a real process, usually the one that runs this code: its parent is of no interest, and orphans
come to it. It is the init of the model's tree whatever its pid. To follow a whole machine, pid 0 can be the
root: the kernel's own, parent of PID 1 and of kthreadd.

Nothing here asks a clock or reads a file, and no operation but a whole snapshot costs more than the process
concerned, its children and its ancestors.
"""

from collections.abc import Iterable, Iterator

from reaperd.model import sync
from reaperd.model.changes import Change, Forked
from reaperd.model.entry import Entry
from reaperd.model.errors import NotTrackedError
from reaperd.model.group import ProcessGroup
from reaperd.model.process import Process
from reaperd.model.session import Session
from reaperd.model.snapshot import ProcessKey, Seen
from reaperd.model.tree import Tree, descendants, key_of

Who = int | ProcessKey  # a pid means whoever has it now


class ProcessTable:
    """The processes below a root, and what was last seen of each."""

    __slots__ = ("__weakref__", "_tree")

    def __init__(self, root: Seen, home: int | None = None) -> None:
        """Begin with the root alone; it becomes a subreaper by `table.root.set_child_subreaper(True)`.

        `home` is the pid of the process whose orphans are told as `Adopted`, the root's unless it is given.
        """
        self._tree = Tree(root, root.pid if home is None else home)

    # Looking.

    @property
    def root(self) -> Process:
        """The root, which is the init of this tree."""
        return self._tree.root

    def __len__(self) -> int:
        return len(self._tree.entries)

    def __iter__(self) -> Iterator[Process]:
        """Iterate over all processes, zombies and the root included, in no promised order."""
        return iter([entry.process for entry in self._tree.entries.values()])

    def __contains__(self, who: object) -> bool:
        if isinstance(who, Process):
            return self.get(who.pid) is who
        return isinstance(who, (int, ProcessKey)) and self._entry(who) is not None

    def get(self, pid: int) -> Process | None:
        """Return the process that has this pid now, or None."""
        entry = self._tree.entries.get(pid)
        return entry.process if entry is not None else None

    def at(self, pid: int, start_time: int) -> Process | None:
        """Return the process that has this pid now if it was started then, or None."""
        entry = self._tree.entries.get(pid)
        return entry.process if entry is not None and entry.is_same(start_time) else None

    def looked_ns(self, pid: int) -> int | None:
        """Return when the process with this pid was read last (CLOCK_MONOTONIC), None if it is not there."""
        entry = self._tree.entries.get(pid)
        return None if entry is None else entry.looked_ns

    def inode(self, process: Process) -> int:
        """Return the inode of its pidfd, which names it for ever since Linux 6.9; 0 where nobody asked."""
        entry = self._tree.entries.get(process.pid)
        return entry.inode if entry is not None and entry.process is process else 0

    def has_dead_leader(self, pid: int) -> bool:
        """Tell whether the process with this pid lives on without its first thread."""
        entry = self._tree.entries.get(pid)
        return entry is not None and entry.leader is None and entry.process.is_alive

    @property
    def home(self) -> int:
        """The pid of the process whose orphans are told as `Adopted`."""
        return self._tree.home

    def find(self, key: ProcessKey) -> Process | None:
        """Return the process with this key, or None: not another one that got its pid later."""
        entry = self._entry(key)
        return entry.process if entry is not None else None

    def key(self, process: Process) -> ProcessKey:
        """Return what names `process` for ever; its pid alone is used again.

        Raises:
            NotTrackedError: it never was in a table.
        """
        return key_of(process)

    def seen(self, process: Process) -> Seen:
        """Return what /proc would show of `process`, as far as the table knows.

        Raises:
            NotTrackedError: it is not, or no longer, in this table.
        """
        entry = self._tree.entries.get(process.pid)
        if entry is None or entry.process is not process:
            raise NotTrackedError(process.pid)
        parent = process.parent
        return Seen(
            pid=process.pid,
            ppid=parent.pid if parent is not None else 0,
            pgid=process.group.pgid,
            sid=process.group.session.sid,
            start_time=entry.key.start_time,
            comm=entry.comm,
            state=entry.state,
            num_threads=entry.num_threads,
            exit_code=entry.status,
            tids=tuple(sorted(entry.tids)),
        )

    def is_adopted(self, process: Process) -> bool:
        """Whether the home, usually the root, got this process as an orphan, at any time."""
        entry = self._tree.entries.get(process.pid)
        return entry is not None and entry.process is process and entry.is_adopted

    def descendants(self, process: Process) -> Iterator[Process]:
        """Yield all below `process`, parents before their children, zombies included."""
        return descendants(process)

    def group(self, pgid: int) -> ProcessGroup | None:
        """Return the process group with this number that has a process of this table in it, or None."""
        return self._tree.group(pgid)

    def session(self, sid: int) -> Session | None:
        """Return the session with this number that has a process of this table in it, or None."""
        return self._tree.session(sid)

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The sessions that have a process of this table in them."""
        return tuple(session for session in self._tree.sessions.values() if session.process_groups)

    # Observing one fact.

    def forked(self, parent_pid: Who, child: Seen | int, *, start_time: int = 0) -> tuple[Change, ...]:
        """Say that `parent_pid` forked; a child that was not read yet is what its parent is.

        Without a start time the pid alone has to do, until a look tells: `Identified`.
        """
        forker = self._entry(parent_pid)
        if forker is None:
            return ()
        seen = child if isinstance(child, Seen) else self._inherited(forker, child, start_time)
        if self._is_outdated(seen):
            return ()
        out: list[Change] = []
        entry = self._current(seen, out, is_new=not seen.start_time)
        if entry is None:
            process = forker.process
            host = process if process.is_alive else process.reaper()
            entry = self._tree.enter(seen, host, out, forker=process)
        if isinstance(child, Seen):
            self._follow(entry, seen, out)
        return tuple(out)

    def came_by(self, parent: Process, pid: int) -> tuple[ProcessKey, tuple[Change, ...]]:
        """Name a child of `parent` that has ended and been waited for by now, and say that it was forked.

        It does not come into the table: `Exited` and `Reaped` are for the caller to say.

        Raises:
            NotTrackedError: the parent is not in this table.
        """
        seen = self.seen(parent)
        key = self._tree.keys.unread(pid)
        return key, (Forked(key, key_of(parent), seen.pgid, seen.sid, seen.comm),)

    def exited(self, who: Who, status: int | None = None) -> tuple[Change, ...]:
        """Say that a process ended, with this wait status; its last thread has ended too.

        Raises:
            InitCannotExitError: it is the root.
        """
        out: list[Change] = []
        if (entry := self._entry(who)) is not None:
            self._tree.end(entry, status, out)
        return tuple(out)

    def reaped(self, who: Who, status: int | None = None) -> tuple[Change, ...]:
        """Say that a process was waited for by its parent, so that its pid is free; it has exited, too.

        Raises:
            InitCannotExitError: it is the root.
        """
        out: list[Change] = []
        if (entry := self._entry(who)) is not None:
            self._tree.end(entry, status, out)
            parent = entry.process.parent
            self._tree.free(entry, key_of(parent) if parent is not None else None, out)
        return tuple(out)

    def reparented(self, who: Who, ppid: int) -> tuple[Change, ...]:
        """Say that a process has this parent now; under one outside the table it leaves."""
        out: list[Change] = []
        if (entry := self._entry(who)) is not None:
            self._tree.follow_parent(entry, ppid, out)
        return tuple(out)

    def session_changed(self, who: Who, sid: int, pgid: int | None = None) -> tuple[Change, ...]:
        """Say that a process is in this session, and in the group of the same number if none is given."""
        out: list[Change] = []
        if (entry := self._entry(who)) is not None:
            self._tree.place_in(entry, sid if pgid is None else pgid, sid, out)
        return tuple(out)

    def group_changed(self, who: Who, pgid: int) -> tuple[Change, ...]:
        """Say that a process is in this process group of its session."""
        out: list[Change] = []
        if (entry := self._entry(who)) is not None:
            self._tree.place_in(entry, pgid, entry.process.group.session.sid, out)
        return tuple(out)

    def exec(self, who: Who, comm: str | None = None) -> tuple[Change, ...]:
        """Say that a process runs another program; its leader is its only thread now."""
        out: list[Change] = []
        if (entry := self._living(who)) is not None:
            self._tree.exec(entry, comm, out)
        return tuple(out)

    def renamed(self, who: Who, comm: str) -> tuple[Change, ...]:
        """Say that a process has this name: PR_SET_NAME(2const)."""
        out: list[Change] = []
        if (entry := self._living(who)) is not None:
            self._tree.rename(entry, comm, out)
        return tuple(out)

    def thread_started(self, who: Who, tid: int) -> tuple[Change, ...]:
        """Say that a process has this thread."""
        out: list[Change] = []
        if (entry := self._living(who)) is not None:
            self._tree.start_thread(entry, tid, out)
        return tuple(out)

    def thread_ended(self, who: Who, tid: int, code: int = 0) -> tuple[Change, ...]:
        """Say that a thread ended; whether its process has, `exited` or a look has to say."""
        out: list[Change] = []
        if (entry := self._living(who)) is not None:
            self._tree.end_thread(entry, tid, code, out)
        return tuple(out)

    # Observing many.

    def observe(self, seen: Seen) -> tuple[Change, ...]:
        """Take what was seen of one process; of one that is not below the root, nothing."""
        if self._is_outdated(seen):
            return ()
        out: list[Change] = []
        entry = self._current(seen, out)
        if entry is None:
            host = self._tree.host(seen.ppid)
            if host is None:
                return tuple(out)
            entry = self._tree.enter(seen, host, out)
        self._follow(entry, seen, out)
        return tuple(out)

    def observe_subtree(self, top: ProcessKey, look: Iterable[Seen]) -> tuple[Change, ...]:
        """Take a look that showed all below `top`: who of them is missing is gone.

        Except for orphans: a process that is missing together with its parent may have gone to a reaper above
        `top`, so it is moved there, and is for a look there to find or miss.
        """
        out: list[Change] = []
        if (entry := self._entry(top)) is not None:
            sync.sync(self._tree, look, entry, out)
        return tuple(out)

    def snapshot(self, look: Iterable[Seen]) -> tuple[Change, ...]:
        """Take a look at all processes: who is not below the root is passed over, who is missing is gone."""
        out: list[Change] = []
        sync.sync(self._tree, look, self._tree.entries[self.root.pid], out)
        return tuple(out)

    # Within.

    def _entry(self, who: Who) -> Entry | None:
        if isinstance(who, ProcessKey):
            return self._tree.entry(who)
        return self._tree.entries.get(who)

    def _living(self, who: Who) -> Entry | None:
        entry = self._entry(who)
        return entry if entry is not None and entry.process.is_alive else None

    def _is_outdated(self, seen: Seen) -> bool:
        """Whether a younger process has that pid by now; nobody else ever has the root's."""
        entry = self._tree.entries.get(seen.pid)
        if entry is None or entry.is_same(seen.start_time, seen.inode):
            return False
        return entry.process.is_init or seen.start_time < entry.key.start_time

    def _current(self, seen: Seen, out: list[Change], *, is_new: bool = False) -> Entry | None:
        """Return the entry of the process seen, after losing an older one with its pid."""
        entry = self._tree.entries.get(seen.pid)
        if entry is None:
            return None
        # No start time, but born just now: a zombie with that pid is another one that is gone.
        is_stale = is_new and entry.process.is_zombie
        if entry.is_same(seen.start_time, seen.inode) and not is_stale:
            return entry
        self._tree.lose(entry, out)
        return None

    def _follow(self, entry: Entry, seen: Seen, out: list[Change]) -> None:
        if not self._tree.follow_parent(entry, seen.ppid, out):
            return
        self._tree.follow(entry, seen, out)
        if seen.is_zombie and not entry.process.is_init:
            self._tree.end(entry, seen.exit_code, out)

    def _inherited(self, forker: Entry, pid: int, start_time: int) -> Seen:
        group = forker.process.group
        return Seen(
            pid, forker.process.pid, group.pgid, group.session.sid, start_time, forker.comm, state="R"
        )
