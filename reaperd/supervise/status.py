"""What `status` says of services: one plain row each, the same for people and for programs."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from reaperd.children.tally import Tally
from reaperd.config.spec import LogFile, ServiceSpec, Sink
from reaperd.loop.timers import Timers
from reaperd.moments import rfc3339
from reaperd.policy.words import Awaits, State, Timer
from reaperd.supervise import explain
from reaperd.supervise.gates import Gates
from reaperd.supervise.service import Service
from reaperd.supervise.world import Deadline

SCHEMA: Final = "reaperd.status/1"
Row = dict[str, object]


def rows(
    services: Iterable[Service],
    gates: Gates,
    timers: Timers[Deadline],
    now_ns: int,
    tallies: Mapping[str, Tally] = MappingProxyType({}),
) -> list[Row]:
    """Return one row for each service, as of `now_ns` (CLOCK_MONOTONIC), with what each run has."""
    return [
        _row(service, gates, timers.at_ns((service.spec.name, Timer.BACKOFF)), now_ns)
        | {"memory": tally.memory_bytes if (tally := tallies.get(service.run_id or "")) else None}
        for service in services
    ]


def _row(service: Service, gates: Gates, next_ns: int | None, now_ns: int) -> Row:
    run = service.run
    holds, before = gates.held_by(service), gates.stops_after(service)
    return {
        "name": service.spec.name,
        "state": run.state.value,
        "want": run.want.value,
        "pid": service.main,
        "restarts": run.restarts,
        "failures": run.failures,
        "since": rfc3339(service.since_wall_ns),
        "uptime": round((now_ns - run.since_ns) / 1e9, 3) if run.state is State.RUNNING else None,
        "status": service.said,
        "next": None if service.next_run_ns is None else rfc3339(service.next_run_ns),
        "log_files": log_files(service.spec),
        "dropped": service.dropped,
        "zombies": service.zombies,
        "sockets": [{"listen": each.address, "name": each.name} for each in service.spec.sockets],
        "unlimited": service.unlimited,
        "waits_for": [hold.name for hold in holds] or list(before),
        "why": explain.held(holds) or explain.held_stop(before) or _why(service, next_ns, now_ns),
    }


def log_files(spec: ServiceSpec) -> dict[str, str | None]:
    """Return the file that the daemon writes each output into, None where it goes elsewhere."""
    stderr = spec.stdout if spec.stderr is Sink.STDOUT else spec.stderr
    outputs = {"stdout": spec.stdout, "stderr": stderr}
    return {name: to.file if isinstance(to, LogFile) else None for name, to in outputs.items()}


def _why(service: Service, next_ns: int | None, now_ns: int) -> str | None:
    run, spec = service.run, service.spec
    if run.state is State.WAITING and run.awaits is Awaits.SCHEDULE:
        return explain.next_run(run, spec, service.next_run_ns)
    if service.unkillable is not None:
        return service.unkillable
    told = explain.why(run, spec, now_ns=now_ns, next_ns=next_ns, stuck=service.stuck)
    if run.state not in {State.STARTING, State.RUNNING, State.STOPPING}:
        return told
    announced = None if service.announced is None else f"says that it is {service.announced}"
    lacks = service.unready if run.state is State.STARTING else None
    unready = None if lacks is None else f"not ready: {lacks}"
    return "; ".join(filter(None, (announced, unready, told, service.unlimited))) or None
