"""reaperd status: what services do, and why."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from reaperd.cli.command import Command, client, json_option, service_names, socket_option
from reaperd.cli.render import (
    COLOURS,
    Column,
    cell,
    items_of,
    printable,
    put,
    put_json,
    size,
    span,
    stdout_screen,
    table,
    texts,
)
from reaperd.errors import Exit, UnavailableError

Item = Mapping[str, Any]  # Any: JSON

_UP: Final = frozenset({"running", "starting"})
_FINE: Final = _UP | {"exited"}  # ended as it should, and is not to be started again
_COLUMNS: Final = (
    Column("NAME"),
    Column("STATE", styles=COLOURS),
    Column("PID", right=True),
    Column("UPTIME", right=True, spare=True),
    Column("RESTARTS", right=True, spare=True),
    Column("MEMORY", right=True, spare=True),
    Column("ZOMBIES", right=True, spare=True),
    Column("WHY"),
)


@click.command(
    cls=Command,
    exits=(
        "0: every named service runs; without names, every service that should. 3: one does not. "
        "4: cannot tell, since there is no such service or no daemon."
    ),
    examples=("reaperd status", "reaperd status web && echo up", "reaperd status --json web worker"),
)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=service_names)
@json_option
@socket_option
def status(names: tuple[str, ...], *, as_json: bool, socket: Path | None) -> int:
    """Show what services do, and why: all of them, or those named.

    MEMORY is what all processes of a service have in memory together, its main one and whatever it started;
    what they share counts in each, as in ps.
    """
    try:
        answer = client(socket).ask("status", names)
    except UnavailableError as error:
        error.exit_status = Exit.UNKNOWN  # whoever asks how a service is does not know it now
        raise
    items = items_of(answer)
    if as_json:
        put_json(answer)
    else:
        put(table(_COLUMNS, [_row(item) for item in items], stdout_screen()))
        put(unclaimed(answer.get("unclaimed")))
        put(clockwork(answer.get("tracking")))
        put(looks(answer.get("zombie_looks")))
        put("".join(f"\n{printable(problem)}\n" for problem in texts(answer.get("problems"))))
    return verdict(items, named=bool(names))


def _row(item: Item) -> Sequence[str]:
    return (
        cell(item.get("name")),
        cell(item.get("state")),
        cell(item.get("pid")),
        span(item.get("uptime")),
        cell(item.get("restarts")),
        size(item.get("memory")),
        cell(item.get("zombies")),
        cell(item.get("why")),
    )


def unclaimed(pids: object) -> str:
    """Return a line about adopted processes that belong to no service, or nothing where there is none."""
    if not isinstance(pids, list) or not pids:
        return ""
    return f"\nunclaimed, of no service: pid {', '.join(cell(pid) for pid in pids)}\n"


def looks(told: object) -> str:
    """Return a line about the looks for zombies that the daemon wakes up for, if it does."""
    if not isinstance(told, dict):
        return ""
    return f"\nzombies are looked for every {span(told.get('every'))}: {cell(told.get('remedy'))}\n"


def clockwork(tracking: object) -> str:
    """Return a line about looks by the clock, or nothing where there are none."""
    seconds = tracking.get("heal_interval") if isinstance(tracking, dict) else None
    return (
        "" if seconds is None else f"\nlooks at all processes every {span(seconds)} (daemon.heal_interval)\n"
    )


def verdict(items: Sequence[Item], *, named: bool) -> Exit:
    """Return NOT_RUNNING if a service does not run: a named one at all, or any one that should."""
    if named:
        down = [item for item in items if item.get("state") not in _UP]
    else:
        down = [item for item in items if item.get("want") == "up" and not _is_fine(item)]
    return Exit.NOT_RUNNING if down else Exit.OK


def _is_fine(item: Item) -> bool:
    between_times = item.get("state") == "waiting" and bool(item.get("next")) and not item.get("waits_for")
    return item.get("state") in _FINE or between_times
