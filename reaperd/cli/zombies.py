"""reaperd zombies: every zombie on this machine."""

from typing import TYPE_CHECKING, Final

import click

from reaperd.cli.command import Command, json_option
from reaperd.cli.render import Column, Screen, cell, printable, put, put_json, span, stdout_screen, table
from reaperd.errors import Exit

if TYPE_CHECKING:
    from reaperd.zombies.scan import Scan, Zombie

_COLUMNS: Final = (
    Column("PID", right=True),
    Column("NAME"),
    Column("USER"),
    Column("ZOMBIE FOR", right=True),
    Column("ENDED BY"),
    Column("PARENT"),
)
_LONGEST_NAME: Final = 24  # more would push the parent off the screen


@click.command(
    cls=Command,
    exits="0: there is none. 1: there are some. 2: could not look.",
    examples=(
        "reaperd zombies",
        "reaperd zombies --json | jq '.items[].ppid'",
        "watch -n 5 reaperd zombies",
    ),
)
@json_option
def zombies(*, as_json: bool) -> int:
    """List every zombie: who it was, since when, how it ended, whose fault it is, and what would help.

    The time is counted by the scheduler's clock, which stands still while the machine is suspended. Where the
    kernel does not tell it, the time since the start of the process bounds it from above and is marked "<".

    A process whose first thread has ended while others live looks like a zombie in ps; it is listed and not
    counted, for there is nothing to collect.
    """
    # Imported here: the help does without psutil.
    from reaperd.zombies import report  # noqa: PLC0415
    from reaperd.zombies.scan import scan  # noqa: PLC0415

    found = scan()
    if as_json:
        put_json(report.as_json(found))
    else:
        put(as_text(found, stdout_screen()))
    return Exit.FAILED if found.collectable else Exit.OK


def as_text(found: "Scan", screen: Screen) -> str:
    """Return the table and its causes, if there is anything to put in it, and the remarks."""
    from reaperd.zombies.report import explanations, remarks  # noqa: PLC0415  # see above

    shown = ""
    if found.zombies:
        shown = table(_COLUMNS, [_row(zombie) for zombie in found.zombies], screen)
        shown += "\n" + "".join(f"{printable(line)}\n" for line in explanations(found))
    return shown + "".join(f"{line}\n" for line in remarks(found))


def _row(zombie: "Zombie") -> tuple[str, ...]:
    from reaperd.zombies.report import decodable, ending, parent_words  # noqa: PLC0415  # see above

    since = span(zombie.at_most_s) if zombie.at_least_s is None else span(zombie.at_least_s)
    return (
        str(zombie.pid),
        cell(decodable(zombie.name))[:_LONGEST_NAME],
        cell(zombie.user),
        since if zombie.at_least_s is not None else f"< {since}",
        ending(zombie),
        printable(decodable(parent_words(zombie))),
    )
