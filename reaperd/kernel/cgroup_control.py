"""The controllers of a cgroup, version 2: what it gives to those below, and the files that they come with.

A controller acts in a cgroup only where the one above names it in its cgroup.subtree_control. To name it
there that one must have it (cgroup.controllers) and, the root of the hierarchy apart, must hold no processes:
EBUSY, "no internal process constraint", admin-guide/cgroup-v2.rst.
"""

import errno
import os
from typing import Final

from reaperd.errors import KernelError
from reaperd.kernel import cgroup
from reaperd.kernel.failure import failure

PRESSURES: Final = ("cpu", "io", "memory")


def controllers(directory: str) -> frozenset[str]:
    """Return the controllers that a cgroup has, and may give to those below: cgroup.controllers."""
    return _names(directory, "cgroup.controllers")


def given(directory: str) -> frozenset[str]:
    """Return the controllers that a cgroup gives to those below: cgroup.subtree_control."""
    return _names(directory, "cgroup.subtree_control")


def give(directory: str, controller: str) -> None:
    """Give those below a cgroup a controller.

    Raises:
        KernelError: ENOENT, it has no such controller; EBUSY, it holds processes; EOPNOTSUPP, it is threaded;
            EACCES, EROFS, it is not ours.
    """
    _control(directory, "+", controller)


def take(directory: str, controller: str) -> None:
    """Take a controller from those below a cgroup.

    Raises:
        KernelError: EBUSY, one of them gives it on.
    """
    _control(directory, "-", controller)


def put(directory: str, name: str, value: str) -> None:
    """Write one of a controller's files.

    The kernel would bring the memory that is in use down to a new memory.max within the write: not where the
    file is opened with O_NONBLOCK (Linux 6.16), and then whoever allocates next pays.

    Raises:
        KernelError: ENOENT, the cgroup does not have the controller; EINVAL, ERANGE, no value for it.
    """
    try:
        fd = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise failure("write", error, what=f"set {name} of cgroup {directory}") from error


def counts(directory: str, name: str) -> dict[str, int] | None:
    """Return a file of lines `name number`, such as memory.events; None where there is none."""
    try:
        words = cgroup.read(f"{directory}/{name}").decode().split()
    except OSError:
        return None
    return {key: int(value) for key, value in zip(words[::2], words[1::2], strict=False)}


def pressure(directory: str, resource: str) -> float | None:
    """Return for what share of the latest ten seconds, in percent, some process waited for a resource.

    None where the kernel does not measure it: CONFIG_PSI, accounting/psi.rst.
    """
    try:
        words = cgroup.read(f"{directory}/{resource}.pressure").decode().split()
    except OSError:
        return None
    found = [word.removeprefix("avg10=") for word in words if word.startswith("avg10=")]
    return float(found[0]) if found else None


def _names(directory: str, name: str) -> frozenset[str]:
    try:
        return frozenset(cgroup.read(f"{directory}/{name}").decode().split())
    except OSError:
        return frozenset()


def _control(directory: str, sign: str, controller: str) -> None:
    path = f"{directory}/cgroup.subtree_control"
    try:
        cgroup.write(path, (sign + controller).encode())
    except OSError as error:
        # What the root does not have at all is no name to the kernel.
        number = errno.ENOENT if error.errno == errno.EINVAL else error.errno or errno.EIO
        raise KernelError("write", number, what=f"write {sign}{controller} to {path}") from error
