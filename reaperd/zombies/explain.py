"""Whose fault a zombie is, and why: from facts to a cause, without looking at anything.

The rules are asked in order and the first that fits answers. First what makes the zombie no zombie or
nobody's leak, then what keeps its parent from running, then whether it is too young to judge, then how the
parent treats SIGCHLD. What may not be read is no evidence: then a later, weaker rule answers.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from signal import SIGCHLD
from typing import Final

from reaperd.kernel.proctask import Call
from reaperd.zombies.facts import ParentFacts, ThreadFacts, ZombieFacts

TRANSIT_S: Final = 1.0  # a parent that waits has done so by then
INIT_TRANSIT_S: Final = 5.0  # some inits look for orphans every two seconds only

_WNOTHREAD: Final = 0x20000000  # wait4(2): children of the calling thread alone


@dataclass(frozen=True, slots=True)
class _Calls:
    """Numbers of the system calls that matter: syscalls(2)."""

    wait4: int
    waitid: int
    sigtimedwait: int
    vfork: int | None


_NUMBERS: Final[Mapping[str, _Calls]] = {
    "x86_64": _Calls(wait4=61, waitid=247, sigtimedwait=128, vfork=58),
    "aarch64": _Calls(wait4=260, waitid=95, sigtimedwait=137, vfork=None),
}
_NO_CALLS: Final = _Calls(wait4=-1, waitid=-1, sigtimedwait=-1, vfork=None)
_HERE: Final = _NUMBERS.get(os.uname().machine, _NO_CALLS)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a zombie is there.

    Attributes:
        name: for programs; never changes its meaning.
        sentence: for people who never heard of wait(2).
        evidence: what it rests on.
        advice: what would help.
        is_leak: False where nothing has to be done, or nothing can be done yet.
    """

    name: str
    sentence: str
    evidence: str
    advice: str
    is_leak: bool = True


ZombieRule = Callable[[ZombieFacts], Cause | None]
ParentRule = Callable[[ZombieFacts, ParentFacts], Cause | None]


def explain(zombie: ZombieFacts, parent: ParentFacts | None) -> Cause:
    """Return the cause that fits the facts; `parent` is None where it is gone or cannot be seen."""
    for of_zombie in _OF_ZOMBIE:
        if (cause := of_zombie(zombie)) is not None:
            return cause
    if parent is None:
        return _orphaned(zombie)
    for of_parent in _OF_PARENT:
        if (cause := of_parent(zombie, parent)) is not None:
            return cause
    return _never_waits(parent)


def _end_parent(parent: ParentFacts) -> str:
    return (
        f"let it collect them: reaperd reap --parent {parent.pid} --yes; "
        f"or mend it, or end it, so that init does: kill {parent.pid}"
    )


# --- the zombie itself ----------------------------------------------------------------------------------


def _dead_leader(zombie: ZombieFacts) -> Cause | None:
    if not zombie.live_threads:
        return None
    return Cause(
        "dead-leader",
        "Its first thread has ended while others still run: it only looks like a zombie.",
        f"{zombie.live_threads} of its threads live",
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
        f"its parent has to collect it: reaperd reap {zombie.pid}, or end the parent: kill {zombie.ppid}",
    )


def _orphaned(zombie: ZombieFacts) -> Cause:
    return Cause(
        "in-transit",
        "Its parent has just ended; whoever takes over collects it.",
        f"parent {zombie.ppid} is gone",
        "nothing: look again",
        is_leak=False,
    )


# --- a parent that cannot run ---------------------------------------------------------------------------


def _frozen(_zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    refrigerated = _all_in(parent, "D", "__refrigerator")
    if parent.frozen_by is None and not refrigerated:
        return None
    evidence = f"{parent.frozen_by} says so" if parent.frozen_by else "it sleeps in __refrigerator"
    return Cause(
        "parent-frozen",
        "Its parent's cgroup is frozen (a paused container?), so it cannot collect anything.",
        evidence,
        "thaw the cgroup (docker unpause, cgroup.freeze, freezer.state)",
    )


def _stopped(_zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    if not _all_in(parent, "T"):
        return None
    return Cause(
        "parent-stopped",
        "Its parent has been stopped (Ctrl-Z, or SIGSTOP).",
        "all its threads are in state T",
        f"let it go on: kill -CONT {parent.pid}",
    )


def _traced(_zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    if not parent.tracer or not _all_in(parent, "t"):
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


# --- too young to judge ---------------------------------------------------------------------------------


def _in_transit(zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    threshold = INIT_TRANSIT_S if parent.is_init else TRANSIT_S
    if zombie.age_s >= threshold:
        return None
    return Cause(
        "in-transit",
        "It ended a moment ago; its parent may be about to collect it.",
        f"a zombie for less than {threshold:g} s",
        "nothing: look again",
        is_leak=False,
    )


# --- how the parent waits -------------------------------------------------------------------------------


def _vfork(_zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    waiting = [thread for thread in parent.threads if thread.state == "D" and _is_vfork(thread)]
    if not waiting or len(waiting) != len(parent.threads):
        return None
    return Cause(
        "parent-in-vfork",
        "Its parent sleeps until another child, made by vfork, runs a program or ends.",
        "state D in the system call vfork",
        "end that other child, or wait for it",
    )


def _is_vfork(thread: ThreadFacts) -> bool:
    is_call = thread.call is not None and thread.call.number == _HERE.vfork
    return is_call or thread.wchan == "kernel_clone"


def _clone_child(zombie: ZombieFacts, _parent: ParentFacts) -> Cause | None:
    if zombie.exit_signal == SIGCHLD:
        return None
    told = f"signal {zombie.exit_signal}" if zombie.exit_signal > 0 else "no signal"
    return Cause(
        "clone-child",
        "It was made by clone with an end signal of its own; an ordinary wait does not see it.",
        f"at its end its parent got {told} instead of SIGCHLD",
        "its parent has to wait with __WALL or __WCLONE",
    )


def _own_thread_only(zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    if zombie.forker is None:
        return None
    for thread in parent.threads:
        call = thread.call
        if call is None or thread.tid == zombie.forker or not _options(call) & _WNOTHREAD:
            continue
        return Cause(
            "waits-for-own-thread",
            "A thread of its parent waits for its own children only; another thread made this one.",
            f"thread {thread.tid} waits with __WNOTHREAD; thread {zombie.forker} made it",
            _end_parent(parent),
        )
    return None


def _waits_for_another(zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    for thread in parent.threads:
        other = _waited_for(thread.call)
        if other is not None and other != (zombie.inner_pid or zombie.pid):
            where = "" if parent.depth == 1 else " of its PID namespace"
            return Cause(
                "waits-for-another",
                "Its parent sleeps until another of its children ends, and does not look at this one.",
                f"thread {thread.tid} waits for pid {other}{where}",
                "end that other one, or wait for it",
            )
    return None


def _waited_for(call: Call | None) -> int | None:
    """Return the single pid that a thread waits for, None where it waits for more or does not wait."""
    if call is None:
        return None
    if call.number == _HERE.wait4:
        pid = call.arguments[0] & 0xFFFFFFFF
        return pid if 0 < pid < 1 << 31 else None
    is_one = call.number == _HERE.waitid and call.arguments[0] & 0xFFFFFFFF == os.P_PID
    return call.arguments[1] & 0xFFFFFFFF if is_one else None


def _options(call: Call) -> int:
    if call.number == _HERE.wait4:
        return call.arguments[2]
    return call.arguments[3] if call.number == _HERE.waitid else 0


def _leader_ended(_zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    if not parent.leader_ended:
        return None
    return Cause(
        "parent-leader-ended",
        "The first thread of its parent has ended, and those that live on do not collect it.",
        f"{len(parent.threads)} threads live, the leader does not",
        _end_parent(parent),
    )


def _lazy_init(_zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    if not parent.is_init:
        return None
    return Cause(
        "init-does-not-reap",
        "Its parent is PID 1 of its PID namespace, which should collect every orphan and does not.",
        f"it has been there for more than {INIT_TRANSIT_S:g} s",
        "start the container with an init that reaps: reaperd init -- COMMAND",
    )


# --- how the parent treats SIGCHLD ----------------------------------------------------------------------


def _sigwait(_zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    waiting = (
        thread for thread in parent.threads if thread.call and thread.call.number == _HERE.sigtimedwait
    )
    thread = next(waiting, None)
    if thread is None or parent.is_caught or parent.is_ignored:
        return None
    return Cause(
        "sigwait-loop",
        "Its parent takes its signals one by one, and did not collect this child when told.",
        f"thread {thread.tid} sleeps in sigtimedwait",
        _end_parent(parent),
    )


def _blocked(_zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    if not parent.threads or not all(thread.is_blocked for thread in parent.threads):
        return None
    reads = " and reads it through a signalfd" if parent.signalfd else ""
    pending = ", and one is pending" if parent.is_pending else ""
    return Cause(
        "sigchld-signalfd" if parent.signalfd else "sigchld-blocked",
        "Its parent holds back the news that a child has ended" + (", and missed it." if reads else "."),
        f"every thread blocks SIGCHLD{reads}{pending}",
        f"tell it again: kill -CHLD {parent.pid}" if reads and not pending else _end_parent(parent),
    )


def _ignored(_zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    if not parent.is_ignored:
        return None
    return Cause(
        "sigchld-ignored-late",
        "Its parent ignores the end of children, but began to only after this one had ended.",
        "SIGCHLD is ignored now: newer children leave no zombies",
        f"{_end_parent(parent)}; this zombie does no further harm",
    )


def _caught(zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    if not parent.is_caught:
        return None
    others = f", {zombie.siblings} more zombies are its children" if zombie.siblings else ""
    return Cause(
        "handler-missed",
        "Its parent is told when children end, but collects one for each message, or only those it knows.",
        f"SIGCHLD has a handler{others}",
        f"tell it again, once for each zombie: kill -CHLD {parent.pid}",
    )


def _busy(_zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    if not _all_in(parent, "R"):
        return None
    return Cause(
        "parent-busy",
        "Its parent computes, and has not come to collecting it.",
        "all its threads run",
        f"wait, or {_end_parent(parent)}",
    )


def _never_waits(parent: ParentFacts) -> Cause:
    return Cause(
        "parent-never-waits",
        "Its parent does not care for children that have ended.",
        "SIGCHLD is neither blocked in all its threads, nor ignored, nor caught",
        _end_parent(parent),
    )


def _all_in(parent: ParentFacts, state: str, wchan: str | None = None) -> bool:
    return bool(parent.threads) and all(
        thread.state == state and (wchan is None or thread.wchan == wchan) for thread in parent.threads
    )


_OF_ZOMBIE: Final[tuple[ZombieRule, ...]] = (_dead_leader, _held_by_tracer, _outside, _holds_up)
_OF_PARENT: Final[tuple[ParentRule, ...]] = (
    _frozen,
    _stopped,
    _traced,
    _dumps_core,
    _in_transit,
    _vfork,
    _clone_child,
    _own_thread_only,
    _waits_for_another,
    _leader_ended,
    _lazy_init,
    _sigwait,
    _blocked,
    _ignored,
    _caught,
    _busy,
)
