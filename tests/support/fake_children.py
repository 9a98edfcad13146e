"""Children without processes: pids are numbers, and what happens to them is what a test says.

The report of a child on its way to its program is a real pipe, so that a real poller can watch it.
"""

import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import cast

from reaperd.children.child import STAGES, StageFailed
from reaperd.children.children import Adopted, Children, Ended
from reaperd.children.fork import Forked
from reaperd.children.plan import Descriptors
from reaperd.children.sweep import Progress
from reaperd.config.spec import ServiceSpec
from reaperd.track.tracker import Tracker


@dataclass(slots=True)
class FakeChild:
    """One process that is our child."""

    pid: int
    run_id: str | None
    name: str | None = None  # None for a main process
    report: int | None = None  # the write end, until the exec has worked or failed
    service: str | None = None  # whose main process it is
    signals: list[int] = field(default_factory=list)


class FakeChildren:
    """Behaves as `Children` towards a supervisor.

    Attributes:
        alive: by pid.
        forks: the spec of each fork so far.
        refusal: what the next forks fail with.
        immortal: SIGKILL ends nobody.
        kill_says: how far a kill comes.
    """

    emptied_fd = None

    def __init__(self, clock: Callable[[], int]) -> None:
        self.alive: dict[int, FakeChild] = {}
        self.forks: list[ServiceSpec] = []
        self.refusal: StageFailed | Exception | None = None
        self.immortal = False
        self.kill_says = Progress.KILLED
        self.ended_runs: list[str] = []
        self._clock = clock
        self._pids = count(100)
        self._reaped: list[Ended] = []
        self.known: list[ServiceSpec] = []  # whose users were looked up latest
        self.told: set[str] = set()  # runs whose tree as a whole got a signal
        self._adopted: list[Adopted] = []

    @cached_property
    def tracker(self) -> Tracker:
        """The real picture of this process and its children: none of those made here is in it."""
        return Tracker()

    def as_children(self) -> Children:
        """Return this for whoever wants the real ones."""
        return cast("Children", self)

    # --- what a test does -------------------------------------------------------------------------------

    def exec_works(self, pid: int) -> None:
        """Close the report, as a successful exec does."""
        child = self.alive[pid]
        if child.report is not None:
            os.close(child.report)
            child.report = None

    def exec_fails(self, pid: int, stage: str = "exec", number: int = errno.ENOENT) -> None:
        """Report a stage, then leave."""
        report = self.alive[pid].report
        assert report is not None
        os.write(report, STAGES.index(stage).to_bytes(4, "little") + number.to_bytes(4, "little"))
        self.dies(pid, 127 << 8)

    def dies(self, pid: int, status: int = 0) -> None:
        """End and reap a process."""
        self.exec_works(pid)
        child = self.alive.pop(pid)
        self._reaped.append(Ended(pid, child.name, child.run_id, status, self._clock()))

    def orphan(self, run_id: str | None, name: str = "stray") -> int:
        """Let an orphan come to us."""
        pid = next(self._pids)
        self.alive[pid] = FakeChild(pid, run_id, name)
        self._adopted.append(Adopted(pid, name, run_id))
        return pid

    def close(self) -> None:
        """Let go of every report."""
        for pid in list(self.alive):
            self.exec_works(pid)

    # --- what a supervisor calls ------------------------------------------------------------------------

    def spawn(self, spec: ServiceSpec, run_id: str, descriptors: Descriptors = ()) -> Forked | StageFailed:
        """Fork, or fail as the test wants."""
        del descriptors
        if isinstance(self.refusal, Exception):
            raise self.refusal
        if self.refusal is not None:
            return self.refusal
        assert not any(child.run_id == run_id for child in self.alive.values()), "a run has one main process"
        self.forks.append(spec)
        read_fd, write_fd = os.pipe()
        os.set_blocking(read_fd, False)
        child = FakeChild(next(self._pids), run_id, report=write_fd, service=spec.name)
        self.alive[child.pid] = child
        return Forked(child.pid, read_fd)

    def know_identities(self, specs: Iterable[ServiceSpec]) -> None:
        """Take note that users may have changed."""
        self.known = list(specs)

    def change_shares(self, run_id: str, old: ServiceSpec, new: ServiceSpec) -> None:
        """Have nothing to share."""

    def unlimited(self, run_id: str) -> str | None:
        """Find nothing amiss."""
        del run_id
        return None

    def apply(self) -> list[Ended]:
        """Return who died."""
        reaped, self._reaped = self._reaped, []
        return reaped

    def adopt(self) -> list[Adopted]:
        """Return who came."""
        adopted, self._adopted = self._adopted, []
        return adopted

    def is_empty(self, run_id: str) -> bool:
        """Tell whether nobody of a run is left."""
        return not self._of(run_id)

    def ended(self, run_id: str) -> None:
        """Note that a run is forgotten; that can only be once nobody of it is left."""
        assert self.is_empty(run_id)
        self.ended_runs.append(run_id)

    def signal(self, run_id: str, number: int) -> None:
        """Note the signal at each process of the run."""
        self.told.add(run_id)
        for child in self._of(run_id):
            child.signals.append(number)

    def signal_main(self, pid: int, number: int, *, group: bool) -> None:
        """Note the signal at a main process."""
        del group
        self.alive[pid].signals.append(number)

    def signal_newcomers(self, run_id: str, number: int) -> None:
        """Note it at each one that has not got it yet, if the tree has."""
        for child in self._of(run_id) if run_id in self.told else ():
            if number not in child.signals:
                child.signals.append(number)

    def kill(self, run_id: str) -> Progress:
        """Kill a run's tree as far as the test lets it."""
        return self._kill(self._of(run_id))

    def kill_everybody(self) -> Progress:
        """Kill everybody as far as the test lets it."""
        return self._kill(list(self.alive.values()))

    def everybody(self) -> list[FakeChild]:
        """Return who lives; as a line of /proc each has a pid."""
        return list(self.alive.values())

    def signal_everybody(self, number: int, *, but: Iterable[str] = ()) -> None:
        """Note the signal at everybody, `but` at some runs."""
        spared = set(but)
        for child in self.alive.values():
            if child.run_id not in spared:
                child.signals.append(number)

    def signal_unclaimed(self, number: int) -> None:
        """Note the signal at who belongs to no run."""
        for child in self.alive.values():
            if child.run_id is None:
                child.signals.append(number)

    def nobody_left(self) -> bool:
        """Tell whether nobody lives."""
        return not self.alive

    def _of(self, run_id: str) -> list[FakeChild]:
        return [child for child in self.alive.values() if child.run_id == run_id]

    def _kill(self, children: list[FakeChild]) -> Progress:
        if self.kill_says is Progress.KILLED and not self.immortal:
            for child in children:
                self.dies(child.pid, 9)
        return self.kill_says


class ObedientChildren(FakeChildren):
    """Programs that start at once, and end at the first signal: services are told by their names.

    Attributes:
        stubborn: services that no signal but SIGKILL ends.
        undead: nor that.
        missing: services whose program is not there.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__(clock)
        self.stubborn: set[str] = set()
        self.undead: set[str] = set()
        self.missing: set[str] = set()

    @property
    def spawned(self) -> list[str]:
        """The services that were forked so far, and those that could not be."""
        return [spec.name for spec in self.forks]

    def names(self) -> list[str]:
        """Return the services that have a process."""
        return [child.service for child in self.alive.values() if child.service is not None]

    def end_service(self, name: str, status: int) -> None:
        """Let the main process of a service end."""
        self.dies(next(pid for pid, child in self.alive.items() if child.service == name), status)

    def spawn(self, spec: ServiceSpec, run_id: str, descriptors: Descriptors = ()) -> Forked | StageFailed:
        """Start a child whose exec works at once, or fails at once."""
        assert spec.name not in self.names(), f"{spec.name} runs twice"
        if spec.name in self.missing:
            self.forks.append(spec)
            return StageFailed("fork", errno.EAGAIN)
        forked = super().spawn(spec, run_id, descriptors)
        if isinstance(forked, Forked):
            self.exec_works(forked.pid)
        return forked

    def signal(self, run_id: str, number: int) -> None:
        """End a child, unless it does not care."""
        super().signal(run_id, number)
        self._obey(self._of(run_id), number)

    def signal_main(self, pid: int, number: int, *, group: bool) -> None:
        """The same for a main process."""
        super().signal_main(pid, number, group=group)
        self._obey([self.alive[pid]], number)

    def _obey(self, children: Iterable[FakeChild], number: int) -> None:
        for child in children:
            if child.service not in self.stubborn | self.undead:
                self.dies(child.pid, number)

    def _kill(self, children: list[FakeChild]) -> Progress:
        """End children for good, unless the kernel does not let them go."""
        return super()._kill([child for child in children if child.service not in self.undead])
