"""Sentences for people: why a service is in its state, and how its latest run ended."""

import time
from collections.abc import Sequence
from typing import Final

from reaperd.config.spec import SECOND_NS, ServiceSpec
from reaperd.policy.order import Hold
from reaperd.policy.stop import LAST_RUNG, SIGNAL_RUNG
from reaperd.policy.words import Cause, Exited, NotReady, NotSpawned, Run, State, Unhealthy
from reaperd.supervise.spawn_problem import spawn_problem
from reaperd.units import format_duration, format_signal

_STARVED: Final = "; the kernel had killed it, or one of its processes, for want of memory"
_FREEZERS: Final = frozenset({"__refrigerator", "do_freezer_trap"})


def why(run: Run, spec: ServiceSpec, *, now_ns: int, next_ns: int | None, stuck: bool) -> str | None:
    """Return one sentence on what the state alone does not tell, or None where there is nothing to say.

    Args:
        run: the service's life.
        spec: what it follows.
        now_ns: CLOCK_MONOTONIC.
        next_ns: when the next try is due, in BACKOFF.
        stuck: the tree grows faster than it can be killed.
    """
    ended = end_text(run, spec)
    match run.state:
        case State.BACKOFF:
            left_ns = max((next_ns or now_ns) - now_ns, 0)
            return f"{ended}; failure {run.failures} in a row, next try in {_rounded(left_ns)}"
        case State.STOPPING:
            return _why_stopping(run, spec, stuck=stuck)
        case State.EXITED | State.FAILED:
            return f"{ended}; {_why_not_again(run, spec)}"
        case State.STARTING | State.RUNNING if run.cause is not None:
            return f"before that: {ended}"
        case _:
            return None


def _why_stopping(run: Run, spec: ServiceSpec, *, stuck: bool) -> str | None:
    if stuck:
        return "its processes fork faster than they can be stopped; stop it again to go on trying"
    if run.rung == LAST_RUNG:
        return f"{format_signal(spec.stop.signal)} was not enough; SIGKILL sent"
    if run.rung == SIGNAL_RUNG and spec.stop.command and run.as_asked:
        return f"after its stop command {format_signal(spec.stop.signal)} was sent"
    return None


def _why_not_again(run: Run, spec: ServiceSpec) -> str:
    limit = spec.start_limit
    if not run.gave_up or limit is None:
        return f"restart = {spec.restart.value}"
    return f"gave up: started {limit.count} times in {format_duration(limit.interval_ns)}"


def next_run(run: Run, spec: ServiceSpec, at_ns: int | None) -> str:
    """Return what a service between two times of its schedule did last, and when it runs next.

    `at_ns` is of the wall clock. The time is told in the daemon's zone, in which the schedule is written too.
    """
    before = f"{end_text(run, spec)}; " if run.cause is not None else ""
    if at_ns is None:
        return f"{before}its schedule names no time of the next 50 years"
    local = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ns // SECOND_NS))
    return f"{before}next run at {local}"


def held(holds: Sequence[Hold]) -> str | None:
    """Return what keeps a service from starting, each with its state; None where nothing does."""
    if not holds:
        return None
    return "waits for " + ", ".join(
        f"{hold.name} ({'there is none' if hold.state is None else hold.state.value})" for hold in holds
    )


def held_stop(names: Sequence[str]) -> str | None:
    """Return who must stop before a service that is to stop; None where nobody does."""
    return f"stops once these are gone: {', '.join(names)}" if names else None


def unkillable(pid: int, name: str, channel: str | None) -> str:
    """Return what keeps a process that got SIGKILL: state D, and the kernel's function that it sleeps in."""
    where = f" at {channel}" if channel else ""
    frozen = "; its cgroup is frozen: thaw that" if channel in _FREEZERS else ""
    return (
        f"SIGKILL sent, and pid {pid} ({name}) cannot end: it is in state D (waits in the kernel{where}), "
        f"where no signal reaches it{frozen or '; it ends once that wait is over'}"
    )


def end_text(run: Run, spec: ServiceSpec) -> str:
    """Return how the latest main process ended, and whether somebody wanted that, as half a sentence."""
    ended = cause_text(run.cause, spec)
    return f"stopped as asked ({ended})" if run.as_asked and run.cause is not None else ended


def cause_text(cause: Cause | None, spec: ServiceSpec) -> str:
    """Return how the latest main process ended, as half a sentence."""
    match cause:
        case Exited(code=int() as code, out_of_memory=starved):
            return f"exited with {code}" + (_STARVED if starved else "")
        case Exited(signal=int() as number, core_dumped=dumped, out_of_memory=starved):
            ended = f"ended by {format_signal(number)}" + (", core dumped" if dumped else "")
            return ended + (_STARVED if starved else "")
        case NotSpawned():
            return spawn_problem(cause, spec)[0]
        case NotReady(reason=reason):
            late = f"was not ready within {format_duration(spec.ready_timeout_ns)}"
            return late if reason is None else f"{late}: {reason}"
        case Unhealthy(reason=reason, what=what):
            return f"{what}: {reason}"
        case _:
            return "never ran"


def _rounded(duration_ns: int) -> str:
    tenth_ns = 100_000_000
    return format_duration(round(duration_ns / tenth_ns) * tenth_ns)
