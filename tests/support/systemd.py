r"""A real systemd for tests: PID 1 of namespaces of its own, booted in a fraction of a second.

    with booted() as machine:
        machine.write("/run/systemd/system/web.service", "[Service]\nExecStart=sleep 1000\n")
        machine.run("systemctl", "start", "web")

Its root is this machine's with a layer in memory over it, or another one; /run and /tmp are fresh, and the
checkout and the interpreter that runs the tests are there by their own names. It says READY=1 by itself once
it has booted: systemd(1). Everything in it ends with its control group.
"""

import json
import select
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import pytest

from tests.support.cgroups import own_cgroup
from tests.support.processes import ROOT, WITHIN_S, need_program, need_root, owned, pidfd, wait_until

SCRIPT: Final = Path(__file__).with_name("systemd_root.sh")
UNITS: Final = "/run/systemd/system"
PYTHON: Final = sys.executable

_NAMESPACES: Final = ("--pid", "--mount", "--cgroup", "--uts", "--ipc", "--net")
_LONG_S: Final = 120.0  # for a command within, on a busy machine


class Machine:
    """A booted systemd.

    Attributes:
        pid: of its PID 1, as seen from here.
        root: its root directory, as seen from here.
        version: of systemd.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.root = Path(f"/proc/{pid}/root")
        first = self.run("systemctl", "--version").split()
        self.version = int(first[1])

    def command(self, *words: str | Path) -> list[str]:
        """Return the words that run a command within."""
        inside = ["nsenter", "-t", str(self.pid), "-m", "-p", "-u", "-i", "-n", "-C", "--"]
        return [*inside, "env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *map(str, words)]

    def ask(self, *words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command within to its end, however that may be."""
        return subprocess.run(
            self.command(*words), capture_output=True, text=True, timeout=_LONG_S, check=False, cwd="/",
            stdin=subprocess.DEVNULL, **options,
        )  # fmt: skip

    def run(self, *words: str | Path) -> str:
        """Run a command within, which must succeed, and return what it wrote to its standard output."""
        done = self.ask(*words)
        assert done.returncode == 0, f"{shlex.join(map(str, words))}: {done.stdout}{done.stderr}"
        return done.stdout

    def at(self, path: str | Path) -> Path:
        """Return where a path of its own is to be found from here, if no symbolic link is on the way."""
        return self.root / str(path).lstrip("/")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file."""
        file = self.at(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()

    def wait_shown(
        self, unit: str, name: str, is_it: Callable[[str], bool], within_s: float = WITHIN_S
    ) -> str:
        """Return a property of a unit once it is as wanted; systemctl offers no event for that."""
        deadline, pause_s = time.monotonic() + within_s, 0.02
        while not is_it(value := self.show(unit, name)):
            if time.monotonic() > deadline:
                status = self.ask("systemctl", "status", "--no-pager", "-l", unit).stdout
                pytest.fail(f"{name} of {unit} is still {value!r} after {within_s} s:\n{status}")
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.2)
        return value


@contextmanager
def booted(lower: Path = Path("/"), directories: tuple[Path, ...] = ()) -> Iterator[Machine]:
    """Boot a systemd; skip, naming what is missing, where that cannot be done.

    Args:
        lower: the root directory that it sees, which stays as it is.
        directories: what else of this machine it is to see, read-only.
    """
    need_root()
    for program in ("unshare", "nsenter", "pivot_root"):
        need_program(program)
    if not (lower / "lib/systemd/systemd").exists():
        pytest.skip(f"{lower} holds no systemd")
    shown = dict.fromkeys(str(path) for path in (ROOT, *_interpreter(), *directories))
    work = Path(tempfile.mkdtemp(prefix="reaperd-systemd-"))
    try:
        (work / "mounts").mkdir()
        with own_cgroup() as group, _ReadySocket(work / "notify") as ready:
            script = [str(SCRIPT), str(work / "mounts"), str(work / "notify"), str(lower), *shown]
            words = ["unshare", *_NAMESPACES, "--fork", "--kill-child", "sh", *script]
            enter = f'echo $$ > {shlex.quote(group)}/cgroup.procs && exec "$@"'
            with owned(
                ["sh", "-c", enter, "sh", *words],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            ) as process:  # fmt: skip
                yield Machine(ready.wait(process))
    finally:
        shutil.rmtree(work, ignore_errors=True)


class _ReadySocket:
    """What a booting systemd tells that it is up."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(str(directory / "notify"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def wait(self, process: subprocess.Popen[bytes]) -> int:
        """Return the pid of the systemd that has booted below `process`; skip where it never began."""
        deadline = time.monotonic() + WITHIN_S
        with pidfd(process.pid) as ended:
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            poll.register(ended, select.POLLIN)
            while (left_s := deadline - time.monotonic()) > 0:
                ready = [fd for fd, _events in poll.poll(left_s * 1000)]
                if self._socket.fileno() in ready:
                    data, control, _flags, _address = self._socket.recvmsg(4096, 64)
                    if b"READY=1" in data.split(b"\n"):
                        return int(struct.unpack("iII", control[0][2])[0])
                elif ended in ready:
                    assert process.stdout is not None
                    said = process.stdout.read().decode(errors="replace").strip()
                    pytest.skip(f"systemd cannot be booted here: {said}")
        pytest.fail(f"systemd has not booted within {WITHIN_S} s")


def _interpreter() -> Iterator[Path]:
    """Give what the interpreter of the tests is made of, where the root may not hold it."""
    for path in {Path(sys.prefix), Path(sys.base_prefix)}:
        if not path.is_relative_to("/usr"):
            yield path


# --- reaperd within -------------------------------------------------------------------------------------

_LAUNCHER: Final = f'#!/bin/sh\nexec {sys.executable} -P -m reaperd "$@"\n'


def install_units(machine: Machine) -> None:
    """Give a machine the program of this checkout and its units, where `make install` puts them."""
    machine.write("/usr/local/bin/reaperd", _LAUNCHER, 0o755)
    for unit in (ROOT / "systemd").glob("reaperd*"):
        if unit.suffix in {".service", ".socket", ".timer"}:
            machine.write(f"/usr/local/lib/systemd/system/{unit.name}", unit.read_text())
    user = ROOT / "systemd/user/reaperd@.service"
    machine.write(f"/usr/local/lib/systemd/user/{user.name}", user.read_text())
    machine.write("/usr/local/lib/sysusers.d/reaperd.conf", (ROOT / "systemd/reaperd.sysusers").read_text())
    machine.write("/usr/local/lib/tmpfiles.d/reaperd.conf", (ROOT / "systemd/reaperd.tmpfiles").read_text())
    machine.run("systemd-sysusers")
    machine.run("systemd-tmpfiles", "--create", "/usr/local/lib/tmpfiles.d/reaperd.conf")
    machine.run("systemctl", "daemon-reload")


class Unit:
    """One reaperd@NAME.service of a machine.

    Attributes:
        name: of the unit.
        config: the path of its configuration, within.
    """

    def __init__(self, machine: Machine, instance: str, config: str) -> None:
        self.machine = machine
        self.instance = instance
        self.name = f"reaperd@{instance}.service"
        self.config = f"/etc/reaperd/{instance}.toml"
        self.write(config)

    def write(self, config: str) -> None:
        """Write its configuration."""
        self.machine.write(self.config, config)

    def systemctl(self, verb: str) -> None:
        """Start, stop or reload it; how that went wrong is in the failure."""
        done = self.machine.ask("systemctl", verb, self.name)
        if done.returncode != 0:
            journal = self.machine.ask("journalctl", "--no-pager", "-u", self.name).stdout
            pytest.fail(f"systemctl {verb} {self.name}: {done.stderr}\n{journal}")

    def reaperd(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Ask the daemon as a person would."""
        socket_path = f"/run/reaperd/{self.instance}/control.sock"
        return self.machine.ask("/usr/local/bin/reaperd", words[0], "--socket", socket_path, *words[1:])

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return what `reaperd status` says of each service."""
        done = self.reaperd("status", "--json")
        assert done.stdout, done.stderr
        return {row["name"]: row for row in json.loads(done.stdout)["items"]}

    def row(self, name: str) -> dict[str, Any]:
        """Return what it says of one service."""
        return self.rows()[name]

    def wait_row(self, name: str, is_it: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """Return what is said of a service once it is as wanted."""
        wait_until(lambda: is_it(self.row(name)), f"{name} of {self.name}: {what}")
        return self.row(name)

    def wait_status(self, text: str) -> str:
        """Return the STATUS that systemd shows once it holds `text`."""
        return self.machine.wait_shown(self.name, "StatusText", lambda shown: text in shown)

    def entries(self, *matches: str) -> list[dict[str, Any]]:
        """Return its entries of the journal, each with its fields."""
        self.machine.run("journalctl", "--sync")
        lines = self.machine.run("journalctl", "-o", "json", "--no-pager", "-u", self.name, *matches)
        return [json.loads(line) for line in lines.splitlines()]
