"""Turn an OSError into our KernelError, with the hint that its number deserves."""

import errno
from typing import Final

from reaperd.errors import KernelError

_HINTS: Final = {
    errno.EMFILE: "this process has no descriptor left: raise its limit (ulimit -n, LimitNOFILE=)",
    errno.ENFILE: "the machine has no descriptor left: raise fs.file-max",
    errno.ENOMEM: "the machine is short of memory",
    errno.EPERM: "needs the same user as the target, or root",
    errno.EACCES: "needs the same user as the target, or root",
    errno.ENOSYS: "the kernel is too old, or a seccomp filter forbids the call",
}


def failure(call: str, error: OSError, *, what: str | None = None) -> KernelError:
    """Return the KernelError for `error` of the system call `call`; to be raised `from error`.

    `what` completes "cannot ..." with what the caller was about to do.
    """
    number = error.errno or 0
    return KernelError(call, number, what=what, hint=_HINTS.get(number))
