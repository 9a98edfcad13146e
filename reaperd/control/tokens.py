"""The tokens of those who come over TCP: where the kernel cannot say who asks, a secret has to.

A file of lines `RIGHT TOKEN`; what begins with `#` is a comment. It is trusted only as far as nobody but the
daemon's user and root can have written or read it. What is kept in memory is a digest of each token, and all
of them are compared, in constant time: how long that takes tells nothing about any.
"""

import os
import stat
from pathlib import Path
from typing import Final

from reaperd.control.access import Right
from reaperd.errors import Exit, ReaperdError

SHORTEST: Final = 16  # characters; `openssl rand -hex 32` gives 64
_LONGEST: Final = 512
_MAX_BYTES: Final = 64 * 1024
_MAKE: Final = "make one with: openssl rand -hex 32"
_WORDS: Final = {right.word: right for right in (Right.READ, Right.OPERATE, Right.ADMIN)}


class Tokens:
    """Tell what right a token gives."""

    def __init__(self, rights: dict[bytes, Right]) -> None:
        self._rights = {_digest(token): right for token, right in rights.items()}

    def right_of(self, presented: bytes) -> Right:
        """Return the right that goes with a token, NONE for one that is none of ours."""
        # Imported here: only a daemon that listens on TCP needs it.
        from hmac import compare_digest  # noqa: PLC0415

        digest = _digest(presented)
        found = Right.NONE
        for known, right in self._rights.items():
            if compare_digest(known, digest):
                found = max(found, right)
        return found


def read_tokens(path: Path) -> Tokens:
    """Return the tokens in a file.

    Raises:
        ReaperdError: it cannot be read, others may open it, or it holds something else; no token is told.
    """
    try:
        # O_NONBLOCK: opening a pipe must not wait for a writer.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            _check(path, os.fstat(fd))
            data = os.read(fd, _MAX_BYTES + 1)
        finally:
            os.close(fd)
    except OSError as error:
        raise _cannot(path, os.strerror(error.errno or 0)) from error
    if len(data) > _MAX_BYTES:
        raise _cannot(path, f"it is larger than {_MAX_BYTES // 1024} KiB")
    return Tokens(_parsed(path, data))


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _cannot(path, "it is no file")
    if found.st_uid not in {0, os.geteuid()}:
        raise _cannot(path, f"user {found.st_uid} owns it", f"chown {os.geteuid()} {path}")
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise _cannot(path, f"others may open it (mode {mode:04o})", f"chmod 600 {path}")


def _parsed(path: Path, data: bytes) -> dict[bytes, Right]:
    rights: dict[bytes, Right] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        right = _WORDS.get(words[0].decode("ascii", "replace"))
        if right is None or len(words) != 2:
            hint = "lines look like: read 0123456789abcdef..., or operate, or admin in place of read"
            raise _cannot(path, f"line {number} is no right and a token", hint)
        token = words[1]
        if not SHORTEST <= len(token) <= _LONGEST or not all(0x21 <= byte <= 0x7E for byte in token):
            what = f"the token in line {number} is none of {SHORTEST} to {_LONGEST} ASCII characters"
            raise _cannot(path, what, _MAKE)
        if token in rights:
            raise _cannot(path, f"the token in line {number} is there already", _MAKE)
        rights[token] = right
    if not rights:
        raise _cannot(path, "it holds no token", f"put a line into it: read TOKEN; {_MAKE}")
    return rights


def _cannot(path: Path, why: str, hint: str | None = None) -> ReaperdError:
    error = ReaperdError(f"cannot use the tokens in {path}: {why}", hint=hint)
    error.exit_status = Exit.CONFIG
    return error


def _digest(token: bytes) -> bytes:
    # Imported here: only a daemon that listens on TCP needs it.
    from hashlib import sha256  # noqa: PLC0415

    return sha256(token).digest()
