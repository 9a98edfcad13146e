"""The kinds of single values: each turns what TOML holds into what a spec holds, or says what is wrong.

Every text is checked for NUL bytes: no argument, path or variable of a program can hold one.
"""

import os
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

from reaperd.config.report import Site
from reaperd.config.spec import EVERY
from reaperd.config.table import Kind, Schema, wrong_type
from reaperd.units import (
    format_duration,
    parse_duration,
    parse_signal,
    parse_size,
    shown,
    suggest,
)

_STRING: Final[Schema] = {"type": "string"}
_LONGEST_NAME: Final = 64
_NAME_CHARACTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@-")


def text(value: object) -> str:
    """Return a string that a program can be given."""
    if not isinstance(value, str):
        raise wrong_type(value, "a string", "; put it in quotes" if isinstance(value, int | float) else "")
    if "\0" in value:
        raise ValueError("holds a NUL byte, which no program can be given")
    return value


def text_not_empty(value: object) -> str:
    """Return a string with something in it."""
    found = text(value)
    if not found:
        raise ValueError("is empty; leave the key out instead")
    return found


def _path(value: object, site: Site) -> str:
    # Joined and not tidied up: what ".." means after a symbolic link is the kernel's business.
    return os.path.join(site.source.folder, text_not_empty(value))  # noqa: PTH118  # specs hold texts


def _signal(value: object, _site: Site) -> int:
    if not isinstance(value, str | int):
        raise wrong_type(value, 'a signal, such as "TERM" or 15,')
    return parse_signal(value)


def problem_of_name(name: str) -> str | None:
    """Return what is wrong with the name of a service, a template or a group; None where nothing is."""
    if ":" in name:
        return '":" stands between a service and its instances'
    if name == EVERY:
        return f'"{EVERY}" means every service'
    if not name or len(name) > _LONGEST_NAME or name[0] in ".-" or not set(name) <= _NAME_CHARACTERS:
        return (
            f"allowed: 1 to {_LONGEST_NAME} of the letters A-Z and a-z, digits, "
            '"_", ".", "@" and "-", not beginning with "." or "-"'
        )
    return None


def _name(value: object) -> str:
    name = text(value)
    problem = problem_of_name(name)
    if problem is not None:
        raise ValueError(f"{shown(name)} is not a name for a group; {problem}")
    return name


def _boolean(value: object, _site: Site) -> bool:
    if not isinstance(value, bool):
        raise wrong_type(value, "true or false")
    return value


def _size(value: object, _site: Site) -> int:
    if not isinstance(value, str | int):
        raise wrong_type(value, 'a size, such as "64MiB",')
    size = parse_size(value)
    if not size:
        raise ValueError("is nothing; at least 1B is allowed")
    return size


def _octal(value: object, _site: Site) -> int:
    # As an integer 022 is no TOML and 22 would be another number: so it is a text, as chmod(1) takes it.
    if not isinstance(value, str):
        raise wrong_type(value, 'octal digits in quotes, such as "022",')
    if not 1 <= len(value) <= 4 or not set(value) <= set("01234567") or int(value, 8) > 0o777:
        raise ValueError(f'{shown(value)} is not a mode; allowed: octal digits, "000" to "777"')
    return int(value, 8)


def duration(at_least_ns: int = 0) -> Kind:
    """Return the kind of a duration in nanoseconds."""

    def read(value: object, _site: Site) -> int:
        if not isinstance(value, str | int | float):
            raise wrong_type(value, 'a duration, such as "1m30s",')
        ns = parse_duration(value)
        if ns < at_least_ns:
            least = format_duration(at_least_ns)
            raise ValueError(f"{format_duration(ns)} is too short; at least {least} is allowed")
        return ns

    return Kind("a duration", read, schema={"type": ["string", "number"]})


def number(at_least: float, at_most: float) -> Kind:
    """Return the kind of a number within bounds; both bounds are allowed values."""

    def read(value: object, _site: Site) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(value, f"a number from {at_least:g} to {at_most:g}")
        if not at_least <= value <= at_most:  # NaN and the infinities fail it too
            raise ValueError(f"{shown(value)} is out of range; allowed: {at_least:g} to {at_most:g}")
        return float(value)

    schema = {"type": "number", "minimum": at_least, "maximum": at_most}
    return Kind(f"a number, {at_least:g} to {at_most:g}", read, schema=schema)


def integer(at_least: int, at_most: int) -> Kind:
    """Return the kind of an integer within bounds; both bounds are allowed values."""

    def read(value: object, _site: Site) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(value, f"an integer from {at_least} to {at_most}")
        if not at_least <= value <= at_most:
            raise ValueError(f"{shown(value)} is out of range; allowed: {at_least} to {at_most}")
        return value

    schema = {"type": "integer", "minimum": at_least, "maximum": at_most}
    return Kind(f"an integer, {at_least} to {at_most}", read, schema=schema)


def choice(names: type[Enum], *, without: tuple[Enum, ...] = ()) -> Kind:
    """Return the kind of a string that is one value of an enumeration."""
    members: Mapping[str, Enum] = {member.value: member for member in names if member not in without}
    allowed = ", ".join(f'"{name}"' for name in members)

    def read(value: object, _site: Site) -> Enum:
        if not isinstance(value, str):
            raise wrong_type(value, f"one of {allowed}")
        if value not in members:
            raise ValueError(f"{shown(value)} is none of {allowed}{suggest(value, members)}")
        return members[value]

    return Kind(f"one of {allowed}", read, schema={"enum": list(members)})


def array_of(what: str, read_one: Callable[[object, Site], object], schema: Schema = _STRING) -> Kind:
    """Return the kind of an array, each element of which is read by `read_one`; a wrong one is reported."""

    def read(value: object, site: Site) -> tuple[object, ...]:
        if not isinstance(value, list):
            hint = f"; write [{shown(value)}]" if isinstance(value, str) else ""
            raise wrong_type(value, f"an array of {what}", hint)
        found = []
        for index, each in enumerate(value):
            try:
                found.append(read_one(each, site.at(index)))
            except ValueError as error:
                site.at(index).problem(str(error))
        return tuple(found)

    return Kind(f"an array of {what}", read, schema={"type": "array", "items": schema})


def set_of(what: str, one: Kind) -> Kind:
    """Return the kind of an array whose order means nothing: it is sorted, and the same counts once."""
    array = array_of(what, one.read, one.schema)

    def read(value: object, site: Site) -> object:
        found = array.read(value, site)
        return tuple(sorted(set(found))) if isinstance(found, tuple) else found

    return Kind(array.name, read, schema=array.schema)


def address(value: object, _site: Site) -> tuple[str, int]:
    """Read `host:port` or `[::1]:port`."""
    where = text_not_empty(value)
    host, colon, port = where.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{shown(where)} is not an address; write an IPv6 address in brackets: [::1]:8000")
    if not colon or not host or not port.isascii() or not port.isdecimal() or not 1 <= len(port) <= 5:
        raise ValueError(f'{shown(where)} is not an address; write it like "127.0.0.1:8000" or "[::1]:8000"')
    if not 1 <= int(port) <= 65535:
        raise ValueError(f"{port} is not a port; allowed: 1 to 65535")
    return host, int(port)


PATH: Final = Kind("a path", _path, schema=_STRING)
SIGNAL: Final = Kind("a signal", _signal, schema={"type": ["string", "integer"]})
BOOLEAN: Final = Kind("true or false", _boolean, schema={"type": "boolean"})
SIZE: Final = Kind("a size", _size, schema={"type": ["string", "integer"]})
OCTAL: Final = Kind("octal digits in quotes", _octal, schema={"type": "string", "pattern": "^[0-7]{1,4}$"})
ADDRESS: Final = Kind("an address", address, schema=_STRING)
GROUP_NAME: Final = Kind("a name", lambda value, _site: _name(value), schema=_STRING)
PATHS: Final = array_of("paths", _path)
PATTERNS: Final = array_of("file patterns", lambda value, _site: text_not_empty(value))
NAMES: Final = array_of("names", lambda value, _site: text_not_empty(value))
