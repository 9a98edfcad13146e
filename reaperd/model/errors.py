"""What the model refuses with an error; each such call has changed nothing."""

from reaperd.errors import ReaperdError


class ModelError(ReaperdError):
    """The model cannot do this: no real tree of processes could have done it either."""


class InitCannotExitError(ModelError):
    """The init of a tree outlives the tree: pid_namespaces(7)."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"cannot end process {pid}: it is the init of its tree")


class NotAliveError(ModelError):
    """A process that has ended neither forks nor starts threads."""

    def __init__(self, pid: int, doing: str) -> None:
        super().__init__(f"cannot {doing}: process {pid} has ended")


class NotZombieError(ModelError):
    """Only a zombie leaves the table: wait(2)."""

    def __init__(self, pid: int, is_what: str) -> None:
        super().__init__(
            f"cannot free process {pid}: it is {is_what}, not a zombie", hint="exit() comes first"
        )


class ThreadsAliveError(ModelError):
    """A process ends with its last thread, not before: pthreads(7)."""

    def __init__(self, pid: int, tids: tuple[int, ...]) -> None:
        living = ", ".join(str(tid) for tid in tids)
        super().__init__(
            f"cannot end process {pid}: threads still alive: {living}",
            hint="Thread.exit() says True for the last one",
        )
        self.tids = tids


class IdTakenError(ModelError):
    """A number names one process or thread at a time."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(f"cannot start {what} {number}: the number is in use")


class TreeGoneError(ModelError):
    """Ancestors are held weakly: whoever works on a tree has to hold its init."""

    def __init__(self, pid: int) -> None:
        super().__init__(
            f"cannot find who inherits the children of process {pid}: its ancestors are gone",
            hint="keep a reference to the init of the tree",
        )


class CycleError(ModelError):
    """No process is below itself."""

    def __init__(self, pid: int, parent: int) -> None:
        super().__init__(f"cannot put process {pid} under {parent}: {parent} is below it or has ended")


class WouldSleepError(ModelError):
    """wait4(2) would have to sleep: children match, none has ended."""

    def __init__(self, pid: int, selector: int) -> None:
        super().__init__(
            f"cannot wait in process {pid} for {selector}: no such child has ended yet",
            hint="nohang=True answers None instead",
        )


class NotTrackedError(ModelError):
    """The process is not, or no longer, in this table."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"cannot tell about process {pid}: it is not in this table")
