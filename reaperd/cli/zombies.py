"""reaperd zombies: every zombie on this machine."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from reaperd.cli.command import PATH, Command, json_option, seconds
from reaperd.cli.render import Column, Screen, cell, printable, put, put_json, span, stdout_screen, table
from reaperd.errors import Exit, ReaperdError

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
_BY_COLUMNS: Final = (
    Column("ZOMBIES", right=True),
    Column("LEAKS", right=True),
    Column("OLDEST", right=True),
    Column("OF"),
)
_LONGEST_NAME: Final = 24  # more would push the parent off the screen


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which zombies are meant, and in which form they are shown."""

    pids: frozenset[int]
    older_s: float | None
    as_json: bool

    def look(self) -> "Scan":
        """Return what is meant of what is there."""
        from reaperd.zombies.scan import scan  # noqa: PLC0415  # the help does without psutil

        found = scan()
        return found._replace(zombies=tuple(zombie for zombie in found.zombies if self._is_meant(zombie)))

    def _is_meant(self, zombie: "Zombie") -> bool:
        since_s = zombie.at_most_s if zombie.at_least_s is None else zombie.at_least_s
        is_old = self.older_s is None or since_s >= self.older_s
        return is_old and (not self.pids or zombie.pid in self.pids)


@click.command(
    cls=Command,
    exits=(
        "0: there is none. 1: there are some. 2: could not look. "
        "With --warn or --critical: 0 fine, 1 warning, 2 critical, 3 could not look."
    ),
    examples=(
        "reaperd zombies",
        "reaperd zombies --by container",
        "reaperd zombies --watch 10",
        "reaperd zombies --older-than 1m --warn 0 --critical 20",
        "reaperd zombies --prometheus --exit-zero --output /var/lib/node_exporter/zombies.prom",
        "reaperd zombies --json | jq '.items[].ppid'",
    ),
)
@click.argument("pids", metavar="[PID]...", nargs=-1, type=click.IntRange(min=1))
@click.option("--tree", "is_tree", is_flag=True, help="Show them below their parents and ancestors.")
@click.option(
    "--watch",
    "every_s",
    is_flag=False,
    flag_value="2",
    metavar="[SECONDS]",
    callback=seconds,
    help="Look again and again: new ones per minute and parent, leak or constant stock.",
)
@click.option(
    "--by", type=click.Choice(["parent", "user", "container", "cgroup"]), help="Count them by this."
)
@click.option(
    "--older-than", "older_s", callback=seconds, metavar="T", help="Only those that have been one so long."
)
@click.option("--warn", type=click.IntRange(min=0), metavar="N", help="Warn if more than N stay.")
@click.option("--critical", type=click.IntRange(min=0), metavar="N", help="Critical if more than N stay.")
@click.option("--prometheus", "is_metrics", is_flag=True, help="Print metrics for a textfile collector.")
@click.option("--output", type=PATH, help="With --prometheus: replace this file at once.")
@click.option(
    "--exit-zero",
    "is_zero",
    is_flag=True,
    help="Leave with 0 whether there are any or not; then any other status is a failure.",
)
@json_option
def zombies(
    pids: tuple[int, ...],
    *,
    older_s: float | None,
    as_json: bool,
    **form: Any,  # noqa: ANN401  # the other options, taken apart below
) -> int:
    """List every zombie: who it was, since when, how it ended, whose fault it is, and what would help.

    The time is counted by the scheduler's clock, which stands still while the machine is suspended. Where the
    kernel does not tell it, the time since the start of the process bounds it from above and is marked "<".

    A process whose first thread has ended while others live looks like a zombie in ps; it is listed and not
    counted, for there is nothing to collect. Zombies in transit, which may be collected at any moment, are no
    leak: --warn, --critical and --watch leave them out.
    """
    asked = _Asked(frozenset(pids), older_s, as_json)
    is_check = form["warn"] is not None or form["critical"] is not None
    _refuse_mixtures(form, as_json=as_json, is_check=is_check)
    if form["every_s"] is not None:
        from reaperd.cli.zombie_watch import watch  # noqa: PLC0415  # see above

        watch(asked.look, form["every_s"], as_json=as_json)
    if is_check:
        return _check(asked, form["warn"], form["critical"])
    found = asked.look()
    if form["is_metrics"]:
        _metrics(found, form["output"])
    elif form["by"] is not None:
        _count(found, form["by"], as_json=as_json)
    elif form["is_tree"] and not as_json:
        _tree(found)
    else:
        _list(found, as_json=as_json)
    return Exit.FAILED if found.collectable and not form["is_zero"] else Exit.OK


def _refuse_mixtures(form: Mapping[str, Any], *, as_json: bool, is_check: bool) -> None:  # Any: options
    """Refuse options that say two things at once."""
    chosen = [
        form["is_tree"],
        form["every_s"] is not None,
        form["by"] is not None,
        is_check,
        form["is_metrics"],
    ]
    if sum(chosen) > 1:
        raise click.UsageError("--tree, --watch, --by, --warn/--critical and --prometheus exclude each other")
    if form["output"] is not None and not form["is_metrics"]:
        raise click.UsageError("--output goes with --prometheus")
    if form["is_zero"] and is_check:
        raise click.UsageError(
            "--exit-zero does not go with --warn and --critical: their status is the answer"
        )
    if as_json and (is_check or form["is_metrics"]):
        raise click.UsageError("--json is no form of --warn, --critical and --prometheus")
    if form["every_s"] == 0:
        raise click.UsageError("--watch has to wait between two looks: 2s, 500ms")


def _list(found: "Scan", *, as_json: bool) -> None:
    from reaperd.zombies import report  # noqa: PLC0415  # see above

    if as_json:
        put_json(report.as_json(found))
    else:
        put(as_text(found, stdout_screen()))


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


def _tree(found: "Scan") -> None:
    from reaperd.zombies.lineage import lines_of  # noqa: PLC0415  # see above
    from reaperd.zombies.report import remarks  # noqa: PLC0415  # see above

    put("".join(f"{printable(line)}\n" for line in [*lines_of(found.zombies), *remarks(found)]))


def _count(found: "Scan", by: str, *, as_json: bool) -> None:
    from reaperd.zombies.digest import By, grouped, groups_as_json  # noqa: PLC0415  # see above

    groups = grouped(found.collectable, By(by))
    if as_json:
        put_json(groups_as_json(groups, By(by)))
        return
    rows = [(str(g.count), str(g.leaks), span(g.oldest_s), cell(g.key)) for g in groups]
    put(table(_BY_COLUMNS, rows, stdout_screen()) if rows else "No zombies.\n")


def _check(asked: _Asked, warn: int | None, critical: int | None) -> int:
    from reaperd.zombies.digest import UNKNOWN, verdict  # noqa: PLC0415  # see above

    try:
        status, line = verdict(asked.look(), warn, critical)
    except ReaperdError as error:
        status, line = UNKNOWN, f"ZOMBIES UNKNOWN - {error.message.replace('|', '/')}"
    put(f"{printable(line)}\n")
    return status


def _metrics(found: "Scan", output: Path | None) -> None:
    from reaperd.zombies.digest import exposition  # noqa: PLC0415  # see above

    text = exposition(found, time.time())
    if output is None:
        # In the format itself a name may have anything but a line's end; a terminal would obey it.
        is_seen = stdout_screen().width is not None
        put("\n".join(map(printable, text.split("\n"))) if is_seen else text)
        return
    if output.name == "" or (output.exists() and not output.is_file()):
        raise ReaperdError(
            f"cannot write {output}: it is no regular file", hint="without --output it is printed"
        )
    # Beside the file, under a name that no collector reads, then renamed: whoever reads sees all or the
    # former.
    fresh = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.chmod(0o644)
        fresh.replace(output)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink()
        raise ReaperdError(f"cannot write {output}: {error.strerror}") from error
