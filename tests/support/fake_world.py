"""A supervisor in a world of plain data: no process, no clock but the test's, no descriptor but closed pipes.

Its children are `ObedientChildren`: programs start at once, and end at a signal unless they are stubborn.
"""

import os
from collections.abc import Iterable
from typing import cast

from reaperd.config.spec import ServiceSpec
from reaperd.loop.poller import Poller, Source
from reaperd.loop.timers import Timers
from reaperd.policy.words import State
from reaperd.supervise.service import Service
from reaperd.supervise.supervisor import Supervisor
from reaperd.supervise.world import Deadline, World
from tests.support.fake_children import ObedientChildren
from tests.support.fake_clock import FakeClock


class FakePoller:
    """Remembers who is watched; everything watched is ready."""

    def __init__(self) -> None:
        self.sources: dict[int, Source] = {}

    def watch(self, fd: int, source: Source, events: int = 0) -> None:
        """Watch."""
        del events
        self.sources[fd] = source

    def drop(self, fd: int) -> None:
        """Watch no more."""
        self.sources.pop(fd, None)


class FakeWorld:
    """A supervisor with its services, and what happens to them."""

    def __init__(self, specs: Iterable[ServiceSpec]) -> None:
        self.clock = FakeClock()
        self.children = ObedientChildren(self.clock)
        self.poller = FakePoller()
        self.timers: Timers[Deadline] = Timers()
        self.log: list[tuple[str, dict[str, object]]] = []
        # Fakes with behaviour, for the parts of the real classes that a supervisor uses.
        children, poller = self.children.as_children(), cast("Poller", self.poller)
        world = World(
            children, poller, self.timers, self.clock, lambda name, /, **keys: self.log.append((name, keys))
        )
        self.supervisor = Supervisor(world)
        for spec in specs:
            self.supervisor.wishes.add(spec)
        self.supervisor.wishes.arrange(list(self.services))

    @property
    def services(self) -> dict[str, Service]:
        """The services by name."""
        return self.supervisor.services

    def states(self) -> dict[str, State]:
        """Return the services' states."""
        return {name: service.run.state for name, service in self.services.items()}

    def turn(self, *, reports: bool = True) -> None:
        """Turn as the loop does, until nothing happens any more."""
        while True:
            before = (self.states(), len(self.log), len(self.children.spawned))
            self.supervisor.collect_exits()
            self.supervisor.due(self.timers.due(self.clock.now_ns))
            if reports:
                for fd, source in list(self.poller.sources.items()):
                    source.ready(fd, 1)
            self.supervisor.settle()
            if before == (self.states(), len(self.log), len(self.children.spawned)):
                return

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(int(seconds * 1e9))
        self.turn()

    def close(self) -> None:
        """Close the reports that nobody read."""
        self.children.close()
        for fd in list(self.poller.sources):
            os.close(fd)
