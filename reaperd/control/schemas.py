"""What answers look like, as JSON Schema: by the name and number that each carries."""

from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]  # Any: JSON

_STATES: Final = ["stopped", "waiting", "starting", "running", "stopping", "backoff", "exited", "failed"]
_TEXT: Final[Schema] = {"type": "string"}
_TEXT_OR_NULL: Final[Schema] = {"type": ["string", "null"]}
_FLAG: Final[Schema] = {"type": "boolean"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_COUNT_OR_NULL: Final[Schema] = {"type": ["integer", "null"], "minimum": 0}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_TIME_OR_NULL: Final[Schema] = {"type": ["string", "null"], "format": "date-time"}
_TEXTS: Final[Schema] = {"type": "array", "items": {"type": "string"}}
_STATE: Final[Schema] = {"enum": _STATES}
_STATE_OR_NULL: Final[Schema] = {"enum": [*_STATES, None]}


def _object(needed: Mapping[str, Schema], others: Mapping[str, Schema] | None = None) -> Schema:
    """Return the schema of an object that has these keys; later versions may have more."""
    return {"type": "object", "properties": {**needed, **(others or {})}, "required": list(needed)}


def _answer(schema: str, item: Schema, more: Mapping[str, Schema] | None = None) -> Schema:
    items: Schema = {"type": "array", "items": item}
    return _object({"schema": {"const": schema}, "items": items, **(more or {})})


_SOCKETS: Final[Schema] = {"type": "array", "items": _object({"listen": _TEXT, "name": _TEXT})}
_SHARE: Final[Schema] = {"type": ["number", "null"], "minimum": 0, "maximum": 100}
_CGROUP: Final[Schema] = {
    **_object(
        {
            "path": _TEXT,
            "memory_events": {"type": ["object", "null"], "additionalProperties": {"type": "integer"}},
            "pressure": _object({"cpu": _SHARE, "io": _SHARE, "memory": _SHARE}),
        }
    ),
    "type": ["object", "null"],
}
_ROW: Final = _object(
    {
        "name": _TEXT,
        "state": _STATE,
        "want": {"enum": ["up", "down"]},
        "pid": _COUNT_OR_NULL,
        "restarts": _COUNT,
        "failures": _COUNT,
        "since": _TIME,
        "uptime": {"type": ["number", "null"]},
        "status": _TEXT_OR_NULL,
        "next": _TIME_OR_NULL,
        "log_files": _object({"stdout": _TEXT_OR_NULL, "stderr": _TEXT_OR_NULL}),
        "dropped": _COUNT,
        "zombies": _COUNT_OR_NULL,
        "sockets": _SOCKETS,
        "unlimited": _TEXT_OR_NULL,
        "waits_for": _TEXTS,
        "why": _TEXT_OR_NULL,
        "memory": _COUNT_OR_NULL,
    }
)
_OUTCOME: Final = _object({"name": _TEXT, "ok": _FLAG, "state": _STATE_OR_NULL, "why": _TEXT_OR_NULL})
_HELD: Final = _object({"name": _TEXT, "state": _STATE_OR_NULL, "why": _TEXT_OR_NULL, "needed": _FLAG})
_REASON: Final = _object(
    {
        "name": _TEXT,
        "state": _STATE,
        "why": _TEXT_OR_NULL,
        "sockets": _SOCKETS,
        "cgroup": _CGROUP,
        "held_by": {"type": "array", "items": _HELD},
        "last": _TEXT_OR_NULL,
        "next": _TEXT_OR_NULL,
    }
)
_CHANGE: Final = _object(
    {"name": _TEXT, "change": {"enum": ["added", "changed", "removed", "unchanged"]}},
    {"ok": _FLAG, "state": _STATE_OR_NULL, "why": _TEXT_OR_NULL},
)
_PIDS: Final[Schema] = {"type": "array", "items": {"type": "integer"}}
_LOOKS: Final[Schema] = {
    "type": ["object", "null"],
    "properties": {
        "every": {"type": "number"},
        "remedy": {"enum": ["report", "nudge", "inject"]},
    },
    "required": ["every", "remedy"],
}
_SOURCE: Final[Schema] = {"enum": ["connector", "looks"]}
_FIRST: Final = _object(
    {
        "schema": {"const": "reaperd.events/1"},
        "kind": {"enum": ["daemon", "kernel"]},
        "next": {"type": "integer"},
    },
    {"source": _SOURCE, "why_not": _TEXT_OR_NULL},  # of kernel
)
_EVENT: Final = _object(
    {"seq": _COUNT, "time": _TIME, "level": {"enum": ["info", "warning", "error"]}, "event": _TEXT}
)
_LOST: Final = _object({"seq": _COUNT, "event": {"const": "events.lost"}, "lost": _COUNT})
_TRACKING: Final = _object(
    {
        "scope": {"enum": ["descendants", "all"]},
        "source": _SOURCE,
        "why_not": _TEXT_OR_NULL,
        "processes": _COUNT,
        "zombies": _COUNT,
        "messages": _COUNT,
        "lag": {"type": ["number", "null"]},
        "losses": _COUNT,
        "looks": _COUNT,
        "look_time": {"type": ["number", "null"]},
        "dirty": _FLAG,
        "heal_interval": {"type": ["number", "null"]},
    }
)
_PROCESS: Final = _object(
    {
        "pid": _COUNT,
        "ppid": _COUNT,
        "start_time": _COUNT,
        "name": _TEXT,
        "state": _TEXT,
        "zombie": _FLAG,
        "dead_leader": _FLAG,
        "status": _COUNT_OR_NULL,
        "init": _FLAG,
        "adopted": _FLAG,
        "service": _TEXT_OR_NULL,
        "threads": _COUNT,
        "tids": _PIDS,
    }
)
_GROUP: Final = _object({"pgid": _COUNT, "processes": {"type": "array", "items": _PROCESS}})
_SESSION: Final = _object({"sid": _COUNT, "groups": {"type": "array", "items": _GROUP}})

COMPONENTS: Final[Mapping[str, Schema]] = {
    "error": _object({"error": _object({"code": _TEXT, "message": _TEXT, "hint": _TEXT_OR_NULL})}),
    "health": _object({"schema": {"const": "reaperd.health/1"}, "ok": {"const": True}}),
    "openapi": _object({"openapi": _TEXT, "info": {"type": "object"}, "paths": {"type": "object"}}),
    "status": _answer(
        "reaperd.status/1",
        _ROW,
        {
            "version": _TEXT,
            "unclaimed": _PIDS,
            "problems": _TEXTS,
            "zombie_looks": _LOOKS,
            "tracking": _TRACKING,
        },
    ),
    "why": _answer("reaperd.why/1", _REASON),
    "action": _answer("reaperd.action/1", _OUTCOME),
    "reload": _answer("reaperd.reload/1", _CHANGE, {"needs_restart": _TEXTS, "dry_run": _FLAG}),
    "events": {
        "description": "One line of the stream; the first one names the schema.",
        "oneOf": [_FIRST, _LOST, _EVENT],
    },
    "tree": _answer("reaperd.tree/1", _SESSION, {"source": {"enum": ["daemon", "scan"]}}),
    "metrics": {"type": "string"},
}
# Where an answer is something else than one JSON object: its media types.
MEDIA: Final[Mapping[str, tuple[str, ...]]] = {
    "events": ("application/x-ndjson",),
    "metrics": ("application/openmetrics-text", "text/plain"),
}


def name_of_schema(schema: str) -> str:
    """Return what the document calls a schema such as `reaperd.status/1`."""
    return schema.removeprefix("reaperd.").partition("/")[0]
