"""Leave namespaces for new ones, and mount in them: unshare(2), in Python only since 3.12, and mount(2)."""

from ctypes import c_char_p, c_int, c_ulong
from typing import Final

from reaperd.errors import KernelError
from reaperd.kernel.libc import declare, last_errno

NEWUSER: Final = 0x10000000  # CLONE_NEW*: namespaces(7)
NEWPID: Final = 0x20000000
NEWNS: Final = 0x20000  # of mounts
_PRIVATE: Final = 0x44000  # MS_REC | MS_PRIVATE


def unshare(flags: int) -> None:
    """Enter new namespaces; of a PID namespace it is the children from now on that live there.

    Raises:
        KernelError: EPERM, not without privilege; ENOSPC, a limit of the machine: namespaces(7).
    """
    if declare("unshare", c_int)(flags) < 0:
        raise KernelError("unshare", last_errno(), hint="see user.max_user_namespaces, or run as root")


def mount(kind: bytes, place: bytes, options: bytes | None = None) -> None:
    """Mount a file system of a kind; this mount namespace must be new, and nobody outside of it sees it.

    Raises:
        KernelError: EPERM, not without privilege, or not over what is hidden there: mount_namespaces(7).
    """
    call = declare("mount", c_char_p, c_char_p, c_char_p, c_ulong, c_char_p)
    for words in ((None, b"/", None, _PRIVATE, None), (b"none", place, kind, 0, options)):
        if call(*words) < 0:
            raise KernelError("mount", last_errno())
