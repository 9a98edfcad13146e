"""A file that takes lines: found again when it was moved or removed, and set aside when it is large or old.

The daemon is its only writer and appends whole lines. Before each write it looks whether the path still
leads to the open file: a file that was renamed or removed, or lies in a directory that was, is made anew,
with its directories, and one that was emptied goes on from where it ends. That costs one stat(2) for up to a
mebibyte.

A link in place of the file is refused (O_NOFOLLOW): the daemon may write where the service's user may not.
"""

import os
import stat
import time
from pathlib import Path
from typing import Final, Protocol

from reaperd.config.spec import SECOND_NS, LogFile
from reaperd.output import rotation
from reaperd.output.outlet import Desk, Outlet

_FLAGS: Final = (
    os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
)
_MODE: Final = 0o640
_FOLDER_MODE: Final = 0o755
_AGAIN_NS: Final = 60 * SECOND_NS  # after a file could not be set aside
_END: Final = b"\n"


class FileDesk(Desk, Protocol):
    """Who wakes a file when it is old, and has old ones compressed."""

    def ages(self, outlet: "FileOutlet", after_ns: int) -> None:
        """Call its `due` after a while."""

    def set_aside(self, outlet: "FileOutlet") -> None:
        """It has begun a new file."""

    def not_set_aside(self, outlet: "FileOutlet", problem: str) -> None:
        """It should have begun a new file, could not, and goes on with the one it has."""


class FileOutlet(Outlet):
    """Append lines to a file and rotate it.

    Attributes:
        spec: where it is and when it is rotated; may be exchanged for another one with the same path.
    """

    def __init__(self, spec: LogFile, desk: FileDesk) -> None:
        super().__init__(spec.file, desk, spec.buffer)
        self.spec = spec
        self._files = desk
        self._size = 0
        self._identity: tuple[int, int] | None = None
        self._torn = False  # the latest write ended within a line
        self._old = False  # it is to be rotated at the next end of a line
        self._no_rotation = 0  # until this time, CLOCK_MONOTONIC

    def open(self, spec: LogFile) -> None:
        """Follow `spec`, and see at once whether the file can be written."""
        self.spec, self._buffer = spec, spec.buffer
        if self.problem is None:
            try:
                self._find()
            except OSError as error:
                self._stumble(error)

    def due(self) -> None:
        """Begin a new file since this one is old: now, or when the line that is being written has ended."""
        self._old = self._size > 0
        if self._old and not self._torn and self.problem is None:
            try:
                self._rotate()
            except OSError as error:
                self._stumble(error)

    # --- writing ----------------------------------------------------------------------------------------

    def _write(self, data: memoryview) -> int:
        self._find()
        if self._old and not self._torn:
            self._rotate()
        part = self._fitting(data)
        assert self.fd is not None, "it is open, or an error says why not"
        written = os.write(self.fd, part)
        if not self._size:
            self._begins()
        self._size += written
        self._torn = part[written - 1] != 0x0A
        return written

    def _probe(self) -> None:
        self._find()

    def _fitting(self, data: memoryview) -> memoryview:
        """Return as many lines as the file takes, after beginning a new one where it takes none."""
        most = self.spec.max_size
        if most is None or self._size + len(data) <= most or time.monotonic_ns() < self._no_rotation:
            return data
        if self._torn:
            return _first_line(data)
        room = max(most - self._size, 0)
        end = data[:room].tobytes().rfind(_END) + 1
        if end:
            return data[:end]
        if self._size:
            self._rotate()
            return self._fitting(data)
        return _first_line(data)  # longer than a whole file

    # --- the file ---------------------------------------------------------------------------------------

    def _find(self) -> None:
        """Have the file open that the path leads to."""
        try:
            found = os.stat(self.spec.file, follow_symlinks=False)  # noqa: PTH116 - paths are texts, and it is hot
        except FileNotFoundError:
            found = None
        if self.fd is not None and found is not None and self._identity == (found.st_dev, found.st_ino):
            self._size = found.st_size
            return
        self._release()
        self._open()

    def _open(self) -> None:
        try:
            fd = os.open(self.spec.file, _FLAGS, _MODE)
        except FileNotFoundError:
            Path(self.spec.file).parent.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
            fd = os.open(self.spec.file, _FLAGS, _MODE)
        self.fd = fd
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            self._release()
            raise OSError(0, "not a regular file")
        self._identity = found.st_dev, found.st_ino
        self._size = found.st_size
        self._old = False
        if self._size:
            self._continue(fd, found)

    def _continue(self, fd: int, found: os.stat_result) -> None:
        """Go on with a file that has something in it: end its last line, and see how old it is."""
        # Of a line that we have begun the rest follows.
        if not self._torn and os.pread(fd, 1, self._size - 1) != _END:
            self._size += os.write(fd, _END)
        self._begins(found)

    def _begins(self, found: os.stat_result | None = None) -> None:
        """Let the file's age begin; of one that was there its age so far is told by the files."""
        if self.spec.max_age_ns is None:
            return
        age_ns = 0 if found is None else _age_ns(self.spec.file, found)
        self._files.ages(self, max(self.spec.max_age_ns - age_ns, 0))

    def _rotate(self) -> None:
        """Set the file aside and begin a new one; where that cannot be, go on with it for a while."""
        self._old = False
        try:
            rotation.set_aside(self.spec.file)
        except OSError as error:
            self._no_rotation = time.monotonic_ns() + _AGAIN_NS
            self._files.not_set_aside(self, os.strerror(error.errno or 0))
            return
        self._release()
        try:
            rotation.prune(self.spec.file, self.spec.keep)
        except OSError as error:
            self._files.not_set_aside(self, os.strerror(error.errno or 0))
        self._files.set_aside(self)
        self._open()

    def _release(self) -> None:
        super()._release()
        self._identity = None


def _first_line(data: memoryview) -> memoryview:
    end = data.tobytes().find(_END) + 1
    return data[:end] if end else data


def _age_ns(path: str, found: os.stat_result) -> int:
    """Return how long ago a file was begun: when the one before it was set aside, as far as can be told.

    The kernel has no older time of it than that of its latest line. The wall clock is asked only here, where
    a file may be older than this daemon, and than the boot.
    """
    try:
        before = rotation.old_files(path)
        begun_s = max(Path(each).stat().st_mtime for old in before[-1:] for each in old.paths[:1])
    except (OSError, ValueError):
        begun_s = found.st_mtime
    return max(int((time.time() - min(begun_s, found.st_mtime)) * 1e9), 0)
