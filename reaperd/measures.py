"""The facts that metrics are made of, collected when somebody asks, in a bounded time.

A run's processor time is its cgroup's, which counts all who ever were in it. Without one it is the sum of
those who live, and what those who ended have used is missing; never less than was told before, for it is a
counter.
"""

import time
from typing import Final

from reaperd import __version__
from reaperd.control.census import Census
from reaperd.kernel.procfs import Stat
from reaperd.policy.words import State
from reaperd.supervise.service import Service
from reaperd.supervise.supervisor import Supervisor
from reaperd.supervise.world import World
from reaperd.telemetry.events import Told
from reaperd.telemetry.metrics import Facts, ServiceFacts

_LOOKING_NS: Final = 100_000_000  # how long processes may be looked at: each takes some microseconds


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
        until_ns = time.monotonic_ns() + _LOOKING_NS
        present = {service.run_id for service in supervisor.services.values()}
        self._cpu_s = {run_id: cpu_s for run_id, cpu_s in self._cpu_s.items() if run_id in present}
        services = tuple(self._of(service, until_ns) for service in supervisor.services.values())
        running = sum(service.run_id is not None for service in supervisor.services.values())
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
            unmeasured=running - sum(service.processes is not None for service in services),
        )

    def _of(self, service: Service, until_ns: int) -> ServiceFacts:
        run, run_id = service.run, service.run_id
        is_up = run.state is State.RUNNING
        members, cpu_s = None, None
        if run_id is not None and time.monotonic_ns() < until_ns:
            members = self._world.children.members(run_id)
            cpu_s = self._count(run_id, members)
        return ServiceFacts(
            name=service.spec.name,
            state=run.state.value,
            restarts=run.restarts,
            dropped=service.dropped,
            uptime_s=(self._world.clock() - run.since_ns) / 1e9 if is_up else None,
            cpu_s=cpu_s,
            memory_bytes=None if members is None else sum(stat.rss_bytes for stat in members),
            processes=None if members is None else len(members),
        )

    def _count(self, run_id: str, members: list[Stat]) -> float:
        counted = self._world.children.cpu_s(run_id)
        seen = sum(stat.cpu_s for stat in members) if counted is None else counted
        self._cpu_s[run_id] = most = max(seen, self._cpu_s.get(run_id, 0.0))
        return most
