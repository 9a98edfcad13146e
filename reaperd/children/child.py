"""The child between fork and exec: a walk through stages, each of which may fail by its own name.

Only `os` calls on values made before the fork: no logging, no lookup, no import, no lock. A failure is
written as `stage errno` to a close-on-exec pipe; end of file there means that the exec worked.
"""

import errno
import os
import resource
import signal
from dataclasses import dataclass
from typing import Final, NoReturn

from reaperd.children.plan import Plan
from reaperd.kernel import signals
from reaperd.kernel.wakeup import Wakeup

# In the order in which they happen. The number is what goes through the pipe.
STAGES: Final = ("fork", "session", "limits", "user", "directory", "exec")

REPORT_BYTES: Final = 8  # two 32-bit numbers: less than PIPE_BUF, so written whole or not at all
_NOT_EXECUTABLE: Final = 126
_NOT_FOUND: Final = 127


@dataclass(frozen=True, slots=True)
class StageFailed:
    """No program ever ran: the stage between fork and exec that failed, and its errno."""

    stage: str
    errno: int


def become(plan: Plan, report_fd: int, null_fd: int) -> NoReturn:
    """Turn this freshly forked child into the planned program, or report why not and exit.

    All signals are blocked on entry; they are unblocked, with default actions, just before the exec.
    """
    stage = "session"
    try:
        Wakeup.disown()  # or our signals would land in the daemon's pipe
        signals.reset_all_handlers()
        os.setsid()
        stage = "limits"
        resource.setrlimit(resource.RLIMIT_NOFILE, plan.nofile)
        stage = "user"
        _take_identity(plan)
        stage = "directory"
        if plan.directory is not None:
            os.chdir(plan.directory)
        stage = "exec"
        os.dup2(null_fd, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, plan.mask)
        _exec(plan)
    except OSError as error:
        _give_up(report_fd, stage, error.errno or errno.EIO)
    except BaseException:  # noqa: BLE001 - whatever it is, it must not unwind into the daemon's code
        _give_up(report_fd, stage, errno.EINVAL)


def _take_identity(plan: Plan) -> None:
    identity = plan.identity
    if identity is None:
        return
    # Groups first, user last: after setuid there is no right left to change the rest. A plain user who
    # asks for himself needs no right at all.
    if (os.getuid(), os.getgid()) != (identity.uid, identity.gid) or os.getuid() == 0:
        os.setgroups(identity.groups)
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)


def _exec(plan: Plan) -> NoReturn:
    """Try each candidate as execvp(3) does: EACCES is remembered, a missing file is passed over."""
    denied: OSError | None = None
    missing: OSError | None = None
    for path in plan.candidates:
        try:
            os.execve(path, plan.argv, plan.environment)
        except PermissionError as error:
            denied = error
        except (FileNotFoundError, NotADirectoryError) as error:
            missing = error
    raise denied or missing or FileNotFoundError(errno.ENOENT, "no such program")


def _give_up(report_fd: int, stage: str, number: int) -> NoReturn:
    record = STAGES.index(stage).to_bytes(4, "little") + number.to_bytes(4, "little")
    try:
        os.write(report_fd, record)
    finally:
        os._exit(_NOT_FOUND if number == errno.ENOENT else _NOT_EXECUTABLE)
