"""Every event that the log and the streams can carry, with its keys: what scripts may rely on.

Each line also has `time`, `level` and `event`; lines about a service have `service`, and the first line after
some that could not be written has their number as `dropped`.
"""

from typing import Final

EVENTS: Final[dict[str, tuple[str, frozenset[str]]]] = {
    # name: (level, keys besides the common ones)
    "daemon.started": ("info", frozenset({"pid", "version", "services", "in_another_terminal"})),
    "daemon.reloaded": ("info", frozenset({"added", "removed", "changed", "needs_restart"})),
    "daemon.reload_refused": ("error", frozenset({"problem", "hint"})),
    "daemon.stopping": ("info", frozenset({"cause"})),
    "daemon.hurried": ("warning", frozenset({"cause"})),
    "daemon.left_behind": ("error", frozenset({"pids"})),
    "daemon.stopped": ("info", frozenset({"status"})),
    "daemon.turn_failed": ("error", frozenset({"step", "error", "traceback"})),
    "daemon.source_closed": ("error", frozenset({"source"})),
    "daemon.cannot_reap": ("error", frozenset({"error"})),
    "service.starting": ("info", frozenset()),
    "service.running": ("info", frozenset({"pid"})),
    "service.spawn_failed": ("error", frozenset({"stage", "errno", "problem", "hint"})),
    "service.exited": ("info", frozenset({"pid", "code", "signal", "core"})),
    "service.stopping": ("info", frozenset({"pid"})),
    "service.killing": ("warning", frozenset({"pid"})),
    "service.stuck": ("error", frozenset()),
    "service.stopped": ("info", frozenset()),
    "service.finished": ("info", frozenset()),
    "service.failed": ("error", frozenset()),
    "service.backoff": ("warning", frozenset({"failures", "delay"})),
    "orphan.adopted": ("info", frozenset({"pid", "name"})),
    "orphans.reaped": ("info", frozenset({"count", "orphans", "services"})),
}
