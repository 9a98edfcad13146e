"""All children of the daemon: fork them, apply what the handler reaped, adopt orphans, end whole trees."""

from dataclasses import dataclass

from reaperd.children import sweep
from reaperd.children.child import StageFailed
from reaperd.children.family import GONE, Family
from reaperd.children.fork import Forked, fork
from reaperd.children.plan import Inheritance, make_plan
from reaperd.children.reaper import Reaped, Reaper
from reaperd.children.reserve import Reserve
from reaperd.children.sweep import Progress, Sweep
from reaperd.config.spec import ServiceSpec
from reaperd.kernel import fds, procfs, wait
from reaperd.kernel.procfs import Stat


@dataclass(frozen=True, slots=True)
class Ended:
    """A child that has been reaped.

    Attributes:
        pid: as it was; free for another process by now.
        name: its command name, None for a child that we forked.
        run_id: the run it belonged to, None for an unclaimed orphan.
        status: the raw wait status.
        at_ns: CLOCK_MONOTONIC.
    """

    pid: int
    name: str | None
    run_id: str | None
    status: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Adopted:
    """An orphan that is now our child."""

    pid: int
    name: str
    run_id: str | None


class Children:
    """Own every child, its pidfd and the knowledge of whose it is."""

    __slots__ = ("_family", "_inherited", "_null_fd", "_reserve", "_sweeps", "_told", "reaper")

    def __init__(self, inherited: Inheritance) -> None:
        self.reaper = Reaper()
        self._family = Family()
        self._inherited = inherited
        self._null_fd = fds.open_null()
        self._reserve = Reserve(self._null_fd)
        self._sweeps: dict[str, Sweep] = {}
        self._told: dict[str, set[tuple[int, int]]] = {}  # by run: who got its latest signal

    def spawn(self, spec: ServiceSpec, run_id: str) -> Forked | StageFailed:
        """Fork the main process of a new run.

        Raises:
            ReaperdError: the service's user or group does not exist (any more).
        """

        def register(pid: int, pidfd: int) -> None:
            self.reaper.know(pid, pidfd)
            self._family.born(run_id, pid)

        return fork(make_plan(spec, run_id, self._inherited), self._null_fd, register)

    def apply(self) -> list[Ended]:
        """Apply what the handler reaped since the last call, and return it."""
        return [self._apply(record) for record in self.reaper.take()]

    def _apply(self, record: Reaped) -> Ended:
        by_stat = self._family.claim_dead(record.stat) if record.stat else None
        run_id = self._family.reaped(record.pid, record.status) or by_stat
        name = record.stat.comm if record.stat else None
        return Ended(record.pid, name, run_id, record.status, record.at_ns)

    def adopt(self) -> list[Adopted]:
        """Look for orphans that came to us since the last look; those that live are worth a word."""
        with self._reserve:
            found = self._family.adopt()
        return [Adopted(stat.pid, stat.comm, run_id) for stat, run_id in found if stat.state not in GONE]

    def is_empty(self, run_id: str) -> bool:
        """Tell whether nothing of a run is left, as of the latest `adopt`."""
        return self._family.is_empty(run_id)

    def ended(self, run_id: str) -> None:
        """Forget a run whose tree is empty."""
        self._family.ended(run_id)
        self._sweeps.pop(run_id, None)
        self._told.pop(run_id, None)

    def signal(self, run_id: str, number: int) -> None:
        """Send a signal to the whole tree of a run as it is now."""
        self._told[run_id] = set()
        self.signal_newcomers(run_id, number)

    def signal_newcomers(self, run_id: str, number: int) -> None:
        """Send a signal to those of a run's tree who have not got it yet, and who came while they did.

        A program waits for the child that it was just forking, and acts on its signal only after that.
        """
        told = self._told.setdefault(run_id, set())
        for _ in range(sweep.SWEEPS_A_TURN):
            new = [stat for stat in self.members(run_id) if stat.key not in told]
            if not new:
                return
            self._send(new, number)
            told.update(stat.key for stat in new)

    def kill(self, run_id: str) -> Progress:
        """End the whole tree of a run; to be called again while it says so, or when something is left."""
        with self._reserve:
            return sweep.kill(self._sweep(run_id), lambda: self._family.members(run_id))

    def kill_everybody(self) -> Progress:
        """End all that descends from the daemon, claimed or not: the last act of a shutdown."""
        with self._reserve:
            return sweep.kill(self._sweep(""), self._family.everybody)

    def everybody(self) -> list[Stat]:
        """Walk all that descends from the daemon and return who lives."""
        with self._reserve:
            return self._family.everybody()

    def signal_everybody(self, number: int) -> None:
        """Send a signal to all that descends from the daemon."""
        self._send(self.everybody(), number)

    def signal_unclaimed(self, number: int) -> None:
        """Send a signal to the orphans that belong to no run."""
        with self._reserve:
            found = [stat for pid in self.unclaimed() if (stat := procfs.read_stat(pid)) is not None]
        self._send(found, number)

    def members(self, run_id: str) -> list[Stat]:
        """Walk a run's tree and return who lives in it."""
        with self._reserve:
            return self._family.members(run_id)

    def unclaimed(self) -> list[int]:
        """Return the pids of orphans that belong to no run."""
        return self._family.unclaimed()

    def nobody_left(self) -> bool:
        """Tell whether the daemon has no child at all, living or dead."""
        return not wait.has_children()

    def _send(self, stats: list[Stat], number: int) -> None:
        with self._reserve:
            sweep.send_to_all(stats, number)

    def _sweep(self, key: str) -> Sweep:
        return self._sweeps.setdefault(key, Sweep())
