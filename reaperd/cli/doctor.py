"""reaperd doctor: what this machine allows, found by trying, and what is done instead."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from reaperd import __version__
from reaperd.cli.command import Command, client, json_option, socket_option
from reaperd.cli.render import cell, items_of, printable, put, put_json, span, stdout_screen, texts, wrapped
from reaperd.control.client import RefusedError
from reaperd.doctor.findings import Check, Found, Verdict, no, partly, yes
from reaperd.errors import Exit

SCHEMA: Final = "reaperd.doctor/1"
_STYLES: Final[Mapping[Verdict, str]] = {
    Verdict.YES: "\x1b[32m",
    Verdict.PARTLY: "\x1b[33m",
    Verdict.NO: "\x1b[31m",
}


@click.command(
    cls=Command,
    exits="0: reaperd can do its work here, perhaps by other means. 1: something that it needs is not there.",
    examples=("reaperd doctor", "reaperd doctor --json", "sudo reaperd doctor"),
)
@json_option
@socket_option
def doctor(*, as_json: bool, socket: Path | None) -> int:
    """Say what this machine allows, and what is done instead where it does not.

    Each is found out by trying it, harmlessly and mostly in a child; what is true for this user need not
    be for another. Works without a daemon, and as any user.
    """
    # Imported here: the help does without.
    from reaperd.doctor import machine, places  # noqa: PLC0415

    checks = (*machine.CHECKS, *places.checks(socket), _daemon(socket), _tracking(socket))
    found = [(check, check.found()) for check in checks]
    if as_json:
        items = [_item(check, each) for check, each in found]
        put_json({"schema": SCHEMA, "version": __version__, "items": items})
    else:
        put("".join(_lines(check, each) for check, each in found))
    missing = any(check.needed and each.verdict is Verdict.NO for check, each in found)
    return Exit.FAILED if missing else Exit.OK


def _item(check: Check, found: Found) -> dict[str, Any]:
    return {
        "name": check.name,
        "verdict": found.verdict.value,
        "detail": found.detail,
        "does": check.does,
        "tried": check.tried,
        "instead": check.instead if found.verdict is Verdict.NO else None,
        "needed": check.needed,
    }


def _lines(check: Check, found: Found) -> str:
    screen = stdout_screen()
    verdict = screen.painted(f"{found.verdict.value:6}", _STYLES[found.verdict])
    lines = [f"{verdict}  {check.name}: {printable(found.detail)}\n"]
    lines.append(wrapped(f"for: {check.does}; tried: {check.tried}", screen, indent=8))
    if found.verdict is Verdict.NO and check.instead is not None:
        lines.append(wrapped(f"instead: {check.instead}", screen, indent=8))
    return "".join(lines)


def _woken(answer: Mapping[str, Any]) -> str:
    looks = answer.get("zombie_looks")
    if not isinstance(looks, dict):
        return "nothing wakes it up to look for zombies"
    return f"it wakes up every {span(looks.get('every'))} to look for zombies: {cell(looks.get('remedy'))}"


def _daemon(socket: Path | None) -> Check:
    def look() -> Found:
        try:
            answer = client(socket).ask("status")
        except RefusedError as error:
            return partly(f"it answers, and refuses this user: {error.message}")
        count = len(items_of(answer))
        parts = [f"version {cell(answer.get('version'))}", f"{count} service{'' if count == 1 else 's'}"]
        parts.append(_woken(answer))
        problems = texts(answer.get("problems"))
        return partly("; ".join([*problems, ", ".join(parts)])) if problems else yes(", ".join(parts))

    return Check(
        "daemon",
        "runs the services",
        "asked it for its status",
        "commands that need none work all the same; start one with: reaperd run -c FILE",
        look,
    )


def _tracking(socket: Path | None) -> Check:
    def look() -> Found:
        told = client(socket).ask("status").get("tracking")
        if not isinstance(told, dict):
            return no("the daemon does not tell")
        hears = told.get("source") == "connector"
        how = "by the process connector" if hears else f"by looks alone: {cell(told.get('why_not'))}"
        parts = [f"{how}; of {cell(told.get('scope'))}: {cell(told.get('processes'))} processes"]
        if hears:
            lag = told.get("lag")
            late = f", the latest {lag * 1000:.1f} ms late" if isinstance(lag, float) else ""
            parts.append(f"{cell(told.get('messages'))} messages{late}, {cell(told.get('losses'))} losses")
        if told.get("dirty"):
            parts.append("a look is due after a loss")
        detail = "; ".join(parts)
        return yes(detail) if hears and not told.get("dirty") else partly(detail)

    return Check(
        "tracking",
        "keeps the model in step with the real processes: reaperd tree, reaperd events --kernel",
        "asked the daemon how well it follows",
        "reaperd tree looks for itself",
        look,
    )
