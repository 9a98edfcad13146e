"""Parents that cannot collect a child: stopped, traced, asleep, dumping core, or kept from it by a tracer."""

import mmap
import os
import resource
import signal
import threading
import time
from pathlib import Path
from typing import Final

from reaperd.kernel import prctl, procfs, ptrace, wait
from reaperd.kernel.namespaces import NEWNS, mount
from reaperd.zombies.keeper import CLONE, dead, forever, fork, number, ready, say, syscall, until
from reaperd.zombies.unshared import unshare

_CLONE_VFORK: Final = 0x4000  # clone(2)
_NORESERVE: Final = 0x4000  # mmap(2)
_WIDE_BYTES: Final = 1 << 45


def stopped(report: int) -> None:
    """Be stopped by a child."""
    pid, parent = dead(), os.getpid()

    def stop() -> None:
        os.kill(parent, signal.SIGSTOP)
        until(parent, "T")
        ready(report, pid)
        forever()

    fork(stop)
    forever()


def traced(report: int) -> None:
    """Be held by a tracer."""
    pid, parent = dead(), os.getpid()

    def tracer() -> None:
        ptrace.seize(parent, 0)
        ptrace.interrupt(parent)
        os.waitpid(parent, wait_all)
        say(report, "tracer", os.getpid())
        ready(report, pid)
        forever()

    wait_all = wait.WALL
    fork(tracer)
    forever()


def held_by_a_tracer(report: int) -> None:
    """Have a child traced by a sibling, which does not wait for it."""
    child = fork(forever)

    def tracer() -> None:
        ptrace.seize(child, 0)
        os.kill(child, signal.SIGKILL)
        until(child, "Z")
        say(report, "tracer", os.getpid())
        ready(report, child)
        forever()

    fork(tracer)
    forever()


def thread_held_by_a_tracer(report: int) -> None:
    """Have a sibling trace a thread, not the leader, of a child that ends."""
    told, tells = os.pipe()

    def child() -> None:
        thread = threading.Thread(target=forever, daemon=True)
        thread.start()
        os.write(tells, b"%d\n" % (thread.native_id or 0))
        forever()

    pid = fork(child)
    tid = int(os.read(told, 32))

    def tracer() -> None:
        ptrace.seize(tid, 0)
        os.kill(pid, signal.SIGKILL)
        until(pid, "Z")
        until(tid, "Z")
        say(report, "tracer", os.getpid())
        ready(report, pid)
        forever()

    fork(tracer)
    forever()


def in_vfork(report: int) -> None:
    """Sleep as vfork does, until a child ends that never will; unlike vfork's it has memory of its own."""
    ready(report, dead())
    if syscall()(number(CLONE), _CLONE_VFORK | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        forever()


def dumps_core(report: int) -> None:
    """Crash, and dump a core that takes minutes to write and has nothing in it.

    It is that of a mapping of 32 TiB of which one page was touched: the kernel asks for each page in turn and
    leaves a hole in the file. Neither memory nor disk is used, and SIGKILL ends it at once. The file is in
    a file system of this process's own, which goes with it: core(5).

    Raises:
        RuntimeError: core dumps go elsewhere on this machine, and that is the administrator's business.
    """
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith(("|", "/", "@")):
        raise RuntimeError(f"core dumps go to {pattern}, and not into the working directory")
    pid, parent = dead(), os.getpid()
    _own_folder()

    def tell() -> None:
        while (procfs.read_status(parent) or {}).get("CoreDumping") != "1":
            time.sleep(0.01)
        ready(report, pid)
        forever()

    fork(tell)
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    wide = mmap.mmap(-1, _WIDE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
    wide[0] = 1  # what nobody ever wrote to is left out
    os.abort()


def _own_folder() -> None:
    """Go to a file system that nobody else sees, and that is gone with the last process in it.

    Raises:
        KernelError: neither this user nor a user namespace of his may have one.
    """
    uid, gid = os.geteuid(), os.getegid()
    if unshare(NEWNS):
        prctl.set_dumpable(True)  # new capabilities took that away, and with it the core and our own /proc
        for file, mapping in (
            ("uid_map", f"{uid} {uid} 1"),
            ("setgroups", "deny"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            Path(f"/proc/self/{file}").write_text(mapping)  # who has no number there can own no file
    mount(b"tmpfs", b"/mnt", b"size=64m")
    os.chdir("/mnt")
