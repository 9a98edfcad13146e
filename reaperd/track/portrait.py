"""The model as plain data: session, group, process, threads, each where the kernel has it.

Whoever shows it may add what only /proc tells: processor time, memory, arguments. Both are by (pid, start
time), so that nothing of a stranger is put on a process whose pid he has got.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from reaperd.model import Process, ProcessGroup, ProcessTable, Session

SCHEMA: Final = "reaperd.tree/1"
KERNEL: Final = 0  # parent of PID 1, of kernel threads, and of whoever came from outside the PID namespace

Item = dict[str, Any]  # JSON
ServiceOf = Callable[[Process], str | None]


def nobody(_process: Process) -> str | None:
    """Say that a process is of no service: for pictures that no daemon has."""
    return None


def document(
    table: ProcessTable, source: str, processes: Iterable[Process], service_of: ServiceOf = nobody
) -> Item:
    """Return the picture of these processes of the table, the kernel itself left out."""
    shown = {process.pid: process for process in processes if process.pid != KERNEL}
    sessions = {process.group.session.sid: process.group.session for process in shown.values()}
    items = [_session(table, sessions[sid], shown, service_of) for sid in sorted(sessions)]
    return {"schema": SCHEMA, "source": source, "items": items}


def _session(table: ProcessTable, session: Session, shown: dict[int, Process], service_of: ServiceOf) -> Item:
    groups = sorted(session.process_groups, key=lambda group: group.pgid)
    items = [_group(table, group, shown, service_of) for group in groups]
    return {
        "sid": session.sid,
        "leader": _has_leader(table, session.sid, session),
        "tty": None,
        "groups": [item for item in items if item["processes"]],
    }


def _group(
    table: ProcessTable, group: ProcessGroup, shown: dict[int, Process], service_of: ServiceOf
) -> Item:
    members = {process.pid: process for process in group.processes if process.pid in shown}
    return {
        "pgid": group.pgid,
        "leader": _has_leader(table, group.pgid, group),
        "processes": [_process(table, each, service_of) for each in _in_order(members)],
    }


def _in_order(members: dict[int, Process]) -> list[Process]:
    """Return the members of a group, each under its parent where that is one of them, by pid."""
    tops = [process for process in members.values() if _ppid(process) not in members]
    found: list[Process] = []
    left = sorted(tops, key=lambda process: -process.pid)
    while left:
        process = left.pop()
        found.append(process)
        left += sorted(
            (child for child in process.children if child.pid in members), key=lambda child: -child.pid
        )
    return found


def _process(table: ProcessTable, process: Process, service_of: ServiceOf) -> Item:
    seen = table.seen(process)
    return {
        "pid": seen.pid,
        "ppid": _ppid(process),
        "start_time": seen.start_time,
        "name": _decodable(seen.comm),
        "state": seen.state,
        "zombie": seen.is_zombie,
        "dead_leader": seen.is_dead_leader,
        "status": seen.exit_code if seen.is_zombie else None,
        "cause": None,
        "init": seen.pid == 1,
        "subreaper": process.is_child_subreaper or None,  # null: not known
        "adopted": table.is_adopted(process),
        "service": service_of(process),
        "threads": seen.num_threads,
        "tids": list(seen.tids) or [seen.pid],
    }


def _ppid(process: Process) -> int:
    return KERNEL if process.parent is None else process.parent.pid


def _has_leader(table: ProcessTable, number: int, home: Session | ProcessGroup) -> bool | None:
    """Tell whether the leader of `home` is there; None for number 0, which is nobody's here.

    The pid can be another process's by now, though not while the group is alive: so it must be in it too.
    """
    if number == KERNEL:
        return None
    process = table.get(number)
    return process is not None and home in (process.group, process.group.session)


def _decodable(text: str) -> str:
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
