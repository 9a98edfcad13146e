"""What the kernel allows: the table of checks, and how each tries."""

import os
import resource
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

from reaperd.doctor import groups
from reaperd.doctor.findings import Check, Found, no, partly, yes
from reaperd.doctor.trial import tried
from reaperd.kernel import inotify, namespaces, pidfd, prctl, procconn, procfs, ptrace

_FEW_DESCRIPTORS: Final = 4096
_FEW_WATCHES: Final = 128
_STOP_S: Final = 3.0


def _forked(body: Callable[[], object]) -> int:
    """Fork a child that runs `body`, then waits to be killed."""
    pid = os.fork()
    if pid == 0:
        _run(body)
    return pid


def _run(body: Callable[[], object]) -> NoReturn:
    try:
        body()
    finally:
        os._exit(0)


def _subreaper() -> Found:
    def attempt() -> str:
        prctl.set_child_subreaper(True)
        middle = _forked(lambda: _forked(lambda: time.sleep(0)))
        os.waitpid(middle, 0)
        os.waitpid(-1, 0)  # ECHILD where the orphan went to somebody else
        return "an orphan came to us and was reaped"

    return yes(tried(attempt))


def _pidfd() -> Found:
    def attempt() -> str:
        child = _forked(signal.pause)
        fd = pidfd.open(child)
        if fd is None or not pidfd.send(fd, signal.SIGKILL):
            raise ProcessLookupError(0, "a child of ours is not to be found")
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.poll()
        os.waitid(os.P_PIDFD, fd, os.WEXITED)  # type: ignore[attr-defined,unused-ignore] # Linux
        return "opened, signalled, polled and waited for a child by it"

    return yes(tried(attempt))


def _pidfd_info() -> Found:
    def attempt() -> str:
        fd = pidfd.open(os.getpid())
        if fd is None or pidfd.info_pid(fd) != os.getpid():
            raise OSError(0, "it told of another process")
        return "it told our own pid"

    return yes(tried(attempt))


def _ptrace() -> Found:
    detail = tried(lambda: _traced(0))
    scope = procfs.read_permitted("/proc/sys/kernel/yama/ptrace_scope", 16)
    if scope is not None and scope.strip() != b"0" and os.geteuid() != 0:
        return partly(f"{detail}; of others' none (kernel.yama.ptrace_scope is {scope.decode().strip()})")
    return yes(detail if os.geteuid() == 0 else f"{detail}; of other users' none")


def _suspend_seccomp() -> Found:
    return yes(tried(lambda: _traced(ptrace.SUSPEND_SECCOMP)))


def _traced(options: int) -> str:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    child = _forked(signal.pause)
    ptrace.seize(child, options)
    ptrace.interrupt(child)
    if ptrace.next_stop(child, time.monotonic() + _STOP_S) is None:
        raise TimeoutError(0, "the traced child did not stop")
    ptrace.detach(child)
    return "traced and stopped a child"


def _namespaces() -> Found:
    def attempt(flags: int) -> Callable[[], str]:
        def unshare() -> str:
            namespaces.unshare(flags)
            return "made one"

        return unshare

    user = _word(attempt(namespaces.NEWUSER))
    both = namespaces.NEWPID | (0 if os.geteuid() == 0 else namespaces.NEWUSER)
    pid = _word(attempt(both))
    detail = f"user: {user}; PID: {pid}"
    good = [word == "made one" for word in (user, pid)]
    return yes(detail) if all(good) else partly(detail) if any(good) else no(detail)


def _word(attempt: Callable[[], str]) -> str:
    try:
        return tried(attempt)
    except OSError as error:
        return error.strerror or str(error)


def _inotify() -> Found:
    fd = inotify.open_notices()
    try:
        watches = inotify.notice(fd, "/")
    finally:
        os.close(fd)
    limits = [
        f"{name} {int(procfs.read_permitted(f'/proc/sys/fs/inotify/max_user_{name}', 32) or 0)}"
        for name in ("instances", "watches")
    ]
    detail = f"per user: {', '.join(limits)}"
    few = int(limits[0].split()[1]) < _FEW_WATCHES
    return no("no directory can be watched") if not watches else partly(detail) if few else yes(detail)


def _nofile() -> Found:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    detail = f"soft {soft}, hard {hard}; the daemon takes all of it, services get theirs back"
    return yes(detail) if hard < 0 or hard >= _FEW_DESCRIPTORS else partly(detail)


def _sched() -> Found:
    when = procfs.last_ran_ms(os.getpid())
    return no("/proc/PID/sched is not there") if when is None else yes("/proc/PID/sched says when we ran")


def _children_files() -> Found:
    if procfs.has_children_files():
        return yes("a task's children are listed")
    return no("/proc/PID/task/TID/children is not there")


def _strangers() -> Found:
    hidden = procfs.read_stat(1) is None
    if hidden:
        return no("process 1 cannot be seen (hidepid, or a security module)")
    if procfs.may_inspect(1):
        return yes("process 1 can be seen and looked into")
    # Even root may be refused, by a security module or a user namespace above ours: ptrace(2), access modes.
    return partly("process 1 can be seen, but the kernel does not let this user look into it (ptrace(2))")


def _systemd() -> Found:
    booted = Path("/run/systemd/system").is_dir()
    notify = os.environ.get("NOTIFY_SOCKET")
    detail = "systemd is running here" if booted else "systemd does not run here (/run/systemd/system)"
    if notify is None:
        return partly(f"{detail}; NOTIFY_SOCKET is not set") if booted else no(detail)
    return yes(f"{detail}; {_notify(notify)}")


def _notify(address: str) -> str:
    import socket  # noqa: PLC0415 - only under systemd

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
    return "its notification socket can be reached"


def _connector() -> Found:
    connector = procconn.Connector()
    try:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        heard = connector.read()
    finally:
        connector.close()
    told = any(child in event[3:] for event in heard.events)
    return yes("heard of a child's fork") if told else partly("subscribed; a fork of ours was not heard of")


CHECKS: Final = (
    Check(
        "subreaper",
        "adopts what services leave behind: PR_SET_CHILD_SUBREAPER(2const)",
        "became one in a child, and orphaned a process there",
        None,
        _subreaper,
        needed=True,
    ),
    Check(
        "pidfd",
        "means exactly one process in every signal and wait: pidfd_open(2)",
        "opened one on a child, killed it by it and waited for it",
        None,
        _pidfd,
        needed=True,
    ),
    Check(
        "pidfd info",
        "tells who a process is from its descriptor alone (Linux 6.13); not needed so far",
        "asked one of ourselves: PIDFD_GET_INFO",
        "who it is is read from /proc and compared by start time",
        _pidfd_info,
    ),
    Check(
        "cgroup",
        "gives each run a control group: exact, and killed at once: cgroups(7)",
        "made and removed one below our own",
        "descendants are followed by parents, sessions and a mark in their environment; stopped by sweeps",
        groups.can_be_made,
    ),
    Check(
        "cgroup controllers",
        "limit runs: memory_max, cpu_weight, pids_max: cgroups(7)",
        "read cgroup.controllers of our own",
        "those keys have no effect, and reaperd status says so; the rest of the service is as ever",
        groups.can_limit,
    ),
    Check(
        "process connector",
        "is told of every fork and end on the machine: netlink(7)",
        "subscribed, forked a child, heard of it and left again",
        "orphans are seen at the next end of a child, request or stop",
        _connector,
    ),
    Check(
        "ptrace",
        "lets a parent reap its zombies: reaperd reap --method inject, reaperd cure",
        "traced and stopped a child of ours",
        "zombies are cleared by SIGCHLD, or with their parent",
        _ptrace,
    ),
    Check(
        "suspend seccomp",
        "the same in a parent that a seccomp filter watches: PTRACE_O_SUSPEND_SECCOMP",
        "traced a child with that option",
        "such a parent is left alone unless --force is given",
        _suspend_seccomp,
    ),
    Check(
        "namespaces",
        "makes the specimens that need one: reaperd specimen lazy-init, outside",
        "made a user and a PID namespace in a child",
        "those specimens cannot be made",
        _namespaces,
    ),
    Check(
        "inotify",
        "follows log files: reaperd logs -f",
        "watched / and stopped watching it",
        "log files are looked at twice a second",
        _inotify,
    ),
    Check(
        "descriptors",
        "holds a few for each service: RLIMIT_NOFILE, getrlimit(2)",
        "read the limits",
        "fewer services: raise it with ulimit -n or LimitNOFILE=",
        _nofile,
        needed=True,
    ),
    Check(
        "scheduler's clock",
        "tells when a zombie died: SCHED_DEBUG",
        "read /proc/PID/sched of ourselves",
        "a zombie's age is told by its bounds",
        _sched,
    ),
    Check(
        "children files",
        "finds descendants without reading every process: CONFIG_PROC_CHILDREN",
        "looked for it in /proc",
        "every process of the machine is read",
        _children_files,
    ),
    Check(
        "strangers",
        "looks into other users' processes: reaperd zombies, reaperd tree",
        "read process 1",
        "only what this user may see is shown; run with CAP_SYS_PTRACE to see all",
        _strangers,
    ),
    Check(
        "systemd",
        "is told when all is ready, and keeps the watchdog: sd_notify(3)",
        "looked for it, and for its notification socket",
        "the daemon runs without it",
        _systemd,
    ),
)
