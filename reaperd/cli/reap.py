"""reaperd reap: clear zombies whose parents do not, gentlest remedy first."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from reaperd.cli.command import Command, json_option, timeout_option
from reaperd.cli.render import printable, put, put_json
from reaperd.errors import Exit, ReaperdError

if TYPE_CHECKING:
    from reaperd.zombies.ladder import Offer
    from reaperd.zombies.remedy import Outcome, Wish
    from reaperd.zombies.scan import Zombie

SCHEMA: Final = "reaperd.reap/1"
_METHODS: Final = ("auto", "nudge", "inject", "gdb", "adopt")


@dataclass(frozen=True, slots=True)
class _Terminal:
    """Say and ask on the terminal; `yes` agrees to end a parent, and offers are for a person to take."""

    yes: bool
    is_quiet: bool

    def tell(self, text: str) -> None:
        """Say what is about to be done."""
        if not self.is_quiet:
            put(f"{printable(text)}\n")

    def agrees(self, question: str) -> bool:
        """Ask, unless that was answered on the command line; nobody there means no."""
        if self.yes:
            self.tell(question)
            return True
        return self._is_person() and click.confirm(printable(question), err=True)

    def wants(self, offer: "Offer", question: str) -> bool:
        """Ask a person; what somebody stopped, froze or traced on purpose is not let go unasked."""
        del offer
        if not self._is_person():
            self.tell(f"offered first, for a person to decide: {question}")
            return False
        return click.confirm(printable(f"First: {question}?"), err=True)

    def _is_person(self) -> bool:
        return not self.is_quiet and sys.stdin is not None and sys.stdin.isatty()


@click.command(
    cls=Command,
    exits=(
        "0: every one of them is gone. 1: some are still there, or there is no such process. "
        "2: no such command line, or no look."
    ),
    examples=(
        "reaperd reap 4711",
        "reaperd reap --parent 812 --method inject",
        "reaperd reap --all --dry-run",
    ),
)
@click.argument("pids", metavar="[PID]...", nargs=-1, type=click.IntRange(min=1))
@click.option("--all", "everyone", is_flag=True, help="Every zombie on this machine.")
@click.option("--parent", type=click.IntRange(min=1), metavar="PPID", help="Every zombie of this parent.")
@click.option(
    "--method",
    type=click.Choice(_METHODS),
    default="auto",
    show_default=True,
    help="One remedy, or the gentlest that helps.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be tried, and do nothing.")
@click.option("--yes", is_flag=True, help="Agree to injection, and with --method adopt to end the parent.")
@click.option("--force", is_flag=True, help="Take risks: the machine's PID 1, seccomp filters.")
@timeout_option
@json_option
def reap(
    pids: tuple[int, ...],
    *,
    everyone: bool,
    parent: int | None,
    as_json: bool,
    **how: Any,  # noqa: ANN401  # the other options, taken apart below
) -> int:
    """Clear zombies: ask their parent (nudge), let it collect them (inject), or end it (adopt).

    nudge sends SIGCHLD where that can help. inject stops one thread of the parent for some milliseconds and
    lets it call wait4: the parent never learns that exit status. gdb does the same with a debugger. adopt
    ends the parent, so that init collects. After each a second look decides; only what is gone counts as
    done.
    """
    if not pids and not everyone and parent is None:
        raise click.UsageError("which? Name pids, --parent PPID or --all")
    # Imported here: the help does without psutil.
    from reaperd.zombies.ladder import Method  # noqa: PLC0415
    from reaperd.zombies.remedy import Wish, clear  # noqa: PLC0415

    zombies, others = _chosen(pids, parent, everyone=everyone)
    method = Method(how["method"])
    may_inject = how["yes"] or method in (Method.INJECT, Method.GDB)
    wish = Wish(method, may_inject=may_inject, force=how["force"], within_s=how["timeout"])
    if how["dry_run"]:
        return _dry_run(zombies, wish, as_json=as_json)
    outcomes = clear(zombies, wish, _Terminal(yes=how["yes"], is_quiet=as_json))
    if as_json:
        put_json({"schema": SCHEMA, "items": [_item(outcome) for outcome in outcomes]})
    else:
        _show(outcomes)
    for pid in others:
        click.echo(f"reaperd: cannot reap {pid}: it is no zombie", err=True)
    return Exit.OK if not others and all(outcome.is_gone for outcome in outcomes) else Exit.FAILED


def _chosen(pids: Sequence[int], parent: int | None, *, everyone: bool) -> tuple[list["Zombie"], list[int]]:
    """Return the zombies that are meant, and the pids that are none.

    Raises:
        ReaperdError: that parent is no process.
    """
    from reaperd.kernel import procfs  # noqa: PLC0415  # see above
    from reaperd.zombies.scan import scan  # noqa: PLC0415  # see above

    found = scan().zombies
    has_any = any(zombie.ppid == parent for zombie in found)
    if parent is not None and not has_any and procfs.read_stat(parent) is None:
        raise ReaperdError(
            f"cannot reap the zombies of {parent}: there is no such process",
            hint="whose zombies there are: reaperd zombies --by parent",
        )
    is_meant = [
        zombie
        for zombie in found
        if zombie.pid in pids or (zombie.cause.is_leak and (everyone or zombie.ppid == parent))
    ]
    return is_meant, sorted(set(pids) - {zombie.pid for zombie in found})


def _dry_run(zombies: Sequence["Zombie"], wish: "Wish", *, as_json: bool) -> int:
    from reaperd.zombies.remedy import offered, plan  # noqa: PLC0415  # see above

    plans = plan(zombies, wish)
    if as_json:
        items = [
            {
                "pid": zombie.pid,
                "ppid": zombie.ppid,
                "would_try": [rung.method for rung in way.rungs],
                "why": way.refusal,
            }
            for zombie, way in plans
        ]
        put_json({"schema": SCHEMA, "items": items})
        return Exit.OK
    for zombie, way in plans:
        put(f"{zombie.pid}: {zombie.cause.name}\n")
        put(f"  offered first, for a person to decide: {offered(way.offer, zombie)}\n" if way.offer else "")
        put("".join(f"  {rung.method}: {rung.says}\n    {rung.risk}\n" for rung in way.rungs))
        put(f"  nothing: {printable(way.refusal)}\n" if way.refusal else "")
    if not plans:
        put("Nothing to do.\n")
    return Exit.OK


def _item(outcome: "Outcome") -> dict[str, object]:
    return {
        "pid": outcome.zombie.pid,
        "ppid": outcome.zombie.ppid,
        "cause": outcome.zombie.cause.name,
        "gone": outcome.is_gone,
        "by": outcome.by,
        "tried": list(outcome.tried),
        "why": outcome.why,
        "hint": outcome.hint,
    }


def _show(outcomes: Sequence["Outcome"]) -> None:
    if not outcomes:
        put("Nothing to do.\n")
    for outcome in outcomes:
        if outcome.is_gone:
            put(f"{outcome.zombie.pid}: gone{f', by {outcome.by}' if outcome.by else ' by itself'}\n")
            continue
        click.echo(f"reaperd: cannot reap {outcome.zombie.pid}: {printable(outcome.why or '')}", err=True)
        if outcome.hint:
            click.echo(f"hint: {printable(outcome.hint)}", err=True)
