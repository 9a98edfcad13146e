"""Clear zombies of others: gentlest remedy first, each checked before and judged by a second look after.

Nothing counts as a success but that the zombie, by pid and start time, is there no more. Whoever asks for
remedies decides by `Voice` what is said and what may be done.
"""

import os
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, assert_never

from reaperd.zombies import acts
from reaperd.zombies.acts import NotDone
from reaperd.zombies.ladder import Method, Offer, Rung, Way, way_of
from reaperd.zombies.scan import Zombie

_KNOWN_MACHINES: Final = frozenset({"x86_64", "aarch64"})
_SETTLE_S: Final = 0.2  # a reap that was told as done is done; init may take longer to take over


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for.

    Attributes:
        method: by which remedy, or the gentlest that helps.
        may_inject: whether a process may be stopped to make calls of ours.
        force: whether risks that were refused are taken.
        within_s: how long a process may take to answer.
    """

    method: Method = Method.AUTO
    may_inject: bool = False
    force: bool = False
    within_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one zombie.

    Attributes:
        zombie: as it was found.
        is_gone: what the second look says.
        by: the remedy after which it was gone; None where it went by itself, or stayed.
        tried: every remedy that was tried.
        why: why it is still there, as a sentence.
        hint: what to do about it.
    """

    zombie: Zombie
    is_gone: bool
    by: Method | Offer | None = None
    tried: tuple[Method, ...] = ()
    why: str | None = None
    hint: str | None = None


class Voice(Protocol):
    """Whom we tell and ask."""

    def tell(self, text: str) -> None:
        """Say what is about to be done."""

    def agrees(self, question: str) -> bool:
        """Return whether to end a process, of which the question says all there is to know."""

    def wants(self, offer: Offer, question: str) -> bool:
        """Return whether to let a parent go on by itself."""


def clear(zombies: Iterable[Zombie], wish: Wish, voice: Voice) -> list[Outcome]:
    """Clear zombies and return what became of each, in their order."""
    groups: dict[tuple[int, int, str], list[Zombie]] = {}
    for zombie in zombies:
        groups.setdefault((zombie.ppid, zombie.tracer, zombie.cause.name), []).append(zombie)
    return [outcome for group in groups.values() for outcome in _clear_alike(group, wish, voice)]


def plan(zombies: Iterable[Zombie], wish: Wish) -> list[tuple[Zombie, Way]]:
    """Return, for each zombie, what would be tried, or why nothing would be; nothing is done."""
    return [(zombie, _way(zombie, wish)) for zombie in zombies]


def offered(offer: Offer, zombie: Zombie) -> str:
    """Return what an offer comes to, as half a sentence."""
    match offer:
        case Offer.CONTINUE:
            return f"let process {zombie.ppid} go on (SIGCONT)"
        case Offer.THAW:
            return f"thaw the cgroup of process {zombie.ppid}"
        case Offer.END_TRACER:
            return f"end the tracer, process {_tracer(zombie)}"
        case _:
            assert_never(offer)


def _way(zombie: Zombie, wish: Wish) -> Way:
    return way_of(
        zombie,
        wish.method,
        has_gdb=shutil.which("gdb") is not None,
        knows_registers=os.uname().machine in _KNOWN_MACHINES,
    )


def _clear_alike(group: Sequence[Zombie], wish: Wish, voice: Voice) -> list[Outcome]:
    """Clear zombies of one parent and one cause: what helps one helps all."""
    first = group[0]
    way = _way(first, wish)
    if way.offer is not None and _accepted(way.offer, first, wish, voice):
        _settle(group, wish.within_s)
        if not _left(group):
            return [Outcome(zombie, is_gone=True, by=way.offer) for zombie in group]
    if way.refusal is not None:
        return [_seen(zombie, why=way.refusal) for zombie in group]
    if not way.rungs:
        return [_seen(zombie, why=f"nothing is known to help: {first.cause.advice}") for zombie in group]
    return _Climb(group, wish, voice).up(way.rungs)


def _accepted(offer: Offer, zombie: Zombie, wish: Wish, voice: Voice) -> bool:
    """Offer the parent's own cure and carry it out where it is wanted."""
    try:
        if not voice.wants(offer, offered(offer, zombie)):
            return False
        match offer:
            case Offer.CONTINUE:
                acts.let_continue(zombie.ppid)
            case Offer.THAW:
                acts.thaw(zombie.ppid)
            case Offer.END_TRACER:
                acts.end(acts.target_of(_tracer(zombie)), wish.within_s)
            case _:
                assert_never(offer)
    except NotDone as error:
        voice.tell(f"not done: {error}")
        return False
    return True


def _tracer(zombie: Zombie) -> int:
    return zombie.tracer or acts.tracer_of(zombie.ppid)


class _Climb:
    """One group of zombies on its way up the ladder."""

    def __init__(self, group: Sequence[Zombie], wish: Wish, voice: Voice) -> None:
        self._group, self._wish, self._voice = group, wish, voice
        self._cleared: dict[int, Method | None] = {}
        self._tried: list[Method] = []
        self._why: str | None = None
        self._hint: str | None = None

    def up(self, rungs: Sequence[Rung]) -> list[Outcome]:
        """Try one rung after the other while zombies are left."""
        for rung in rungs:
            left = self._look(None)
            if not left or not self._may(rung):
                break
            self._voice.tell(f"{self._named(left)}: {rung.says} ({rung.risk})")
            self._tried.append(rung.method)
            self._why = self._hint = None
            try:
                self._carry_out(rung, left)
            except NotDone as error:
                self._why, self._hint = str(error), error.hint
            self._look(rung.method)
        return [self._outcome(zombie) for zombie in self._group]

    def _may(self, rung: Rung) -> bool:
        if rung.method in (Method.INJECT, Method.GDB) and not self._wish.may_inject:
            self._why = "what would help next stops a thread of its parent, which has to be asked for"
            self._hint = (
                f"reaperd reap --parent {self._group[0].ppid} --method {rung.method}: it would {rung.says}"
            )
            return False
        if rung.method is Method.ADOPT and not self._voice.agrees(f"End {acts.what_ends_with(rung.actor)}?"):
            self._why = "ending its parent was not agreed to"
            return False
        return True

    def _carry_out(self, rung: Rung, left: Sequence[Zombie]) -> None:
        target = acts.target_of(rung.actor)
        known = left[0].parent
        if rung.actor == left[0].ppid and known is not None and known.start_time != target.start_time:
            raise NotDone(f"process {rung.actor} is another one by now")
        match rung.method:
            case Method.NUDGE:
                acts.nudge(target, left, self._wish.within_s)
            case Method.INJECT:
                acts.inject(target, left, self._wish.within_s, force=self._wish.force)
            case Method.GDB:
                acts.debug(target, left, force=self._wish.force)
            case Method.ADOPT:
                acts.end(target, self._wish.within_s)
                _settle(left, self._wish.within_s)
            case Method.AUTO:
                raise AssertionError("no remedy is called auto")
            case _:
                assert_never(rung.method)

    def _look(self, method: Method | None) -> list[Zombie]:
        """Look at those not yet cleared, note which are gone by now, and return the others."""
        if method is not None:
            _settle(self._group, _SETTLE_S)
        for zombie in self._group:
            if zombie.pid not in self._cleared and not acts.is_still(zombie):
                self._cleared[zombie.pid] = method
        return [zombie for zombie in self._group if zombie.pid not in self._cleared]

    def _named(self, zombies: Sequence[Zombie]) -> str:
        return f"zombie {zombies[0].pid}" if len(zombies) == 1 else f"{len(zombies)} zombies"

    def _outcome(self, zombie: Zombie) -> Outcome:
        tried = tuple(self._tried)
        if zombie.pid in self._cleared:
            return Outcome(zombie, is_gone=True, by=self._cleared[zombie.pid], tried=tried)
        why = self._why or f"it is still there after {', '.join(tried)}"
        hint = self._hint
        if hint is None and self._wish.method is Method.NUDGE:
            hint = f"reaperd reap {zombie.pid} --yes lets its parent collect it"
        return Outcome(zombie, is_gone=False, tried=tried, why=why, hint=hint)


def _seen(zombie: Zombie, *, why: str) -> Outcome:
    is_gone = not acts.is_still(zombie)
    return Outcome(zombie, is_gone=is_gone, why=None if is_gone else why)


def _left(group: Iterable[Zombie]) -> list[Zombie]:
    return [zombie for zombie in group if acts.is_still(zombie)]


def _settle(group: Sequence[Zombie], within_s: float) -> None:
    """Wait until none is left, at most so long: init and thawed parents need a moment."""
    deadline = time.monotonic() + within_s
    while _left(group) and time.monotonic() < deadline:
        time.sleep(0.02)
