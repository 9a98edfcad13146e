"""Which remedies a zombie allows, gentlest first, and what to say before each: pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from reaperd.zombies.scan import Zombie


class Method(StrEnum):
    """What can be asked for."""

    AUTO = "auto"
    NUDGE = "nudge"
    INJECT = "inject"
    GDB = "gdb"
    ADOPT = "adopt"


class Offer(StrEnum):
    """What lets a parent that cannot run go on by itself."""

    CONTINUE = "continue"
    THAW = "thaw"
    END_TRACER = "end-tracer"


@dataclass(frozen=True, slots=True)
class Rung:
    """One remedy.

    Attributes:
        method: what is done.
        actor: the pid that it is done to.
        says: what is about to be done, as a sentence.
        risk: what can go wrong, or what it costs.
    """

    method: Method
    actor: int
    says: str
    risk: str


@dataclass(frozen=True, slots=True)
class Way:
    """What can be done about a zombie.

    Attributes:
        rungs: in the order in which they are tried.
        offer: what would help without any of them, to be offered first.
        refusal: why nothing is done without that; None where the rungs may be tried.
    """

    rungs: tuple[Rung, ...] = ()
    offer: Offer | None = None
    refusal: str | None = None


_OFFERS: Final = {
    "parent-stopped": Offer.CONTINUE,
    "parent-frozen": Offer.THAW,
    "parent-traced": Offer.END_TRACER,
    "held-by-tracer": Offer.END_TRACER,
}
_HOPELESS: Final = frozenset({"parent-outside"})
_CANNOT_RUN: Final = frozenset({"parent-frozen", "parent-traced", "parent-in-vfork"})
_HEARS: Final = frozenset({"handler-missed", "sigchld-signalfd"})


def way_of(zombie: Zombie, method: Method, *, has_gdb: bool, knows_registers: bool) -> Way:
    """Return what can be done about a zombie by `method`.

    `has_gdb` and `knows_registers` say what this machine allows: gdb comes by itself only where injection
    cannot.
    """
    cause = zombie.cause
    if not cause.is_leak or cause.name in _HOPELESS:
        return Way(refusal=f"{cause.sentence} What helps: {cause.advice}")
    offer = _OFFERS.get(cause.name)
    if method is Method.ADOPT:
        return Way((_adopt(zombie),), offer)
    if cause.name in _CANNOT_RUN:
        return Way(offer=offer, refusal=f"{cause.sentence} What helps: {cause.advice}")
    return Way(tuple(_rungs(zombie, method, has_gdb=has_gdb, knows_registers=knows_registers)), offer)


def _rungs(zombie: Zombie, method: Method, *, has_gdb: bool, knows_registers: bool) -> Sequence[Rung]:
    actors = [*([zombie.tracer] if zombie.tracer else []), zombie.ppid]  # a tracer has to collect first
    if method is Method.NUDGE:
        return [_nudge(zombie)]
    if method is Method.INJECT:
        return [_inject(actor) for actor in actors]
    if method is Method.GDB:
        return [_gdb(actor) for actor in actors]
    gentle = [_nudge(zombie)] if zombie.cause.name in _HEARS else []
    if knows_registers:
        return [*gentle, *(_inject(actor) for actor in actors)]
    return [*gentle, *(_gdb(actor) for actor in actors if has_gdb)]


def _nudge(zombie: Zombie) -> Rung:
    return Rung(
        Method.NUDGE,
        zombie.ppid,
        f"send SIGCHLD to process {zombie.ppid}, once for each zombie",
        "a program that takes every SIGCHLD for the end of a child of its own may be confused",
    )


def _inject(actor: int) -> Rung:
    return Rung(
        Method.INJECT,
        actor,
        f"stop one thread of process {actor} for some milliseconds and let it call wait4",
        "it never learns this exit status: Python's Popen reports 0, libuv never emits 'exit'; a call that "
        "never restarts (epoll_wait, sigtimedwait, semop, recv with a timeout) may wait up to one more full "
        "timeout",
    )


def _gdb(actor: int) -> Rung:
    return Rung(
        Method.GDB,
        actor,
        f"stop process {actor} with gdb and let it call waitpid",
        "all its threads stand still for up to a second, sleeping calls may end with errors, and a "
        "seccomp filter against wait4 kills it; it never learns this exit status",
    )


def _adopt(zombie: Zombie) -> Rung:
    return Rung(
        Method.ADOPT,
        zombie.ppid,
        f"end process {zombie.ppid}, by SIGTERM and then SIGKILL",
        "its other children get another parent; if it is the init of a container, the container ends",
    )
