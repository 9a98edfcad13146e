"""What monitoring can read: a table of metrics, and how it is written down.

A new metric is one more entry of `TABLE`: its name, kind, help and how its samples are got from the facts.
What it needs and the facts do not have yet is one more field there. Nothing is collected until somebody asks.

The text is OpenMetrics 1.0, or for those who do not take that the older format of Prometheus, in which a
counter's family has the name of its samples and there is no end mark.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]
Sample = tuple[Labels, float]


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What is known of one service at this moment; None where it is not known, or does not apply."""

    name: str
    state: str
    restarts: int
    dropped: int
    uptime_s: float | None = None
    cpu_s: float | None = None
    memory_bytes: int | None = None
    processes: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that metrics are made of."""

    version: str
    uptime_s: float
    states: tuple[str, ...]  # all that there are
    services: tuple[ServiceFacts, ...] = ()
    exits: Mapping[tuple[str, str, str], int] = field(default_factory=dict)  # by service, cause and status
    reaped: Mapping[str, int] = field(default_factory=dict)  # by what they were
    adopted: int = 0
    unclaimed: int = 0
    events: int = 0
    clients: int = 0
    refusals: Mapping[str, int] = field(default_factory=dict)  # by the code of the refusal
    slow_clients: int = 0
    unmeasured: int = 0
    tracked: int = 0
    tracked_messages: int = 0
    tracked_losses: int = 0
    tracked_lag_s: float | None = None
    tracked_by: str = "looks"
    zombies: tuple[tuple[str, str, int], ...] = ()  # that stay, by service and name of the parent


@dataclass(frozen=True, slots=True)
class Metric:
    """One family; a counter's name is without the `_total` of its samples."""

    name: str
    kind: Literal["counter", "gauge", "info"]
    help: str
    samples: Callable[[Facts], Iterable[Sample]]
    unit: str = ""  # which the name then ends with


def _one(value: Callable[[Facts], float]) -> Callable[[Facts], Iterable[Sample]]:
    return lambda facts: (({}, value(facts)),)


def _each(value: Callable[[ServiceFacts], float | None]) -> Callable[[Facts], Iterable[Sample]]:
    def samples(facts: Facts) -> Iterator[Sample]:
        for service in facts.services:
            found = value(service)
            if found is not None:
                yield {"service": service.name}, found

    return samples


def _by(label: str, values: Callable[[Facts], Mapping[str, int]]) -> Callable[[Facts], Iterable[Sample]]:
    return lambda facts: (({label: key}, number) for key, number in values(facts).items())


def _in_states(facts: Facts) -> Iterator[Sample]:
    for state in facts.states:
        yield {"state": state}, sum(service.state == state for service in facts.services)


def _exits(facts: Facts) -> Iterator[Sample]:
    for (service, cause, status), number in facts.exits.items():
        yield {"service": service, "cause": cause, "status": status}, number


def _zombies(facts: Facts) -> Iterator[Sample]:
    for service, parent, number in facts.zombies:
        yield {"service": service, "parent": parent}, number


TABLE: Final[tuple[Metric, ...]] = (
    Metric("reaperd_build", "info", "Which reaperd this is.", lambda f: (({"version": f.version}, 1),)),
    Metric("reaperd_uptime_seconds", "gauge", "Since when it runs.", _one(lambda f: f.uptime_s), "seconds"),
    Metric("reaperd_services", "gauge", "Services by state.", _in_states),
    Metric("reaperd_service_up", "gauge", "Whether it runs.", _each(lambda s: s.state == "running")),
    Metric(
        "reaperd_service_uptime_seconds", "gauge", "For how long.", _each(lambda s: s.uptime_s), "seconds"
    ),
    Metric(
        "reaperd_service_restarts", "counter", "Starts by the restart policy.", _each(lambda s: s.restarts)
    ),
    Metric("reaperd_service_exits", "counter", "Ends of main processes, by what ended them.", _exits),
    Metric(
        "reaperd_service_cpu_seconds",
        "counter",
        "Processor time of its run.",
        _each(lambda s: s.cpu_s),
        "seconds",
    ),
    Metric(
        "reaperd_service_memory_bytes",
        "gauge",
        "Resident memory of its processes, shared pages counted in each.",
        _each(lambda s: s.memory_bytes),
        "bytes",
    ),
    Metric("reaperd_service_processes", "gauge", "Its processes.", _each(lambda s: s.processes)),
    Metric(
        "reaperd_service_dropped_lines", "counter", "Lines that no sink took.", _each(lambda s: s.dropped)
    ),
    Metric("reaperd_service_zombies", "gauge", "Zombies that stay, as of the latest look.", _zombies),
    Metric("reaperd_zombies_reaped", "counter", "Children that were reaped.", _by("was", lambda f: f.reaped)),
    Metric("reaperd_orphans_adopted", "counter", "Processes whose parents ended.", _one(lambda f: f.adopted)),
    Metric("reaperd_unclaimed", "gauge", "Adopted processes of no service.", _one(lambda f: f.unclaimed)),
    Metric("reaperd_tracked_processes", "gauge", "Processes in the model.", _one(lambda f: f.tracked)),
    Metric(
        "reaperd_tracking_source",
        "info",
        "What the model is kept in step by.",
        lambda f: (({"source": f.tracked_by}, 1),),
    ),
    Metric(
        "reaperd_tracking_messages",
        "counter",
        "Messages of the process connector.",
        _one(lambda f: f.tracked_messages),
    ),
    Metric(
        "reaperd_tracking_losses",
        "counter",
        "Times that messages were lost.",
        _one(lambda f: f.tracked_losses),
    ),
    Metric(
        "reaperd_tracking_lag_seconds",
        "gauge",
        "How old the latest message was.",
        lambda f: () if f.tracked_lag_s is None else (({}, f.tracked_lag_s),),
        "seconds",
    ),
    Metric("reaperd_events", "counter", "Events told.", _one(lambda f: f.events)),
    Metric("reaperd_control_clients", "gauge", "Clients connected.", _one(lambda f: f.clients)),
    Metric("reaperd_control_refusals", "counter", "Refused in all.", _by("code", lambda f: f.refusals)),
    Metric(
        "reaperd_control_dropped_clients",
        "counter",
        "Clients parted with for taking nothing.",
        _one(lambda f: f.slow_clients),
    ),
    Metric(
        "reaperd_unmeasured_services",
        "gauge",
        "Services left out of processor time and memory: they have too many processes.",
        _one(lambda f: f.unmeasured),
    ),
)


def render(facts: Facts, *, openmetrics: bool, table: Iterable[Metric] = TABLE) -> str:
    """Return the facts as text, in OpenMetrics or in the older format."""
    lines: list[str] = []
    for metric in table:
        suffix = {"counter": "_total", "info": "_info", "gauge": ""}[metric.kind]
        family = metric.name if openmetrics else metric.name + suffix
        kind = metric.kind if openmetrics or metric.kind != "info" else "gauge"
        lines.append(f"# TYPE {family} {kind}")
        if openmetrics and metric.unit:
            lines.append(f"# UNIT {family} {metric.unit}")
        lines.append(f"# HELP {family} {_escaped(metric.help)}")
        name = metric.name + suffix
        lines += (f"{name}{_labels(labels)} {_number(value)}" for labels, value in metric.samples(facts))
    return "\n".join([*lines, *(["# EOF"] if openmetrics else []), ""])


def _labels(labels: Labels) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{inside}}}" if inside else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
