"""The child between fork and exec: a walk through stages, each of which may fail by its own name.

Only `os` calls on values made before the fork: no logging, no lookup, no import, no lock. A failure is
written as `stage errno` to a close-on-exec pipe; end of file there means that the exec worked.

The order keeps each right until it has been used. The cgroup comes before anything that could fork or fail
slowly. Score, nice value and limits may need rights that end with the change of user; the score's file is
opened before a limit on descriptors could forbid it. Directory and program are reached by the rights of the
new user. Signals stay blocked to the last: until the exec, one would be swallowed by an inherited handler.
"""

import errno
import fcntl
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from reaperd.children.plan import Plan
from reaperd.kernel import cgroup, signals
from reaperd.kernel.wakeup import Wakeup

REPORT_BYTES: Final = 8  # two 32-bit numbers: less than PIPE_BUF, so written whole or not at all
_NOT_EXECUTABLE: Final = 126
_NOT_FOUND: Final = 127
_SCORE: Final = b"/proc/self/oom_score_adj"


@dataclass(frozen=True, slots=True)
class StageFailed:
    """No program ever ran: the stage between fork and exec that failed, and its errno."""

    stage: str
    errno: int
    what: str | None = None  # what it was about, where a service has several


@dataclass(slots=True)
class Hands:
    """What the child has of the daemon's until its exec."""

    report_fd: int
    null_fd: int
    procs_fd: int | None  # enters the run's cgroup
    changed: tuple[int, ...]  # signals whose action is not the default one


def become(plan: Plan, hands: Hands) -> NoReturn:
    """Turn this freshly forked child into the planned program, or report why not and exit.

    All signals are blocked on entry; they are unblocked, with default actions, just before the exec.
    """
    stage = STAGES[0]
    try:
        for stage, step in _STEPS:  # noqa: B007 - which one failed
            step(plan, hands)
        number = errno.EIO  # never: the last step does not return
    except OSError as error:
        number = error.errno or errno.EIO
    except MemoryError:
        number = errno.ENOMEM  # by a limit, as a rule
    except BaseException:  # noqa: BLE001 - whatever it is, it must not unwind into the daemon's code
        number = errno.EINVAL
    _give_up(hands.report_fd, stage, number)


def _session(_plan: Plan, hands: Hands) -> None:
    Wakeup.disown()  # or our signals would land in the daemon's pipe
    signals.reset(hands.changed)
    os.setsid()


def _cgroup(_plan: Plan, hands: Hands) -> None:
    if hands.procs_fd is not None:
        cgroup.enter(hands.procs_fd)


def _oom_score_adj(plan: Plan, _hands: Hands) -> None:
    if plan.oom_score_adj is not None:
        fd = os.open(_SCORE, os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, plan.oom_score_adj)
        os.close(fd)


def _nice(plan: Plan, _hands: Hands) -> None:
    if plan.nice is not None:
        os.setpriority(os.PRIO_PROCESS, 0, plan.nice)


def _limits(plan: Plan, _hands: Hands) -> None:
    for number, limit in plan.limits:
        try:
            resource.setrlimit(number, limit)
        except ValueError as error:  # how the module words EPERM: not allowed to raise a hard limit
            raise PermissionError(errno.EPERM, "") from error


def _user(plan: Plan, _hands: Hands) -> None:
    identity = plan.identity
    if identity is None:
        return
    # Groups first, user last: after setuid there is no right left to change the rest. Without a change
    # of groups no right is needed: setgroups would ask for one all the same.
    if set(identity.groups) != set(os.getgroups()):
        os.setgroups(identity.groups)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)


def _umask(plan: Plan, _hands: Hands) -> None:
    if plan.umask is not None:
        os.umask(plan.umask)


def _directory(plan: Plan, _hands: Hands) -> None:
    if plan.directory is not None:
        os.chdir(plan.directory)


def _descriptors(plan: Plan, hands: Hands) -> None:
    """Give the program its input and outputs, and what else it is to find open."""
    for number in (0, *plan.silent):
        os.dup2(hands.null_fd, number)
    if plan.descriptors:
        _place(plan, hands)
    if plan.stderr_to_stdout:
        os.dup2(1, 2)


def _place(plan: Plan, hands: Hands) -> None:
    """Put each descriptor at its number.

    All move above the highest number first: one that is wanted may be the place where another one is.
    """
    above = max(number for _fd, number in plan.descriptors) + 1
    hands.report_fd = fcntl.fcntl(hands.report_fd, fcntl.F_DUPFD_CLOEXEC, above)
    moved = [(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above), number) for fd, number in plan.descriptors]
    for fd, number in moved:
        os.dup2(fd, number)


def _exec(plan: Plan, _hands: Hands) -> NoReturn:
    """Try each candidate as execvp(3) does: EACCES is remembered, a missing file is passed over."""
    for name in plan.own_pid:
        plan.environment[name] = b"%d" % os.getpid()  # the child's copy
    signals.restore(plan.mask)
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


_STEPS: Final[tuple[tuple[str, Callable[[Plan, Hands], None]], ...]] = (
    ("session", _session),
    ("cgroup", _cgroup),
    ("oom_score_adj", _oom_score_adj),
    ("nice", _nice),
    ("limits", _limits),
    ("user", _user),
    ("umask", _umask),
    ("directory", _directory),
    ("descriptors", _descriptors),
    ("exec", _exec),
)
# In the order in which they happen. The number is what goes through the pipe.
STAGES: Final = ("fork", *(stage for stage, _step in _STEPS))
