"""Why a zombie cannot be collected now: what is told of itself, and parents that cannot run."""

import shlex
from typing import Final

from reaperd.kernel import proctask
from reaperd.zombies.cause import Cause, ParentRule, ZombieRule, counted
from reaperd.zombies.facts import ParentFacts, ZombieFacts

# --- the zombie itself ----------------------------------------------------------------------------------


def _dead_leader(zombie: ZombieFacts) -> Cause | None:
    if not zombie.live_threads:
        return None
    return Cause(
        "dead-leader",
        "Its first thread has ended while others still run: it only looks like a zombie.",
        f"{counted(zombie.live_threads, 'thread')} of it {'lives' if zombie.live_threads == 1 else 'live'}",
        "nothing: it is collected when the last thread ends",
        is_leak=False,
    )


def _held_by_tracer(zombie: ZombieFacts) -> Cause | None:
    tracer = zombie.holder
    if not tracer:
        return None
    return Cause(
        "held-by-tracer",
        "A debugger or tracer has to collect it before its parent can.",
        f"TracerPid {tracer}",
        f"end the tracer: kill {tracer}",
    )


def _outside(zombie: ZombieFacts) -> Cause | None:
    if zombie.ppid:
        return None
    return Cause(
        "parent-outside",
        "Its parent lives outside this PID namespace (nsenter, or a container's exec).",
        "its parent's pid reads 0 here",
        "look from the host: only there the parent can be seen",
    )


def _holds_up(zombie: ZombieFacts) -> Cause | None:
    if not zombie.held_up:
        return None
    return Cause(
        "holds-up-namespace",
        "It keeps a container from ending: the container's init has ended, and waits for it to be collected.",
        f"process {zombie.held_up} sleeps in zap_pid_ns_processes; the parent is outside of the container",
        f"let its parent collect it: reaperd reap {zombie.pid} --yes; or end that: kill {zombie.ppid}",
    )


# --- a parent that cannot run ---------------------------------------------------------------------------


def _frozen(_zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    refrigerated = all_in(parent, "D", "__refrigerator")
    if parent.frozen_by is None and not refrigerated:
        return None
    evidence = f"{parent.frozen_by} says so" if parent.frozen_by else "it sleeps in __refrigerator"
    return Cause(
        "parent-frozen",
        "Its parent's cgroup is frozen (a paused container?), so it cannot collect anything.",
        evidence,
        f"thaw it: {_thawing(parent.frozen_by)} (docker unpause, where docker froze it)",
    )


def _thawing(frozen_by: str | None) -> str:
    """Return the command that thaws a cgroup."""
    if frozen_by is None:
        return "write THAWED to the freezer.state of its cgroup"
    file, text = proctask.thaws(frozen_by)
    return f"echo {text} > {shlex.quote(file)}"


def _stopped(_zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    if not all_in(parent, "T"):
        return None
    return Cause(
        "parent-stopped",
        "Its parent has been stopped (Ctrl-Z, or SIGSTOP).",
        "all its threads are in state T",
        f"let it go on: kill -CONT {parent.pid}",
    )


def _traced(_zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    if not parent.tracer or not all_in(parent, "t"):
        return None
    return Cause(
        "parent-traced",
        "Its parent is held by a debugger or tracer.",
        f"state t, TracerPid {parent.tracer}",
        f"let the tracer go on, or end it: kill {parent.tracer}",
    )


def _dumps_core(_zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    if not parent.dumps_core:
        return None
    return Cause(
        "parent-dumps-core",
        "Its parent is crashing and writes its core dump.",
        "CoreDumping is 1",
        "nothing: wait for the end of the dump",
        is_leak=False,
    )


def all_in(parent: ParentFacts, state: str, wchan: str | None = None) -> bool:
    """Tell whether all threads of a parent are in that state, in that function of the kernel."""
    return bool(parent.threads) and all(
        thread.state == state and (wchan is None or thread.wchan == wchan) for thread in parent.threads
    )


OF_ZOMBIE: Final[tuple[ZombieRule, ...]] = (_dead_leader, _held_by_tracer, _outside, _holds_up)
OF_PARENT: Final[tuple[ParentRule, ...]] = (_frozen, _stopped, _traced, _dumps_core)
