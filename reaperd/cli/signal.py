"""reaperd signal: send services a signal."""

from pathlib import Path

import click

from reaperd.cli.actions import show_items
from reaperd.cli.command import Command, client, json_option, service_names, socket_option


@click.command(
    cls=Command,
    exits="0: sent. 1: at least one service does not run. 4: there is no such service. 69: no daemon.",
    examples=(
        "reaperd signal HUP web",
        "reaperd signal USR1 --scope tree backend",
        "reaperd signal STOP 'web:*'",
    ),
)
@click.argument("number", metavar="SIGNAL")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=service_names)
@click.option(
    "--scope",
    type=click.Choice(["main", "group", "tree"]),
    default="main",
    show_default=True,
    help="Who gets it: the main process, its process group, or every descendant.",
)
@json_option
@socket_option
def signal(number: str, names: tuple[str, ...], *, scope: str, as_json: bool, socket: Path | None) -> int:
    """Send services a signal, and nothing besides: what comes of it is their business.

    One that ends a service is followed by what its key `restart` says: to keep it down, stop it.
    """
    answer = client(socket).ask("signal", names, signal=number, scope=scope)
    return show_items("signal", answer, as_json=as_json)
