"""The model in step with the real tree, and who follows it.

Where the machine allows it, the process connector tells of forks, execs and exits: `replay`. What it does not
tell, and what it loses, a look finds. Without it looks are all there is, beside our own forks and reaps,
which whoever makes them brings to the table. Zombies of others are watched by pidfds in both cases: `graves`.

A loss is told once, and covers everything up to the moment when the queue was empty. So after one the queue
is emptied first, unread; then the model is dirty; then everything is looked at, at most once a second; and
what was heard from the moment of emptiness on is followed as usual. Each look may be followed by another
loss: the model is right once it is quiet.

A look is mark and sweep: who was seen is there, who was not is gone. With the connector it goes by the list
of all pids: a walk along the parents may miss an orphan that moves meanwhile, whose children nobody would
hear of afterwards. Without it, the tree is walked, which costs nothing for strangers; and before anybody is
swept who was only missed, it is looked at by its number.
"""

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Final

from reaperd.config.daemon_spec import Track
from reaperd.config.spec import SECOND_NS
from reaperd.errors import KernelError
from reaperd.kernel.procconn import Connector
from reaperd.model import Change, Process, ProcessTable, Reaped, Seen
from reaperd.track import look
from reaperd.track.graves import Graves
from reaperd.track.replay import Replay

RESYNC_NS: Final = SECOND_NS  # at least between the begins of two looks that losses ask for
_MOST_DRAINED: Final = 64  # batches thrown away in one turn

Follower = Callable[[tuple[Change, ...]], None]


def connect(*, wanted: bool) -> tuple[Connector | None, str | None]:
    """Return the process connector, or why there is none."""
    if not wanted:
        return None, "it is switched off"
    try:
        return Connector(), None
    except KernelError as error:
        return None, error.message


@contextmanager
def _without_collections() -> Iterator[None]:
    """Let nothing look for cycles meanwhile: a look makes ten thousand records at once, and no cycle."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Source(Enum):
    """Where the model gets its facts from, beside our own forks and reaps."""

    CONNECTOR = "connector"
    LOOKS = "looks"


@dataclass(frozen=True, slots=True)
class Standing:
    """How well the model knows the real tree: plain data, for whoever tells people.

    Attributes:
        scope: who is followed.
        source: where facts come from.
        why_not: why there is no connector, None where there is one or none was wanted.
        processes: in the model, zombies included.
        zombies: of these, that others have to reap and that are watched.
        messages: heard so far.
        lag_s: how old the latest message was when it was followed; None where none was.
        losses: how many times messages were lost.
        looks: how many times everything was looked at.
        look_s: how long the latest of these took; None where there was none.
        is_dirty: messages were lost, and no look has been taken since.
    """

    scope: Track
    source: Source
    why_not: str | None
    processes: int
    zombies: int
    messages: int
    lag_s: float | None
    losses: int
    looks: int
    look_s: float | None
    is_dirty: bool


class Tracker:
    """Own the model, the connector and the pidfds of others' zombies; close it.

    Attributes:
        table: the model; whoever observes something by itself tells it by `tell(table.observe(...))`.
        graves: the zombies that others have to reap.
    """

    __slots__ = (
        "_connector",
        "_curious",
        "_followers",
        "_has_more",
        "_is_dirty",
        "_is_draining",
        "_lag_ns",
        "_look_ns",
        "_looked_ns",
        "_looks",
        "_losses",
        "_messages",
        "_replay",
        "_scope",
        "_why_not",
        "graves",
        "table",
    )

    def __init__(
        self,
        scope: Track = Track.DESCENDANTS,
        connector: Connector | None = None,
        why_not: str | None = None,
    ) -> None:
        """Begin with this process alone, and below it what a first look finds.

        Args:
            scope: whom to follow; whose orphans are told as adopted is in both cases this process.
            connector: listening already, so that nothing happens between it and the first look.
            why_not: why there is none, for people.
        """
        us = look.read(os.getpid())
        assert us is not None, "this process is running"
        root = Seen(pid=0, ppid=0, pgid=0, sid=0, start_time=0, comm="kernel") if scope is Track.ALL else us
        self.table = ProcessTable(root, us.pid)
        self.graves = Graves()
        self._scope = scope
        self._connector = connector
        self._why_not = why_not
        self._followers: list[Follower] = []
        self._curious: list[Follower] = []  # of passers-by, too
        self._replay = Replay(self.table, self.graves, self.tell)
        self._has_more = False
        self._is_draining = False
        self._is_dirty = False
        self._messages = self._losses = self._looks = 0
        self._lag_ns: int | None = None
        self._look_ns: int | None = None
        self._looked_ns: int | None = None
        self.refresh()
        self.home.set_child_subreaper(True)

    @property
    def home(self) -> Process:
        """This process, in the model."""
        process = self.table.get(self.table.home)
        assert process is not None, "it runs this code"
        return process

    @property
    def fd(self) -> int | None:
        """Polls readable when `hear` has something to do; None without a connector."""
        return None if self._connector is None else self._connector.fd

    @property
    def has_more(self) -> bool:
        """Whether messages were left over when `hear` last had done its share."""
        return self._has_more

    # --- following --------------------------------------------------------------------------------------

    def follow(self, follower: Follower, *, passersby: bool = False) -> None:
        """Call `follower` with what changes, in the order in which it does; it must be quick.

        With `passersby` also of processes that were gone before anybody could look, so that they never were
        in the table; while nobody wants to know, these cost next to nothing.
        """
        self._followers.append(follower)
        if passersby:
            self._curious.append(follower)
            self._replay.wants_passersby = True

    def unfollow(self, follower: Follower) -> None:
        """Call `follower` no more."""
        self._followers.remove(follower)
        if follower in self._curious:
            self._curious.remove(follower)
            self._replay.wants_passersby = bool(self._curious)

    def tell(self, changes: tuple[Change, ...]) -> None:
        """Tell everybody who follows what has changed."""
        if changes:
            if self._connector is not None:
                for change in changes:
                    if isinstance(change, Reaped):
                        self._replay.departed(change.key.pid)
            for follower in self._followers:
                follower(changes)

    # --- hearing ----------------------------------------------------------------------------------------

    def hear(self) -> bool:
        """Follow what the connector tells, as many messages as a read brings; say whether it told anything.

        Raises:
            KernelError: the connector is broken, or no descriptor is left to look at a process.
        """
        if self._connector is None:
            return False
        heard = self._connector.read()
        self._has_more = heard.has_more
        if heard.is_lossy:
            self._losses += 1
            self._is_draining = True
        if self._is_draining:
            self._drain(is_empty=not self._has_more)
            return True
        if not heard.events:
            self._replay.caught_up()
            return False
        self._messages += len(heard.events)
        try:
            self._replay.play(heard.events)
        except KernelError:
            self._is_dirty = True  # what was not followed has to be looked for
            raise
        if not self._has_more:
            self._replay.caught_up()
        self._lag_ns = max(0, time.monotonic_ns() - heard.events[0][2])
        return True

    def _drain(self, *, is_empty: bool) -> None:
        """Throw messages away until there is none: until then more may be lost without another word."""
        assert self._connector is not None
        self._has_more = True
        for _ in range(_MOST_DRAINED):
            if is_empty:
                self._has_more = self._is_draining = False
                self._is_dirty = True
                return
            heard = self._connector.read()
            is_empty = not heard.has_more and not heard.is_lossy

    def bury(self) -> None:
        """Let the zombies go that others have reaped."""
        for key in self.graves.reaped():
            self.tell(self.table.reaped(key))

    # --- looking ----------------------------------------------------------------------------------------

    @property
    def due_ns(self) -> int | None:
        """When a look is due that a loss has made necessary (CLOCK_MONOTONIC); None where none is."""
        if not self._is_dirty:
            return None
        return 0 if self._looked_ns is None else self._looked_ns + RESYNC_NS

    def refresh(self) -> None:
        """Look at everybody in the scope, and bring the model to it: O(processes).

        Raises:
            KernelError: no descriptor is left.
        """
        began_ns = time.monotonic_ns()
        self._looked_ns = began_ns
        with _without_collections():
            seen = self._look()
            self.tell(self.table.snapshot(seen))
            for one in seen:
                if one.is_zombie:
                    self._bury(one)
        self._is_dirty = False
        self._looks += 1
        self._replay.settled_ns = time.monotonic_ns()
        self._look_ns = self._replay.settled_ns - began_ns

    def observe_below(self, top: Process, seen: list[Seen]) -> None:
        """Bring to the model what a walk showed of those below `top`; nobody goes who was only missed."""
        found = {one.pid for one in seen}
        missed = (each.pid for each in self.table.descendants(top) if each.pid not in found)
        look_below = [*seen, *filter(None, map(look.read, missed))]
        self.tell(self.table.observe_subtree(self.table.key(top), look_below))

    def _look(self) -> list[Seen]:
        if self._scope is Track.ALL or self._connector is not None:
            return list(look.everybody())
        seen = list(look.below(self.table.home))
        found = {one.pid for one in seen}
        missed = (process.pid for process in self.table if process.pid not in found)
        return [*seen, *filter(None, map(look.read, missed))]

    def _bury(self, seen: Seen) -> None:
        """Watch a zombie that is not ours to reap, and is not watched yet."""
        process = self.table.at(seen.pid, seen.start_time)
        if process is None or process.parent is None or process.parent.pid == self.table.home:
            return
        if self.graves.is_reaped(seen.pid) is not False and not self.graves.watch(self.table.key(process)):
            self.tell(self.table.reaped(process.pid))

    # --- telling ----------------------------------------------------------------------------------------

    def standing(self) -> Standing:
        """Return how well the model knows the real tree."""
        return Standing(
            self._scope,
            Source.LOOKS if self._connector is None else Source.CONNECTOR,
            self._why_not,
            len(self.table),
            len(self.graves),
            self._messages,
            None if self._lag_ns is None else self._lag_ns / SECOND_NS,
            self._losses,
            self._looks,
            None if self._look_ns is None else self._look_ns / SECOND_NS,
            self._is_dirty or self._is_draining,
        )

    def disconnect(self, why: str) -> None:
        """Go on without the connector, by looks alone, for a reason that people are told."""
        if self._connector is not None:
            self._connector.close()
            self._connector = None
            self._why_not = why
            self._is_draining = False
            self._is_dirty = True

    def close(self) -> None:
        """Close every descriptor."""
        self.graves.close()
        self.disconnect("the daemon is leaving")
