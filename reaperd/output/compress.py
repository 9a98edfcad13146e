"""Compress the old files of logs: a program of its own, for the daemon has better things to do.

python -I -S compress.py LOG...

It imports nothing of ours. Each old file is written to a temporary one, which gets its name only when it is
complete and on the disk; the original goes last. So it may be killed at any time and run again. Two at once
do no harm: whoever has the lock of a file compresses it.
"""

import fcntl
import gzip
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

_CHUNK: Final = 1 << 20
_OLD: Final = re.compile(r"\.\d{6,}")
_LEVEL: Final = 6


def old_files(log: Path) -> Iterator[Path]:
    """Give the old files of a log that are not compressed, the oldest first."""
    found = [each for each in log.parent.iterdir() if each.name.startswith(log.name)]
    for each in sorted(found, key=lambda each: (len(each.name), each.name)):
        if _OLD.fullmatch(each.name[len(log.name) :]):
            yield each


def compress(old: Path) -> None:
    """Put a compressed file in place of a plain one, with its times, mode and owner."""
    try:
        with old.open("rb") as plain:
            fcntl.flock(plain.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            _replace(old, plain)
    except (FileNotFoundError, BlockingIOError):
        return  # it was removed as one too many, or somebody is at it


def _replace(old: Path, plain: BinaryIO) -> None:
    part, whole = Path(f"{old}.gz.part"), Path(f"{old}.gz")
    if not whole.exists():  # or whoever made it did not come to its end
        try:
            _write(plain, part)
            part.rename(whole)
        except OSError:
            part.unlink(missing_ok=True)
            raise
    old.unlink(missing_ok=True)


def _write(plain: BinaryIO, part: Path) -> None:
    found = os.fstat(plain.fileno())
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(part, flags, 0o600), "wb") as target:
        with gzip.GzipFile("", "wb", _LEVEL, target, found.st_mtime) as packed:
            shutil.copyfileobj(plain, packed, _CHUNK)
        target.flush()
        with suppress(PermissionError):
            os.fchown(target.fileno(), found.st_uid, found.st_gid)
        os.fchmod(target.fileno(), found.st_mode & 0o7777)
        os.utime(target.fileno(), ns=(found.st_atime_ns, found.st_mtime_ns))
        os.fsync(target.fileno())


def main(logs: list[str]) -> int:
    """Compress what can be compressed; return 1 and say why where something could not."""
    status = 0
    for log in logs:
        try:
            for old in old_files(Path(log)):
                compress(old)
        except OSError as error:
            sys.stderr.write(f"reaperd: cannot compress the old files of {log}: {error.strerror}\n")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
