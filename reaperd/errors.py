"""Errors that reach a person: what failed, why, and what to do about it.

Every message begins with "cannot" and every error may carry a hint. The command line prints

    reaperd: cannot ...
    hint: ...

and leaves with `exit_status`. Numbers follow sysexits.h where a convention exists.
"""

import os
from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """What reaperd's commands leave with; each command's help says which it uses."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    UNKNOWN = 4
    UNAVAILABLE = 69
    INTERNAL = 70
    CONFIG = 78


class ReaperdError(Exception):
    """A failure that a person can read and, with the hint, mend.

    Attributes:
        message: begins with "cannot"; says what and why.
        hint: what to do, or None where nothing helpful is known.
        exit_status: what a command that ends by this error leaves with.
    """

    exit_status: Exit = Exit.FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class KernelError(ReaperdError):
    """A system call failed for a reason that its caller did not expect.

    Attributes:
        call: the system call's name, as its manual page spells it.
        errno: the error number, see errno(3).
    """

    def __init__(self, call: str, errno: int, *, what: str | None = None, hint: str | None = None) -> None:
        doing = f"{what}: {call}" if what else call
        super().__init__(f"cannot {doing}: {os.strerror(errno)}", hint=hint)
        self.call = call
        self.errno = errno


class InternalError(ReaperdError):
    """The daemon itself is broken: a bug, or a machine that refuses what it must allow."""

    exit_status = Exit.INTERNAL


class UnavailableError(ReaperdError):
    """There is no daemon to talk to, or it does not answer."""

    exit_status = Exit.UNAVAILABLE


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration.

    Attributes:
        where: `file:line`, or the file alone where no line is known.
        path: the key as a dotted path, such as `service.web.restart`; empty for the file itself.
        what: what is wrong, what is allowed, and what was probably meant.
    """

    where: str
    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.path}: {self.what}" if self.path else f"{self.where}: {self.what}"


class ConfigError(ReaperdError):
    """A configuration that cannot be used, with every problem it has."""

    exit_status = Exit.CONFIG

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        lines = "\n".join(f"  {problem}" for problem in problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"cannot use this configuration: {count}\n{lines}")
        self.problems = problems
