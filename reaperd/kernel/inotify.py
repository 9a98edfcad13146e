"""Be told when something changes in a directory: inotify(7)."""

import os
from contextlib import suppress
from ctypes import c_char_p, c_int, c_uint32
from typing import Final

from reaperd.errors import KernelError
from reaperd.kernel.libc import declare, last_errno

IN_MODIFY: Final = 0x2
IN_MOVED_TO: Final = 0x80
IN_CREATE: Final = 0x100
IN_DELETE_SELF: Final = 0x400
IN_MOVE_SELF: Final = 0x800
IN_ATTRIB: Final = 0x4  # also when a link to it is removed
IN_DONT_FOLLOW: Final = 0x0200_0000
IN_ONLYDIR: Final = 0x0100_0000

_CHANGES: Final = IN_MODIFY | IN_MOVED_TO | IN_CREATE | IN_DELETE_SELF | IN_ONLYDIR
_LOSS: Final = IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF | IN_DONT_FOLLOW
_ENOUGH: Final = 1 << 16  # bytes, of which an event takes 16 and a name


def open_notices() -> int:
    """Return a non-blocking descriptor that polls readable after a change; the caller owns it.

    Raises:
        KernelError: EMFILE, the user has too many: inotify_init(2).
    """
    fd = declare("inotify_init1", c_int)(os.O_CLOEXEC | os.O_NONBLOCK)
    if fd < 0:
        raise KernelError("inotify_init1", last_errno(), hint="raise fs.inotify.max_user_instances")
    return fd


def notice(fd: int, directory: str) -> bool:
    """Be told of files that are written, made or moved there; again for the same directory changes nothing.

    Returns:
        False where that cannot be: it is not there, not readable, or the user has too many of these:
        inotify_add_watch(2).
    """
    add = declare("inotify_add_watch", c_int, c_char_p, c_uint32)
    return add(fd, os.fsencode(directory), _CHANGES) >= 0


def notice_loss(fd: int, path: str) -> bool:
    """Be told when a file may have been removed or moved away; what its directory holds besides is no matter.

    Returns:
        False where that cannot be: see `notice`.
    """
    add = declare("inotify_add_watch", c_int, c_char_p, c_uint32)
    return add(fd, os.fsencode(path), _LOSS) >= 0


def drain(fd: int) -> None:
    """Forget what was told so far."""
    with suppress(BlockingIOError):
        while os.read(fd, _ENOUGH):
            pass
