"""Which rule keeps us from tracing a process, and how to permit it: "access mode checking" in ptrace(2)."""

import os
from pathlib import Path
from typing import Final

from reaperd.kernel import procfs

_CAP_SYS_PTRACE: Final = 1 << 19  # capabilities(7)
_AS_ROOT: Final = "run as root (with CAP_SYS_PTRACE; in a container: --cap-add SYS_PTRACE)"
_YAMA: Final = {
    "1": (
        "Yama lets processes trace their descendants only (kernel.yama.ptrace_scope is 1)",
        f"{_AS_ROOT}, or allow it: sysctl kernel.yama.ptrace_scope=0",
    ),
    "2": ("Yama lets only root trace (kernel.yama.ptrace_scope is 2)", _AS_ROOT),
    "3": (
        "Yama forbids all tracing until the next boot (kernel.yama.ptrace_scope is 3)",
        "boot with kernel.yama.ptrace_scope below 3",
    ),
}


def why_denied(pid: int) -> tuple[str, str]:
    """Return the rule that forbids us to trace a process, as a sentence, and what permits it.

    The kernel says EPERM for all of them; they are asked here in the order in which it would.
    """
    status, mine = procfs.read_status(pid) or {}, procfs.read_status(os.getpid()) or {}
    return (
        _tracer(pid, status)
        or _kernel_thread(pid)
        or _rank(pid, status, mine)
        or _filter(mine)
        or (
            f"the kernel forbids to trace process {pid}; a security module may (AppArmor, SELinux)",
            "see the kernel's log: dmesg, ausearch -m avc",
        )
    )


def _tracer(pid: int, status: dict[str, str]) -> tuple[str, str] | None:
    tracers = [int(status.get("TracerPid", "0"))]
    tracers += [
        int((procfs.read_status(pid, tid) or {}).get("TracerPid", "0")) for tid in procfs.threads(pid)
    ]
    tracer = max(tracers)
    if not tracer:
        return None
    return (
        f"process {pid} is traced by process {tracer} already",
        f"end that debugger or tracer: kill {tracer}",
    )


def _rank(pid: int, status: dict[str, str], mine: dict[str, str]) -> tuple[str, str] | None:
    scope = _yama()
    if scope == "3":
        return _YAMA[scope]
    if _is_capable(mine):
        return _user_namespace(pid)
    return _credentials(pid, status, mine) or _YAMA.get(scope)


def _filter(mine: dict[str, str]) -> tuple[str, str] | None:
    if mine.get("Seccomp", "0") == "0":
        return None
    return (
        "a seccomp filter that we run under may forbid ptrace",
        "run outside of the container, or give it a profile that allows ptrace (--cap-add SYS_PTRACE)",
    )


def _kernel_thread(pid: int) -> tuple[str, str] | None:
    stat = procfs.read_stat(pid)
    if stat is None or not stat.is_kernel_thread:
        return None
    return f"process {pid} is a thread of the kernel", "nothing can be done to it"


def _is_capable(mine: dict[str, str]) -> bool:
    return bool(int(mine.get("CapEff", "0"), 16) & _CAP_SYS_PTRACE)


def _credentials(pid: int, status: dict[str, str], mine: dict[str, str]) -> tuple[str, str] | None:
    uid = mine.get("Uid", "").split()[:1]
    owners = set(status.get("Uid", "").split()[:3])
    if owners - set(uid):
        return f"process {pid} belongs to another user (uid {min(owners, default='?')})", _AS_ROOT
    more = int(status.get("CapPrm", "0"), 16) & ~int(mine.get("CapPrm", "0"), 16)
    if more:
        return f"process {pid} has capabilities that we lack ({more:#x})", _AS_ROOT
    try:
        owner = Path(f"/proc/{pid}/status").stat().st_uid  # root of who may not be dumped: proc(5)
    except OSError:
        return None
    if str(owner) not in uid:
        return f"process {pid} has protected itself (PR_SET_DUMPABLE, or it gained privileges)", _AS_ROOT
    return None


def _user_namespace(pid: int) -> tuple[str, str] | None:
    try:
        theirs = Path(f"/proc/{pid}/ns/user").readlink()
        ours = Path("/proc/self/ns/user").readlink()
    except OSError:
        return f"process {pid} lives in a user namespace above ours", "look from the host"
    if theirs == ours:
        return None
    return f"process {pid} lives in another user namespace", "run as root on the host"


def _yama() -> str:
    try:
        return Path("/proc/sys/kernel/yama/ptrace_scope").read_text().strip()
    except OSError:
        return "0"
