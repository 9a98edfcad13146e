"""From what the files hold to frozen specs, or to one error with every problem.

Nothing is changed or started here; what the machine knows (users, groups) is only looked up.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from reaperd.config import paths
from reaperd.config.cycles import find_cycles
from reaperd.config.daemon_keys import DAEMON
from reaperd.config.daemon_spec import DaemonSpec
from reaperd.config.files import check_files
from reaperd.config.kinds import problem_of_name
from reaperd.config.report import Report, Site, Source
from reaperd.config.services import (
    Entry,
    check_template,
    instances_of,
    names_in,
    specs_of,
    whole,
    with_their_own,
)
from reaperd.config.spec import Config
from reaperd.config.table import read_keys, wrong_type
from reaperd.errors import ReaperdError
from reaperd.units import format_signal, shown, suggest

File = tuple[Source, Mapping[str, object]]
Scale = Mapping[str, int]
"""Numbers of instances, by service."""

_TABLES: Final = ("daemon", "service", "template")
_LONGEST_SOCKET: Final = 107  # bytes: sun_path holds 108 with its closing NUL, unix(7)


def validate(files: Sequence[File], report: Report, environ: Mapping[str, str], scale: Scale) -> Config:
    """Return the configuration that the tables of several files describe, the first being the main one.

    Raises:
        ConfigError: with every problem, those in `report` included, in the order of the files.
    """
    main, document = files[0]
    top = Site(report, main)
    for source, tables in files:
        _check_tables(tables, Site(report, source), main)
    daemon = _daemon(_table(document, "daemon", top) or {}, top.at("daemon"))
    templates = _entries(files, "template", report)
    services = _entries(files, "service", report)
    if not services and not any("service" in tables and tables["service"] for _, tables in files):
        top.at("service").problem("there is no service; write at least one [service.NAME] with a command")
    for template in templates.values():
        check_template(template)
    wholes = with_their_own(templates)
    entries = {name: whole(entry, wholes) for name, entry in services.items()}
    _check_order(entries)
    _check_groups(entries)
    _check_forwarded(daemon, entries, top.at("daemon").at("forward_signals"))
    specs = tuple(
        spec for name, entry in entries.items() for spec in specs_of(name, entry, environ, scale.get(name))
    )
    check_files(specs, entries)
    report.raise_if_any()
    instances = tuple(
        (name, count) for name, entry in entries.items() if (count := instances_of(entry)) is not None
    )
    return Config(main.absolute, daemon, specs, tuple(source.absolute for source, _ in files), instances)


def _check_tables(tables: Mapping[str, object], site: Site, main: Source) -> None:
    for name in tables:
        if name not in _TABLES:
            known = ", ".join(f"[{table}]" for table in _TABLES)
            site.at(name).problem(
                f"unknown table or key{suggest(name, _TABLES) or f'; allowed here: {known}'}"
            )
        elif name == "daemon" and site.source is not main:
            site.at(name).problem(f"belongs in the main file, {main.path}")


def _table(tables: Mapping[str, object], name: str, site: Site) -> Mapping[str, object] | None:
    """Return a table, empty where there is none; report what is something else, and return None."""
    table = tables.get(name, {})
    if isinstance(table, dict):
        return table
    site.at(name).problem(str(wrong_type(table, "a table")))
    return None


def _entries(files: Sequence[File], what: str, report: Report) -> dict[str, Entry]:
    """Return all services, or all templates, of all files; a name stands for one of them."""
    entries: dict[str, Entry] = {}
    for source, document in files:
        top = Site(report, source)
        site = top.at(what)
        tables = _table(document, what, top) or {}
        for name in tables:
            here = site.at(name)
            _check_name(name, what, here)
            table = _table(tables, name, site)
            if name in entries:
                other = entries[name].site
                line = other.source.line_of(other.trail)
                here.problem(f"is already defined in {other.source.path}:{line}")
            elif table is not None:
                entries[name] = Entry(table, here)
    return entries


def _check_name(name: str, what: str, site: Site) -> None:
    problem = problem_of_name(name)
    if problem is not None:
        site.problem(f"is not a name for a {what}; {problem}")


def _daemon(table: Mapping[str, object], site: Site) -> DaemonSpec:
    values = read_keys(table, DAEMON, site)
    values.pop("include", None)  # the files that it names are here already
    socket = _path("socket", values, paths.default_socket, site)
    state_dir = _path("state_dir", values, paths.default_state_dir, site)
    if len(os.fsencode(socket)) > _LONGEST_SOCKET:
        what = f"{socket} is too long for a socket; at most {_LONGEST_SOCKET} bytes are allowed"
        site.at("socket").problem(what)
    return DaemonSpec(**{**values, "socket": socket, "state_dir": state_dir})


def _path(name: str, values: Mapping[str, Any], default: Callable[[], Path], site: Site) -> Path:
    if name in values:
        return Path(values[name])
    try:
        return default()
    except ReaperdError as error:
        hint = f"; {error.hint}" if error.hint else ""
        site.at(name).problem(f"has no default here: {error.message}{hint}")
        return Path()


def _check_order(entries: Mapping[str, Entry]) -> None:
    """Report names of services that do not exist, and services that would wait for each other for ever."""
    waits: dict[str, dict[str, Site]] = {name: {} for name in entries}
    for name, entry in entries.items():
        for key in ("requires", "after", "before"):
            for other, site in names_in(entry, key):
                if other not in entries:
                    hint = suggest(other, entries) or f"; there is {', '.join(entries)}"
                    site.problem(f"there is no service of this name{hint}")
                elif key == "requires" and "schedule" in entries[other].table:
                    site.problem("has a schedule, so it is not ready but from time to time")
                elif key == "before":
                    waits[other].setdefault(name, site)
                else:
                    waits[name].setdefault(other, site)
    for cycle in find_cycles(waits):
        waits[cycle[0]][cycle[1]].problem(
            f"closes a cycle, in which each waits for the next: {' -> '.join(cycle)}"
        )


def _check_groups(entries: Mapping[str, Entry]) -> None:
    """Report groups that are called like a service: then nobody could tell which of them a name means."""
    for entry in entries.values():
        for group, site in names_in(entry, "groups"):
            if group in entries:
                site.problem("is the name of a service; a group needs one of its own")


def _check_forwarded(daemon: DaemonSpec, entries: Mapping[str, Entry], site: Site) -> None:
    for number, names in daemon.forward_signals:
        for name in names:
            if name not in entries:
                hint = suggest(name, entries) or f"; there is {', '.join(entries)}"
                site.problem(f"there is no service {shown(name)} to hand {format_signal(number)} on to{hint}")
