"""Who somebody is: the peer of a socket, and users and groups by name or number."""

import grp
import os
import pwd
import socket
import struct
from collections.abc import Iterable
from ctypes import POINTER, byref, c_int, c_uint, c_void_p, create_string_buffer
from dataclasses import dataclass, field
from errno import ERANGE
from typing import Final

from reaperd.errors import ReaperdError
from reaperd.kernel.failure import failure
from reaperd.kernel.libc import declare

_SO_PEERGROUPS: Final = 59  # asm-generic/socket.h
_FEW_BYTES: Final = 1024
_MOST_GROUPS: Final = 65536  # NGROUPS_MAX: credentials(7)
_UCRED: Final = struct.Struct("iII")  # struct ucred: unix(7)
_LARGEST_ID: Final = 2**32 - 2  # (uid_t) -1 means "leave as it is": setresuid(2)


@dataclass(frozen=True, slots=True)
class Peer:
    """Who connected to a Unix socket, as the kernel recorded it at that moment."""

    pid: int  # 0 where it lives in a PID namespace we cannot see
    uid: int
    gid: int
    groups: tuple[int, ...] = ()  # supplementary ones


@dataclass(frozen=True, slots=True)
class Account:
    """What the user database tells a program about its user."""

    name: str
    home: str
    shell: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a child is to run as."""

    uid: int
    gid: int
    groups: tuple[int, ...]  # supplementary ones, sorted
    account: Account | None = field(default=None, compare=False)  # of the user asked for, if there is one


def peer_of(connection: socket.socket) -> Peer:
    """Return who is at the other end of a connected Unix socket: SO_PEERCRED, unix(7).

    Raises:
        KernelError: not a socket that knows its peer.
    """
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    except OSError as error:
        raise failure("getsockopt", error, what="ask who is connected") from error
    pid, uid, gid = _UCRED.unpack(raw)
    return Peer(pid, uid, gid, _groups_of(connection))


def _groups_of(connection: socket.socket) -> tuple[int, ...]:
    """Return the supplementary groups of the peer: SO_PEERGROUPS; none where they cannot be learned.

    Source: sk_getsockopt in the kernel's net/core/sock.c, since Linux 4.13.
    """
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _FEW_BYTES)
    except OSError as error:
        raw = _many_groups_of(connection) if error.errno == ERANGE else b""
    return tuple(gid for (gid,) in struct.iter_unpack("I", raw))


def _many_groups_of(connection: socket.socket) -> bytes:
    # Python's getsockopt takes no more than 1024 bytes, which 256 groups fill.
    buffer = create_string_buffer(_MOST_GROUPS * 4)
    length = c_uint(len(buffer))
    ask = declare("getsockopt", c_int, c_int, c_int, c_void_p, POINTER(c_uint))
    failed = ask(connection.fileno(), socket.SOL_SOCKET, _SO_PEERGROUPS, buffer, byref(length)) < 0
    return b"" if failed else buffer.raw[: length.value]


def lookup(
    user: str | None, group: str | None, supplementary: Iterable[str] | None = None
) -> Identity | None:
    """Return whom `user` and `group` mean, each a name or a number; None where nothing is given.

    Without `group` it is the user's own; without `user` both stay the calling ones. Supplementary groups are
    those that are named, else those of the user in the group database: none for a number that it does not
    know, and the calling ones without `user`.

    Raises:
        ReaperdError: no such user or group, with a hint.
    """
    named = None if supplementary is None else tuple(sorted({_gid(each) for each in supplementary}))
    if user is None:
        if group is None and named is None:
            return None
        gid = os.getgid() if group is None else _gid(group)
        return Identity(os.getuid(), gid, tuple(sorted(os.getgroups())) if named is None else named)
    entry = _entry(user)
    if entry is None:
        return Identity(_number(user), _gid_for(user, group), named or ())
    gid = entry.pw_gid if group is None else _gid(group)
    if named is None:
        named = tuple(sorted(os.getgrouplist(entry.pw_name, gid)))
    return Identity(entry.pw_uid, gid, named, Account(entry.pw_name, entry.pw_dir, entry.pw_shell))


def is_ours(identity: Identity) -> bool:
    """Tell whether this process has that user and group already, whatever its supplementary groups."""
    return os.getresuid() == (identity.uid,) * 3 and os.getresgid() == (identity.gid,) * 3


def _entry(user: str) -> pwd.struct_passwd | None:
    """Return the user's entry, or None for a number without one."""
    try:
        return pwd.getpwuid(_number(user)) if _is_number(user) else pwd.getpwnam(user)
    except (KeyError, ValueError) as error:  # ValueError: a NUL within the name
        if _is_number(user):
            return None
        hint = _suggestion(user, (known.pw_name for known in pwd.getpwall()))
        raise ReaperdError(f"cannot find user {user!r}", hint=hint) from error


def _gid(group: str) -> int:
    if _is_number(group):
        return _number(group)
    try:
        return grp.getgrnam(group).gr_gid
    except (KeyError, ValueError) as error:
        hint = _suggestion(group, (known.gr_name for known in grp.getgrall()))
        raise ReaperdError(f"cannot find group {group!r}", hint=hint) from error


def _gid_for(user: str, group: str | None) -> int:
    if group is None:
        raise ReaperdError(f"cannot tell the group of user {user}: it has no entry", hint="name a group too")
    return _gid(group)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _number(text: str) -> int:
    number = int(text[:20])  # bounded: Python refuses thousands of digits in its own words
    if number > _LARGEST_ID:
        raise ReaperdError(f"cannot use {text[:20]} as an id", hint=f"the largest is {_LARGEST_ID}")
    return number


def _suggestion(wanted: str, known: Iterable[str]) -> str:
    # Imported here: only a mistake needs it.
    from difflib import get_close_matches  # noqa: PLC0415

    near = get_close_matches(wanted, sorted(set(known)), n=1)
    return f"did you mean {near[0]!r}?" if near else "getent passwd and getent group list who is known"
