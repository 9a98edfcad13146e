"""One process in a table: the model's process, and what only the table knows of it."""

from dataclasses import dataclass

from reaperd.model.process import Process
from reaperd.model.snapshot import ProcessKey
from reaperd.model.thread import Thread


@dataclass(slots=True, eq=False)
class Entry:
    """What the table knows of a process beside its place in the model.

    It holds the threads, because a process does not; the process does not know its entry, so that there is no
    cycle to collect.
    """

    process: Process
    key: ProcessKey
    comm: str
    state: str = "S"
    num_threads: int = 1
    status: int | None = None  # a wait status, once somebody told us
    is_adopted: bool = False
    looked_ns: int = 0  # CLOCK_MONOTONIC: what happened to it before that is known
    inode: int = 0  # of its pidfd, 0 where nobody asked
    leader: Thread | None = None
    others: dict[int, Thread] | None = None  # most processes have none, and a dictionary costs 232 bytes

    @property
    def tids(self) -> set[int]:
        """The threads that live, as far as we know."""
        tids = set(self.others or ())
        if self.leader is not None:
            tids.add(self.leader.tid)
        return tids

    @property
    def thread_count(self) -> int:
        """How many threads /proc would count at least: the leader is one until its process is reaped."""
        return len(self.others or ()) + 1

    def is_same(self, start_time: int, inode: int = 0) -> bool:
        """Whether a process with this pid, start time and inode is this one, as far as is known."""
        if inode and self.inode:
            return inode == self.inode
        return not start_time or self.key.start_time in (0, start_time)

    def has_thread(self, tid: int) -> bool:
        """Whether this thread lives, as far as we know."""
        if tid == self.process.pid:
            return self.leader is not None
        return self.others is not None and tid in self.others

    def add_thread(self, tid: int) -> None:
        """Build a thread and hold it."""
        thread = self.process.new_thread(tid).build()
        if thread.is_leader:
            self.leader = thread
            return
        if self.others is None:
            self.others = {}
        self.others[tid] = thread

    def take_thread(self, tid: int) -> Thread | None:
        """Hold a thread no longer and return it, or None if it is not held."""
        if tid == self.process.pid:
            leader, self.leader = self.leader, None
            return leader
        return self.others.pop(tid, None) if self.others else None

    def end_threads(self) -> None:
        """End all threads with what the process ended with."""
        threads = list((self.others or {}).values())
        if self.leader is not None:
            threads.append(self.leader)
        self.leader = self.others = None
        for thread in threads:
            thread.exit(self.process.exit_code)
