r"""A real terminal, by tmux: type into it, and see what it shows.

    with terminal(tmp_path, ["bash", "--norc"], width=80) as screen:
        screen.type("echo a\n")
        screen.wait("a")

The server is ours and ends with the test; it reads no configuration of the user's.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import ROOT, WITHIN_S, owned, wait_until


class Terminal:
    """One pane of a tmux server."""

    def __init__(self, socket: Path, env: Mapping[str, str]) -> None:
        self._socket = socket
        self._env = env

    def type(self, text: str) -> None:
        """Send keys: what they send to a program, so Enter is a carriage return."""
        self.tmux("send-keys", "-H", *(f"{byte:02x}" for byte in text.replace("\n", "\r").encode()))

    def shown(self, *, codes: bool = False) -> str:
        """Return what the screen shows, without the spaces at lines' ends; with `codes` its colours too."""
        return self.tmux("capture-pane", "-p", *(["-e"] if codes else []))

    def wait(self, text: str) -> str:
        """Return the screen once it shows `text`."""
        deadline = time.monotonic() + WITHIN_S
        while text not in (shown := self.shown()):
            assert time.monotonic() < deadline, f"no {text!r} after {WITHIN_S} s on this screen:\n{shown}"
            time.sleep(0.05)
        return shown

    def tmux(self, *words: str) -> str:
        """Run a command of tmux and return what it prints."""
        command = ["tmux", "-S", str(self._socket), *words]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=60, env=self._env
        ).stdout


@contextmanager
def terminal(
    folder: Path, command: Sequence[str], environ: Mapping[str, str], width: int = 80
) -> Iterator[Terminal]:
    """Run `command` in a terminal of `width` columns and 30 lines, with only that environment and PATH."""
    if shutil.which("tmux") is None:
        pytest.skip("needs tmux")
    socket = folder / "t.sock"
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8", **environ}
    with owned(["tmux", "-D", "-f", "/dev/null", "-S", socket], cwd=ROOT, env=env, stderr=subprocess.DEVNULL):
        made = Terminal(socket, env)  # tmux takes PATH from who asks for the session
        wait_until(socket.exists, "the socket of tmux")
        made.tmux("new-session", "-d", "-x", str(width), "-y", "30", *command)
        yield made
