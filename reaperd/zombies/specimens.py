"""Real zombies, orphans and living controls, one of each kind that a scan can tell apart.

Each body is a parent: it makes what it is about, says who plays which part, and goes on as its kind does.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from reaperd.zombies import isolated, posed_careless, posed_controls, posed_unable
from reaperd.zombies.keeper import Body, kept


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of specimen.

    Attributes:
        summary: what it is, for the list.
        cause: the name that a scan gives it once it is old enough; None for controls, which leave no zombie.
        body: makes it.
        is_inside: only who looks from inside of its PID namespace sees that cause.
    """

    summary: str
    cause: str | None
    body: Body
    is_inside: bool = False


KINDS: Final[Mapping[str, Kind]] = {
    "never-waits": Kind("a parent that never waits", "parent-never-waits", posed_careless.never_waits),
    "blocked": Kind("a parent that blocks SIGCHLD", "sigchld-blocked", posed_careless.blocks),
    "signalfd": Kind(
        "a parent that reads a signalfd and does not wait",
        "sigchld-signalfd",
        posed_careless.reads_a_signalfd,
    ),
    "sigwait": Kind(
        "a parent that takes signals one by one and does not wait",
        "sigwait-loop",
        posed_careless.takes_signals,
    ),
    "handler-once": Kind(
        "a handler that waits once per signal", "handler-missed", posed_careless.waits_once_per_signal
    ),
    "handler-own": Kind(
        "a handler that looks for its own pids only", "handler-missed", posed_careless.knows_its_own_only
    ),
    "ignored-late": Kind(
        "SIGCHLD ignored after the child had ended", "sigchld-ignored-late", posed_careless.ignores_too_late
    ),
    "stopped": Kind("a parent that is stopped", "parent-stopped", posed_unable.stopped),
    "traced": Kind("a parent that is held by a tracer", "parent-traced", posed_unable.traced),
    "frozen": Kind("a parent in a frozen cgroup (root)", "parent-frozen", isolated.frozen_v2),
    "frozen-v1": Kind("a parent in a frozen cgroup of version 1 (root)", "parent-frozen", isolated.frozen_v1),
    "dumps-core": Kind("a parent that dumps core", "parent-dumps-core", posed_unable.dumps_core),
    "vfork": Kind("a parent that sleeps in vfork", "parent-in-vfork", posed_unable.in_vfork),
    "waits-for-another": Kind(
        "a parent that waits for another child", "waits-for-another", posed_careless.waits_for_another
    ),
    "busy": Kind("a parent that computes", "parent-busy", posed_careless.computes),
    "clone-child": Kind("a child that ends without SIGCHLD", "clone-child", posed_careless.clone_child),
    "own-thread": Kind(
        "a thread that waits for its own children", "waits-for-own-thread", posed_careless.waits_for_its_own
    ),
    "leader-ended": Kind(
        "a parent whose first thread has ended", "parent-leader-ended", posed_careless.leader_ends
    ),
    "dead-leader": Kind(
        "a process whose first thread has ended: no zombie", "dead-leader", posed_careless.dead_leader
    ),
    "held": Kind("a zombie that a tracer does not wait for", "held-by-tracer", posed_unable.held_by_a_tracer),
    "thread-held": Kind(
        "a zombie with a thread that a tracer holds", "held-by-tracer", posed_unable.thread_held_by_a_tracer
    ),
    "lazy-init": Kind(
        "an init that does not reap, in a PID namespace", "init-does-not-reap", isolated.lazy_init
    ),
    "outside": Kind(
        "a zombie in a PID namespace whose parent is outside", "parent-never-waits", isolated.outside
    ),
    "entered": Kind(
        "a zombie of who entered a PID namespace, seen from inside",
        "parent-outside",
        isolated.entered,
        is_inside=True,
    ),
    "held-up": Kind("a zombie that keeps a container from ending", "holds-up-namespace", isolated.held_up),
    "orphan": Kind("a living process that has lost its parent", None, posed_controls.orphan),
    "waits": Kind("control: a parent that waits", None, posed_controls.waits),
    "polls": Kind(
        "control: a parent that polls with WNOHANG; zombies in transit", None, posed_controls.polls
    ),
    "handler-loops": Kind(
        "control: a handler that waits until nobody is left", None, posed_controls.handler_loops
    ),
    "ignores": Kind("control: a parent that ignores SIGCHLD", None, posed_controls.ignores),
    "nocldwait": Kind("control: a parent with SA_NOCLDWAIT", None, posed_controls.nocldwait),
}


def looked_at(name: str, roles: Mapping[str, Sequence[int]]) -> tuple[str, ...]:
    """Return the words before a command that is to see a specimen by its cause: nsenter(1)."""
    if not KINDS[name].is_inside:
        return ()
    return ("nsenter", "--target", str(roles["init"][0]), "--mount", "--pid")


@contextmanager
def specimen(name: str) -> Iterator[dict[str, list[int]]]:
    """Make one specimen, yield the pids of who plays which part ("parent", "zombie", ...), and clean up.

    The calling process keeps it: it becomes a subreaper meanwhile, and should not do much else.

    Raises:
        RuntimeError: it cannot be made here; its own process has said why on standard error.
    """
    with kept(KINDS[name].body, isolated.thaw, isolated.remove_cgroups) as roles:
        yield roles
