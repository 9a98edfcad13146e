"""The daemon's state directory and the lock that keeps a second daemon out of it."""

import fcntl
import os
from pathlib import Path

from reaperd.errors import ReaperdError


def lock(state_dir: Path) -> int:
    """Make `state_dir` if need be and lock it for this process; the lock goes with the descriptor.

    Returns:
        The descriptor that holds the lock, close-on-exec; keep it open.

    Raises:
        ReaperdError: another daemon has it, or the directory cannot be made or written.
    """
    path = state_dir / "lock"
    try:
        state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        hint = "set daemon.state_dir to a directory that this user may write"
        raise ReaperdError(f"cannot open {path}: {error.strerror}", hint=hint) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
    except BlockingIOError as error:
        holder = _holder(fd)
        os.close(fd)
        hint = f"daemon {holder} runs on it; give this one a daemon.state_dir of its own"
        raise ReaperdError(f"cannot lock {path}: another daemon holds it", hint=hint) from error
    except OSError as error:  # no space left, or a file system without locks
        os.close(fd)
        hint = "set daemon.state_dir to a directory on another file system"
        raise ReaperdError(f"cannot lock {path}: {error.strerror}", hint=hint) from error
    return fd


def _holder(fd: int) -> str:
    text = os.pread(fd, 32, 0).decode(errors="replace").strip()
    return f"with pid {text}" if text.isdecimal() else "of unknown pid"
