"""From what TOML holds to frozen specs, or to one error with every problem.

Nothing is changed or started here; what the machine knows (users, groups) is only looked up.
"""

import os
import pwd
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from reaperd.config import paths
from reaperd.config.keys import DAEMON, SERVICE
from reaperd.config.kinds import is_number
from reaperd.config.report import Report, Site, Source
from reaperd.config.spec import Config, DaemonSpec, ServiceSpec
from reaperd.config.table import read_keys, wrong_type
from reaperd.errors import ReaperdError
from reaperd.units import suggest

_TABLES: Final = ("daemon", "service")
_LONGEST_NAME: Final = 64
_NAME_CHARACTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@-")
_LONGEST_SOCKET: Final = 107  # bytes: sun_path holds 108 with its closing NUL, unix(7)


def validate(source: Source, document: Mapping[str, object]) -> Config:
    """Return the configuration that a file's tables describe.

    Raises:
        ConfigError: with every problem, in the order of the file.
    """
    report = Report()
    top = Site(report, source)
    for name in document:
        if name not in _TABLES:
            known = ", ".join(f"[{table}]" for table in _TABLES)
            top.at(name).problem(
                f"unknown table or key{suggest(name, _TABLES) or f'; allowed here: {known}'}"
            )
    daemon = _daemon(_table(document, "daemon", top) or {}, top.at("daemon"))
    services = _services(_table(document, "service", top), top.at("service"))
    report.raise_if_any()
    return Config(source.folder / source.path.name, daemon, services)


def _table(tables: Mapping[str, object], name: str, site: Site) -> Mapping[str, object] | None:
    """Return a table, empty where there is none; report what is something else, and return None."""
    table = tables.get(name, {})
    if isinstance(table, dict):
        return table
    site.at(name).problem(str(wrong_type(table, "a table")))
    return None


def _daemon(table: Mapping[str, object], site: Site) -> DaemonSpec:
    values = read_keys(table, DAEMON, site)
    socket = _path("socket", values, paths.default_socket, site)
    if len(os.fsencode(socket)) > _LONGEST_SOCKET:
        site.at("socket").problem(
            f"{socket} is too long for a socket; at most {_LONGEST_SOCKET} bytes are allowed"
        )
    return DaemonSpec(socket=socket, state_dir=_path("state_dir", values, paths.default_state_dir, site))


def _path(name: str, values: Mapping[str, Any], default: Callable[[], Path], site: Site) -> Path:
    if name in values:
        return Path(values[name])
    try:
        return default()
    except ReaperdError as error:
        site.at(name).problem(
            f"has no default here: {error.message}{f'; {error.hint}' if error.hint else ''}"
        )
        return Path()


def _services(tables: Mapping[str, object] | None, site: Site) -> tuple[ServiceSpec, ...]:
    if tables is None:
        return ()
    if not tables:
        site.problem("there is no service; write at least one [service.NAME] with a command")
    specs = [_service(name, _table(tables, name, site), site.at(name)) for name in tables]
    return tuple(spec for spec in specs if spec is not None)


def _service(name: str, table: Mapping[str, object] | None, site: Site) -> ServiceSpec | None:
    before = site.report.count
    _check_name(name, site)
    if table is None:
        return None
    values = read_keys(table, SERVICE, site)
    _check_user(values, site)
    return ServiceSpec(name=name, **values) if site.report.count == before else None


def _check_name(name: str, site: Site) -> None:
    if ":" in name:
        site.problem('is not a name for a service; ":" stands between a service and its instances')
    elif not name or len(name) > _LONGEST_NAME or name[0] in ".-" or not set(name) <= _NAME_CHARACTERS:
        site.problem(
            f"is not a name for a service; allowed: 1 to {_LONGEST_NAME} of the letters A-Z and a-z, digits, "
            '"_", ".", "@" and "-", not beginning with "." or "-"'
        )


def _check_user(values: Mapping[str, Any], site: Site) -> None:
    """Refuse a user by a number that nobody has, where no group is given: none can be told from it."""
    user = values.get("user", "")
    if not is_number(user) or "group" in values:
        return
    try:
        pwd.getpwuid(int(user))
    except KeyError:
        site.at("user").problem(
            f"user {user} has no entry on this machine to take a group from; set group too"
        )
