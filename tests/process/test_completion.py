"""Completion in the real shells, at a real terminal: a key is typed, and the screen is looked at."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.process.test_control_cli import reaperd, serving
from tests.support.processes import ROOT, wait_state
from tests.support.terminal import Terminal, terminal

# How each is started without the user's own files, and told to complete.
SHELLS: Final = {
    "bash": ("bash", "--norc", "--noprofile", "-i"),
    "zsh": ("zsh", "-f", "-i"),
    "fish": ("fish", "--no-config", "-i"),
}
SETUP: Final = {
    "bash": 'PS1="> "; eval "$(reaperd completion bash)"',
    "zsh": 'PS1="> "; autoload -U compinit; compinit -u -D; eval "$(reaperd completion zsh)"',
    "fish": "function fish_prompt; echo '> '; end; reaperd completion fish | source",
}
EACH: Final = pytest.mark.parametrize("shell", SHELLS)


@contextmanager
def at_prompt(shell: str, folder: Path, socket: Path, width: int = 200) -> Iterator[Terminal]:
    """Give a terminal with a shell that completes `reaperd`."""
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    programs = folder / "bin"
    programs.mkdir()
    program = programs / "reaperd"
    program.write_text(
        f"#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -c"
        ' "from reaperd.cli.main import main; main()" "$@"\n'
    )
    program.chmod(0o755)
    environ = {"PATH": f"{programs}:{os.environ['PATH']}", "REAPERD_SOCKET": str(socket)}
    with terminal(folder, SHELLS[shell], environ, width) as screen:
        screen.type(f"{SETUP[shell]} && echo READ''Y\n")
        screen.wait("READY\n>")
        yield screen


@EACH
def test_commands_options_and_names_are_completed(shell: str, tmp_path: Path) -> None:
    """Commands from the command line itself, options of a command, services from the daemon."""
    with (
        serving(tmp_path, "alpha", "beta:1", "beta:2") as server,
        at_prompt(shell, tmp_path, server.path) as screen,
    ):
        screen.type("reaperd stat\t")
        screen.wait("reaperd status")
        screen.type("al\t")
        screen.wait("reaperd status alpha")
        screen.type("--js\t")
        screen.wait("reaperd status alpha --json")
        screen.type("\x15reaperd stop beta:2 alpha be\t")
        screen.wait("reaperd stop beta:2 alpha beta:1")  # one that is there already is not offered again


@EACH
def test_several_names_are_offered(shell: str, tmp_path: Path) -> None:
    """What they have in common is completed, and at the next key all are shown."""
    with (
        serving(tmp_path, "beta:1", "beta:2") as server,
        at_prompt(shell, tmp_path, server.path) as screen,
    ):
        screen.type("reaperd logs b\t")
        screen.wait("reaperd logs beta:")
        screen.type("\t\t")
        screen.wait("beta:1")
        screen.wait("beta:2")


@EACH
def test_files_are_completed_where_one_is_asked_for(shell: str, tmp_path: Path) -> None:
    """By the shell itself."""
    (tmp_path / "some-file.toml").touch()
    with at_prompt(shell, tmp_path, tmp_path / "none") as screen:
        screen.type(f"reaperd check {tmp_path}/some-f\t")
        screen.wait(f"reaperd check {tmp_path}/some-file.toml")


def test_no_daemon_no_names(tmp_path: Path) -> None:
    """Nothing is offered and nothing is complained of."""
    done = asked(tmp_path / "none", "reaperd status ")
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


def test_a_daemon_that_hangs_holds_up_nobody(tmp_path: Path) -> None:
    """It accepts, by the kernel's hand, and answers nothing: after half a second there are no names."""
    with serving(tmp_path, "web") as server:
        assert asked(server.path, "reaperd status ").stdout == "plain,web\n"
        server.process.send_signal(signal.SIGSTOP)
        wait_state(server.process.pid, "T")
        began = time.monotonic()
        done = asked(server.path, "reaperd status ")
        took_s = time.monotonic() - began
        server.process.send_signal(signal.SIGCONT)
        assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
        assert took_s < 10  # the interpreter's start on a busy machine, and not the daemon's patience twice


def test_names_come_from_the_socket_on_the_line(tmp_path: Path) -> None:
    """--socket decides there, too."""
    with serving(tmp_path, "web") as server:
        done = asked(tmp_path / "none", f"reaperd stop --socket {server.path} ")
        assert done.stdout == "plain,web\n"


def asked(socket: Path, line: str) -> "subprocess.CompletedProcess[str]":
    """Ask as bash does, with the cursor at the line's end."""
    words = line.split(" ")
    return reaperd(
        socket=socket,
        _REAPERD_COMPLETE="bash_complete",
        COMP_WORDS="\n".join(words),
        COMP_CWORD=str(len(words) - 1),
    )
