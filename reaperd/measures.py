"""The facts that metrics are made of, collected when somebody asks.

Memory and processes are those of `status`: one look, which leaves crowds out (`children.tally`). A run's
processor time is its cgroup's, which counts all who ever were in it. Without one it is the sum of those who
live, and what those who ended have used is missing; never less than was told before, for it is a counter.
"""

from collections.abc import Mapping

from reaperd import __version__
from reaperd.children.tally import Tally
from reaperd.control.census import Census
from reaperd.policy.words import State
from reaperd.supervise.service import Service
from reaperd.supervise.supervisor import Supervisor
from reaperd.supervise.world import World
from reaperd.telemetry.events import Told
from reaperd.telemetry.metrics import Facts, ServiceFacts


class Measures:
    """Collect facts.

    Args:
        supervisor: the services.
        world: their processes.
        told: what was told of them.
        census: the clients.
    """

    def __init__(self, supervisor: Supervisor, world: World, told: Told, census: Census) -> None:
        self._supervisor = supervisor
        self._world = world
        self._told = told
        self._census = census
        self._started_ns = world.clock()
        self._cpu_s: dict[str, float] = {}  # by run: the most that was told

    def collect(self) -> Facts:
        """Return the facts of this moment."""
        supervisor = self._supervisor
        present = [service.run_id for service in supervisor.services.values() if service.run_id is not None]
        tallies = self._world.children.tally(present)
        self._cpu_s = {run_id: cpu_s for run_id, cpu_s in self._cpu_s.items() if run_id in present}
        services = tuple(self._of(service, tallies) for service in supervisor.services.values())
        standing = self._world.children.tracker.standing()
        return Facts(
            version=__version__,
            uptime_s=(self._world.clock() - self._started_ns) / 1e9,
            states=tuple(state.value for state in State),
            services=services,
            exits=self._told.exits,
            reaped=supervisor.tally.reaped,
            adopted=supervisor.tally.adopted,
            unclaimed=len(self._world.children.unclaimed()),
            events=self._told.ring.next - 1,
            tracked=standing.processes,
            tracked_messages=standing.messages,
            tracked_losses=standing.losses,
            tracked_lag_s=standing.lag_s,
            tracked_by=standing.source.value,
            clients=self._census.present,
            refusals=self._census.refusals,
            slow_clients=self._census.slow,
            zombies=tuple(supervisor.zombies.rows()),
            unmeasured=len(present) - len(tallies),
        )

    def _of(self, service: Service, tallies: Mapping[str, Tally]) -> ServiceFacts:
        run, run_id = service.run, service.run_id
        is_up = run.state is State.RUNNING
        tally = None if run_id is None else tallies.get(run_id)
        return ServiceFacts(
            name=service.spec.name,
            state=run.state.value,
            restarts=run.restarts,
            dropped=service.dropped,
            uptime_s=(self._world.clock() - run.since_ns) / 1e9 if is_up else None,
            cpu_s=None if run_id is None or tally is None else self._count(run_id, tally),
            memory_bytes=None if tally is None else tally.memory_bytes,
            processes=None if tally is None else tally.processes,
        )

    def _count(self, run_id: str, tally: Tally) -> float:
        counted = self._world.children.cpu_s(run_id)
        seen = tally.cpu_s if counted is None else counted
        self._cpu_s[run_id] = most = max(seen, self._cpu_s.get(run_id, 0.0))
        return most
