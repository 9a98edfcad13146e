"""Resource limits by their names: setrlimit(2)."""

import resource
from collections.abc import Callable
from typing import Any, Final

from reaperd.config.report import Site
from reaperd.config.spec import Limit
from reaperd.config.table import Key, Kind, Schema, table_of, wrong_type
from reaperd.units import parse_size, shown

_UNLIMITED: Final = "unlimited"
_LARGEST: Final = (1 << 63) - 1  # RLIM_INFINITY is above it
_BYTES: Final = frozenset({"as", "core", "data", "fsize", "memlock", "msgqueue", "rss", "stack"})

_MEANINGS: Final = {
    "as": "Address space.",
    "core": "Size of a core file.",
    "cpu": "Seconds of processor time.",
    "data": "Size of the data segment.",
    "fsize": "Size of files it writes.",
    "memlock": "Memory locked into RAM.",
    "msgqueue": "Bytes in POSIX message queues.",
    "nice": "Ceiling of the nice value: 20 less it.",
    "nofile": "Descriptors, one more than the largest.",
    "nproc": "Processes of its user.",
    "rss": "Resident set; Linux takes no notice.",
    "rtprio": "Real-time priority.",
    "rttime": "Microseconds of real-time processor time without a blocking call.",
    "sigpending": "Signals that wait to be delivered.",
    "stack": "Size of the stack.",
}
_VALUE: Final[Schema] = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]}


def _limit(name: str) -> Kind:
    number: int = getattr(resource, f"RLIMIT_{name.upper()}")
    one = _bytes if name in _BYTES else _count
    wanted = f'{"a size" if name in _BYTES else "a number"}, "{_UNLIMITED}", or a table of soft and hard'

    def read(value: object, site: Site) -> Limit | None:
        if not isinstance(value, dict):
            both = _read_one(value, one, wanted)
            return Limit(number, both, both)
        before = site.report.count
        ends = {end: _read_end(value, end, one, wanted, site) for end in ("soft", "hard")}
        for other in value.keys() - ends.keys():
            site.at(other).problem("unknown key; allowed here: soft, hard")
        if site.report.count > before:
            return None
        if _above(ends["soft"], ends["hard"]):
            raise ValueError("soft is above hard; allowed: soft at most hard")
        return Limit(number, ends["soft"], ends["hard"])

    return Kind(wanted, read, schema={"anyOf": [_VALUE, _TABLE]})


_TABLE: Final[Schema] = {
    "type": "object",
    "properties": {"soft": _VALUE, "hard": _VALUE},
    "required": ["soft", "hard"],
    "additionalProperties": False,
}


def _read_end(
    table: dict[str, object], end: str, one: Callable[[str | int], int], wanted: str, site: Site
) -> int:
    if end not in table:
        site.at(end).problem("is missing; soft and hard are both needed")
        return 0
    try:
        return _read_one(table[end], one, wanted.rpartition(", or")[0].replace(",", " or"))
    except ValueError as error:
        site.at(end).problem(str(error))
        return 0


def _read_one(value: object, one: Callable[[str | int], int], wanted: str) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise wrong_type(value, wanted)
    return -1 if value == _UNLIMITED else one(value)


def _bytes(value: str | int) -> int:
    return parse_size(value)


def _count(value: str | int) -> int:
    if not isinstance(value, int) or not 0 <= value <= _LARGEST:
        raise ValueError(f'{shown(value)} is not a limit; allowed: 0 to {_LARGEST}, and "{_UNLIMITED}"')
    return value


def _above(soft: int, hard: int) -> bool:
    return hard != -1 and (soft == -1 or soft > hard)


def _build(**limits: Any) -> tuple[Limit, ...]:  # noqa: ANN401  # Limit, each: **values of a table are Any
    return tuple(sorted(limits.values(), key=lambda limit: limit.resource))


LIMITS: Final = tuple(
    Key(name, _limit(name), meaning, field=f"limit_{name}") for name, meaning in _MEANINGS.items()
)
LIMITS_TABLE: Final = table_of(LIMITS, _build)
