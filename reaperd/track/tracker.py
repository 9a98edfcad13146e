"""The model in step with the real tree, and who follows it.

Where the machine allows it, the process connector tells of forks, execs and exits: `replay`. What it does not
tell, and what it loses, a look finds. Without it looks are all there is, beside our own forks and reaps,
which whoever makes them brings to the table. Zombies of others are watched by pidfds in both cases: `graves`.

Where messages were lost, and the rest of them thrown away (`hearing`), the model is dirty; then everything is
looked at, at most once a second. Each look may be followed by another loss: the model is right once it is
quiet.

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
from typing import Final

from reaperd.config.daemon_spec import Track
from reaperd.config.spec import SECOND_NS
from reaperd.errors import KernelError
from reaperd.kernel.procconn import Connector
from reaperd.model import Change, Process, ProcessTable, Reaped, Seen
from reaperd.track import look
from reaperd.track.graves import Graves
from reaperd.track.hearing import Hearing
from reaperd.track.replay import Replay
from reaperd.track.standing import Source, Standing

RESYNC_NS: Final = SECOND_NS  # at least between the begins of two looks that losses ask for

Follower = Callable[[tuple[Change, ...]], None]


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


class Tracker:
    """Own the model, the connector and the pidfds of others' zombies; close it.

    Attributes:
        table: the model; whoever observes something by itself tells it by `tell(table.observe(...))`.
        graves: the zombies that others have to reap.
    """

    __slots__ = (
        "_curious",
        "_followers",
        "_hearing",
        "_is_dirty",
        "_look_ns",
        "_looked_ns",
        "_looks",
        "_replay",
        "_scope",
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
        self._hearing = Hearing(connector, why_not)
        self._followers: list[Follower] = []
        self._curious: list[Follower] = []  # of passers-by, too
        self._replay = Replay(self.table, self.graves, self.tell)
        self._is_dirty = False
        self._looks = 0
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
        connector = self._hearing.connector
        return None if connector is None else connector.fd

    @property
    def has_more(self) -> bool:
        """Whether messages were left over when `hear` last had done its share."""
        return self._hearing.has_more

    # --- following --------------------------------------------------------------------------------------

    def follow(self, follower: Follower, *, passersby: bool = False) -> None:
        """Call `follower` with what changes, in the order in which it does; it must be quick.

        With `passersby` also of processes that were gone before anybody could look, so that they never were
        in the table; while nobody wants to know, these cost next to nothing.
        """
        self._followers.append(follower)
        if passersby:
            self._curious.append(follower)
            self._replay.passersby.are_wanted = True

    def unfollow(self, follower: Follower) -> None:
        """Call `follower` no more."""
        self._followers.remove(follower)
        if follower in self._curious:
            self._curious.remove(follower)
            self._replay.passersby.are_wanted = bool(self._curious)

    def tell(self, changes: tuple[Change, ...]) -> None:
        """Tell everybody who follows what has changed."""
        if changes:
            if self._hearing.connector is not None:
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
        events = self._hearing.read()
        if events is None:
            self._is_dirty = self._is_dirty or not self._hearing.is_draining
            return True
        if not events:
            self._replay.caught_up()
            return False
        try:
            self._replay.play(events)
        except KernelError:
            self._is_dirty = True  # what was not followed has to be looked for
            raise
        if not self._hearing.has_more:
            self._replay.caught_up()
        self._hearing.followed(events)
        return True

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
        if self._scope is Track.ALL or self._hearing.connector is not None:
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
        hearing = self._hearing
        return Standing(
            self._scope,
            Source.LOOKS if hearing.connector is None else Source.CONNECTOR,
            hearing.why_not,
            len(self.table),
            len(self.graves),
            hearing.messages,
            None if hearing.lag_ns is None else hearing.lag_ns / SECOND_NS,
            hearing.losses,
            self._looks,
            None if self._look_ns is None else self._look_ns / SECOND_NS,
            self._is_dirty or hearing.is_draining,
        )

    def disconnect(self, why: str) -> None:
        """Go on without the connector, by looks alone, for a reason that people are told."""
        self._is_dirty = self._hearing.end(why) or self._is_dirty

    def close(self) -> None:
        """Close every descriptor."""
        self.graves.close()
        self.disconnect("the daemon is leaving")
