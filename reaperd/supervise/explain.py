"""Sentences for people: why a service is in its state, and why a child did not become its program."""

import errno
import os
import stat
from pathlib import Path

from reaperd.config.spec import ServiceSpec
from reaperd.policy.words import Cause, Exited, NotSpawned, Run, State
from reaperd.units import format_duration, format_signal, suggest


def why(run: Run, spec: ServiceSpec, *, now_ns: int, next_ns: int | None, stuck: bool) -> str | None:
    """Return one sentence on what the state alone does not tell, or None where there is nothing to say.

    Args:
        run: the service's life.
        spec: what it follows.
        now_ns: CLOCK_MONOTONIC.
        next_ns: when the next try is due, in BACKOFF.
        stuck: the tree grows faster than it can be killed.
    """
    ended = cause_text(run.cause, spec)
    match run.state:
        case State.BACKOFF:
            left_ns = max((next_ns or now_ns) - now_ns, 0)
            return f"{ended}; failure {run.failures} in a row, next try in {_rounded(left_ns)}"
        case State.STOPPING if stuck:
            return "its processes fork faster than they can be stopped; stop it again to go on trying"
        case State.STOPPING if run.rung:
            return f"{format_signal(spec.stop.signal)} was not enough; SIGKILL sent"
        case State.EXITED | State.FAILED:
            return f"{ended}; restart = {spec.restart.value}"
        case State.STARTING | State.RUNNING if run.cause is not None:
            return f"before that: {ended}"
        case _:
            return None


def cause_text(cause: Cause | None, spec: ServiceSpec) -> str:
    """Return how the latest main process ended, as half a sentence."""
    match cause:
        case Exited(code=int() as code):
            return f"exited with {code}"
        case Exited(signal=int() as number, core_dumped=dumped):
            return f"ended by {format_signal(number)}" + (", core dumped" if dumped else "")
        case NotSpawned():
            return f"{spawn_problem(cause, spec)[0]}"
        case _:
            return "never ran"


def spawn_problem(cause: NotSpawned, spec: ServiceSpec) -> tuple[str, str | None]:
    """Return what went wrong between fork and exec, and a hint where there is one."""
    reason = os.strerror(cause.errno)
    match cause.stage:
        case "exec":
            return f"exec of {spec.command[0]}: {reason}", _exec_hint(spec, cause.errno)
        case "directory":
            return f"chdir to {spec.directory}: {reason}", f"service.{spec.name}.directory"
        case "user":
            return _identity_problem(spec, cause.errno)
        case stage:
            return f"{stage}: {reason}", None


def _identity_problem(spec: ServiceSpec, number: int) -> tuple[str, str | None]:
    kind, name = ("user", spec.user) if spec.user is not None else ("group", spec.group)
    key = f"service.{spec.name}.{kind}"
    if number == errno.ENOENT:  # it was there when the configuration was read
        return f"becoming {kind} {name}: no such user or group", key
    hint = f"only root may change to another user ({key})" if number == errno.EPERM else key
    return f"becoming {kind} {name}: {os.strerror(number)}", hint


def _exec_hint(spec: ServiceSpec, number: int) -> str | None:
    key = f"service.{spec.name}.command"
    if "/" not in spec.command[0]:
        return f"not in PATH ({key})" if number == errno.ENOENT else None
    program = Path(spec.directory or ".") / spec.command[0]
    try:
        mode = program.stat().st_mode
    except OSError:
        near = suggest(program.name, _names_beside(program)).removeprefix("; ")
        return f"{near} ({key})" if near else key
    if stat.S_ISDIR(mode):
        return "that is a directory"
    if not mode & 0o111:
        return f"make it executable: chmod +x {program}"
    return _script_hint(program, number)


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


def _rounded(duration_ns: int) -> str:
    tenth_ns = 100_000_000
    return format_duration(round(duration_ns / tenth_ns) * tenth_ns)
