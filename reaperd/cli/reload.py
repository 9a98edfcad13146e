"""reaperd reload: let the daemon, or services, read their configuration again, and say what came of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from reaperd.cli.actions import act
from reaperd.cli.command import Command, client, json_option, service_names, socket_option, wait_option
from reaperd.cli.progress import progress
from reaperd.cli.render import COLOURS, cell, items_of, put, put_json, stdout_screen
from reaperd.errors import Exit

_CHANGES: Final = ("added", "changed", "removed")
Item = Mapping[str, Any]  # Any: JSON


@click.command(
    cls=Command,
    exits=(
        "0: done. 1: done, but a changed service does not run. 4: there is no such service. 69: no daemon. "
        "78: the configuration has problems, and nothing was changed."
    ),
    examples=("reaperd reload --dry-run", "reaperd reload", "reaperd reload web"),
)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=service_names)
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@wait_option
@json_option
@socket_option
def reload(names: tuple[str, ...], *, dry_run: bool, wait: bool, as_json: bool, socket: Path | None) -> int:
    """Let the daemon read its configuration again, or ask the services named to do that.

    Services that did not change keep running, and of those that did only what needs it is restarted. Waits
    until that is settled. A configuration with problems changes nothing.

    With names it is the services that reload themselves, each in the way that its key `reload` says.
    """
    if names and dry_run:
        raise click.UsageError("--dry-run is for the daemon's configuration; leave the names out")
    if names:
        return act("reload-services", names, wait=False, as_json=as_json, socket=socket)
    wait = wait and not dry_run
    with progress("reload", (), socket, wait=wait) as watch:
        answer = client(socket).ask("reload", wait=wait, watch=watch, dry_run=dry_run)
    return show(answer, as_json=as_json)


def show(answer: Mapping[str, object], *, as_json: bool) -> int:
    """Print what a reload did to each service; return the exit status."""
    items = [item for item in items_of(answer) if item.get("change") in _CHANGES]
    if as_json:
        put_json(answer)
    else:
        put("".join(_line(item) for item in items) or "nothing changed\n")
        if answer.get("needs_restart"):
            put(f"needs a restart of the daemon: {_names(answer['needs_restart'])}\n")
    return Exit.FAILED if any(item.get("ok") is False for item in items) else Exit.OK


def _line(item: Item) -> str:
    state, why = item.get("state"), item.get("why")
    shown = stdout_screen().painted(cell(state), COLOURS.get(cell(state))) if state else ""
    more = f": {shown}{f' ({cell(why)})' if why else ''}" if shown else ""
    return f"{cell(item.get('change'))} {cell(item.get('name'))}{more}\n"


def _names(names: object) -> str:
    is_list = isinstance(names, Sequence) and not isinstance(names, str)
    return ", ".join(cell(name) for name in names) if is_list else cell(names)  # type: ignore[attr-defined] # checked
