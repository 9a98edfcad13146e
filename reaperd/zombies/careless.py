"""Why a parent that could collect a zombie does not: how it waits, and how it treats SIGCHLD."""

from signal import SIGCHLD
from typing import Final

from reaperd.zombies.calls import is_vfork, takes_signals, waited_for, waits_for_own
from reaperd.zombies.cause import Cause, ParentRule, counted, end_parent, let_collect
from reaperd.zombies.facts import ParentFacts, ZombieFacts
from reaperd.zombies.unable import all_in

TRANSIT_S: Final = 1.0  # a parent that waits has done so by then
INIT_TRANSIT_S: Final = 5.0  # some inits look for orphans every two seconds only


# --- too young to judge ---------------------------------------------------------------------------------


def orphaned(zombie: ZombieFacts) -> Cause:
    """Return the cause where there is no parent to be seen."""
    return Cause(
        "in-transit",
        "Its parent has just ended; whoever takes over collects it.",
        f"parent {zombie.ppid} is gone",
        "nothing: look again",
        is_leak=False,
    )


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
    waiting = [thread for thread in parent.threads if thread.state == "D" and is_vfork(thread)]
    if not waiting or len(waiting) != len(parent.threads):
        return None
    return Cause(
        "parent-in-vfork",
        "Its parent sleeps until another child, made by vfork, runs a program or ends.",
        "state D in the system call vfork",
        f"wait for that other child, or end it: ps --ppid {parent.pid} shows it",
    )


def _clone_child(zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    if zombie.exit_signal == SIGCHLD:
        return None
    told = f"signal {zombie.exit_signal}" if zombie.exit_signal > 0 else "no signal"
    return Cause(
        "clone-child",
        "It was made by clone with an end signal of its own; an ordinary wait does not see it.",
        f"at its end its parent got {told} instead of SIGCHLD",
        f"{end_parent(parent)}; whoever mends it: it has to wait with __WALL or __WCLONE",
    )


def _own_thread_only(zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    if zombie.forker is None:
        return None
    for thread in parent.threads:
        call = thread.call
        if call is None or thread.tid == zombie.forker or not waits_for_own(call):
            continue
        return Cause(
            "waits-for-own-thread",
            "A thread of its parent waits for its own children only; another thread made this one.",
            f"thread {thread.tid} waits with __WNOTHREAD; thread {zombie.forker} made it",
            end_parent(parent),
        )
    return None


def _waits_for_another(zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    for thread in parent.threads:
        other = waited_for(thread.call)
        if other is not None and other != (zombie.inner_pid or zombie.pid):
            is_ours = parent.depth == 1
            where = "" if is_ours else " of its PID namespace"
            ending = f", or end it: kill {other}" if is_ours else ", or end it"
            return Cause(
                "waits-for-another",
                "Its parent sleeps until another of its children ends, and does not look at this one.",
                f"thread {thread.tid} waits for pid {other}{where}",
                f"wait for that other one{ending}; or let its parent collect this one: {let_collect(parent)}",
            )
    return None


def _leader_ended(_zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    if not parent.leader_ended:
        return None
    return Cause(
        "parent-leader-ended",
        "The first thread of its parent has ended, and those that live on do not collect it.",
        f"of its threads {len(parent.threads)} live, the first does not",
        end_parent(parent),
    )


def _lazy_init(_zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    if not parent.is_init:
        return None
    return Cause(
        "init-does-not-reap",
        "Its parent is PID 1 of its PID namespace, which should collect every orphan and does not.",
        f"it has been there for more than {INIT_TRANSIT_S:g} s",
        "start the container with an init that reaps: reaperd init -- COMMAND; "
        f"for now: {let_collect(parent)}",
    )


# --- how the parent treats SIGCHLD ----------------------------------------------------------------------


def _sigwait(_zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    waiting = (thread for thread in parent.threads if takes_signals(thread.call))
    thread = next(waiting, None)
    if thread is None or parent.is_caught or parent.is_ignored:
        return None
    return Cause(
        "sigwait-loop",
        "Its parent takes its signals one by one, and did not collect this child when told.",
        f"thread {thread.tid} sleeps in sigtimedwait",
        end_parent(parent),
    )


def _tell_again(parent: ParentFacts, how_often: str) -> str:
    return f"tell it again{how_often}: kill -CHLD {parent.pid}; if that does not help: {let_collect(parent)}"


def _blocked(_zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    if not parent.threads or not all(thread.is_blocked for thread in parent.threads):
        return None
    reads = " and reads it through a signalfd" if parent.signalfd else ""
    pending = ", and one is pending" if parent.is_pending else ""
    return Cause(
        "sigchld-signalfd" if parent.signalfd else "sigchld-blocked",
        "Its parent holds back the news that a child has ended" + (", and missed it." if reads else "."),
        f"every thread blocks SIGCHLD{reads}{pending}",
        _tell_again(parent, "") if reads and not pending else end_parent(parent),
    )


def _ignored(_zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    if not parent.is_ignored:
        return None
    return Cause(
        "sigchld-ignored-late",
        "Its parent ignores the end of children, but began to only after this one had ended.",
        "SIGCHLD is ignored now: newer children leave no zombies",
        f"{end_parent(parent)}; this zombie does no further harm",
    )


def _caught(zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    if not parent.is_caught:
        return None
    others = f", it has {counted(zombie.siblings, 'more zombie')}" if zombie.siblings else ""
    return Cause(
        "handler-missed",
        "Its parent is told when children end, but collects one for each message, or only those it knows.",
        f"SIGCHLD has a handler{others}",
        _tell_again(parent, ", once for each zombie"),
    )


def _busy(_zombie: ZombieFacts, parent: ParentFacts) -> Cause | None:
    if not all_in(parent, "R"):
        return None
    return Cause(
        "parent-busy",
        "Its parent computes, and has not come to collecting it.",
        "all its threads run",
        f"wait, or {end_parent(parent)}",
    )


def never_waits(parent: ParentFacts) -> Cause:
    """Return the cause where no rule found another."""
    return Cause(
        "parent-never-waits",
        "Its parent does not care for children that have ended.",
        "SIGCHLD is neither blocked in all its threads, nor ignored, nor caught",
        end_parent(parent),
    )


OF_PARENT: Final[tuple[ParentRule, ...]] = (
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
