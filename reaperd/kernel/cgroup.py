"""Control groups, version 2: sets of processes that no fork leaves: cgroups(7), admin-guide/cgroup-v2.rst.

A cgroup is a directory; whoever is in it has its children in it too, whatever sessions or parents they get.
That makes it the one exact answer to "whose process is this", and `cgroup.kill` ends all of them at once.

A cgroup that was killed must not be used again: a child that clone3(CLONE_INTO_CGROUP) puts into it is killed
at once, because the kernel compares the number of kills with that of the parent's cgroup. Make another one.

Files are written with one write(2) on a descriptor: the kernel answers a write, and Python's own files would
lose that answer where they are closed. A cgroup that is gone is empty, not an error.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from reaperd.kernel.failure import failure

# ENODEV comes from a file that was opened before its cgroup was removed.
_GONE: Final = frozenset({errno.ENOENT, errno.ENODEV})
# A threaded cgroup does not tell processes; the domain above it has them all.
_NO_PROCESSES: Final = _GONE | {errno.EOPNOTSUPP}
_BYTES: Final = 1 << 20


# --- where ----------------------------------------------------------------------------------------------


def find_own(controller: str = "") -> str | None:
    """Return the directory of the cgroup that this process is in; None where it has none that can be seen.

    Args:
        controller: of version 1, such as "memory", to ask for the cgroup of its own hierarchy.

    Mounts tell which part of the hierarchy they show (proc_pid_mountinfo(5)), as seen, like the path, from
    our cgroup namespace. A part that does not hold us, or a path out of the namespace, is of no use.
    """
    path = path_of(os.getpid(), controller)
    if path is None or "/.." in path:
        return None
    found = None
    for root, mount_point in _mounts(controller):
        if _is_below(path, root):
            found = os.path.normpath(mount_point + "/" + path[len(root.rstrip("/")) :])
    return found if found is not None and os.path.exists(f"{found}/cgroup.procs") else None  # noqa: PTH110 - texts


def path_of(pid: int, controller: str = "") -> str | None:
    """Return the path of a process's cgroup within its hierarchy, as seen from our cgroup namespace.

    A zombie still has it. None if the process is gone or there is no such hierarchy: /proc/PID/cgroup.

    Raises:
        KernelError: no descriptor is left.
    """
    try:
        lines = os.fsdecode(read(f"/proc/{pid}/cgroup")).split("\n")
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ESRCH}:
            return None
        raise failure("read", error, what=f"ask for the cgroup of process {pid}") from error
    for line in lines:
        _number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if path and (controller in controllers.split(",") if controller else line.startswith("0::")):
            return path.removesuffix(" (deleted)")
    return None


def _mounts(controller: str) -> Iterator[tuple[str, str]]:
    """Yield root and mount point of each mount of the hierarchy, later ones last."""
    for line in os.fsdecode(read("/proc/self/mountinfo")).split("\n"):
        before, _, after = line.partition(" - ")
        kind, _, rest = after.partition(" ")
        wanted = kind == "cgroup2" if not controller else kind == "cgroup" and controller in _options(rest)
        if wanted:
            words = before.split(" ")
            yield _unescaped(words[3]), _unescaped(words[4])


def _options(rest: str) -> list[str]:
    return rest.rpartition(" ")[2].split(",")


def _unescaped(word: str) -> str:
    """Undo the kernel's octal escapes of space, tab, newline and backslash."""
    first, *others = word.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in others)


def _is_below(path: str, root: str) -> bool:
    return "/.." not in root and (path + "/").startswith(root.rstrip("/") + "/")


# --- one cgroup -----------------------------------------------------------------------------------------


def make(directory: str) -> None:
    """Make a cgroup: mkdir(2).

    Raises:
        KernelError: EEXIST; EACCES or EROFS, it is not ours to divide; EAGAIN, cgroup.max.descendants.
    """
    try:
        os.mkdir(directory, 0o755)  # noqa: PTH102 - texts
    except OSError as error:
        raise failure("mkdir", error, what=f"make cgroup {directory}") from error


def remove(directory: str) -> bool:
    """Remove a cgroup and those below it; True if it is gone, False while a process is left in one.

    Zombies do not count.

    Raises:
        KernelError: EACCES, EROFS, it is not ours.
    """
    try:
        for each in reversed(list(_tree(directory))):
            with suppress(FileNotFoundError):
                os.rmdir(each)  # noqa: PTH106 - texts
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise failure("rmdir", error, what=f"remove cgroup {directory}") from error
    return True


def open_procs(directory: str) -> int:
    """Return a new close-on-exec descriptor to enter the cgroup by; the caller owns it.

    Whether a process may enter is decided by the rights of who opened this (Linux 5.16 or newer): a child can
    use it whatever it has become.

    Raises:
        KernelError: EACCES, ENOENT, or no descriptor is left.
    """
    try:
        return os.open(f"{directory}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise failure("open", error, what=f"open cgroup {directory}") from error


def enter(procs_fd: int) -> None:
    """Put this process into the cgroup of `procs_fd`; safe between fork and exec.

    May take some milliseconds, in which the kernel waits until all processors have noticed.

    Raises:
        OSError: EBUSY, its controllers are given to those below it; EOPNOTSUPP, it takes no processes.
    """
    os.write(procs_fd, b"0")


def kill(directory: str) -> bool:
    """Send SIGKILL to all in the cgroup and below, those that are being forked included: cgroup.kill.

    Returns:
        False where the kernel has no such file (before Linux 5.14), or the cgroup is threaded.

    Raises:
        KernelError: EACCES, it is not ours.
    """
    return _told(f"{directory}/cgroup.kill", b"1", unless=_NO_PROCESSES)


def freeze(directory: str, frozen: bool) -> bool:  # noqa: FBT001 - the file's own value
    """Let all in the cgroup and below stand still, or go on; SIGKILL ends them all the same: cgroup.freeze.

    Returns:
        False where the kernel has no such file: before Linux 5.2.

    Raises:
        KernelError: EACCES, it is not ours.
    """
    return _told(f"{directory}/cgroup.freeze", b"1" if frozen else b"0")


def kind(directory: str) -> str | None:
    """Return "domain", "domain threaded", "domain invalid" or "threaded"; None for the root: cgroup.type."""
    try:
        return read(f"{directory}/cgroup.type").decode().strip()
    except OSError:
        return None


def is_populated(directory: str) -> bool:
    """Tell whether a living process is in the cgroup or below: cgroup.events."""
    fd = open_events(directory)
    if fd is None:
        return False
    try:
        return is_populated_by(fd)
    finally:
        os.close(fd)


def is_populated_by(events_fd: int) -> bool:
    """Tell the same by a descriptor, which polls EPOLLPRI as soon as the answer is another one."""
    try:
        return b"populated 1" in os.pread(events_fd, 4096, 0)
    except OSError as error:
        if error.errno in _GONE:
            return False
        raise failure("read", error, what="ask whether a cgroup is populated") from error


def open_events(directory: str) -> int | None:
    """Return a new close-on-exec descriptor of cgroup.events, or None if the cgroup is gone.

    Raises:
        KernelError: no descriptor is left.
    """
    try:
        return os.open(f"{directory}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise failure("open", error, what=f"watch cgroup {directory}") from error


def pids(directory: str) -> list[int]:
    """Return the living processes in the cgroup and below, in no promised order.

    Those of an outer PID namespace, which have no number here, are left out.
    """
    found: set[int] = set()
    for each in _tree(directory):
        try:
            found.update(map(int, read(f"{each}/cgroup.procs").split()))
        except OSError as error:
            if error.errno not in _NO_PROCESSES:
                raise failure("read", error, what=f"ask who is in cgroup {each}") from error
    return [pid for pid in found if pid]


def oom_kills(directory: str) -> int | None:
    """Return how many processes the kernel has killed there for want of memory; None if it does not count."""
    fd = open_oom_kills(directory)
    if fd is None:
        return None
    try:
        return oom_kills_by(fd)
    finally:
        os.close(fd)


def cpu_s(directory: str) -> float | None:
    """Return the seconds of processor time used there and below, by all who ever were: cpu.stat of version 2.

    None if the cgroup is gone, or of version 1.
    """
    try:
        fields = read(f"{directory}/cpu.stat").split()
    except OSError:
        return None
    return int(fields[1]) / 1e6 if fields[:1] == [b"usage_usec"] else None


def open_oom_kills(directory: str) -> int | None:
    """Return a new close-on-exec descriptor of the file that counts them; None if there is none.

    memory.events of version 2 counts those below too; memory.oom_control is version 1's, for this one alone.

    Raises:
        KernelError: no descriptor is left.
    """
    for name in ("memory.events", "memory.oom_control"):
        try:
            return os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in _GONE | {errno.EACCES}:
                raise failure("open", error, what=f"watch the memory of cgroup {directory}") from error
    return None


def oom_kills_by(fd: int) -> int:
    """Return how many they are by now; 0 where the cgroup is gone, or the kernel too old to say (4.19)."""
    try:
        fields = os.pread(fd, 4096, 0).split()
    except OSError:
        return 0
    return int(dict(zip(fields[::2], fields[1::2], strict=False)).get(b"oom_kill", b"0"))


def is_delegated(directory: str) -> bool:
    """Tell whether systemd has given this cgroup away to be divided: Delegate=, systemd.resource-control(5).

    It marks such a cgroup by an extended attribute: trusted.delegate, which only root can read, and since
    systemd 251 user.delegate.
    """
    for name in ("user.delegate", "trusted.delegate"):
        with suppress(OSError):
            if os.getxattr(directory, name) == b"1":
                return True
    return False


# --- files ----------------------------------------------------------------------------------------------


def _tree(directory: str) -> Iterator[str]:
    """Yield the cgroup and all below it, parents before their children, as far as they do not vanish."""
    found = [directory]
    for each in found:  # a list's iterator sees what is appended
        yield each
        try:
            with os.scandir(each) as entries:
                found.extend(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
        except OSError as error:
            if error.errno not in _GONE:
                raise failure("getdents64", error, what=f"list cgroup {each}") from error


def _told(path: str, data: bytes, unless: frozenset[int] = _GONE) -> bool:
    try:
        write(path, data)
    except OSError as error:
        if error.errno in unless:
            return False
        raise failure("write", error, what=f"write {path}") from error
    return True


def write(path: str, data: bytes) -> None:
    """Write a file of a cgroup at once.

    Raises:
        OSError: the kernel's answer.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def read(path: str) -> bytes:
    """Return all of a file of a cgroup.

    Raises:
        OSError: ENOENT or ENODEV, it is gone.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(fd, _BYTES):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(fd)
