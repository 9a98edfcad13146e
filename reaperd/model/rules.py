"""When setsid(2) and setpgid(2) refuse, and with what: the kernel's sys.c, as numbers of errno(3).

The answers are those that a process gets that makes the call itself. None means that the call succeeds.
"""

from errno import EPERM, ESRCH
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


def why_not_group(process: "Process") -> int | None:
    """Return the errno with which setpgid(0, 0) refuses `process`, or None."""
    if not process.is_alive:
        return ESRCH
    return EPERM if process.is_session_leader else None


def why_not_move(process: "Process", group: "ProcessGroup") -> int | None:
    """Return the errno with which setpgid(2) refuses `process` the number of `group`, or None.

    A zombie can be moved: its parent may call setpgid(2) for it until it has waited.
    """
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
