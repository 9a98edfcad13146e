"""A real terminal for the init's tests: a pty whose slave is the controlling terminal of what runs in it."""

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.support.init_runs import PATIENCE_S, descendants_of


class Terminal:
    """The user's end of a terminal."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self.master = master
        self.process = process
        self.seen = ""
        self._read_to = 0

    def type(self, text: str) -> None:
        """Type; byte 3 is Ctrl-C, byte 26 Ctrl-Z."""
        os.write(self.master, text.encode())

    def expect(self, pattern: str, within_s: float = PATIENCE_S) -> re.Match[str]:
        """Return the next match of `pattern` in what the terminal shows, waiting for it."""
        deadline = time.monotonic() + within_s
        while True:
            match = re.compile(pattern).search(self.seen, self._read_to)
            if match:
                self._read_to = match.end()
                return match
            left = max(deadline - time.monotonic(), 0)
            shown = self.seen[self._read_to :]
            assert select.select([self.master], [], [], left)[0], f"no {pattern!r} but {shown!r}"
            try:
                part = os.read(self.master, 65536)
            except OSError:  # EIO: nobody has the other end any more
                part = b""
            assert part, f"the terminal closed without {pattern!r}, after {shown!r}"
            self.seen += part.decode(errors="replace")

    def rest(self) -> str:
        """Return everything until the other end is closed."""
        try:
            while part := os.read(self.master, 65536):
                self.seen += part.decode(errors="replace")
        except OSError:
            pass
        return self.seen[self._read_to :]

    def hang_up(self) -> None:
        """Close the user's end: the kernel hangs the terminal up."""
        os.close(self.master)
        self.master = -1

    def end(self) -> int:
        """Wait for what runs in the terminal, and return its exit status."""
        return self.process.wait(PATIENCE_S)


@contextmanager
def terminal(command: Sequence[str]) -> Iterator[Terminal]:
    """Run a command as the leader of a new session that has a new terminal."""
    master, slave = pty.openpty()
    # setsid --ctty makes the terminal on stdin the new session's; no fork, for Popen's child leads no group.
    process = subprocess.Popen(["setsid", "--ctty", *command], stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    user = Terminal(master, process)
    try:
        yield user
    finally:
        for pid in (*descendants_of(process.pid), process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait(PATIENCE_S)
        if user.master >= 0:
            os.close(user.master)
