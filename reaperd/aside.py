"""Read the configuration in a child, while the daemon loads the rest of itself.

Reading takes a parser, a table of all keys with their kinds, and what checks each: much memory for a moment's
use. A child takes it along when it ends, and what the tables of a thousand services left behind too.
Meanwhile its parent imports what it needs itself. A later reload reads in the daemon, which waits for nobody.
"""

import os
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from reaperd.config.spec import Config

_CHUNK = 1 << 16


class Reading:
    """A configuration on its way; SIGCHLD is to be blocked until it is there.

    Attributes:
        pid: of the child; 0 where there is none.

    Args:
        file: the main file.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self.pid = 0
        self._fd, there = os.pipe2(os.O_CLOEXEC)
        try:
            self.pid = os.fork()
        except OSError:
            pass  # without a child it is read here: see `result`
        else:
            if self.pid == 0:
                _read(file, there)
        finally:
            os.close(there)

    def result(self) -> "Config":
        """Return the configuration, once it is read.

        Raises:
            ConfigError: with every problem of all files.
        """
        data = self._collected()
        # Imported here: the child needs most of it, and this process has had other things to import first.
        from reaperd.config.wire import unpack  # noqa: PLC0415
        from reaperd.errors import ConfigError  # noqa: PLC0415

        if not data:  # there was no child, or it was killed, or met a fault that is better met here
            return _load(self._file)
        found = unpack(data)
        if isinstance(found, tuple):
            raise ConfigError(found)
        return found

    def _collected(self) -> bytes:
        chunks = []
        while chunk := os.read(self._fd, _CHUNK):
            chunks.append(chunk)
        os.close(self._fd)
        is_whole = self.pid != 0 and os.waitpid(self.pid, 0)[1] == 0
        return b"".join(chunks) if is_whole else b""


def _load(file: str) -> "Config":
    from pathlib import Path  # noqa: PLC0415

    from reaperd.config.parse import load  # noqa: PLC0415

    return load(Path(file))


def _read(file: str, fd: int) -> NoReturn:
    """Write what the files hold to `fd`, and end."""
    status = 1
    try:
        from reaperd.config.wire import pack  # noqa: PLC0415
        from reaperd.errors import ConfigError  # noqa: PLC0415

        try:
            data = pack(_load(file))
        except ConfigError as error:
            data = pack(error.problems)
        while data:
            data = data[os.write(fd, data) :]
        status = 0
    finally:
        os._exit(status)  # what went wrong is met once more, and told, by who waits for this
