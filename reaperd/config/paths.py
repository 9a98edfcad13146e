"""Where the socket and the state are when nobody says so: the same answer for daemon and client.

`REAPERD_SOCKET` and `REAPERD_STATE_DIR` come first: so one daemon of several, and whoever asks it from within
its services, need not be told. Then root has `/run/reaperd` and `/var/lib/reaperd`. Others have
`$XDG_RUNTIME_DIR`, which their session made for them alone. Without it there is only the temporary directory,
where anybody may have put anything under the name we would use: a socket there is trusted only in a directory
that is ours and closed to others, in a parent where nobody else can rename or replace it. The sticky bit is
what guarantees that in /tmp.
"""

import os
import pwd
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from reaperd.errors import ReaperdError

_SOCKET: Final = "control.sock"
_HINT: Final = "set XDG_RUNTIME_DIR, or name a socket with --socket or REAPERD_SOCKET"


def default_socket(environ: Mapping[str, str] = os.environ, uid: int | None = None) -> Path:
    """Return where the control socket is. Nothing is made: see `make_folder`.

    Raises:
        ReaperdError: there is only the temporary directory, and it cannot be trusted there.
    """
    uid = os.geteuid() if uid is None else uid
    named = _absolute(environ, "REAPERD_SOCKET")
    if named is not None:
        return named
    if uid == 0:
        return Path("/run/reaperd") / _SOCKET
    runtime = _absolute(environ, "XDG_RUNTIME_DIR")
    # After su or sudo it may still be somebody else's; then there is none of ours.
    if runtime is not None and _is_directory_of(runtime, uid):
        return runtime / "reaperd" / _SOCKET
    folder = (_absolute(environ, "TMPDIR") or Path("/tmp")) / f"reaperd-{uid}"  # noqa: S108  # checked here
    _check_parent(folder.parent, uid)
    _check_folder(folder, uid)
    return folder / _SOCKET


def default_state_dir(environ: Mapping[str, str] = os.environ, uid: int | None = None) -> Path:
    """Return where the daemon keeps its state. Nothing is made: see `make_folder`.

    Raises:
        ReaperdError: an account without a home directory.
    """
    uid = os.geteuid() if uid is None else uid
    named = _absolute(environ, "REAPERD_STATE_DIR")
    if named is not None:
        return named
    if uid == 0:
        return Path("/var/lib/reaperd")
    state = _absolute(environ, "XDG_STATE_HOME")
    return (state or _home(environ, uid) / ".local" / "state") / "reaperd"


def make_folder(folder: Path, mode: int = 0o700) -> None:
    """Make a directory for a socket or for state, and its parents; what is there stays as it is.

    In a shared directory it is looked at afterwards: another user may have been faster.

    Raises:
        ReaperdError: it cannot be made, or not be trusted.
    """
    try:
        folder.mkdir(mode, parents=True, exist_ok=True)
        shared = _is_shared(folder.parent.stat())
    except OSError as error:
        raise ReaperdError(f"cannot make the directory {folder}: {os.strerror(error.errno or 0)}") from error
    if shared:
        _check_folder(folder, os.geteuid())


def _absolute(environ: Mapping[str, str], name: str) -> Path | None:
    """Return a directory from the environment; the XDG specification has relative ones ignored."""
    path = Path(environ.get(name, ""))
    return path if path.is_absolute() else None


def _home(environ: Mapping[str, str], uid: int) -> Path:
    home = _absolute(environ, "HOME")
    if home is not None:
        return home
    try:
        return Path(pwd.getpwuid(uid).pw_dir)
    except KeyError as error:
        raise ReaperdError(
            f"cannot tell where state belongs: user {uid} has no home directory",
            hint="set HOME, or state_dir in [daemon]",
        ) from error


def _is_directory_of(path: Path, uid: int) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid


def _is_shared(found: os.stat_result) -> bool:
    return bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _check_parent(parent: Path, uid: int) -> None:
    """Refuse a directory in which somebody else could put another one in place of ours."""
    try:
        found = parent.stat()
    except OSError as error:
        raise ReaperdError(
            f"cannot use the directory {parent} for the socket: {os.strerror(error.errno or 0)}", hint=_HINT
        ) from error
    if found.st_uid not in {0, uid}:
        raise ReaperdError(f"cannot trust the directory {parent}: user {found.st_uid} owns it", hint=_HINT)
    if _is_shared(found) and not found.st_mode & stat.S_ISVTX:
        raise ReaperdError(
            f"cannot trust the directory {parent}: others may rename what is in it (no sticky bit)",
            hint=_HINT,
        )


def _check_folder(folder: Path, uid: int) -> None:
    """Refuse a directory that is there and is not ours alone. Once it is, the sticky parent keeps it so."""
    try:
        found = folder.lstat()  # lstat: a symbolic link would be somebody's choice of where we go
    except FileNotFoundError:
        return
    except OSError as error:
        raise ReaperdError(f"cannot look at {folder}: {os.strerror(error.errno or 0)}", hint=_HINT) from error
    if not stat.S_ISDIR(found.st_mode):
        raise ReaperdError(f"cannot trust {folder}: it is not a directory", hint=_HINT)
    if found.st_uid != uid:
        raise ReaperdError(f"cannot trust the directory {folder}: user {found.st_uid} owns it", hint=_HINT)
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise ReaperdError(
            f"cannot trust the directory {folder}: others may enter it (mode {mode:04o})",
            hint=f"chmod 700 {folder}",
        )
