"""Users and groups: names that this machine knows, or numbers."""

import grp
import pwd
from collections.abc import Callable
from typing import Final

from reaperd.config.kinds import array_of, text_not_empty
from reaperd.config.report import Site
from reaperd.config.table import Kind, Schema
from reaperd.units import shown, suggest

_LARGEST_ID: Final = 2**32 - 2  # (uid_t) -1 means "leave as it is": setresuid(2)
_STRING: Final[Schema] = {"type": "string"}


def is_number(account: str) -> bool:
    """Tell whether a user or group is given by its number."""
    return account.isascii() and account.isdecimal()


def has_entry(uid: str) -> bool:
    """Tell whether the machine knows the user with this number."""
    try:
        pwd.getpwuid(int(uid))
    except KeyError:
        return False
    return True


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


USER: Final = Kind("a user", _user, schema=_STRING)
GROUP: Final = Kind("a group", _group, schema=_STRING)
GROUPS: Final = array_of("groups", _group)
