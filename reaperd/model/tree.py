"""The tree behind a table: the model, what the table knows beside it, and one step at a time on both.

The kernel is right. Each step brings the model to what was observed, even where the model's own rules would
refuse, and appends what changed. The table decides which step an observation means.
"""

import weakref
from collections.abc import Iterator

from reaperd.model import changes
from reaperd.model.changes import Change
from reaperd.model.entry import Entry
from reaperd.model.errors import InitCannotExitError, NotTrackedError
from reaperd.model.group import ProcessGroup
from reaperd.model.keys import Keys
from reaperd.model.process import Process
from reaperd.model.session import Session
from reaperd.model.snapshot import ProcessKey, Seen


class Tree:
    """A root and what is below it, by pid and sid."""

    __slots__ = ("entries", "home", "keys", "root", "sessions")

    def __init__(self, root: Seen, home: int) -> None:
        """Begin with the root alone, in the session and the group that it was seen in."""
        key = root.key
        self.home = home  # the pid whose new children are orphans, unless it forked them
        self.keys = Keys()
        process = Process.new_init(root.pid).data(key).build()
        self.root = process
        self.entries: dict[int, Entry] = {}
        # Weak: a session stays here for as long as a process holds it, by way of its group, and no longer.
        own = process.group.session
        self.sessions = weakref.WeakValueDictionary[int, Session]({own.sid: own})
        self._register(process, key, root)
        self._move(process, root.pgid, root.sid)

    # Looking.

    @property
    def keeps_orphans(self) -> bool:
        """Whether no descendant ever leaves: the root is the init, or a child subreaper."""
        return self.root.pid <= 1 or self.root.is_child_subreaper

    def entry(self, key: ProcessKey) -> Entry | None:
        """Return the entry of the process with this key, as far as the key tells."""
        entry = self.entries.get(key.pid)
        if entry is None or not entry.is_same(key.start_time):
            return None
        is_same = not (key.start_time and entry.key.start_time) or key.nth == entry.key.nth
        return entry if is_same else None

    def group(self, pgid: int) -> ProcessGroup | None:
        """Return the group that has a process of ours in it, or None: O(sessions) without its leader.

        While members of a group that is no more are still to be looked at, two sessions can have one of this
        number: then that of the leader.
        """
        leader = self.entries.get(pgid)
        if leader is not None and leader.process.is_leader:
            return leader.process.group
        found = (session.group(pgid) for session in self.sessions.values())
        return next(filter(None, found), None)

    def session(self, sid: int) -> Session | None:
        """Return the session that has a process of ours in it, or None; freed ones do not count."""
        session = self.sessions.get(sid)
        return session if session is not None and session.process_groups else None

    def host(self, ppid: int) -> Process | None:
        """Return who has the children of `ppid`: that process, or its reaper once it has ended, or None."""
        entry = self.entries.get(ppid)
        if entry is None:
            return None
        return entry.process if entry.process.is_alive else entry.process.reaper()

    # Coming.

    def enter(
        self, seen: Seen, parent: Process, out: list[Change], *, forker: Process | None = None
    ) -> Entry:
        """Let a process come as a child of `parent`; `forker` where the fork itself was observed."""
        key = self.keys.of_new(seen)
        process = parent.fork(seen.pid).data(key).build()
        if seen.has_execed:
            process.exec()
        entry = self._register(process, key, seen)
        self._move(process, seen.pgid, seen.sid)
        if parent.pid == self.home and forker is not parent:
            self._say_reparented(entry, None, parent, out)
        else:
            out.append(changes.Forked(key, key_of(parent), seen.pgid, seen.sid, seen.comm))
        self.follow_threads(entry, seen, out)
        return entry

    def _register(self, process: Process, key: ProcessKey, seen: Seen) -> Entry:
        entry = Entry(process, key, seen.comm, seen.state, seen.num_threads)
        entry.looked_ns, entry.inode = seen.at_ns, seen.inode
        entry.add_thread(seen.pid)
        self.entries[seen.pid] = entry
        return entry

    # Following.

    def follow(self, entry: Entry, seen: Seen, out: list[Change]) -> None:
        """Follow everything that was seen, but for the parent and the end."""
        entry.looked_ns = max(entry.looked_ns, seen.at_ns)
        entry.inode = entry.inode or seen.inode
        if not entry.key.start_time and seen.start_time:
            key = self.keys.of_new(seen)
            out.append(changes.Identified(key, entry.key))
            entry.key = key
            entry.process.set_data(key)
        group = entry.process.group
        if group.pgid != seen.pgid or group.session.sid != seen.sid:
            self.place_in(entry, seen.pgid, seen.sid, out)
        if seen.has_execed and entry.process.is_alive and not entry.process.has_execed:
            entry.process.exec()
            entry.comm = seen.comm
            out.append(changes.Execed(entry.key, entry.comm))
        self.rename(entry, seen.comm, out)
        if entry.process.is_alive:
            self.follow_threads(entry, seen, out)
            entry.state = seen.state
            entry.num_threads = seen.num_threads

    def rename(self, entry: Entry, comm: str, out: list[Change]) -> None:
        """Give the process this name."""
        if entry.comm != comm:
            out.append(changes.Renamed(entry.key, entry.comm, comm))
            entry.comm = comm

    def follow_parent(self, entry: Entry, ppid: int, out: list[Change]) -> bool:
        """Put the process under `ppid`; False where it is now outside the table.

        An unknown parent is outside, unless no orphan leaves this root: then the parent is one of ours that
        came after the last look, or was gone before it, and the next look will tell.
        """
        process = entry.process
        if process.is_init:
            return True
        parent = self.host(ppid)
        if parent is None:
            if not self.keeps_orphans:
                self.leave(entry, ppid, out)
                return False
        elif parent is not process.parent and not parent.is_below(process):
            # Nobody is below himself: that pid was used again while the look went on.
            old = _key_of_parent(process)
            process.put_under(parent)
            if not parent.is_init:
                parent.set_child_subreaper(True)  # only who is one gets children that it did not fork
            self._say_reparented(entry, old, parent, out)
        return True

    def _say_reparented(
        self, entry: Entry, old: ProcessKey | None, parent: Process, out: list[Change]
    ) -> None:
        if parent.pid == self.home:
            entry.is_adopted = True
            group = entry.process.group
            sid = group.session.sid
            out.append(changes.Adopted(entry.key, old, key_of(parent), group.pgid, sid, entry.comm))
        else:
            out.append(changes.Reparented(entry.key, old, key_of(parent)))

    def place_in(self, entry: Entry, pgid: int, sid: int, out: list[Change]) -> None:
        """Put the process into the group and the session with these numbers, making them where needed."""
        group = entry.process.group
        old_pgid, old_sid = group.pgid, group.session.sid
        self._move(entry.process, pgid, sid)
        if old_sid != sid:
            out.append(changes.SessionChanged(entry.key, old_sid, sid))
        if old_pgid != pgid:
            out.append(changes.GroupChanged(entry.key, old_pgid, pgid))

    def _move(self, process: Process, pgid: int, sid: int) -> None:
        group = process.group
        if group.pgid != pgid or group.session.sid != sid:
            session = self.session(sid)
            if session is None:
                session = self.sessions[sid] = Session(sid)
            # A group never changes its session. One with this number in another session is a group that is
            # no more, whose last members we have yet to see elsewhere.
            process.put_in_group(session.group(pgid) or ProcessGroup(pgid, session))

    # Threads.

    def follow_threads(self, entry: Entry, seen: Seen, out: list[Change]) -> None:
        """Follow which threads live: the leader by the state, the others where somebody looked."""
        is_alone = len(seen.tids) == 1 and entry.others is None
        if (is_alone or not seen.tids) and (entry.leader is None) == seen.is_dead_leader:
            return
        known = entry.tids
        living = {*(seen.tids or known), seen.pid}
        if seen.is_dead_leader:
            living.discard(seen.pid)
        for tid in sorted(living - known):
            self.start_thread(entry, tid, out)
        for tid in sorted(known - living):
            self.end_thread(entry, tid, 0, out)

    def start_thread(self, entry: Entry, tid: int, out: list[Change]) -> None:
        """Let a thread come that we do not know yet."""
        if not entry.has_thread(tid) and entry.process.is_alive:
            entry.add_thread(tid)
            if tid == entry.process.pid:
                entry.state = "R"
            entry.num_threads = max(entry.num_threads, entry.thread_count)
            out.append(changes.ThreadStarted(entry.key, tid))

    def end_thread(self, entry: Entry, tid: int, code: int, out: list[Change]) -> None:
        """Let a thread go that we know; its process stays, even without one.

        A leader that ended still counts as one of the threads, until its process is reaped: proc_pid_stat(5).
        """
        thread = entry.take_thread(tid)
        if thread is None:
            return
        is_last = thread.exit(code)
        if thread.is_leader:
            entry.state = "Z"
        else:
            entry.num_threads = max(entry.thread_count, entry.num_threads - 1)
        out.append(changes.ThreadEnded(entry.key, tid, is_last))

    # Going.

    def end(self, entry: Entry, status: int | None, out: list[Change]) -> None:
        """Let the process become a zombie and its children go where the kernel sends orphans.

        For one that is a zombie already only the status counts, which the first observer may not have had.

        Raises:
            InitCannotExitError: it is the root, whose end nobody here would see.
        """
        process = entry.process
        if process.is_init:
            raise InitCannotExitError(process.pid)
        if status is not None:
            entry.status = status
        if process.is_alive:
            self._become_zombie(entry, out)
        if status is not None:
            process.set_exit_code(status)

    def _become_zombie(self, entry: Entry, out: list[Change]) -> None:
        process = entry.process
        entry.end_threads()
        entry.state, entry.num_threads = "Z", 1
        orphans = process.children
        reaper = process.reaper() if orphans else self.root
        process.exit()
        out.append(changes.Exited(entry.key, entry.status))
        for orphan in orphans:
            self._say_reparented(self.entries[orphan.pid], entry.key, reaper, out)

    def free(self, entry: Entry, by: ProcessKey | None, out: list[Change]) -> None:
        """Let a zombie go, waited for by `by`."""
        entry.process.free()
        del self.entries[entry.process.pid]
        self.keys.remember(entry.key)
        out.append(changes.Reaped(entry.key, entry.status, by))

    def lose(self, entry: Entry, out: list[Change]) -> None:
        """Let a process go that was found missing: it has ended and been waited for, unseen."""
        if entry.process.is_alive:
            self.end(entry, None, out)
        self.free(entry, None, out)

    def leave(self, entry: Entry, ppid: int, out: list[Change]) -> None:
        """Let a process and all below it go that live on outside."""
        leaving = [entry.process, *descendants(entry.process)]
        for process in leaving:
            under = _key_of_parent(process) if process is not entry.process else None
            out.append(changes.Left(key_of(process), under.pid if under is not None else ppid))
        for process in reversed(leaving):
            gone = self.entries.pop(process.pid)
            gone.end_threads()
            process.forget()

    def exec(self, entry: Entry, comm: str | None, out: list[Change]) -> None:
        """Let the process run another program.

        All other threads end, and the one that called becomes the leader, even if that had ended: execve(2).
        """
        process = entry.process
        process.exec()
        self.start_thread(entry, process.pid, out)
        for tid in sorted(entry.tids - {process.pid}):
            self.end_thread(entry, tid, 0, out)
        entry.num_threads = 1
        entry.comm = comm if comm is not None else entry.comm
        out.append(changes.Execed(entry.key, entry.comm))


def key_of(process: Process) -> ProcessKey:
    """Return what names a process of a table, also after it has gone.

    Raises:
        NotTrackedError: it never was in a table.
    """
    key = process.data(ProcessKey)
    if key is None:
        raise NotTrackedError(process.pid)
    return key


def descendants(process: Process) -> Iterator[Process]:
    """Yield all below `process`, parents before their children."""
    found = list(process.children)
    for descendant in found:
        yield descendant
        found.extend(descendant.children)


def _key_of_parent(process: Process) -> ProcessKey | None:
    parent = process.parent
    return key_of(parent) if parent is not None else None
