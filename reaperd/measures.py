"""The facts that metrics are made of, collected when somebody asks, in a bounded time."""

import time
from typing import Final

from reaperd import __version__
from reaperd.control.census import Census
from reaperd.policy.words import State
from reaperd.supervise.service import Service
from reaperd.supervise.supervisor import Supervisor
from reaperd.supervise.world import World
from reaperd.telemetry.events import Told
from reaperd.telemetry.metrics import Facts, ServiceFacts

_LOOKING_NS: Final = 100_000_000  # how long processes may be looked at: each takes some microseconds


def collect(supervisor: Supervisor, world: World, told: Told, census: Census, started_ns: int) -> Facts:
    """Return the facts of this moment."""
    until_ns = time.monotonic_ns() + _LOOKING_NS
    now_ns = world.clock()
    services = tuple(_of(service, world, now_ns, until_ns) for service in supervisor.services.values())
    running = sum(service.run_id is not None for service in supervisor.services.values())
    standing = world.children.tracker.standing()
    return Facts(
        version=__version__,
        uptime_s=(now_ns - started_ns) / 1e9,
        states=tuple(state.value for state in State),
        services=services,
        exits=told.exits,
        reaped=supervisor.tally.reaped,
        adopted=supervisor.tally.adopted,
        unclaimed=len(world.children.unclaimed()),
        events=told.ring.next - 1,
        tracked=standing.processes,
        tracked_messages=standing.messages,
        tracked_losses=standing.losses,
        tracked_lag_s=standing.lag_s,
        tracked_by=standing.source.value,
        clients=census.present,
        refusals=census.refusals,
        slow_clients=census.slow,
        zombies=tuple(supervisor.zombies.rows()),
        unmeasured=running - sum(service.processes is not None for service in services),
    )


def _of(service: Service, world: World, now_ns: int, until_ns: int) -> ServiceFacts:
    run = service.run
    is_up = run.state is State.RUNNING
    members = None
    if service.run_id is not None and time.monotonic_ns() < until_ns:
        members = world.children.members(service.run_id)
    return ServiceFacts(
        name=service.spec.name,
        state=run.state.value,
        restarts=run.restarts,
        dropped=service.dropped,
        uptime_s=(now_ns - run.since_ns) / 1e9 if is_up else None,
        cpu_s=None if members is None else sum(stat.cpu_s for stat in members),
        memory_bytes=None if members is None else sum(stat.rss_bytes for stat in members),
        processes=None if members is None else len(members),
    )
