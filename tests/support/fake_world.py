"""A supervisor in a world of plain data: no process, no clock but the test's, no descriptor but closed pipes.

`FakeChildren` behaves as the kernel would seen from the supervisor: a spawned child is there until the test
ends it; a signal that ends it is delivered at once, unless it is stubborn.
"""

import os
from collections.abc import Iterable
from typing import cast

from reaperd.children.child import StageFailed
from reaperd.children.children import Adopted, Children, Ended
from reaperd.children.fork import Forked
from reaperd.children.plan import Descriptors
from reaperd.children.sweep import Progress
from reaperd.config.spec import ServiceSpec
from reaperd.loop.poller import Poller, Source
from reaperd.loop.timers import Timers
from reaperd.policy.words import State
from reaperd.supervise.service import Service
from reaperd.supervise.supervisor import Supervisor
from reaperd.supervise.world import Deadline, World
from tests.support.fake_clock import FakeClock


class FakeChildren:
    """Children as names: who is there, who was spawned in which order, who died."""

    emptied_fd = None

    def __init__(self) -> None:
        self.pid_of: dict[str, int] = {}  # by run
        self.name_of: dict[str, str] = {}
        self.spawned: list[str] = []
        self.signalled: list[str] = []
        self.stubborn: set[str] = set()  # services that no signal but SIGKILL ends
        self.undead: set[str] = set()  # nor that
        self.missing: set[str] = set()  # services whose program is not there
        self._ended: list[Ended] = []
        self._next_pid = 100

    def spawn(self, spec: ServiceSpec, run_id: str, descriptors: Descriptors = ()) -> Forked | StageFailed:
        """Start a child whose exec works at once, or fails at once."""
        del descriptors
        assert spec.name not in {self.name_of[run] for run in self.pid_of}, f"{spec.name} runs twice"
        self.spawned.append(spec.name)
        if spec.name in self.missing:
            return StageFailed("fork", 11)
        self._next_pid += 1
        self.pid_of[run_id], self.name_of[run_id] = self._next_pid, spec.name
        read_fd, write_fd = os.pipe()
        os.close(write_fd)
        return Forked(self._next_pid, read_fd)

    def know_identities(self, specs: Iterable[ServiceSpec]) -> None:
        """Nobody here is another user."""

    def end(self, run_id: str, status: int) -> None:
        """Let a child end, with this wait status."""
        pid = self.pid_of.pop(run_id)
        self._ended.append(Ended(pid, None, run_id, status, 0))

    def end_service(self, name: str, status: int) -> None:
        """Let the main process of a service end."""
        self.end(next(run for run in self.pid_of if self.name_of[run] == name), status)

    def names(self) -> list[str]:
        """Return the services that have a process."""
        return [self.name_of[run] for run in self.pid_of]

    def change_shares(self, run_id: str, old: ServiceSpec, new: ServiceSpec) -> None:
        """Have nothing to share."""

    def unlimited(self, run_id: str) -> str | None:
        """Find nothing amiss."""
        del run_id
        return None

    def apply(self) -> list[Ended]:
        """Return who died."""
        ended, self._ended = self._ended, []
        return ended

    def adopt(self) -> list[Adopted]:
        """Nobody is ever orphaned here."""
        return []

    def is_empty(self, run_id: str) -> bool:
        """Tell whether a run's only process is gone, and has been applied."""
        return run_id not in self.pid_of and all(ended.run_id != run_id for ended in self._ended)

    def ended(self, run_id: str) -> None:
        """Forget a run."""
        self.name_of.pop(run_id, None)

    def signal(self, run_id: str, number: int) -> None:
        """End a child, unless it does not care."""
        if run_id in self.pid_of:
            self.signalled.append(self.name_of[run_id])
            if self.name_of[run_id] not in self.stubborn | self.undead:
                self.end(run_id, number)

    def signal_main(self, pid: int, number: int, *, group: bool) -> None:
        """The same for a main process."""
        del group
        self.signal(next(run for run in self.pid_of if self.pid_of[run] == pid), number)

    def kill(self, run_id: str) -> Progress:
        """End a child for good, unless the kernel does not let it go."""
        if run_id in self.pid_of and self.name_of[run_id] not in self.undead:
            self.end(run_id, 9)
        return Progress.KILLED


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
        self.children = FakeChildren()
        self.poller = FakePoller()
        self.timers: Timers[Deadline] = Timers()
        self.log: list[tuple[str, dict[str, object]]] = []
        # Fakes with behaviour, for the parts of the real classes that a supervisor uses.
        children, poller = cast("Children", self.children), cast("Poller", self.poller)
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
        for fd in list(self.poller.sources):
            os.close(fd)
