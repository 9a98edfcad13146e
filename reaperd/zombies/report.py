"""Say what a scan found: words for people, one JSON object for programs.

Texts come as the processes chose them. Whoever prints them escapes what a terminal would obey; in JSON,
bytes that are no UTF-8 stand as escapes, for there is no other way to write them.
"""

from signal import Signals
from typing import Any, Final

from reaperd.moments import rfc3339
from reaperd.zombies.cause import Cause, counted
from reaperd.zombies.scan import Parent, Scan, Zombie

SCHEMA: Final = "reaperd.zombies/1"
_NAMED: Final = 8  # pids in a sentence; the table has them all


def as_json(scan: Scan) -> dict[str, Any]:  # Any: JSON
    """Return the documented object."""
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
        "started": rfc3339(round(zombie.started_at * 1000) * 1_000_000),
        "zombie_for_at_least": _rounded(zombie.at_least_s),
        "zombie_for_at_most": _rounded(zombie.at_most_s),
        "exit_code": zombie.exit_code,
        "exit_signal": zombie.exit_signal,
        "killed": zombie.was_killed,
        "core_dumped": zombie.core_dumped,
        "threads": zombie.threads,
        "ppid": zombie.ppid,
        "inner_pid": zombie.inner_pid or None,
        "cgroup": None if zombie.place.cgroup is None else decodable(zombie.place.cgroup),
        "container": None if zombie.place.container is None else decodable(zombie.place.container),
        "pod": zombie.place.pod,
        "cause": {
            "name": zombie.cause.name,
            "leak": zombie.cause.is_leak,
            "sentence": zombie.cause.sentence,
            "evidence": zombie.cause.evidence,
            "advice": zombie.cause.advice,
        },
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


def decodable(text: str) -> str:
    """Return `text` with the bytes that were no UTF-8 as backslash escapes."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


# --- words ----------------------------------------------------------------------------------------------


def ending(zombie: Zombie) -> str:
    """Return how it ended, in a word or two; a question mark where that is secret."""
    if zombie.is_dead_leader:
        return f"{counted(zombie.threads - 1, 'live thread')}"
    core = ", core" if zombie.core_dumped else ""
    if zombie.exit_signal is not None:
        return signal_name(zombie.exit_signal) + core
    if zombie.exit_code is not None:
        return f"exit {zombie.exit_code}"
    return f"a signal{core}" if zombie.was_killed else "exit ?"


def signal_name(number: int) -> str:
    """Return a signal's name, or its number where it has none, as most real-time signals."""
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


def parent_words(zombie: Zombie) -> str:
    """Return who should have waited for it: pid, command line, and whether it is stopped."""
    if zombie.ppid == 0:
        return "outside this PID namespace"
    if zombie.parent is None:
        return str(zombie.ppid)
    stopped = "[stopped] " if zombie.parent.status in ("stopped", "tracing-stop") else ""
    return f"{zombie.ppid} {stopped}{zombie.parent.command or f'({zombie.parent.name})'}"


def explanations(scan: Scan) -> list[str]:
    """Return, for each cause and parent, who is there, why, by what evidence, and what would help."""
    alike: dict[Cause, list[Zombie]] = {}
    for zombie in scan.zombies:
        alike.setdefault(zombie.cause, []).append(zombie)
    lines = []
    for cause, zombies in alike.items():
        pids = ", ".join(_inside_out(zombie) for zombie in zombies[:_NAMED])
        more = f" and {len(zombies) - _NAMED} more" if len(zombies) > _NAMED else ""
        lines += [f"{pids}{more}: {cause.sentence}", f"  seen:  {cause.evidence}", f"  helps: {cause.advice}"]
        lines += [f"  in:    {told}" for told in sorted({_place(zombie) for zombie in zombies} - {""})]
    return lines


def _inside_out(zombie: Zombie) -> str:
    """Return its pid, and the one by which it is known where it lived if that is another."""
    is_other = zombie.inner_pid not in (0, zombie.pid)
    return f"{zombie.pid} ({zombie.inner_pid} in its container)" if is_other else str(zombie.pid)


def _place(zombie: Zombie) -> str:
    pod = f", pod {zombie.place.pod}" if zombie.place.pod else ""
    return f"container {decodable(zombie.place.container)}{pod}" if zombie.place.container else ""


def remarks(scan: Scan) -> list[str]:
    """Return the sentences that the table needs beside it."""
    lines = []
    leaders = len(scan.zombies) - len(scan.collectable)
    if not scan.collectable:
        lines.append("No zombies.")
    if leaders:
        lines.append(f"{leaders} shown above only: the first thread has ended, others live on.")
    if any("?" in ending(zombie) for zombie in scan.zombies):
        lines.append("Another user's exit status is shown as ?: run as root to see it.")
    if not scan.is_complete:
        lines.append("Incomplete: /proc hides other users' processes from us (hidepid).")
    return lines
