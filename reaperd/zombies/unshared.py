"""Namespaces and mounts of their own for specimens, also of plain users: user_namespaces(7)."""

from errno import EPERM

from reaperd.errors import KernelError
from reaperd.kernel import namespaces


def unshare(flags: int) -> bool:
    """Leave the namespaces of `flags` for new ones; return whether that took a new user namespace too.

    Raises:
        KernelError: neither this user nor a user namespace of his may do so.
    """
    try:
        namespaces.unshare(flags)
    except KernelError as error:
        if error.errno != EPERM:
            raise
        namespaces.unshare(namespaces.NEWUSER | flags)
        return True
    return False
