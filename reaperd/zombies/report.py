"""Say what a scan found: a table for people, one JSON object for programs.

Names and command lines are hostile: any process may choose them. Nothing in them reaches a terminal that it
would obey, nor a parser that would stumble.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from signal import Signals
from typing import Any, Final

from reaperd.zombies.scan import Parent, Scan, Zombie

SCHEMA: Final = "reaperd.zombies/1"
_COLUMNS: Final = ("PID", "NAME", "USER", "ZOMBIE FOR", "ENDED BY", "PARENT")
_LONGEST_NAME: Final = 24  # a name longer than this would push the parent off the screen


def as_json(scan: Scan) -> dict[str, Any]:  # Any: JSON
    """Return the documented object; undecodable bytes in texts stand as backslash escapes."""
    return {
        "schema": SCHEMA,
        "complete": scan.is_complete,
        "items": [_item(zombie) for zombie in scan.zombies],
    }


def _item(zombie: Zombie) -> dict[str, Any]:  # Any: JSON
    return {
        "pid": zombie.pid,
        "state": "dead-leader" if zombie.is_dead_leader else "zombie",
        "name": decodable(zombie.name),
        "user": zombie.user,
        "started": rfc3339(zombie.started_at),
        "zombie_for_at_least": _rounded(zombie.at_least_s),
        "zombie_for_at_most": _rounded(zombie.at_most_s),
        "exit_code": zombie.exit_code,
        "exit_signal": zombie.exit_signal,
        "killed": zombie.was_killed,
        "core_dumped": zombie.core_dumped,
        "threads": zombie.threads,
        "ppid": zombie.ppid,
        "parent": None if zombie.parent is None else _parent_item(zombie.parent),
    }


def _parent_item(parent: Parent) -> dict[str, Any]:  # Any: JSON
    return {
        "pid": parent.pid,
        "name": decodable(parent.name),
        "command": None if parent.command is None else decodable(parent.command),
        "status": parent.status,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def as_text(scan: Scan, *, width: int | None = None) -> str:
    """Return a table and sentences; `width` in columns cuts the table, whose last column may be long."""
    lines = table([_COLUMNS, *(_row(zombie) for zombie in scan.zombies)]) if scan.zombies else []
    return "\n".join([*(fitted(line, width) for line in lines), *_sentences(scan)])


def _row(zombie: Zombie) -> tuple[str, ...]:
    name = printable(zombie.name)[:_LONGEST_NAME]
    return str(zombie.pid), name, printable(zombie.user), _how_long(zombie), _ending(zombie), _whose(zombie)


def _how_long(zombie: Zombie) -> str:
    if zombie.at_least_s is not None:
        return age(zombie.at_least_s)
    return f"at most {age(zombie.at_most_s)}"


def _ending(zombie: Zombie) -> str:
    if zombie.is_dead_leader:
        return f"{zombie.threads - 1} threads live"
    core = ", core" if zombie.core_dumped else ""
    if zombie.exit_signal is not None:
        return signal_name(zombie.exit_signal) + core
    if zombie.exit_code is not None:
        return f"exit {zombie.exit_code}"
    return f"a signal{core}" if zombie.was_killed else "exit ?"


def _whose(zombie: Zombie) -> str:
    if zombie.ppid == 0:
        return "outside this PID namespace"
    if zombie.parent is None:
        return str(zombie.ppid)
    what = printable(zombie.parent.command or f"({zombie.parent.name})")
    state = " [stopped]" if zombie.parent.status in ("stopped", "tracing-stop") else ""
    return f"{zombie.ppid} {what}{state}"


def _sentences(scan: Scan) -> list[str]:
    lines = []
    leaders = len(scan.zombies) - len(scan.collectable)
    if not scan.collectable:
        lines.append("No zombies.")
    if leaders:
        lines.append(
            f"{leaders} of these only looked like a zombie: the first thread has ended, others live on."
        )
    if any("?" in _ending(zombie) for zombie in scan.zombies):
        lines.append("An exit status shown as ? is another user's: run as root to see it.")
    if not scan.is_complete:
        lines.append("Incomplete: /proc hides other users' processes from us (hidepid).")
    return lines


# --- pieces that other reports share --------------------------------------------------------------------


def rfc3339(at: float) -> str:
    """Return a moment, in seconds since the epoch, as UTC with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines with aligned columns; the last column is as long as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ((cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return ["  ".join(cells).rstrip() for cells in padded]


def fitted(line: str, width: int | None) -> str:
    """Return `line`, cut to `width` columns with an ellipsis where it is longer; None cuts nothing."""
    return line if width is None or len(line) <= width else line[: max(width - 1, 0)] + "…"


def age(seconds: float) -> str:
    """Return a length of time with its two largest units, rounded down: `0s`, `3m 12s`, `5d 4h`."""
    parts: list[str] = []
    rest = int(seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def signal_name(number: int) -> str:
    """Return a signal's name, or its number where it has none, as most real-time signals."""
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


def decodable(text: str) -> str:
    """Return `text` with the bytes that were no UTF-8 as backslash escapes."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def printable(text: str) -> str:
    """Return `text` with every character that a terminal might obey as its escape."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in decodable(text))
