"""reaperd reload: let the daemon read its configuration again, and say what that changed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from reaperd.cli.command import Command, client, json_option, socket_option
from reaperd.cli.render import cell, put, put_json
from reaperd.errors import Exit

_CHANGES: Final = ("added", "changed", "removed")


@click.command(
    cls=Command,
    exits="0: done. 69: no daemon. 78: the configuration has problems, and nothing was changed.",
    examples=("reaperd reload", "reaperd check FILE && reaperd reload"),
)
@json_option
@socket_option
def reload(*, as_json: bool, socket: Path | None) -> int:
    """Let the daemon read its configuration again.

    Services that did not change keep running. A configuration with problems changes nothing.
    """
    answer = client(socket).ask("reload")
    if as_json:
        put_json(answer)
        return Exit.OK
    lines = [f"{change}: {names}\n" for change in _CHANGES if (names := _names(_changed(answer, change)))]
    put("".join(lines) or "nothing changed\n")
    if answer.get("needs_restart"):
        put(f"needs a restart of the daemon: {_names(answer['needs_restart'])}\n")
    return Exit.OK


def _changed(answer: Mapping[str, object], change: str) -> list[object]:
    items = answer.get("items")
    return [each["name"] for each in items if each["change"] == change] if isinstance(items, list) else []


def _names(names: object) -> str:
    return ", ".join(cell(name) for name in names) if isinstance(names, list) else cell(names)
