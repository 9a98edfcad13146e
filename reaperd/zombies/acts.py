"""Carry one remedy out on one process, whose identity is checked by its start time just before."""

import os
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from signal import SIGCHLD, SIGCONT, SIGKILL, SIGTERM
from typing import Final

import psutil

from reaperd.errors import KernelError
from reaperd.kernel import pidfd, procfs, proctask
from reaperd.zombies import helper
from reaperd.zombies.hold import Target
from reaperd.zombies.inject import Victim
from reaperd.zombies.scan import Zombie

_INITIAL_NAMESPACE: Final = "pid:[4026531836]"  # PROC_PID_INIT_INO: include/linux/proc_ns.h
_NUDGE_S: Final = 1.0  # a parent that listens has collected by then
_PAUSE_S: Final = 0.02
_WALL: Final = 0x40000000


class NotDone(Exception):  # noqa: N818 - an answer, not a failure of ours
    """It could not be done; the text says why, and `hint` what to do about it."""

    def __init__(self, why: str, hint: str | None = None) -> None:
        super().__init__(why)
        self.hint = hint


def is_still(zombie: Zombie) -> bool:
    """Tell whether it is still the same zombie of the same parent."""
    stat = procfs.read_stat(zombie.pid)
    return stat is not None and stat.is_zombie and stat.key == (zombie.pid, zombie.start_time)


def is_host_init(pid: int) -> bool:
    """Tell whether it is PID 1 of the machine, not of a container."""
    try:
        return pid == 1 and os.readlink("/proc/self/ns/pid") == _INITIAL_NAMESPACE  # noqa: PTH115 - no path
    except OSError:
        return pid == 1


def target_of(pid: int) -> Target:
    """Return a process by its identity.

    Raises:
        NotDone: it is gone.
    """
    stat = procfs.read_stat(pid)
    if stat is None:
        raise NotDone(f"process {pid} is gone")
    return Target(pid, stat.start_time)


def nudge(target: Target, zombies: Sequence[Zombie], within_s: float) -> None:
    """Send SIGCHLD until none is left, or one makes no difference any more.

    Raises:
        NotDone: it may not be signalled.
    """
    left = [zombie for zombie in zombies if is_still(zombie)]
    while left:
        _signal(target, SIGCHLD)
        deadline = time.monotonic() + min(within_s, _NUDGE_S)
        now = left
        while len(now) == len(left) and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
            now = [zombie for zombie in left if is_still(zombie)]
        if len(now) == len(left):
            return
        left = now


def inject(target: Target, zombies: Sequence[Zombie], within_s: float, *, force: bool) -> None:
    """Let it collect them by system calls of its own.

    Raises:
        NotDone: for one of many reasons, told.
    """
    _spare_host_init(target, force=force)
    depth = _depth(target.pid)
    victims = [
        Victim(zombie.pid, zombie.start_time, _inner_pid(zombie.pid, depth), zombie.ppid)
        for zombie in zombies
    ]
    done = helper.reap(target, victims, within_s, force=force)
    if done.why is not None:
        raise NotDone(done.why, done.hint)
    odd = {said for said in done.said.values() if said not in {"reaped", "gone"}}
    if odd:
        raise NotDone(f"its wait4 said: {', '.join(sorted(odd))}")


def _spare_host_init(target: Target, *, force: bool) -> None:
    if is_host_init(target.pid) and not force:
        raise NotDone(
            "process 1 is the init of this machine: if it is damaged, the machine ends", "take --force"
        )


def _depth(pid: int) -> int:
    return max(1, len((procfs.read_status(pid) or {}).get("NSpid", "").split()))


def _inner_pid(pid: int, depth: int) -> int:
    pids = [int(word) for word in (procfs.read_status(pid) or {}).get("NSpid", "").split()]
    return pids[depth - 1] if len(pids) >= depth else pid


def debug(target: Target, zombies: Sequence[Zombie], *, force: bool) -> None:
    """Let it collect them by gdb.

    Raises:
        NotDone: there is no gdb, or it is the machine's init.
    """
    gdb = shutil.which("gdb")
    if gdb is None:
        raise NotDone("gdb is not installed")
    _spare_host_init(target, force=force)
    depth = _depth(target.pid)
    words = [gdb, "-nx", "-batch", "-iex", "set auto-load no", "-iex", "set debuginfod enabled off"]
    for zombie in zombies:
        words += ["-ex", f"call (int)waitpid({_inner_pid(zombie.pid, depth)}, 0, {_WALL | os.WNOHANG})"]
    try:
        done = subprocess.run(
            [*words, "-p", str(target.pid)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,  # Ctrl-C in the middle would leave the process as it is then
        )
    except OSError as error:
        raise NotDone(helper.not_started(gdb, error), helper.no_room(error)) from error
    if any(is_still(zombie) for zombie in zombies):
        told = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise NotDone(f"gdb did not manage: {told[-1].strip() if told else 'it says nothing'}")


def end(target: Target, within_s: float) -> None:
    """End a process, by SIGTERM and, if it has not ended `within_s`, by SIGKILL.

    Raises:
        NotDone: it is the machine's init, or may not be signalled, or does not end.
    """
    if is_host_init(target.pid):
        raise NotDone("process 1 is the init of this machine; without it the machine ends")
    for number in (SIGTERM, SIGKILL):
        _signal(target, number)
        if _has_ended(target, within_s):
            return
    raise NotDone(f"process {target.pid} does not end, not even by SIGKILL")


def let_continue(pid: int) -> None:
    """Send SIGCONT to a stopped parent."""
    _signal(target_of(pid), SIGCONT)


def thaw(pid: int) -> None:
    """Thaw the cgroup that says that this process is frozen.

    Raises:
        NotDone: none says so, or it may not be written.
    """
    told = proctask.frozen_by(pid)
    if told is None:
        raise NotDone(f"no cgroup says that process {pid} is frozen")
    file, text = proctask.thaws(told)
    try:
        Path(file).write_text(text)
    except OSError as error:
        raise NotDone(f"cannot write {file}: {error.strerror}", "run as root") from error


def tracer_of(pid: int) -> int:
    """Return who traces a process, 0 for nobody."""
    statuses = (procfs.read_status(pid, tid) or {} for tid in procfs.threads(pid))
    return max((int(found.get("TracerPid", "0")) for found in statuses), default=0)


def _signal(target: Target, number: int) -> None:
    """Send a signal to exactly that process."""
    fd = pidfd.open(target.pid)
    if fd is None:
        raise NotDone(f"process {target.pid} is gone")
    try:
        stat = procfs.read_stat(target.pid)  # read while the descriptor stands for whoever has this pid
        if stat is None or stat.start_time != target.start_time:
            raise NotDone(f"process {target.pid} is gone")
        pidfd.send(fd, number)
    except KernelError as error:
        raise NotDone(error.message, error.hint) from error
    finally:
        os.close(fd)


def _has_ended(target: Target, within_s: float) -> bool:
    fd = pidfd.open(target.pid)
    if fd is None:
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        stat = procfs.read_stat(target.pid)
        is_other = stat is None or stat.start_time != target.start_time
        return is_other or bool(poll.poll(within_s * 1000))
    finally:
        os.close(fd)


def what_ends_with(pid: int) -> str:
    """Return what there is to know before a process is ended: name, age, children, listening sockets."""
    try:
        process = psutil.Process(pid)
        name, age_s = process.name(), time.time() - process.create_time()
    except psutil.Error:
        return f"process {pid}"
    living = [
        child for child in procfs.children(pid) if (stat := procfs.read_stat(child)) and not stat.is_zombie
    ]
    sockets = _listening(process)
    return (
        f"process {pid} ({name}), {age_s:.0f} s old, with {len(living)} living children, "
        f"listening on {', '.join(sockets) if sockets else 'no socket'}"
    )


def _listening(process: psutil.Process) -> list[str]:
    look = getattr(process, "net_connections", None) or process.connections  # the latter before psutil 6
    try:
        return sorted(
            {f"{found.laddr.ip}:{found.laddr.port}" for found in look("inet") if found.status == "LISTEN"}
        )
    except psutil.Error:
        return ["sockets that may not be seen"]
