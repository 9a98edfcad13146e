"""A thread of a process: clone(2) with CLONE_THREAD."""

from typing import TYPE_CHECKING, Self

from reaperd.model.data import Carrier
from reaperd.model.errors import NotAliveError

if TYPE_CHECKING:
    from reaperd.model.process import Process


class Thread(Carrier):
    """One thread; it holds its process, which knows it weakly: whoever builds a thread holds it."""

    __slots__ = ("__weakref__", "_has_ended", "_process", "_tid")

    def __init__(self, tid: int, process: "Process", data: tuple[object, ...] = ()) -> None:
        """Make a thread that its process does not know yet; `Process.new_thread` is the way in."""
        super().__init__(data)
        self._tid = tid
        self._process = process
        self._has_ended = False

    @property
    def tid(self) -> int:
        """The thread's number; the leader's is the pid of its process."""
        return self._tid

    @property
    def process(self) -> "Process":
        """The process this thread belongs to."""
        return self._process

    @property
    def is_leader(self) -> bool:
        """Whether this is the thread that the process started with."""
        return self._tid == self._process.pid

    def exit(self, code: int) -> bool:
        """End the thread and say whether it was the last one of its process.

        The process's exit code becomes `code`, unless the whole group is exiting: exit_group(2). After True
        it is the caller's turn to end the process with `Process.exit`. A second call changes nothing.
        """
        if not self._has_ended:
            self._has_ended = True
            self._process.remove_thread(self, code)
        return not self._process.has_threads

    def __repr__(self) -> str:
        return f"Thread({self._tid}, process={self._process.pid})"


class ThreadBuilder:
    """A thread about to be: `process.new_thread(tid).data(x).build()`."""

    __slots__ = ("_data", "_process", "_tid")

    def __init__(self, tid: int, process: "Process") -> None:
        """Begin the thread `tid` of `process`; `Process.new_thread` is the usual way."""
        self._tid = tid
        self._process = process
        self._data: tuple[object, ...] = ()

    def data(self, value: object) -> Self:
        """Let the thread carry `value`, one of each type."""
        self._data = (*self._data, value)
        return self

    def build(self) -> Thread:
        """Return the thread; the caller holds it, the process does not.

        Raises:
            NotAliveError: the process has ended.
            IdTakenError: a living thread of the process has this number.
        """
        if not self._process.is_alive:
            raise NotAliveError(self._process.pid, f"start thread {self._tid}")
        thread = Thread(self._tid, self._process, self._data)
        self._process.add_thread(thread)
        return thread
