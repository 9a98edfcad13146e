"""reaperd events: what the daemon did, and goes on doing."""

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from reaperd.cli.command import Command, client, json_option, moment, service_names, socket_option
from reaperd.cli.render import cell, put
from reaperd.errors import Exit

Item = Mapping[str, Any]  # Any: JSON
_OWN: Final = frozenset({"seq", "time", "level", "event", "service"})
_BY_LOOKS: Final = (
    "reaperd: the kernel tells the daemon of its own children alone: {}\n"
    "hint: the rest is told when it looks: at a request such as reaperd tree, or every heal_interval"
)
_MARKS: Final = {"warning": "warning ", "error": "error "}


@click.command(
    cls=Command,
    exits="0: shown. 4: there is no such service. 69: no daemon, or it ended.",
    examples=(
        "reaperd events",
        "reaperd events -f web 'worker:*'",
        "reaperd events --since 10m --json",
        "reaperd events --kernel -f",
    ),
)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=service_names)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, after the last ten.")
@click.option("-n", "--lines", type=click.IntRange(min=0), help="Only the last so many.")
@click.option(
    "--since",
    "since_s",
    metavar="T",
    callback=moment,
    help="Only what is not older: a time, or how long ago.",
)
@click.option("--kernel", is_flag=True, help="What changes among processes, from now on, instead.")
@json_option
@socket_option
def events(  # noqa: PLR0913 - one for each option
    names: tuple[str, ...],
    *,
    follow: bool,
    lines: int | None,
    since_s: float | None,
    kernel: bool,
    as_json: bool,
    socket: Path | None,
) -> int:
    """Show what the daemon did of late: starts, exits, orphans, reloads and all else that its log can tell.

    The daemon keeps the last thousand or so, whatever its log writes. With names only what is about these
    services is shown. With --kernel it is told which processes are forked, exec, end and are reaped, and how
    they move between parents, groups and sessions: at once where the kernel lets it hear that, else, but for
    its own children, when it looks. With --json each line is an object, the first one naming the schema.
    """
    since = None if since_s is None else datetime.fromtimestamp(since_s, UTC).isoformat()
    for line in client(socket).lines("events", names, follow=follow, since=since, last=lines, kernel=kernel):
        if as_json:
            put(line.decode(errors="replace") + "\n")
        else:
            item = json.loads(line)
            if "event" in item:
                put(_line(item))
            elif item.get("source") == "looks":
                click.echo(_BY_LOOKS.format(cell(item.get("why_not"))), err=True)
        if follow and sys.stdout is not None:
            sys.stdout.flush()
    return Exit.OK


def _line(item: Item) -> str:
    if item.get("event") == "events.lost":
        return f"... {cell(item.get('lost'))} events are not kept any more\n"
    at = datetime.fromisoformat(str(item.get("time"))).astimezone()
    rest = " ".join(
        f"{key}={cell(value)}" for key, value in item.items() if key not in _OWN and value is not None
    )
    level = _MARKS.get(str(item.get("level")), "")
    service = cell(item["service"]) if item.get("service") is not None else ""
    words = (f"{at:%Y-%m-%d %H:%M:%S}", f"{level}{cell(item.get('event'))}", service, rest)
    return " ".join(word for word in words if word) + "\n"
