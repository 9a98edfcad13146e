"""What changes in the model as events for a stream: a name and plain keys, none but numbers and text.

A process is told by `pid` and `start_time`, which together name it for ever (0 where nobody has looked);
other processes in an event are told by their pids.
"""

from dataclasses import fields
from typing import Final

from reaperd.model import (
    Adopted,
    Change,
    Execed,
    Exited,
    Forked,
    GroupChanged,
    Identified,
    Left,
    ProcessKey,
    Reaped,
    Renamed,
    Reparented,
    SessionChanged,
    ThreadEnded,
    ThreadStarted,
)

NAMES: Final[dict[type, str]] = {
    Forked: "process.forked",
    Identified: "process.identified",
    Reparented: "process.reparented",
    Adopted: "process.adopted",
    Execed: "process.execed",
    Renamed: "process.renamed",
    SessionChanged: "process.session_changed",
    GroupChanged: "process.group_changed",
    ThreadStarted: "thread.started",
    ThreadEnded: "thread.ended",
    Exited: "process.exited",
    Reaped: "process.reaped",
    Left: "process.left",
}


def tiding(change: Change) -> tuple[str, dict[str, object]]:
    """Return the name and the keys of an event."""
    keys: dict[str, object] = {"pid": change.key.pid, "start_time": change.key.start_time}
    for field in fields(change):
        value = getattr(change, field.name)
        if field.name != "key":
            keys[field.name] = value.pid if isinstance(value, ProcessKey) else _plain(value)
    return NAMES[type(change)], keys


def _plain(value: object) -> object:
    return (
        value.encode(errors="surrogateescape").decode(errors="backslashreplace")
        if isinstance(value, str)
        else value
    )
