"""When setsid(2) and setpgid(2) refuse, and with what: the kernel's sys.c, as numbers of errno(3).

None means that the call succeeds. setsid(2) is for the caller alone; setpgid(2) is made by the process itself
or, until the child runs a program of its own, by its parent.
"""

from errno import EACCES, EPERM, ESRCH
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reaperd.model.group import ProcessGroup
    from reaperd.model.process import Process


def why_not_session(process: "Process") -> int | None:
    """Return the errno with which setsid(2) refuses `process`, or None."""
    if not process.is_alive:
        return ESRCH  # an ended process makes no calls
    # Not only for the leader: the group it once led may have other members still, and the new session's
    # first group would need the same number.
    if process.is_leader or process.group.session.group(process.pid) is not None:
        return EPERM
    return None


def why_not_group(process: "Process", by: "Process | None" = None) -> int | None:
    """Return the errno with which setpgid(pid, 0) refuses the caller `by` for `process`, or None."""
    return _why_not_by(process, by or process)


def why_not_move(process: "Process", group: "ProcessGroup", by: "Process | None" = None) -> int | None:
    """Return the errno with which setpgid(2) refuses `process` the number of `group`, or None.

    A zombie can be moved: its parent may call setpgid(2) for it until it has waited.
    """
    if by is not None and (errno := _why_not_by(process, by)) is not None:
        return errno
    if process.is_freed:
        return ESRCH
    session = process.group.session
    if process.is_session_leader or group.session is not session:
        return EPERM
    if not group.is_empty:
        return None
    # A group without members is none. Its number can be used by the process whose pid it is, which then
    # makes the group anew, unless it has done so already with another object.
    is_own = group.pgid == process.pid and session.group(process.pid) is None
    return None if is_own else EPERM


def _why_not_by(process: "Process", caller: "Process") -> int | None:
    """Return the errno that the caller gets whatever the group, or None; in the kernel's order."""
    if process.is_freed or not caller.is_alive:
        return ESRCH
    if process.parent is caller:
        if process.group.session is not caller.group.session:
            return EPERM
        # The child has taken its group over: a shell moves its jobs between fork and exec, not later.
        if process.has_execed:
            return EACCES
    elif process is not caller:
        return ESRCH
    return EPERM if process.is_session_leader else None
