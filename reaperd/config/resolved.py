"""A configuration as it is understood, in plain JSON: what `reaperd check --json` prints.

It speaks of keys as the files do. Durations are seconds, signals have their names, variables are expanded.
"""

import resource
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from reaperd.config.daemon_spec import Grant
from reaperd.config.limits import LIMITS
from reaperd.config.spec import (
    Config,
    Cron,
    DelayCheck,
    Every,
    ExecCheck,
    FdCheck,
    HttpCheck,
    Limit,
    LogCheck,
    NotifyCheck,
    TcpCheck,
)
from reaperd.units import format_signal

_LIMIT_NAMES: Final = {getattr(resource, f"RLIMIT_{key.name.upper()}"): key.name for key in LIMITS}


def resolved(config: Config) -> dict[str, object]:
    """Return what the daemon would follow."""
    return {
        "files": [str(path) for path in config.files],
        "daemon": _record(config.daemon),
        "services": [_record(spec) for spec in config.services],
    }


def _record(record: Any) -> dict[str, object]:  # noqa: ANN401  # one of the records of `spec`
    found: dict[str, object] = {}
    for each in fields(record):
        value = getattr(record, each.name)
        if each.name in {"check", "when"}:
            found.update(_choice(value))
        else:
            found[each.name.removesuffix("_ns")] = _value(each.name, value)
    return found


def _value(name: str, value: Any) -> object:  # noqa: ANN401  # of one field of any of these records
    if name in _BY_NAME and value is not None:
        return _BY_NAME[name](value)
    if name.endswith("_ns") and value is not None:
        return _seconds(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value):
        return _record(value)
    return list(value) if isinstance(value, tuple) else value


def _choice(value: object) -> Mapping[str, object]:  # noqa: PLR0911  # flat, one case a form
    match value:
        case NotifyCheck():
            return {"notify": True}
        case FdCheck(fd=fd):
            return {"fd": fd}
        case LogCheck(pattern=pattern):
            return {"log": pattern}
        case DelayCheck(delay_ns=delay_ns):
            return {"delay": _seconds(delay_ns)}
        case TcpCheck(host=host, port=port):
            return {"tcp": _address((host, port))}
        case HttpCheck(url=url):
            return {"http": url}
        case ExecCheck(command=command):
            return {"exec": list(command)}
        case Cron(expression=expression):
            return {"cron": expression}
        case Every(interval_ns=interval_ns):
            return {"every": _seconds(interval_ns)}
        case _:
            raise AssertionError(f"no form of a check or a schedule: {value!r}")


def _seconds(duration_ns: int) -> float:
    return duration_ns / 1e9


def _limits(limits: tuple[Limit, ...]) -> dict[str, object]:
    return {
        _LIMIT_NAMES[limit.resource]: {"soft": _limit(limit.soft), "hard": _limit(limit.hard)}
        for limit in limits
    }


def _grants(grants: tuple[Grant, ...]) -> list[str]:
    return [grant.name for grant in grants]


def _address(where: tuple[str, int]) -> str:
    host, port = where
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _limit(value: int) -> int | str:
    return "unlimited" if value == -1 else value


_BY_NAME: Final[Mapping[str, Callable[[Any], object]]] = {
    "admin": _grants,
    "environment": dict,
    "forward_signals": lambda pairs: {format_signal(number): list(names) for number, names in pairs},
    "limits": _limits,
    "mode": lambda mode: f"{mode:03o}",
    "operate": _grants,
    "read": _grants,
    "ready": _choice,
    "signal": format_signal,
    "tcp": _address,
    "success_signals": lambda numbers: [format_signal(number) for number in numbers],
    "umask": lambda mask: f"{mask:03o}",
}
