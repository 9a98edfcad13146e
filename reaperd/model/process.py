"""A process, its place in the tree, and its two steps out of it.

Who holds whom: a process holds its children, its group and, through the group, its session; each of these
knows it weakly, and so does a process its threads, which hold it. There is no cycle of strong references, so
a group or a session is gone the moment its last process is, and a tree the moment its init is let go.

Life: alive until `exit`, then a zombie with its status, group, session and place under its parent until
`free`, then out of the tree. A process whose leader thread has ended while others live is alive.
"""

import weakref
from enum import Enum
from typing import Self

from reaperd.model import rules
from reaperd.model import wait as waiting
from reaperd.model.data import Carrier
from reaperd.model.errors import (
    CycleError,
    IdTakenError,
    InitCannotExitError,
    NotAliveError,
    NotZombieError,
    ThreadsAliveError,
    TreeGoneError,
)
from reaperd.model.group import ProcessGroup
from reaperd.model.session import Session
from reaperd.model.thread import Thread, ThreadBuilder


class Life(Enum):
    """How far a process has come."""

    ALIVE = "alive"
    ZOMBIE = "a zombie"
    FREED = "free already"


class Process(Carrier):
    """One process of a tree; made by `Process.new_init` and `Process.fork`."""

    __slots__ = (
        "__weakref__",
        "_children",
        "_exit_code",
        "_group",
        "_has_execed",
        "_is_child_subreaper",
        "_is_group_exited",
        "_life",
        "_parent",
        "_pid",
        "_threads",
    )

    def __init__(self, pid: int, parent: "Process | None", data: tuple[object, ...] = ()) -> None:
        """Make the process and enter it under `parent`, in its group; without parent, as an init."""
        super().__init__(data)
        self._pid = pid
        self._life = Life.ALIVE
        self._exit_code = 0
        self._is_group_exited = False
        self._is_child_subreaper = False
        self._has_execed = False
        # Most processes have no child and, outside a table, no thread: no dictionary until it is needed.
        self._children: dict[int, Process] | None = None
        self._threads: dict[int, weakref.ref[Thread]] | None = None
        self._parent = weakref.ref(parent) if parent is not None else None
        self._group = parent.group if parent is not None else ProcessGroup(pid, Session(pid))
        self._group.add(self)
        if parent is not None:
            parent.add_child(self)

    @staticmethod
    def new_init(pid: int) -> "ProcessBuilder":
        """Begin a tree: its init, in a session and a group of its own, holds all the rest of it."""
        return ProcessBuilder(pid, None)

    def fork(self, pid: int) -> "ProcessBuilder":
        """Begin a child, in the group and the session of its parent.

        It inherits nothing else: no thread, no data, and not to be a child subreaper.
        """
        return ProcessBuilder(pid, self)

    @property
    def has_execed(self) -> bool:
        """Whether it was told to run a program of its own since it was forked: execve(2)."""
        return self._has_execed

    def exec(self) -> None:
        """Run another program: from now on the parent cannot move it to another group.

        The kernel ends all threads but one, which then is the leader: whoever holds them ends them first.

        Raises:
            NotAliveError: it has ended.
        """
        if not self.is_alive:
            raise NotAliveError(self._pid, "run another program")
        self._has_execed = True

    # The tree.

    @property
    def pid(self) -> int:
        """The process's number, which a later process may get again."""
        return self._pid

    @property
    def is_init(self) -> bool:
        """Whether this is the root of its tree."""
        return self._parent is None

    @property
    def parent(self) -> "Process | None":
        """The parent; None for an init, and where nobody holds the tree any more."""
        return self._parent() if self._parent is not None else None

    @property
    def children(self) -> "tuple[Process, ...]":
        """The children, zombies included, in the order in which they came."""
        return tuple(self._children.values()) if self._children else ()

    def child(self, pid: int) -> "Process | None":
        """Return the child with this pid, or None."""
        return self._children.get(pid) if self._children else None

    @property
    def is_child_subreaper(self) -> bool:
        """Whether it receives the orphans among its descendants: PR_SET_CHILD_SUBREAPER(2const)."""
        return self._is_child_subreaper

    def set_child_subreaper(self, on: bool) -> None:  # noqa: FBT001 - prctl(2) takes it so
        """Become, or stop being, the parent that orphaned descendants get; forks do not inherit it."""
        self._is_child_subreaper = on

    def reaper(self) -> "Process":
        """Return who inherits its children: the nearest child subreaper above, else the init.

        Ancestors are alive: a process that ends keeps no children.

        Raises:
            TreeGoneError: nobody holds the ancestors.
        """
        ancestor = self.parent
        while ancestor is not None:
            if ancestor.is_child_subreaper or ancestor.is_init:
                return ancestor
            ancestor = ancestor.parent
        raise TreeGoneError(self._pid)

    # Group and session.

    @property
    def group(self) -> ProcessGroup:
        """The process group; that it was last in, once the process is free."""
        return self._group

    @property
    def is_leader(self) -> bool:
        """Whether it leads its process group."""
        return self._group.pgid == self._pid

    @property
    def is_session_leader(self) -> bool:
        """Whether it leads its session."""
        return self._group.session.sid == self._pid

    def create_session(self) -> tuple[Session, ProcessGroup] | None:
        """Move to a new session and its first group, or return None where setsid(2) refuses.

        It refuses a group leader; `why_not_session` has the errno.
        """
        if self.why_not_session() is not None:
            return None
        group = ProcessGroup(self._pid, Session(self._pid))
        self.put_in_group(group)
        return group.session, group

    def create_group(self, by: "Process | None" = None) -> ProcessGroup | None:
        """Move to the group of its own number, or return None: refused, or the leader of it already.

        `why_not_group` tells the two apart. Where others have stayed in a group of that number, which this
        process once led, it goes back to that one: setpgid(2). `by` is who makes the call, if not itself.
        """
        if self.is_leader or self.why_not_group(by) is not None:
            return None
        session = self._group.session
        group = session.group(self._pid) or ProcessGroup(self._pid, session)
        self.put_in_group(group)
        return group

    def move_to_group(self, group: ProcessGroup, by: "Process | None" = None) -> bool:
        """Move to `group`; False where setpgid(2) refuses, and `why_not_move` has the errno.

        It refuses another session's group, a group whose last process has left, and any session leader; and
        a caller `by` that is neither the process itself nor its parent, or a parent that comes too late.
        """
        if self.why_not_move(group, by) is not None:
            return False
        self.put_in_group(group)
        return True

    def why_not_session(self) -> int | None:
        """Return the errno with which setsid(2) would refuse, or None where it would not."""
        return rules.why_not_session(self)

    def why_not_group(self, by: "Process | None" = None) -> int | None:
        """Return the errno with which setpgid(pid, 0) would refuse `by`, or None where it would not.

        None for the leader of a group too: that call succeeds and changes nothing. Without `by` the process
        calls for itself.
        """
        return rules.why_not_group(self, by)

    def why_not_move(self, group: ProcessGroup, by: "Process | None" = None) -> int | None:
        """Return the errno with which setpgid(2) to `group` would refuse, or None where it would not.

        Without `by` the call is made by whoever may: the process itself, or the parent of a zombie.
        """
        return rules.why_not_move(self, group, by)

    # Threads.

    @property
    def threads(self) -> tuple[Thread, ...]:
        """The living threads that somebody holds."""
        if not self._threads:
            return ()
        threads = tuple(thread for ref in self._threads.values() if (thread := ref()) is not None)
        if len(threads) < len(self._threads):  # some were let go without exit()
            self._threads = {thread.tid: weakref.ref(thread) for thread in threads}
        return threads

    @property
    def has_threads(self) -> bool:
        """Whether a living thread is held by somebody; cheaper than counting them."""
        return any(reference() is not None for reference in (self._threads or {}).values())

    def new_thread(self, tid: int) -> ThreadBuilder:
        """Begin a thread, in this process: clone(2) with CLONE_THREAD."""
        return ThreadBuilder(tid, self)

    @property
    def is_group_exited(self) -> bool:
        """Whether all threads were told to end, so that the exit code is settled: exit_group(2)."""
        return self._is_group_exited

    def group_exit(self) -> None:
        """Settle the exit code; each thread still ends by its own `Thread.exit`."""
        self._is_group_exited = True

    @property
    def exit_code(self) -> int:
        """What the last thread to end gave, before any group exit; the model does not interpret it."""
        return self._exit_code

    # The end.

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._life is Life.ALIVE

    @property
    def is_zombie(self) -> bool:
        """Whether it has ended and nobody has waited for it: wait(2)."""
        return self._life is Life.ZOMBIE

    @property
    def is_freed(self) -> bool:
        """Whether it has left the tree."""
        return self._life is Life.FREED

    def exit(self) -> None:
        """Become a zombie and leave the children to the nearest child subreaper, else the init.

        A process that has ended stays as it is.

        Raises:
            InitCannotExitError: it is the init of its tree.
            ThreadsAliveError: a thread lives, so the children stay and the process is no zombie.
            TreeGoneError: there are children, and nobody holds the ancestors.
        """
        if self.is_init:
            raise InitCannotExitError(self._pid)
        if self.has_threads:
            raise ThreadsAliveError(self._pid, tuple(thread.tid for thread in self.threads))
        if children := self.children:
            reaper = self.reaper()
            for child in children:
                child.put_under(reaper)
        if self.is_alive:
            self._life = Life.ZOMBIE

    def free(self) -> None:
        """Leave the tree, as a zombie does when its parent waits for it.

        Raises:
            NotZombieError: it is alive, or free already.
        """
        if not self.is_zombie:
            raise NotZombieError(self._pid, self._life.value)
        self.forget()

    def wait(self, selector: int = -1, nohang: bool = False) -> waiting.Waited | None:  # noqa: FBT001, FBT002 - the order of wait4(2)
        """Take one zombie child out of the tree, as wait4(2) does, and return its pid and status.

        `selector` is > 0 for one child, 0 for those in the caller's group, -1 for any, < -1 for those in the
        group of that number. None where none has ended and `nohang` is on.

        Raises:
            ChildProcessError: no child matches.
            ProcessLookupError: `selector` is a number that cannot be negated.
            WouldSleepError: children match, none has ended, and `nohang` is off.
        """
        return waiting.wait(self, selector, nohang=nohang)

    # What an observer of a real tree needs: the kernel has decided, no rule is asked. Not for model users.

    def put_under(self, parent: "Process") -> None:
        """Make it the youngest child of `parent`, whatever the rules say.

        Raises:
            CycleError: `parent` is the process itself, below it, or has ended.
        """
        if not parent.is_alive or self.is_init or parent.is_below(self):
            raise CycleError(self._pid, parent.pid)
        old = self.parent
        parent.add_child(self)
        if old is not None and old is not parent:
            old.remove_child(self)
        self._parent = weakref.ref(parent)

    def put_in_group(self, group: ProcessGroup) -> None:
        """Make it a member of `group`, whatever the rules say."""
        if group is not self._group:
            self._group.remove(self)
            self._group = group
            group.add(self)

    def set_exit_code(self, code: int) -> None:
        """Say what it ended with, where no thread of the model could."""
        self._exit_code = code

    def forget(self) -> None:
        """Take it out of the tree, zombie or not; its children must have gone before."""
        parent = self.parent
        if parent is not None:
            parent.remove_child(self)
        self._group.remove(self)
        self._life = Life.FREED

    def is_below(self, other: "Process") -> bool:
        """Whether it is `other` or a descendant of it."""
        process: Process | None = self
        while process is not None and process is not other:
            process = process.parent
        return process is other

    # The other end of each reference, kept by the process or thread that holds it.

    def add_child(self, child: "Process") -> None:
        """Hold `child`: for the child."""
        if self._children is None:
            self._children = {}
        self._children[child.pid] = child

    def remove_child(self, child: "Process") -> None:
        """Let `child` go: for the child."""
        if self._children is not None and self._children.get(child.pid) is child:
            del self._children[child.pid]

    def add_thread(self, thread: Thread) -> None:
        """Know `thread`, weakly: for the thread's builder."""
        if self._threads is None:
            self._threads = {}
        known = self._threads.get(thread.tid)
        if known is not None and known() is not None:
            raise IdTakenError("thread", thread.tid)
        self._threads[thread.tid] = weakref.ref(thread)

    def remove_thread(self, thread: Thread, code: int) -> None:
        """Know `thread` no longer: for the thread, which ended with `code`."""
        if self._threads is not None:
            self._threads.pop(thread.tid, None)
        if not self._is_group_exited:
            self._exit_code = code

    def __repr__(self) -> str:
        parent = self.parent
        under = f", parent={parent.pid}" if parent is not None else ""
        life = "" if self.is_alive else f", {self._life.name.lower()}"
        return f"Process({self._pid}{under}, group={self._group.pgid}{life})"


class ProcessBuilder:
    """A process about to be: `parent.fork(pid).data(x).build()`."""

    __slots__ = ("_data", "_parent", "_pid")

    def __init__(self, pid: int, parent: Process | None) -> None:
        """Begin a child of `parent`, or an init; `Process.fork` and `Process.new_init` are the usual ways."""
        self._pid = pid
        self._parent = parent
        self._data: tuple[object, ...] = ()

    def data(self, value: object) -> Self:
        """Let the process carry `value`, one of each type."""
        self._data = (*self._data, value)
        return self

    def build(self) -> Process:
        """Return the process, now in the tree and without threads; an init is the caller's to hold.

        Raises:
            NotAliveError: the parent has ended.
            IdTakenError: the parent has this number, or a child with it.
        """
        parent = self._parent
        if parent is not None:
            if not parent.is_alive:
                raise NotAliveError(parent.pid, f"fork process {self._pid}")
            if self._pid == parent.pid or parent.child(self._pid) is not None:
                raise IdTakenError("process", self._pid)
        return Process(self._pid, parent, self._data)
