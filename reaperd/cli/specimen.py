"""reaperd specimen: make a real zombie of one kind, to look at."""

import os
import signal
import sys
import time
from typing import Final

import click

from reaperd.cli.command import Command, seconds
from reaperd.cli.render import Column, put, stdout_screen, table
from reaperd.errors import Exit, ReaperdError

_ENDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LONG_S: Final = 86_400.0


@click.command(
    cls=Command,
    exits="0: made, held and cleaned up. 1: it cannot be made here.",
    examples=("reaperd specimen --list", "reaperd specimen never-waits", "reaperd specimen stopped --for 1m"),
)
@click.argument("kind", required=False)
@click.option("--list", "is_list", is_flag=True, help="List the kinds.")
@click.option(
    "--for", "for_s", callback=seconds, metavar="T", help="Hold it so long; by default until Ctrl-C."
)
def specimen(kind: str | None, *, is_list: bool, for_s: float | None) -> int:
    """Make a real zombie, orphan or living control of one KIND, hold it until Ctrl-C, and clean up.

    For teaching, and for trying alerts: `reaperd zombies` in another terminal says what it is, and
    `reaperd reap` clears it where that is possible.
    """
    # Imported here: the help does without.
    from reaperd.units import shown, suggest  # noqa: PLC0415
    from reaperd.zombies.specimens import KINDS, looked_at, specimen  # noqa: PLC0415

    if is_list or kind is None:
        rows = [(name, found.cause or "-", found.summary) for name, found in KINDS.items()]
        put(table((Column("KIND"), Column("CAUSE"), Column("WHAT IT IS")), rows, stdout_screen()))
        return Exit.OK
    if kind not in KINDS:
        raise click.UsageError(f"there is no kind {shown(kind)}{suggest(kind, KINDS)}; see --list")
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_ENDS, signal.SIGCHLD})
    try:
        with specimen(kind) as roles:
            put("".join(f"{role} {' '.join(map(str, pids))}\n" for role, pids in roles.items()))
            cause = KINDS[kind].cause
            look = " ".join((*looked_at(kind, roles), "reaperd zombies"))
            put(f"look: {look}{f'  (cause: {cause})' if cause else ''}\n")
            if sys.stdout is not None:
                sys.stdout.flush()
            _hold(for_s)
    except RuntimeError as error:
        raise ReaperdError(
            f'cannot make a specimen of "{kind}": {error}',
            hint="some kinds need root; its own words are above",
        ) from error
    return Exit.OK


def _hold(for_s: float | None) -> None:
    """Wait for Ctrl-C or an end from elsewhere, at most so long; collect who comes to us meanwhile.

    Whoever ends the specimen's parent makes us the parent of its zombies, and expects one that collects.
    """
    from reaperd.kernel import procfs, wait  # noqa: PLC0415  # see above

    deadline = None if for_s is None else time.monotonic() + for_s
    while True:
        for child in procfs.children(os.getpid()):
            wait.reap(child)
        left = _LONG_S if deadline is None else deadline - time.monotonic()
        came = signal.sigtimedwait({*_ENDS, signal.SIGCHLD}, max(left, 0))
        if (came is None and deadline is not None) or (came is not None and came.si_signo != signal.SIGCHLD):
            return
