"""reaperd cure: let a parent leave no more zombies."""

import sys
from typing import Final

import click

from reaperd.cli.command import Command, timeout_option
from reaperd.cli.render import put
from reaperd.errors import Exit, ReaperdError

_BREAKS: Final = (
    "Its waitpid, system() and pclose() then say ECHILD, so what it learns of its children's ends is lost.\n"
    "Zombies from before stay (reaperd reap); an exec of it ends the cure."
)


@click.command(
    cls=Command,
    exits="0: done, and read back. 1: not done.",
    examples=("reaperd cure 812", "reaperd cure --undo 812"),
)
@click.argument("ppid", metavar="PPID", type=click.IntRange(min=1))
@click.option("--undo", is_flag=True, help="Let its children become zombies again until it waits for them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Take risks: the machine's PID 1, seccomp filters.")
@timeout_option
def cure(ppid: int, *, undo: bool, yes: bool, force: bool, timeout: float) -> int:
    """Let a parent leave no more zombies: set SA_NOCLDWAIT in it, by a system call that it makes for us.

    Its handler of SIGCHLD is kept. Its waitpid, system() and pclose() then say ECHILD, so what it would
    learn of its children's ends is lost. Zombies from before stay, and an exec of the parent ends the cure.
    """
    # Imported here: the help does without.
    from reaperd.kernel import procfs  # noqa: PLC0415
    from reaperd.zombies import helper  # noqa: PLC0415
    from reaperd.zombies.acts import NotDone, is_host_init, target_of  # noqa: PLC0415

    if is_host_init(ppid) and not force:
        raise ReaperdError("cannot cure process 1: it is the init of this machine", hint="take --force")
    try:
        target = target_of(ppid)
    except NotDone as error:
        raise ReaperdError(f"cannot cure process {ppid}: {error}") from error
    stat = procfs.read_stat(ppid)
    if stat is not None and stat.is_zombie and not stat.is_dead_leader:
        hint = f"reaperd cure {stat.ppid} cures its parent, reaperd reap {ppid} clears this one"
        raise ReaperdError(f"cannot cure process {ppid}: it is a zombie itself", hint=hint)
    if not undo and not yes:
        put(f"{_BREAKS}\n")
        if not (sys.stdin is not None and sys.stdin.isatty() and click.confirm(f"Cure process {ppid}?")):
            raise ReaperdError(f"cannot cure process {ppid}: that was not agreed to", hint="take --yes")
    done = helper.cure(target, timeout, undo=undo, force=force)
    if done.why is not None or not done.confirmed:
        why = done.why or "reading it back does not agree"
        raise ReaperdError(f"cannot cure process {ppid}: {why}", hint=done.hint)
    put(f"{ppid}: {'leaves zombies again' if undo else 'leaves no more zombies'}\n")
    return Exit.OK
