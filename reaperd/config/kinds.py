"""The kinds of single values: each turns what TOML holds into what a spec holds, or says what is wrong.

Every text is checked for NUL bytes: no argument, path or variable of a program can hold one.
"""

import grp
import os
import pwd
import shlex
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

from reaperd.config.report import Site
from reaperd.config.table import Kind, wrong_type
from reaperd.units import format_duration, parse_duration, parse_signal, shown, suggest

_LARGEST_ID: Final = 2**32 - 2  # (uid_t) -1 means "leave as it is": setresuid(2)


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


def _words(value: object, site: Site) -> tuple[str, ...]:
    """Read a command: strings, or one string that is split as a shell would, without being one."""
    if isinstance(value, str):
        words = _split(text(value))
    elif isinstance(value, list):
        words = _texts(value, site)
    else:
        raise wrong_type(value, "an array of strings, or a string,")
    if not words:
        raise ValueError('is empty; name a program, as in ["sleep", "60"] or "sleep 60"')
    if not words[0]:
        raise ValueError("names no program: its first word is empty")
    return words


def _split(line: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(line))
    except ValueError as error:
        why = str(error).lower()
        raise ValueError(
            f"cannot be split into words: {why}; quote it, or write an array of strings"
        ) from error


def _texts(values: list[object], site: Site) -> tuple[str, ...]:
    """Read strings one by one; a wrong one is reported at its own place."""
    texts = []
    for index, value in enumerate(values):
        try:
            texts.append(text(value))
        except ValueError as error:
            site.at(index).problem(str(error))
            texts.append("?")  # a problem of one word is not also one of the number of words
    return tuple(texts)


def _environment(value: object, site: Site) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise wrong_type(value, "a table of strings")
    pairs = []
    for name, content in value.items():
        try:
            pairs.append((_variable(name), text(content)))
        except ValueError as error:
            site.at(name).problem(str(error))
    return tuple(sorted(pairs))


def _variable(name: str) -> str:
    if not name or "=" in name or "\0" in name:
        raise ValueError('is not a name for a variable; it must not be empty, nor hold "=" or a NUL byte')
    if name == "SERVICE" or name.startswith("REAPERD_"):
        raise ValueError('is set by the daemon; choose another name than "SERVICE" or "REAPERD_..."')
    return name


def _path(value: object, site: Site) -> str:
    # Joined and not tidied up: what ".." means after a symbolic link is the kernel's business.
    return os.path.join(site.source.folder, text_not_empty(value))  # noqa: PTH118  # specs hold texts


def _user(value: object, _site: Site) -> str:
    return _account("user", text_not_empty(value), pwd.getpwnam, _all_users)


def _group(value: object, _site: Site) -> str:
    return _account("group", text_not_empty(value), grp.getgrnam, _all_groups)


def _all_users() -> list[str]:
    return [entry.pw_name for entry in pwd.getpwall()]


def _all_groups() -> list[str]:
    return [entry.gr_name for entry in grp.getgrall()]


def _account(what: str, name: str, find: Callable[[str], object], known: Callable[[], list[str]]) -> str:
    """Return the name of an account that exists, or a number, which need not have a name."""
    if is_number(name):
        if len(name) > 10 or int(name) > _LARGEST_ID:
            raise ValueError(f"{shown(name)} is no {what}'s number; at most {_LARGEST_ID} is allowed")
        return name
    try:
        find(name)
    except KeyError as error:
        hint = suggest(name, known()) or "; allowed: a name that this machine knows, or a number in quotes"
        raise ValueError(f"there is no {what} {shown(name)} on this machine{hint}") from error
    return name


def is_number(account: str) -> bool:
    """Tell whether a user or group is given by its number."""
    return account.isascii() and account.isdecimal()


def _signal(value: object, _site: Site) -> int:
    if not isinstance(value, str | int):
        raise wrong_type(value, "a signal's name or number")
    return parse_signal(value)


def duration(at_least_ns: int = 0) -> Kind:
    """Return the kind of a duration in nanoseconds."""

    def read(value: object, _site: Site) -> int:
        if not isinstance(value, str | int | float):
            raise wrong_type(value, "a duration")
        ns = parse_duration(value)
        if ns < at_least_ns:
            least = format_duration(at_least_ns)
            raise ValueError(f"{format_duration(ns)} is too short; at least {least} is allowed")
        return ns

    return Kind("a duration", read)


def number(at_least: float, at_most: float) -> Kind:
    """Return the kind of a number within bounds; both bounds are allowed values."""

    def read(value: object, _site: Site) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(value, "a number")
        if not at_least <= value <= at_most:  # NaN and the infinities fail it too
            raise ValueError(f"{shown(value)} is out of range; allowed: {at_least:g} to {at_most:g}")
        return float(value)

    return Kind(f"a number, {at_least:g} to {at_most:g}", read)


def choice(names: Mapping[str, Enum]) -> Kind:
    """Return the kind of a string that is one of `names`."""
    allowed = ", ".join(f'"{name}"' for name in names)

    def read(value: object, _site: Site) -> Enum:
        if not isinstance(value, str):
            raise wrong_type(value, f"one of {allowed}")
        if value not in names:
            raise ValueError(f"{shown(value)} is none of {allowed}{suggest(value, names)}")
        return names[value]

    return Kind(f"one of {allowed}", read)


COMMAND: Final = Kind("an array of strings, or a string", _words)
ENVIRONMENT: Final = Kind("a table of strings", _environment)
PATH: Final = Kind("a path", _path)
USER: Final = Kind("a user", _user)
GROUP: Final = Kind("a group", _group)
SIGNAL: Final = Kind("a signal", _signal)
