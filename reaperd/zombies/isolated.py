"""Specimens that need a PID namespace or a cgroup of their own."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reaperd.kernel import procfs, proctask
from reaperd.kernel.namespaces import NEWNS, NEWPID, mount
from reaperd.zombies.keeper import dead, forever, fork, ready, say
from reaperd.zombies.unshared import unshare


def lazy_init(report: int) -> None:
    """Be the parent of an init that adopts a zombie and lets it be."""
    unshare(NEWPID)
    told, tells = os.pipe()

    def init() -> None:
        def middle() -> None:
            fork(lambda: time.sleep(0.1), is_bound=False)

        os.waitpid(fork(middle), 0)
        os.write(tells, b".")
        forever()

    pid = fork(init)
    os.read(told, 1)  # the one in the middle has been a zombie too, for a moment
    say(report, "init", pid)
    say(report, "zombie", _first_zombie_of(pid))
    say(report, "ready", 0)
    forever()


def _first_zombie_of(pid: int) -> int:
    while True:
        for child in procfs.children(pid):
            stat = procfs.read_stat(child)
            if stat is not None and stat.is_zombie and stat.ppid == pid:
                return child
        time.sleep(0.01)


def _outside(report: int) -> int:
    """Make a namespace's init and, beside it, a zombie of ours in that namespace."""
    unshare(NEWPID)
    init = fork(forever)
    say(report, "init", init)
    say(report, "zombie", dead())
    return init


def outside(report: int) -> None:
    """Be, for those inside a PID namespace, the unseen parent of a zombie."""
    _outside(report)
    say(report, "ready", 0)
    forever()


def entered(report: int) -> None:
    """As `outside`, and let who looks from inside see it, as after nsenter or a container's exec."""
    unshare(NEWPID)
    told, tells = os.pipe()

    def init() -> None:
        unshare(NEWNS)
        mount(b"proc", b"/proc")
        os.write(tells, b".")
        forever()

    pid = fork(init)
    os.close(tells)
    if not os.read(told, 1):
        raise RuntimeError("the namespace has no /proc of its own")
    say(report, "init", pid)
    ready(report, dead())
    forever()


def held_up(report: int) -> None:
    """Keep a namespace from ending: its init has ended, and waits for our zombie."""
    init = _outside(report)
    os.kill(init, signal.SIGKILL)
    while proctask.wait_channel(init, init) != "zap_pid_ns_processes":
        time.sleep(0.01)
    say(report, "ready", 0)
    forever()


# --- frozen cgroups -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Freezer:
    """How one version of cgroups freezes: the file, and what is written to it."""

    roots: tuple[Path, ...]
    file: str
    on: str
    off: str
    shown_in: str
    shown: str  # a line of that file, once all is frozen

    def folder(self, keeper: int) -> Path:
        """Return where a keeper's specimen is frozen.

        Raises:
            FileNotFoundError: this version is not mounted.
        """
        for root in self.roots:
            if (root / "cgroup.procs").exists():
                return root / f"reaperd-specimen-{keeper}"
        raise FileNotFoundError(f"no cgroup hierarchy is mounted at {self.roots[0]}")


_V1: Final = _Freezer(
    (Path("/sys/fs/cgroup/freezer"),), "freezer.state", "FROZEN", "THAWED", "freezer.state", "FROZEN"
)
_V2: Final = _Freezer(
    (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")),
    "cgroup.freeze",
    "1",
    "0",
    "cgroup.events",
    "frozen 1",
)


def frozen_v1(report: int) -> None:
    """Freeze a child that never waits in a cgroup of version 1."""
    _freeze(report, _V1)


def frozen_v2(report: int) -> None:
    """Freeze a child that never waits in a cgroup of version 2."""
    _freeze(report, _V2)


def _freeze(report: int, freezer: _Freezer) -> None:
    folder = freezer.folder(os.getppid())
    folder.mkdir()
    told, tells = os.pipe()

    def parent() -> None:
        os.write(tells, b"%d" % dead())
        forever()

    pid = fork(parent)
    zombie = int(os.read(told, 32))
    (folder / "cgroup.procs").write_text(str(pid))
    (folder / freezer.file).write_text(freezer.on)
    while freezer.shown not in (folder / freezer.shown_in).read_text().splitlines():
        time.sleep(0.01)
    say(report, "frozen", pid)
    say(report, "zombie", zombie)
    say(report, "ready", 0)
    forever()


def thaw() -> None:
    """Thaw what specimens of this process were frozen: under version 1 not even SIGKILL ends them before."""
    for freezer in (_V1, _V2):
        with suppress(OSError):
            (freezer.folder(os.getpid()) / freezer.file).write_text(freezer.off)


def remove_cgroups() -> None:
    """Remove the cgroups of this process's specimens, all of which have ended."""
    for freezer in (_V1, _V2):
        with suppress(OSError):
            freezer.folder(os.getpid()).rmdir()
