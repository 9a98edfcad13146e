"""What the table says has changed: one frozen record a fact, in the order in which the facts hold.

A process comes with exactly one of `Forked`, or `Adopted` whose `old` is None. It goes with exactly one of
`Reaped` or `Left`, and `Exited` comes before `Reaped`. Nothing is said of a process after it went.
"""

from dataclasses import dataclass

from reaperd.model.snapshot import ProcessKey


@dataclass(frozen=True, slots=True)
class Forked:
    """A process came, under a parent that we know."""

    key: ProcessKey
    parent: ProcessKey
    pgid: int
    sid: int
    comm: str


@dataclass(frozen=True, slots=True)
class Identified:
    """The start time of a process became known that came without: from now on it has this key."""

    key: ProcessKey
    old: ProcessKey


@dataclass(frozen=True, slots=True)
class Reparented:
    """A process got another parent, as orphans do."""

    key: ProcessKey
    old: ProcessKey | None  # None where the process came with this change
    new: ProcessKey


@dataclass(frozen=True, slots=True)
class Adopted(Reparented):
    """The root of the table got a process that it did not fork itself: an orphan, with what it brought."""

    pgid: int
    sid: int
    comm: str


@dataclass(frozen=True, slots=True)
class Execed:
    """A process runs another program: execve(2)."""

    key: ProcessKey
    comm: str


@dataclass(frozen=True, slots=True)
class Renamed:
    """A process has another name: by execve(2), or by PR_SET_NAME(2const); a look cannot tell which."""

    key: ProcessKey
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """A process is in another session: setsid(2)."""

    key: ProcessKey
    old: int
    new: int


@dataclass(frozen=True, slots=True)
class GroupChanged:
    """A process is in another process group: setpgid(2), setsid(2)."""

    key: ProcessKey
    old: int
    new: int


@dataclass(frozen=True, slots=True)
class ThreadStarted:
    """A process has one more thread."""

    key: ProcessKey
    tid: int


@dataclass(frozen=True, slots=True)
class ThreadEnded:
    """A process has one thread less; not said for those that end with their process."""

    key: ProcessKey
    tid: int
    is_last: bool  # of those that we know: time to look whether the process is a zombie


@dataclass(frozen=True, slots=True)
class Exited:
    """A process ended and is a zombie."""

    key: ProcessKey
    status: int | None  # a wait status; None where it is not known yet: `Reaped` may have it


@dataclass(frozen=True, slots=True)
class Reaped:
    """A zombie was waited for and is gone; its pid can be used again."""

    key: ProcessKey
    status: int | None  # a wait status; None where nobody told us
    by: ProcessKey | None  # the parent that waited; None where the process was only found missing


@dataclass(frozen=True, slots=True)
class Left:
    """A process lives on under a parent outside the table, so that we follow it no longer."""

    key: ProcessKey
    ppid: int


Change = (
    Forked
    | Identified
    | Reparented
    | Adopted
    | Execed
    | Renamed
    | SessionChanged
    | GroupChanged
    | ThreadStarted
    | ThreadEnded
    | Exited
    | Reaped
    | Left
)
