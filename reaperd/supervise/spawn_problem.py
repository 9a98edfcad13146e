"""Sentences on why a child did not become its program: the stage between fork and exec, and what helps."""

import errno
import os
import resource
import stat
from pathlib import Path
from typing import Final

from reaperd.config.spec import ServiceSpec
from reaperd.policy.words import NotSpawned
from reaperd.units import suggest

_NEEDS_RESOURCE: Final = "a lower score than the daemon's own needs CAP_SYS_RESOURCE"
_NEEDS_NICE: Final = (
    "a lower value than the daemon's own needs CAP_SYS_NICE, or a higher limit of nice for it"
)
_LIMIT_NAMES: Final = {
    getattr(resource, name): name.removeprefix("RLIMIT_").lower()
    for name in dir(resource)
    if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"  # BSD's name of RLIMIT_NOFILE
}
_FORK_HINTS: Final = {
    errno.EAGAIN: "no more processes are allowed: see ulimit -u, pids.max of the cgroup, kernel.pid_max",
    errno.ENOMEM: "the machine is short of memory",
    errno.EMFILE: "the daemon has no descriptor left: raise its limit (ulimit -n, LimitNOFILE=)",
    errno.ENFILE: "the machine has no descriptor left: raise fs.file-max",
}
_TAKES_NOBODY: Final = "the daemon's cgroup was divided by somebody else, and takes no processes below it"
_CGROUP_HINTS: Final = {
    errno.EAGAIN: "cgroup.max.descendants of the daemon's cgroup, or of one above, allows no more",
    errno.EBUSY: _TAKES_NOBODY,
    errno.EOPNOTSUPP: _TAKES_NOBODY,
    errno.ENOENT: "somebody has removed the daemon's cgroup",
    errno.ENODEV: "somebody has removed the daemon's cgroup",
}
_LISTEN_HINTS: Final = {
    errno.EADDRINUSE: "another program has it; see who: ss -tulpn",
    errno.EADDRNOTAVAIL: "this machine has no such address now; see: ip addr",
    errno.EACCES: "a port below 1024 needs root (CAP_NET_BIND_SERVICE), a file leave to write its directory",
    errno.EPERM: "only root may give a socket file to somebody else",
    errno.ENOENT: "its directory is missing, or its user or group is gone",
    errno.EAFNOSUPPORT: "this machine has no IPv6",
    **{number: _FORK_HINTS[number] for number in (errno.EMFILE, errno.ENFILE)},
}
_EXEC_HINTS: Final = {
    errno.E2BIG: "arguments and environment together are too long: execve(2)",
    errno.EAGAIN: "its user has as many processes as limits.nproc allows",
    errno.ENOMEM: "the machine is short of memory, or limits.as is too small for it",
    errno.ETXTBSY: "somebody is still writing it",
}


def spawn_problem(cause: NotSpawned, spec: ServiceSpec) -> tuple[str, str | None]:
    """Return what went wrong between fork and exec, and a hint where there is one."""
    doing, hint = _stage(cause, spec)
    if cause.stage == "user" and cause.errno == errno.ENOENT:  # it was there when the configuration was read
        return f"{doing}: no such user or group", hint
    return f"{doing}: {os.strerror(cause.errno)}", hint


def _stage(cause: NotSpawned, spec: ServiceSpec) -> tuple[str, str | None]:  # noqa: C901, PLR0911 - flat, one case a stage
    key = f"service.{spec.name}.{cause.stage}"
    match cause.stage:
        case "fork":
            return "fork", _FORK_HINTS.get(cause.errno)
        case "cgroup":
            return "giving it a cgroup", _CGROUP_HINTS.get(cause.errno)
        case "oom_score_adj":
            return f"setting its oom_score_adj to {spec.oom_score_adj}", f"{_NEEDS_RESOURCE} ({key})"
        case "nice":
            return f"setting its nice value to {spec.nice}", f"{_NEEDS_NICE} ({key})"
        case "limits":
            return _limit_problem(spec)
        case "user":
            return f"becoming {_identity(spec)}", _user_hint(cause.errno, spec)
        case "directory":
            who = f"{_identity(spec)} may not go there; " if cause.errno == errno.EACCES and spec.user else ""
            return f"chdir to {spec.directory}", f"{who}{key}"
        case "descriptors":
            return "placing its descriptors", f"service.{spec.name}.limits.nofile may be too small for them"
        case "sockets":
            return f"listening on {cause.what}", _listen_hint(cause, spec)
        case "exec":
            return f"exec of {spec.command[0]}", _exec_hint(cause.errno, spec)
        case stage:
            return stage, None


def _listen_hint(cause: NotSpawned, spec: ServiceSpec) -> str:
    what = _LISTEN_HINTS.get(cause.errno, "")
    if cause.errno == errno.EADDRINUSE and (cause.what or "").startswith("unix:"):
        what = "something else is there; see who listens: ss -xlp"
    return f"{what} (service.{spec.base or spec.name}.sockets)".strip()


def _limit_problem(spec: ServiceSpec) -> tuple[str, str | None]:
    """Name the limit that is above what the daemon may give: children have its rights at most."""
    for limit in spec.limits:
        ours = resource.getrlimit(limit.resource)[1]
        if ours != resource.RLIM_INFINITY and (limit.hard == resource.RLIM_INFINITY or limit.hard > ours):
            name = _LIMIT_NAMES[limit.resource]
            key = f"service.{spec.name}.limits.{name}"
            hint = f"the daemon's hard limit is {ours}; more than that needs CAP_SYS_RESOURCE ({key})"
            return f"setting its limit {name} to {_limit_text(limit.hard)}", hint
    return "setting its limits", f"service.{spec.name}.limits"


def _limit_text(value: int) -> str:
    return "unlimited" if value == resource.RLIM_INFINITY else str(value)


def _identity(spec: ServiceSpec) -> str:
    pairs = (("user", spec.user), ("group", spec.group))
    named = [f"{what} {name}" for what, name in pairs if name is not None]
    if spec.supplementary_groups:
        named.append(f"supplementary groups {', '.join(spec.supplementary_groups)}")
    return " with ".join(named) or "one without supplementary groups"


def _user_hint(number: int, spec: ServiceSpec) -> str:
    names = (("user", spec.user), ("group", spec.group), ("supplementary_groups", spec.supplementary_groups))
    key = f"service.{spec.name}.{next((name for name, value in names if value is not None), 'user')}"
    match number:
        case errno.ENOENT:
            problem = "it is gone since the configuration was read: getent passwd and getent group list all"
        case errno.EINVAL:
            problem = "this user namespace has no such id: /proc/self/uid_map and gid_map"
        case errno.EPERM:
            problem = "only root (CAP_SETUID, CAP_SETGID) may change to another user or group"
        case _:
            return key
    return f"{problem} ({key})"


def _exec_hint(number: int, spec: ServiceSpec) -> str | None:
    key = f"(service.{spec.name}.command)"
    if number in _EXEC_HINTS:
        return _EXEC_HINTS[number]
    if "/" not in spec.command[0]:
        return _path_hint(number, key)
    program = Path(spec.directory or ".") / spec.command[0]
    try:
        mode = program.stat().st_mode
    except OSError:
        near = suggest(program.name, _names_beside(program)).removeprefix("; ")
        return f"{near} {key}" if near else key.strip("()")
    if stat.S_ISDIR(mode):
        return "that is a directory"
    if not mode & 0o111 and number != errno.ENOENT:
        return f"make it executable: chmod +x {program}"
    return _script_hint(program, number)


def _path_hint(number: int, key: str) -> str | None:
    """Say what a search through PATH met; after EACCES it goes on, and tells of that if it finds nothing."""
    match number:
        case errno.ENOENT:
            return f"not in PATH {key}"
        case errno.EACCES:
            return f"PATH names a directory that may not be entered, or has it there not executable {key}"
        case _:
            return None


def _script_hint(program: Path, number: int) -> str | None:
    try:
        with program.open("rb") as file:
            first = file.read(128).partition(b"\n")[0]
    except OSError:
        return None
    if first.startswith(b"#!"):
        return f"check its interpreter line: {os.fsdecode(first)!r}"
    return "a script begins with a line like #!/bin/sh" if number == errno.ENOEXEC else None


def _names_beside(program: Path) -> list[str]:
    try:
        return os.listdir(program.parent)  # noqa: PTH208 - names are all that is wanted
    except OSError:
        return []
