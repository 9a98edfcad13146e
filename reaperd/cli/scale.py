"""reaperd scale: run more or fewer instances of a service."""

from pathlib import Path

import click

from reaperd.cli.command import Command, client, json_option, service_names, socket_option, wait_option
from reaperd.cli.progress import progress
from reaperd.cli.reload import show


@click.command(
    cls=Command,
    exits=(
        "0: done. 1: done, but an instance does not run. 4: there is no such service. 69: no daemon. "
        "78: the configuration has problems, and nothing was changed."
    ),
    examples=("reaperd scale worker 5", "reaperd scale worker 0"),
)
@click.argument("name", metavar="NAME", shell_complete=service_names)
@click.argument("instances", metavar="NUMBER", type=click.IntRange(0, 1000))
@wait_option
@json_option
@socket_option
def scale(name: str, instances: int, *, wait: bool, as_json: bool, socket: Path | None) -> int:
    """Run NUMBER instances of the service NAME, which has the key `instances`.

    Those that there are keep running; the ones with the highest numbers go first. The number holds, through
    reloads too, until the one in the file changes or the daemon ends. The files are read again for it.
    """
    with progress("scale", (name,), socket, wait=wait) as watch:
        answer = client(socket).ask("scale", (name,), wait=wait, watch=watch, instances=instances)
    return show(answer, as_json=as_json)
