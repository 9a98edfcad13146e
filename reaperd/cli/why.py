"""reaperd why: why a service does not run, what holds it, and what is next."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click

from reaperd.cli.command import Command, client, json_option, service_names, socket_option
from reaperd.cli.render import COLOURS, cell, items_of, put, put_json, stdout_screen
from reaperd.errors import Exit

Item = Mapping[str, Any]  # Any: JSON
_EXITS: Final = "0: told. 4: there is no such service. 69: no daemon."


@click.command(cls=Command, exits=_EXITS, examples=("reaperd why web", "reaperd why --json web"))
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=service_names)
@json_option
@socket_option
def why(names: tuple[str, ...], *, as_json: bool, socket: Path | None) -> int:
    """Say why a service does not run, what holds it, what holds that, and what is next."""
    answer = client(socket).ask("why", names)
    if as_json:
        put_json(answer)
    else:
        put("".join(f"{line}\n" for item in items_of(answer) for line in _lines(item)))
    return Exit.OK


def _lines(item: Item) -> Iterator[str]:
    yield f"{cell(item.get('name'))} is {_state(item)}{_reason(item)}"
    for held in item.get("held_by") or ():
        relation = "needs" if held.get("needed") else "comes after"
        yield f"  {relation} {cell(held.get('name'))}, which is {_state(held)}{_reason(held)}"
    if item.get("last"):
        yield f"  last: {cell(item['last'])}"
    yield from _taken(item)
    yield f"  next: {cell(item.get('next'))}"


def _taken(item: Item) -> Iterator[str]:
    """Give lines on what a service has been given, and how it fares with it."""
    listens = [cell(each.get("listen")) for each in item.get("sockets") or ()]
    if listens:
        yield f"  sockets: {', '.join(listens)}"
    cgroup = item.get("cgroup") or {}
    events = [f"{cell(name)} {count}" for name, count in (cgroup.get("memory_events") or {}).items() if count]
    if events:
        yield f"  memory: {', '.join(events)} (memory.events)"
    waits = [f"{cell(name)} {share} %" for name, share in (cgroup.get("pressure") or {}).items() if share]
    if waits:
        yield f"  waited in the last 10 s: for {', '.join(waits)} of the time"


def _state(item: Item) -> str:
    state = item.get("state")
    return "not there" if state is None else stdout_screen().painted(cell(state), COLOURS.get(cell(state)))


def _reason(item: Item) -> str:
    return f": {cell(item['why'])}" if item.get("why") and item.get("state") is not None else ""
