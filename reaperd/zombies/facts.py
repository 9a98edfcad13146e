"""Read once, about a zombie and its parent, what the cause of a zombie can be told from.

Every thread of the parent counts: a leader that has ended shows empty masks, and a child can be collected by
any thread. The files are read one after the other, so the facts are not of one moment.
"""

from collections.abc import Iterable, Mapping
from signal import SIGCHLD
from typing import Final, NamedTuple

from reaperd.kernel import procfs, proctask
from reaperd.kernel.procfs import Stat
from reaperd.kernel.proctask import Call

_BIT: Final = 1 << (SIGCHLD - 1)


class ThreadFacts(NamedTuple):
    """One thread of the parent."""

    tid: int
    state: str  # as in proc_pid_stat(5)
    is_blocked: bool  # SIGCHLD is in its mask
    call: Call | None = None  # that it sleeps in; None where it runs or that is secret
    wchan: str | None = None  # the kernel function that it sleeps in


class ParentFacts(NamedTuple):
    """The process that should collect a zombie."""

    pid: int
    threads: tuple[ThreadFacts, ...]  # that live
    is_ignored: bool  # SIGCHLD is ignored
    is_caught: bool  # SIGCHLD has a handler
    is_pending: bool  # SIGCHLD waits to be delivered
    tracer: int  # pid of whoever traces it, or 0
    dumps_core: bool
    is_init: bool  # of a PID namespace
    leader_ended: bool  # other threads live on
    signalfd: bool | None  # reads SIGCHLD through one; None where that is secret
    frozen_by: str | None  # the file of its cgroup that says so
    depth: int = 1  # of PID namespaces, from ours on: above 1 its pids are not ours
    forked: tuple[tuple[int, frozenset[int]], ...] = ()  # where several threads live: who made which child


class ZombieFacts(NamedTuple):
    """The zombie itself."""

    pid: int
    ppid: int
    exit_signal: int  # what its parent was sent at its end
    tracer: int  # pid of whoever traces it, or 0
    live_threads: int
    thread_tracer: int  # of a thread that has ended, where all have; or 0
    forker: int | None  # the thread that made it, where its parent has several
    age_s: float  # as a zombie; an upper bound where nothing better is known
    siblings: int  # other zombies of the same parent
    inner_pid: int = 0  # its pid as its parent knows it; 0 where that is not told
    held_up: int = 0  # the init of its PID namespace, which has ended and waits for it; 0 for none

    @property
    def holder(self) -> int:
        """Return who, not being its parent, has to collect it or a thread of it first; 0 for nobody."""
        return (self.tracer if self.tracer != self.ppid else 0) or self.thread_tracer


def zombie_facts(
    stat: Stat, status: Mapping[str, str], parent: ParentFacts | None, age_s: float, siblings: int
) -> ZombieFacts:
    """Return what is told of a zombie by its line and its status, and by those of its threads."""
    pid, others = stat.pid, list[Mapping[str, str]]()
    if stat.num_threads > 1:
        tids = (tid for tid in procfs.threads(pid) if tid != pid)
        others = [found for tid in tids if (found := procfs.read_status(pid, tid))]
    ended = [found for found in others if found.get("State", "").startswith("Z")]
    return ZombieFacts(
        pid=pid,
        ppid=stat.ppid,
        exit_signal=stat.exit_signal,
        tracer=_number(status, "TracerPid"),
        live_threads=len(others) - len(ended),
        thread_tracer=max((_number(found, "TracerPid") for found in ended), default=0),
        forker=_forker(pid, parent),
        age_s=age_s,
        siblings=siblings,
        inner_pid=_inner_pid(status, parent),
        held_up=_held_up(pid, status, parent),
    )


def _held_up(pid: int, status: Mapping[str, str], parent: ParentFacts | None) -> int:
    """Return the init that cannot end for this zombie, whose parent is outside of its PID namespace.

    It sleeps in zap_pid_ns_processes (kernel/pid_namespace.c) until everybody in there has been collected.
    """
    depth = len(status.get("NSpid", "").split())
    if parent is None or depth <= parent.depth:
        return 0
    namespace = proctask.pid_namespace(pid)
    for other in procfs.list_pids() if namespace is not None else ():
        words = (procfs.read_status(other) or {}).get("NSpid", "").split()
        if len(words) == depth and words[-1] == "1" and proctask.pid_namespace(other) == namespace:
            return other if proctask.wait_channel(other, other) == "zap_pid_ns_processes" else 0
    return 0


def _inner_pid(status: Mapping[str, str], parent: ParentFacts | None) -> int:
    """Return the zombie's pid in the PID namespace of its parent, which may be above its own."""
    pids = [int(word) for word in status.get("NSpid", "").split()]
    return pids[parent.depth - 1] if parent is not None and len(pids) >= parent.depth else 0


def _forker(pid: int, parent: ParentFacts | None) -> int | None:
    forked = parent.forked if parent is not None else ()
    return next((tid for tid, children in forked if pid in children), None)


def parent_facts(pid: int) -> ParentFacts | None:
    """Return what is told of a parent, None if it is gone."""
    status = procfs.read_status(pid)
    if status is None:
        return None
    statuses = {tid: found for tid in procfs.threads(pid) if (found := procfs.read_status(pid, tid))}
    living = {tid: found for tid, found in statuses.items() if found.get("State", "Z")[:1] not in "ZX"}
    anybody = next(iter(living.values()), status)  # shared masks are empty in a leader that has ended
    return ParentFacts(
        pid=pid,
        threads=tuple(_thread(pid, tid, found) for tid, found in living.items()),
        is_ignored=_has(anybody, "SigIgn"),
        is_caught=_has(anybody, "SigCgt"),
        is_pending=any(_has(found, mask) for found in living.values() for mask in ("ShdPnd", "SigPnd")),
        tracer=max((_number(found, "TracerPid") for found in living.values()), default=0),
        dumps_core=_number(status, "CoreDumping") == 1,
        is_init=status.get("NSpid", str(pid)).split()[-1:] == ["1"],
        depth=max(1, len(status.get("NSpid", "").split())),
        leader_ended=pid not in living and bool(living),
        signalfd=proctask.has_signalfd(pid, SIGCHLD),
        frozen_by=proctask.frozen_by(pid),
        forked=tuple((tid, frozenset(proctask.thread_children(pid, tid))) for tid in _several(statuses)),
    )


def _several(statuses: Mapping[int, object]) -> Iterable[int]:
    """Return the threads if there are several: who made which child is of no interest where one made all."""
    return statuses if len(statuses) > 1 else ()


def _thread(pid: int, tid: int, status: dict[str, str]) -> ThreadFacts:
    return ThreadFacts(
        tid=tid,
        state=status.get("State", "?")[:1],
        is_blocked=_has(status, "SigBlk"),
        call=proctask.current_call(pid, tid),
        wchan=proctask.wait_channel(pid, tid),
    )


def _has(status: Mapping[str, str], mask: str) -> bool:
    return bool(int(status.get(mask, "0"), 16) & _BIT)


def _number(status: Mapping[str, str], name: str) -> int:
    return int(status.get(name, "0").split()[0])
