"""What a scan comes to for those who count: groups, a verdict for monitoring, metrics. All of it pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from reaperd.zombies.report import decodable, parent_words
from reaperd.zombies.scan import Scan, Zombie

SCHEMA_BY: Final = "reaperd.zombies.by/1"


class By(StrEnum):
    """What zombies can be counted by."""

    PARENT = "parent"
    USER = "user"
    CONTAINER = "container"
    CGROUP = "cgroup"


_KEYS: Final[Mapping[By, Callable[[Zombie], str | None]]] = {
    By.PARENT: parent_words,
    By.USER: lambda zombie: zombie.user,
    By.CONTAINER: lambda zombie: zombie.place.container,
    By.CGROUP: lambda zombie: zombie.place.cgroup,
}


@dataclass(frozen=True, slots=True)
class Group:
    """Zombies that have something in common; `key` is None for those of which it is not known."""

    key: str | None
    count: int
    leaks: int
    oldest_s: float  # for how long at least; of those of which it is known


def grouped(zombies: Iterable[Zombie], by: By) -> list[Group]:
    """Return the groups, largest first."""
    members: dict[str | None, list[Zombie]] = {}
    for zombie in zombies:
        members.setdefault(_KEYS[by](zombie), []).append(zombie)
    groups = [_group(key, found) for key, found in members.items()]
    return sorted(groups, key=lambda group: (-group.count, group.key or ""))


def _group(key: str | None, zombies: Sequence[Zombie]) -> Group:
    leaks = sum(zombie.cause.is_leak for zombie in zombies)
    oldest_s = max((zombie.at_least_s or 0.0 for zombie in zombies), default=0.0)
    return Group(None if key is None else decodable(key), len(zombies), leaks, oldest_s)


def groups_as_json(groups: Iterable[Group], by: By) -> dict[str, Any]:  # Any: JSON
    """Return the documented object."""
    items = [
        {"key": group.key, "count": group.count, "leaks": group.leaks, "oldest": round(group.oldest_s, 3)}
        for group in groups
    ]
    return {"schema": SCHEMA_BY, "by": by, "items": items}


# --- monitoring: https://www.monitoring-plugins.org/doc/guidelines.html ---------------------------------

OK: Final = 0
WARNING: Final = 1
CRITICAL: Final = 2
UNKNOWN: Final = 3


def verdict(scan: Scan, warn: int | None, critical: int | None) -> tuple[int, str]:
    """Return the status and the one line; a threshold is the highest number of leaks that is still fine."""
    leaks = [zombie for zombie in scan.collectable if zombie.cause.is_leak]
    if critical is not None and len(leaks) > critical:
        status, word = CRITICAL, "CRITICAL"
    elif warn is not None and len(leaks) > warn:
        status, word = WARNING, "WARNING"
    else:
        status, word = (OK, "OK") if scan.is_complete else (UNKNOWN, "UNKNOWN")
    thresholds = ";".join("" if limit is None else str(limit) for limit in (warn, critical))
    oldest_s = max((zombie.at_least_s or 0.0 for zombie in leaks), default=0.0)
    data = f"leaks={len(leaks)};{thresholds};0 zombies={len(scan.collectable)};;;0 oldest={oldest_s:.0f}s;;;0"
    incomplete = "" if scan.is_complete else ", other users' processes are hidden"
    return status, f"ZOMBIES {word} - {_counted(leaks)}{incomplete} | {data}"


def _counted(leaks: Sequence[Zombie]) -> str:
    if not leaks:
        return "no zombie that stays"
    most = grouped(leaks, By.PARENT)[0]
    plural = "1 zombie stays" if len(leaks) == 1 else f"{len(leaks)} zombies stay"
    # the bar begins the performance data, so none may stand in the text
    return f"{plural}, {most.count} of parent {(most.key or '?').replace('|', '/')}"


# --- metrics: https://prometheus.io/docs/instrumenting/exposition_formats -------------------------------


def exposition(scan: Scan, now: float) -> str:
    """Return the metrics of a scan made at `now`, in seconds since the epoch."""
    counts: dict[tuple[tuple[str, str], ...], list[Zombie]] = {}
    for zombie in scan.collectable:
        counts.setdefault(_labels(zombie), []).append(zombie)
    series = sorted(counts.items())
    return "".join(
        (
            _metric("reaperd_zombies", "Zombies by parent and cause.", ((ls, len(zs)) for ls, zs in series)),
            _metric(
                "reaperd_zombies_oldest_seconds",
                "How long the oldest of them has been one, at least.",
                ((ls, round(max(z.at_least_s or 0.0 for z in zs), 3)) for ls, zs in series),
            ),
            _metric(
                "reaperd_zombies_scan_complete",
                "Whether all processes could be seen.",
                _one(scan.is_complete),
            ),
            _metric("reaperd_zombies_scan_timestamp_seconds", "When it was looked.", _one(round(now, 3))),
        )
    )


def _labels(zombie: Zombie) -> tuple[tuple[str, str], ...]:
    return (
        ("parent", decodable(zombie.parent.name) if zombie.parent is not None else ""),
        ("ppid", str(zombie.ppid)),
        ("cause", zombie.cause.name),
        ("leak", "true" if zombie.cause.is_leak else "false"),
        ("container", decodable(zombie.place.container or "")),
    )


def _one(value: float) -> list[tuple[tuple[tuple[str, str], ...], float]]:
    return [((), value)]


def _metric(name: str, text: str, series: Iterable[tuple[tuple[tuple[str, str], ...], float]]) -> str:
    lines = [f"# HELP {name} {text}\n", f"# TYPE {name} gauge\n"]
    for labels, value in series:
        inside = ",".join(f'{label}="{_escaped(told)}"' for label, told in labels)
        lines.append(f"{name}{'{' + inside + '}' if inside else ''} {_number(value)}\n")
    return "".join(lines)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return repr(int(value)) if value == int(value) else repr(float(value))
