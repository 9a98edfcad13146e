"""reaperd start, stop, restart and shutdown: ask the daemon to act, and say what came of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from reaperd.cli.command import Command, client, json_option, service_names, socket_option, wait_option
from reaperd.cli.progress import progress
from reaperd.cli.render import COLOURS, cell, items_of, put, put_json, stdout_screen
from reaperd.errors import Exit

Item = Mapping[str, Any]  # Any: JSON
_EXITS: Final = "0: done. 1: not done for at least one service. 4: there is no such service. 69: no daemon."


@click.command(cls=Command, exits=_EXITS, examples=("reaperd start web", "reaperd start --no-wait all"))
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=service_names)
@wait_option
@json_option
@socket_option
def start(names: tuple[str, ...], *, wait: bool, as_json: bool, socket: Path | None) -> int:
    """Start services, and first what they require; `all` means every one.

    Waits until each runs, or cannot. A service that runs already is left alone. The name of a service with
    instances means all of them.
    """
    return act("start", names, wait=wait, as_json=as_json, socket=socket)


@click.command(cls=Command, exits=_EXITS, examples=("reaperd stop web worker", "reaperd stop all"))
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=service_names)
@wait_option
@json_option
@socket_option
def stop(names: tuple[str, ...], *, wait: bool, as_json: bool, socket: Path | None) -> int:
    """Stop services, with everything they started; `all` means every one.

    Those that require them stop first. Waits until nothing of them is left. What does not end in time is
    killed.
    """
    return act("stop", names, wait=wait, as_json=as_json, socket=socket)


@click.command(cls=Command, exits=_EXITS, examples=("reaperd restart web", "reaperd restart --no-wait all"))
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=service_names)
@wait_option
@json_option
@socket_option
def restart(names: tuple[str, ...], *, wait: bool, as_json: bool, socket: Path | None) -> int:
    """Stop services, then start them again; `all` means every one."""
    return act("restart", names, wait=wait, as_json=as_json, socket=socket)


@click.command(cls=Command, exits=_EXITS, examples=("reaperd shutdown", "reaperd shutdown --no-wait"))
@wait_option
@json_option
@socket_option
def shutdown(*, wait: bool, as_json: bool, socket: Path | None) -> int:
    """Stop every service in order, then the daemon; waits until it is gone."""
    return act("shutdown", (), wait=wait, as_json=as_json, socket=socket)


def act(verb: str, names: tuple[str, ...], *, wait: bool, as_json: bool, socket: Path | None) -> int:
    """Ask the daemon for `verb`, and print what came of it for each service; return the exit status."""
    with progress(verb, names, socket, wait=wait) as watch:
        answer = client(socket).ask(verb, names, wait=wait, watch=watch)
    return show_items(verb, answer, as_json=as_json)


def show_items(verb: str, answer: Item, *, as_json: bool) -> int:
    """Print what came of it for each service; return the exit status."""
    items = items_of(answer)
    if as_json:
        put_json(answer)
    else:
        for item in items:
            _show(verb, item)
    return Exit.OK if all(item.get("ok") for item in items) else Exit.FAILED


def _show(verb: str, item: Item) -> None:
    """Print one line about a service; on standard error where it went wrong."""
    name, state, why = cell(item.get("name")), cell(item.get("state")), item.get("why")
    if not item.get("ok"):
        click.echo(f'reaperd: cannot {verb.partition("-")[0]} "{name}": {cell(why or state)}', err=True)
        return
    shown = stdout_screen().painted(state, COLOURS.get(state))
    put(f"{name}: {shown}{f' ({cell(why)})' if why else ''}\n")
