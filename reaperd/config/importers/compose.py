"""A compose file: the commands of its services as ours. What runs in an image must be on this machine."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from reaperd.config.cycles import find_cycles
from reaperd.config.importers import yaml_file
from reaperd.config.importers.compose_values import (
    Item,
    command,
    duration,
    environment,
    healthcheck,
    limits,
    names_of,
    paths,
    text,
)
from reaperd.config.importers.draft import MOST_SERVICES, Draft, Imported, Names, refuse
from reaperd.units import parse_signal

_WITHOUT_LOSS: Final = frozenset({"init", "container_name", "hostname", "labels", "annotations", "tty"})
_TOP: Final = frozenset({"services", "version", "name"})
_CONDITIONS: Final = frozenset({"service_started", "service_healthy", "service_completed_successfully"})
_RESTART: Final = {
    "no": "never",
    "always": "always",
    "unless-stopped": "always",
    "on-failure": "on-failure",
}

Links = dict[str, list[str]]
"""Whom one waits for, by their names with us: those that it requires, and those that it is after."""


def read(source: str, path: Path) -> Imported:
    """Return the services of a compose file.

    Raises:
        ReaperdError: the library for YAML is not there.
        ConfigError: it cannot be read, or is no compose file.
    """
    document = yaml_file.load(source, path)
    services = document.get("services") if isinstance(document, dict) else None
    if not isinstance(services, dict) or not all(isinstance(name, str) for name in services):
        raise refuse(path, "is no compose file: it has no table of services")
    if len(services) > MOST_SERVICES:
        raise refuse(path, f"has too many services; at most {MOST_SERVICES} are allowed")
    imported, names = Imported(), Names()
    for key in document:
        if key not in _TOP and not str(key).startswith("x-"):
            imported.lose(str(key), "reaperd has no such thing")
    drafts: dict[str, Draft] = {}
    for name, table in services.items():
        draft = Draft(names.name_for(name), name)
        if not isinstance(table, dict):
            imported.lose(name, "is no table")
            continue
        item = Item(table, draft)
        if not command(item):
            imported.lose(name, "left out: what it runs is in its image; give it a command, and import again")
            continue
        drafts[name] = draft
        _fill(item)
    links = {draft.name: _links(Item(services[name], draft), drafts) for name, draft in drafts.items()}
    _break_cycles(links, {draft.name: draft for draft in drafts.values()})
    for draft in drafts.values():
        draft.keys.update({key: names for key, names in links[draft.name].items() if names})
    imported.drafts = list(drafts.values())
    return imported


def _fill(item: Item) -> None:
    for key, value in item.table.items():
        if key in _READERS:
            _READERS[key](item, value)
        elif key not in _DONE_ELSEWHERE | _WITHOUT_LOSS and not str(key).startswith("x-"):
            item.draft.lose(f"{key}: reaperd has no such thing")
    item.draft.keys.setdefault("restart", "never")
    stop = {"signal": _signal(item), "timeout": duration(item, "stop_grace_period") or "10s", "scope": "main"}
    item.draft.keys["stop"] = stop


def _image(item: Item, value: object) -> None:
    what = text(item, "image", value) if isinstance(value, str) else "build"
    item.draft.lose(f"image {what}: the program and its files must be on this machine")


def _restart(item: Item, value: object) -> None:
    kind, _, most = (value if isinstance(value, str) else "?").partition(":")
    if kind not in _RESTART:
        item.draft.lose(f"restart = {kind}: is none of {', '.join(_RESTART)}")
        return
    item.draft.keys["restart"] = _RESTART[kind]
    if most.isascii() and most.isdecimal() and 0 < len(most) < 6:
        item.draft.keys["start_limit"] = {"count": int(most) + 1, "interval": "1h"}


def _directory(item: Item, value: object) -> None:
    directory = text(item, "working_dir", value)
    if directory:
        item.draft.keys["directory"] = directory


def _user(item: Item, value: object) -> None:
    user, _, group = (text(item, "user", value) or "").partition(":")
    if user:
        item.draft.keys["user"] = user
    if group:
        item.draft.keys["group"] = group


def _signal(item: Item) -> str:
    value = item.table.get("stop_signal", "TERM")
    name = text(item, "stop_signal", value) or "TERM"
    try:
        parse_signal(name)
    except ValueError as error:
        item.draft.lose(f"stop_signal: {error}")
        return "TERM"
    return name.upper().removeprefix("SIG")


def _instances(item: Item, value: object) -> None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_SERVICES:
        item.draft.keys["instances"] = value
    else:
        item.draft.lose("scale: is no number of instances")


def _deploy(item: Item, value: object) -> None:
    table = value if isinstance(value, dict) else {}
    for key, each in table.items():
        if key == "replicas":
            _instances(item, each)
        else:
            item.draft.lose(f"deploy.{key}: reaperd has no such thing")


def _env_file(item: Item, value: object) -> None:
    found = paths(item, "env_file", value)
    if found:
        item.draft.keys["environment_files"] = found


def _group_add(item: Item, value: object) -> None:
    groups = value if isinstance(value, list) else []
    item.draft.keys["supplementary_groups"] = [str(each) for each in groups if isinstance(each, str | int)]


def _links(item: Item, drafts: Mapping[str, Draft]) -> Links:
    """Return what `depends_on` comes to, which also says something of the services that are needed."""
    links: Links = {"requires": [], "after": []}
    for name, condition, needed in names_of(item, "depends_on"):
        other = drafts.get(name)
        if name == item.draft.where:
            item.draft.lose(f"depends_on {name}: is the service itself")
            continue
        if condition not in _CONDITIONS:
            item.draft.lose(f"depends_on {name}: condition = {condition}: service_started is taken")
        if other is None:
            item.draft.lose(f"depends_on {name}: there is no such service here")
            continue
        links["requires" if needed else "after"].append(other.name)
        if condition == "service_completed_successfully":
            other.keys["oneshot"] = True
        elif condition == "service_healthy":
            _ready(other)
    return links


def _break_cycles(links: Mapping[str, Links], drafts: Mapping[str, Draft]) -> None:
    """Let nobody wait for himself by way of others: leave the link out that closes a circle, and say so."""
    waits = {name: [*found["requires"], *found["after"]] for name, found in links.items()}
    for *path, last, first in find_cycles(waits):
        circle = " -> ".join(drafts[name].where for name in (*path, last, first))
        drafts[last].lose(f"depends_on {drafts[first].where}: closes a circle ({circle}), and is left out")
        for names in links[last].values():
            if first in names:
                names.remove(first)


def _ready(draft: Draft) -> None:
    health: Any = draft.keys.get("health")
    if health is None:
        draft.lose("it is to be healthy before others start, and has no healthcheck that could say so")
    elif "ready" not in draft.keys:
        draft.keys["ready"] = {"exec": health["exec"]}
        draft.keys["ready_timeout"] = draft.ready_timeout or "2m"


_READERS: Final[Mapping[str, Callable[[Item, object], None]]] = {
    "image": _image,
    "build": _image,
    "restart": _restart,
    "working_dir": _directory,
    "user": _user,
    "scale": _instances,
    "deploy": _deploy,
    "env_file": _env_file,
    "group_add": _group_add,
    "environment": environment,
    "healthcheck": healthcheck,
    "ulimits": limits,
}
_DONE_ELSEWHERE: Final = frozenset(
    {"command", "entrypoint", "depends_on", "stop_signal", "stop_grace_period"}
)
