"""reaperd zombies: every zombie on this machine."""

import json
import shutil
import sys

import click

from reaperd.errors import Exit


@click.command(
    epilog="""\b
Examples:
  reaperd zombies
  reaperd zombies --json | jq '.items[].ppid'
  reaperd zombies || echo "somebody does not wait for its children"
""",
)
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object, schema reaperd.zombies/1.")
@click.pass_context
def zombies(context: click.Context, *, is_json: bool) -> None:
    """List every zombie: who it was, since when, how it ended, and who should have waited for it.

    "Zombie for" is counted by the scheduler's clock, which stands still while the machine is suspended; where
    the kernel does not tell, the time since the process was started is given as "at most". A process whose
    first thread has ended while others live looks like a zombie too; it is listed and not counted.

    Leaves with 0 if there is none, 1 if there are some, 2 if it could not look.
    """
    # Imported here: psutil costs more than the rest of the command line together.
    from reaperd.zombies.report import as_json, as_text  # noqa: PLC0415
    from reaperd.zombies.scan import scan  # noqa: PLC0415

    found = scan()
    if is_json:
        click.echo(json.dumps(as_json(found)))
    else:
        click.echo(as_text(found, width=terminal_width()))
    context.exit(Exit.FAILED if found.collectable else Exit.OK)


def terminal_width() -> int | None:
    """Return the columns of the terminal that stdout is, None where it is none: then nothing is cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
