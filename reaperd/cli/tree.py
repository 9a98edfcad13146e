"""reaperd tree: the processes as the kernel groups them, session by session.

Two trees lie over each other: who forked whom, and which process group of which session somebody is in. The
second is drawn as headings, because signals, terminals and job control follow it; the first as indentation
within a group, and as a remark where the parent is in another one.
"""

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from reaperd.cli import treedot, treetext
from reaperd.cli.command import Command, client, json_option, seconds, socket_option
from reaperd.cli.render import put, put_json, stdout_screen
from reaperd.cli.treefacts import Picture, add_facts, only_below, scan, without_kernel_threads
from reaperd.control.client import RefusedError
from reaperd.errors import ReaperdError, UnavailableError

_CLEAR: Final = "\x1b[H\x1b[2J"


@click.command(
    cls=Command,
    exits="0: shown. 1: there is no such process.",
    examples=(
        "reaperd tree",
        "reaperd tree --scan $$",
        "reaperd tree --watch",
        "reaperd tree --scan --kernel",
        "reaperd tree --dot | dot -Tsvg >tree.svg",
        "reaperd tree --json | jq '.items[].groups[].processes[] | select(.zombie)'",
    ),
)
@click.argument("pid", type=click.IntRange(1), required=False)
@click.option("--scan", "is_scan", is_flag=True, help="Look at all processes, also where a daemon answers.")
@click.option("--kernel", is_flag=True, help="Show the kernel's own threads too.")
@click.option("--dot", "as_dot", is_flag=True, help="Print a graph for Graphviz: dot(1).")
@click.option("--watch", is_flag=True, help="Show it anew every --interval, until interrupted.")
@click.option(
    "--interval", callback=seconds, default="2s", show_default=True, metavar="T", help="For --watch."
)
@json_option
@socket_option
def tree(  # noqa: PLR0913 - one for each option
    pid: int | None,
    *,
    is_scan: bool,
    kernel: bool,
    as_dot: bool,
    watch: bool,
    interval: float,
    as_json: bool,
    socket: Path | None,
) -> int:
    """Show processes by session and process group: all of them, or PID and all below it.

    Where a daemon answers, its model is shown, with services, adopted orphans and known subreapers; else, and
    with --scan, every process that can be seen. Within a group children stand indented under their parents.
    Each has its state, age, processor time and memory. Zombies are marked with what keeps them, and stopped
    processes, threads and the init are marked, too. With --watch and --json each look is an object in a line.
    """
    if as_json and as_dot:
        raise click.UsageError("--json and --dot exclude each other")

    def show() -> None:
        picture = _picture(pid, socket, is_scan=is_scan, kernel=kernel)
        if as_json:
            put_json(picture, is_line=watch)
        elif as_dot:
            put(treedot.graph(picture))
        else:
            put("".join(treetext.lines(picture, stdout_screen())))

    if not watch:
        show()
        return 0
    clears = stdout_screen().width is not None and not (as_json or as_dot)
    with suppress(KeyboardInterrupt):
        while True:
            if clears:
                put(_CLEAR)
            show()
            sys.stdout.flush()
            time.sleep(interval)
    return 0


def _picture(pid: int | None, socket: Path | None, *, is_scan: bool, kernel: bool) -> Picture:
    """Return what is to be shown.

    Raises:
        ReaperdError: there is no process `pid`.
    """
    picture = None if is_scan else _of_daemon(socket)
    if picture is not None and pid is not None:
        picture = only_below(picture, pid)  # None where it is a stranger to the daemon
    if picture is None:
        picture = scan() if pid is None else only_below(scan(), pid)
    if picture is None:
        raise ReaperdError(f"cannot show process {pid}: there is none", hint="reaperd tree --scan shows all")
    add_facts(picture)
    return picture if kernel else without_kernel_threads(picture)


def _of_daemon(socket: Path | None) -> Picture | None:
    try:
        return dict(client(socket).ask("tree"))
    except (UnavailableError, RefusedError):  # nobody there, or not for us
        return None
