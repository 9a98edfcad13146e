"""What changes in the model as events for a stream: a name and plain keys, none but numbers and text.

A process is told by `pid` and `start_time`, which together name it for ever (0 where nobody has looked);
other processes in an event are told by their pids.
"""

from dataclasses import fields
from typing import Final

from reaperd.model import ProcessKey, changes

NAMES: Final[dict[type[changes.Change], str]] = {
    changes.Forked: "process.forked",
    changes.Identified: "process.identified",
    changes.Reparented: "process.reparented",
    changes.Adopted: "process.adopted",
    changes.Execed: "process.execed",
    changes.Renamed: "process.renamed",
    changes.SessionChanged: "process.session_changed",
    changes.GroupChanged: "process.group_changed",
    changes.ThreadStarted: "thread.started",
    changes.ThreadEnded: "thread.ended",
    changes.Exited: "process.exited",
    changes.Reaped: "process.reaped",
    changes.Left: "process.left",
}


def tiding(change: changes.Change) -> tuple[str, dict[str, object]]:
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
