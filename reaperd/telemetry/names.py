"""Every event that the log and the streams can carry, with its keys: what scripts may rely on.

Each line also has `time`, `level` and `event`; lines about a service have `service`, and the first line after
some that could not be written has their number as `dropped`.
"""

from typing import Final

EVENTS: Final[dict[str, tuple[str, frozenset[str]]]] = {
    # name: (level, keys besides the common ones)
    "daemon.started": ("info", frozenset({"pid", "version", "services", "in_another_terminal"})),
    "daemon.reloaded": ("info", frozenset({"added", "removed", "changed", "needs_restart"})),
    "daemon.not_told": ("warning", frozenset({"to", "problem"})),
    "daemon.reload_refused": ("error", frozenset({"problem", "hint"})),
    "daemon.stopping": ("info", frozenset({"cause"})),
    "daemon.hurried": ("warning", frozenset({"cause"})),
    "daemon.left_behind": ("error", frozenset({"pids"})),
    "daemon.stopped": ("info", frozenset({"status"})),
    "daemon.turn_failed": ("error", frozenset({"step", "error", "traceback"})),
    "daemon.source_closed": ("error", frozenset({"source"})),
    "daemon.cannot_reap": ("error", frozenset({"error"})),
    "service.starting": ("info", frozenset()),
    "service.waiting": ("info", frozenset({"waits_for"})),
    "service.skipped": ("warning", frozenset()),
    "service.spawned": ("info", frozenset({"pid"})),
    "service.running": ("info", frozenset({"pid"})),
    "service.not_ready": ("error", frozenset({"pid", "reason"})),
    "service.unhealthy": ("error", frozenset({"pid", "reason"})),
    "service.ailing": ("warning", frozenset({"pid", "reason", "failures"})),
    "service.recovered": ("info", frozenset({"pid"})),
    "service.spawn_failed": ("error", frozenset({"stage", "errno", "problem", "hint"})),
    "service.exited": ("info", frozenset({"pid", "code", "signal", "core", "out_of_memory"})),
    "service.stopping": ("info", frozenset({"pid"})),
    "service.insisting": ("warning", frozenset({"pid"})),
    "service.killing": ("warning", frozenset({"pid"})),
    "service.stuck": ("error", frozenset()),
    "service.stopped": ("info", frozenset()),
    "service.finished": ("info", frozenset()),
    "service.failed": ("error", frozenset({"gave_up"})),
    "service.backoff": ("warning", frozenset({"failures", "delay"})),
    "helper.started": ("info", frozenset({"errand", "pid"})),
    "helper.ended": ("info", frozenset({"errand", "pid"})),
    "helper.failed": ("warning", frozenset({"errand", "pid", "problem"})),
    "helper.not_spawned": ("error", frozenset({"errand", "stage", "errno", "problem"})),
    "helper.timed_out": ("warning", frozenset({"errand", "pid", "timeout"})),
    "helper.held": ("info", frozenset({"errand"})),
    "helper.skipped": ("warning", frozenset({"errand"})),
    "helper.stuck": ("error", frozenset({"errand"})),
    "output.failing": ("error", frozenset({"to", "problem"})),
    "output.recovered": ("warning", frozenset({"to", "dropped_lines"})),
    "output.not_rotated": ("error", frozenset({"to", "problem"})),
    "output.lost": ("error", frozenset({"to", "lines", "problem"})),
    "notify.ignored": ("warning", frozenset({"pid", "uid", "reason", "count"})),
    "tracking.failed": ("error", frozenset({"error"})),
    "orphan.adopted": ("info", frozenset({"pid", "name"})),
    "orphans.reaped": ("info", frozenset({"count", "orphans", "services"})),
}
