"""How a service is asked whether it is ready, or still well: the forms of `ready` and `health`."""

import re
from typing import Any, Final
from urllib.parse import urlsplit

from reaperd.config.commands import COMMAND
from reaperd.config.kinds import ADDRESS, choice, duration, integer, text_not_empty
from reaperd.config.report import Site
from reaperd.config.spec import (
    Asking,
    DelayCheck,
    ExecCheck,
    FdCheck,
    Health,
    HealthAction,
    HttpCheck,
    LogCheck,
    NotifyCheck,
    Ready,
    TcpCheck,
)
from reaperd.config.table import Key, Kind, one_of, table_of
from reaperd.units import shown

_MILLISECOND_NS: Final = 1_000_000
_ASKING: Final = ("tcp", "http", "exec")
_READY: Final = ("notify", "fd", "log", "delay", *_ASKING)


def _url(value: object, _site: Site) -> str:
    url = text_not_empty(value)
    try:
        parts = urlsplit(url)
        good = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0 and not parts.username
    except ValueError:  # brackets that do not match, a port that is no number or too large
        good = False
    if not good or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(
            f'{shown(url)} is not an address of HTTP; write it like "http://127.0.0.1:8000/healthz"'
        )
    return url


def _pattern(value: object, _site: Site) -> str:
    pattern = text_not_empty(value)
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{shown(pattern)} is not a regular expression: {error}") from error
    return pattern


def _yes(value: object, _site: Site) -> bool:
    if value is not True:
        raise ValueError("can only be true; leave the key out instead")
    return True


def _asking(values: dict[str, Any]) -> Asking:
    """Take the check that asks the service out of what a table says."""
    name = one_of(values, _ASKING)
    value = values.pop(name)
    match name:
        case "tcp":
            return TcpCheck(*value)
        case "http":
            return HttpCheck(value)
        case _:
            return ExecCheck(value)


def _ready(**values: Any) -> Ready:  # noqa: ANN401  # each has the type that its row's reader returns
    match one_of(values, _READY):
        case "notify":
            return NotifyCheck()
        case "fd":
            return FdCheck(values["fd"])
        case "log":
            return LogCheck(values["log"])
        case "delay":
            return DelayCheck(values["delay"])
        case _:
            return _asking(values)


def _health(**values: Any) -> Health:  # noqa: ANN401  # each has the type that its row's reader returns
    return Health(_asking(values), **values)


_URL: Final = Kind("an address of HTTP", _url, schema={"type": "string", "pattern": "^http://"})

_ASKING_KEYS: Final = (
    Key("tcp", ADDRESS, 'A TCP connection to this address is accepted, such as `"127.0.0.1:8000"`.'),
    Key("http", _URL, "A GET of this address is answered with a status from 200 to 399."),
    Key("exec", COMMAND, "This command, run as the service's user, exits with 0."),
)

READY: Final = (
    Key(
        "notify",
        Kind("true", _yes, schema={"const": True}),
        "The service says `READY=1`: sd_notify(3).",
    ),
    Key("fd", integer(3, 1023), "The service writes a line to this descriptor, which it is given."),
    Key(
        "log",
        Kind("a regular expression", _pattern, schema={"type": "string", "format": "regex"}, dollars=True),
        "A line that the service writes matches this anywhere, within its first 4096 bytes. An "
        "output whose lines take longer than 0.1s of processor time to match is looked at no more, and "
        "`reaperd why` says so.",
    ),
    Key("delay", duration(_MILLISECOND_NS), "The service has lived for so long."),
    *_ASKING_KEYS,
)

HEALTH: Final = (
    *_ASKING_KEYS,
    Key(
        "interval", duration(_MILLISECOND_NS), "The time from one check to the next.", '"10s"', "interval_ns"
    ),
    Key("timeout", duration(_MILLISECOND_NS), "How long an answer may take.", '"2s"', "timeout_ns"),
    Key("failures", integer(1, 1000), "How many failures in a row are too many.", "3"),
    Key("action", choice(HealthAction), "What follows then.", '"restart"'),
)

READY_TABLE: Final = table_of(READY, _ready, merges=False)
HEALTH_TABLE: Final = table_of(HEALTH, _health, merges=False)
