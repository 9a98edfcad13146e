"""Which signals the daemon hands on, and to which services."""

import signal
from collections.abc import Mapping
from typing import Final

from reaperd.config.kinds import NAMES
from reaperd.config.report import Site
from reaperd.config.table import Kind, wrong_type
from reaperd.units import format_signal, parse_signal

# SIGVTALRM bounds the time that `ready.log` may take.
_OWN: Final = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGVTALRM})
_UNCAUGHT: Final = frozenset({signal.SIGKILL, signal.SIGSTOP})
_FAULTS: Final = frozenset(
    {
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGABRT,
        signal.SIGTRAP,
        signal.SIGSYS,
    }
)
_WRITING: Final = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
_TERMINAL: Final = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT})
_REFUSED: Final = (
    (_OWN, "is the daemon's own"),
    (_UNCAUGHT, "cannot be caught by anybody"),
    (_FAULTS, "means a fault of the process that gets it"),
    (_WRITING, "comes of what the process itself writes"),
    (_TERMINAL, "stops or continues the process that gets it"),
)


def _forwarded(value: object, site: Site) -> tuple[tuple[int, tuple[str, ...]], ...]:
    if not isinstance(value, dict):
        raise wrong_type(value, "a table of signals")
    table: Mapping[str, object] = value
    found: dict[int, tuple[str, ...]] = {}
    for name, names in table.items():
        here = site.inside(table, name)
        try:
            number = _number(name)
            if number in found:
                here.problem(f"is {format_signal(number)}, which is here already")
            read = NAMES.read(names, here)
        except ValueError as error:
            here.problem(str(error))
        else:
            found[number] = read if isinstance(read, tuple) else ()
    return tuple(sorted(found.items()))


def _number(name: str) -> int:
    number = parse_signal(name)
    for refused, why in _REFUSED:
        if number in refused:
            raise ValueError(f"cannot be handed on: {format_signal(number)} {why}")
    return number


FORWARDED: Final = Kind(
    "a table of signals, each with an array of names",
    _forwarded,
    schema={"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
)
