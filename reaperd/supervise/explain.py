"""Sentences for people: why a service is in its state, and why a child did not become its program."""

import os
from datetime import UTC, datetime
from pathlib import Path

from reaperd.config.spec import SECOND_NS, ServiceSpec
from reaperd.policy.words import Cause, Exited, NotReady, NotSpawned, Run, State, Unhealthy
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


def next_run(run: Run, spec: ServiceSpec, at_ns: int | None) -> str:
    """Return what a service between two times of its schedule did last, and when it runs next.

    `at_ns` is of the wall clock. The time is told in the daemon's zone, in which the schedule is written too.
    """
    before = f"{cause_text(run.cause, spec)}; " if run.cause is not None else ""
    if at_ns is None:
        return f"{before}its schedule names no time of the next 50 years"
    local = datetime.fromtimestamp(at_ns // SECOND_NS, UTC).astimezone()
    return f"{before}next run at {local:%Y-%m-%d %H:%M:%S}"


def cause_text(cause: Cause | None, spec: ServiceSpec) -> str:
    """Return how the latest main process ended, as half a sentence."""
    match cause:
        case Exited(code=int() as code):
            return f"exited with {code}"
        case Exited(signal=int() as number, core_dumped=dumped):
            return f"ended by {format_signal(number)}" + (", core dumped" if dumped else "")
        case NotSpawned():
            return f"{spawn_problem(cause, spec)[0]}"
        case NotReady():
            return f"was not ready within {format_duration(spec.ready_timeout_ns)}"
        case Unhealthy(reason=reason):
            return f"failed its health check: {reason}"
        case _:
            return "never ran"


def spawn_problem(cause: NotSpawned, spec: ServiceSpec) -> tuple[str, str | None]:
    """Return what went wrong between fork and exec, and a hint where there is one."""
    reason = os.strerror(cause.errno)
    match cause.stage:
        case "exec":
            return f"exec of {spec.command[0]}: {reason}", _exec_hint(spec)
        case "directory":
            return f"chdir to {spec.directory}: {reason}", f"service.{spec.name}.directory"
        case "user":
            return (
                f"becoming user {spec.user or spec.group}: {reason}",
                "only root may change to another user",
            )
        case stage:
            return f"{stage}: {reason}", None


def _exec_hint(spec: ServiceSpec) -> str | None:
    program = Path(spec.directory or ".") / spec.command[0]
    if "/" not in spec.command[0]:
        return f"not in PATH (service.{spec.name}.command)"
    if program.is_dir():
        return "that is a directory"
    if program.exists():
        return _script_hint(program)
    near = suggest(program.name, _names_beside(program)).removeprefix("; ")
    return f"{near} (service.{spec.name}.command)" if near else f"service.{spec.name}.command"


def _script_hint(program: Path) -> str | None:
    try:
        with program.open("rb") as file:
            first = file.read(128).partition(b"\n")[0]
    except OSError:
        return None
    if first.startswith(b"#!"):
        return f"check its interpreter line: {os.fsdecode(first)!r}"
    if not os.access(program, os.X_OK):
        return f"make it executable: chmod +x {program}"
    return None


def _names_beside(program: Path) -> list[str]:
    try:
        return os.listdir(program.parent)  # noqa: PTH208 - names are all that is wanted
    except OSError:
        return []


def _rounded(duration_ns: int) -> str:
    tenth_ns = 100_000_000
    return format_duration(round(duration_ns / tenth_ns) * tenth_ns)
