"""Leave namespaces for new ones: unshare(2). Python has it only since 3.12."""

from ctypes import c_int
from typing import Final

from reaperd.errors import KernelError
from reaperd.kernel.libc import declare, last_errno

NEWUSER: Final = 0x10000000  # CLONE_NEW*: namespaces(7)
NEWPID: Final = 0x20000000


def unshare(flags: int) -> None:
    """Enter new namespaces; of a PID namespace it is the children from now on that live there.

    Raises:
        KernelError: EPERM, not without privilege; ENOSPC, a limit of the machine: namespaces(7).
    """
    if declare("unshare", c_int)(flags) < 0:
        raise KernelError("unshare", last_errno(), hint="see user.max_user_namespaces, or run as root")
