"""What a look at real processes brought: plain records that the table is compared with."""

from typing import NamedTuple


class ProcessKey(NamedTuple):
    """What names one process for ever: a pid alone is used again."""

    pid: int
    start_time: int  # clock ticks since boot, proc_pid_stat(5) field 22; 0 where nobody has looked yet
    nth: int = (
        0  # of those that had this pid within one tick, as the table has followed them; without a start
    )
    # time, of all that came so


class Seen(NamedTuple):
    """One process as /proc showed it: proc_pid_stat(5).

    A named tuple and not a dataclass: a look at a machine makes ten thousand of them, and this is the
    cheapest immutable record that Python builds.
    """

    pid: int
    ppid: int
    pgid: int
    sid: int
    start_time: int  # clock ticks since boot
    comm: str = ""
    state: str = "S"
    num_threads: int = 1
    exit_code: int | None = None  # a wait status; None where it could not be read
    tids: tuple[int, ...] = ()  # of all its threads; empty where nobody looked
    has_execed: bool = False  # it is known to run a program of its own: PF_FORKNOEXEC is not set
    at_ns: int = 0  # CLOCK_MONOTONIC just before it was read; 0 where that is not known
    inode: int = 0  # of its pidfd, which no two processes share since Linux 6.9; 0 where nobody asked

    @property
    def key(self) -> ProcessKey:
        """What names this process."""
        return ProcessKey(self.pid, self.start_time)

    @property
    def is_dead_leader(self) -> bool:
        """Whether its first thread has ended and others live: the state says Z, but it is no zombie."""
        return self.state == "Z" and self.num_threads > 1

    @property
    def is_zombie(self) -> bool:
        """Whether it has ended: as a zombie, or in the moment of being reaped (X)."""
        return self.state in ("Z", "X") and not self.is_dead_leader
