"""reaperd tree: the processes as the kernel groups them, session by session.

Two trees lie over each other: who forked whom, and which process group of which session somebody is in. The
second is drawn as headings, because signals, terminals and job control follow it; the first as indentation
within a group, and as a remark where the parent is in another one.
"""

import socket as sockets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click

from reaperd.cli.command import Command, json_option, socket_option
from reaperd.cli.render import BOLD, COLOURS, Screen, cells_of, printable, put, put_json, stdout_screen
from reaperd.errors import ReaperdError
from reaperd.kernel import procfs
from reaperd.kernel.credentials import peer_of
from reaperd.model.group import ProcessGroup
from reaperd.model.process import Process
from reaperd.model.session import Session
from reaperd.model.snapshot import Seen
from reaperd.model.table import ProcessTable

SCHEMA: Final = "reaperd.tree/1"
_KERNEL: Final = 0  # parent of PID 1, of kernel threads, and of whoever came from outside the PID namespace
_DAEMON_S: Final = 1.0  # for a daemon on this machine to accept


@dataclass(frozen=True, slots=True)
class Node:
    """One process: what was read of it, and what only we know."""

    stat: procfs.Stat
    command: str  # undecodable bytes as surrogates
    tids: tuple[int, ...]  # of all threads, where there are several
    is_subreaper: bool  # True where known; of a stranger the kernel does not tell


@dataclass(frozen=True, slots=True)
class Forest:
    """The processes to show, in their sessions and groups."""

    table: ProcessTable
    nodes: Mapping[int, Node]  # by pid

    def sessions(self) -> list[Session]:
        """Return the sessions that have a process to show."""
        shown = {self._session(pid).sid: self._session(pid) for pid in self.nodes}
        return [shown[sid] for sid in sorted(shown)]

    def groups(self, session: Session) -> list[ProcessGroup]:
        """Return the groups of `session` that have a process to show."""
        groups = (group for group in session.process_groups if any(self.members(group)))
        return sorted(groups, key=lambda group: group.pgid)

    def members(self, group: ProcessGroup) -> Iterator[tuple[int, Node]]:
        """Yield the group's processes to show, children under their parents, with their depth."""
        members = {process.pid: process for process in group.processes if process.pid in self.nodes}
        tops = [pid for pid, process in members.items() if _parent_of(process) not in members]
        stack = [(0, pid) for pid in sorted(tops, reverse=True)]
        while stack:
            depth, pid = stack.pop()
            yield depth, self.nodes[pid]
            below = sorted((child.pid for child in members[pid].children), reverse=True)
            stack += [(depth + 1, child) for child in below if child in members]

    def _session(self, pid: int) -> Session:
        process = self.table.get(pid)
        assert process is not None, f"{pid} was read, but is not in the table"
        return process.group.session


def _parent_of(process: Process) -> int:
    return _KERNEL if process.parent is None else process.parent.pid


# --- looking --------------------------------------------------------------------------------------------


def look(top: int | None = None, subreapers: Iterable[int] = ()) -> Forest:
    """Read all processes, or `top` and all below it; `subreapers` are those known to be one.

    Raises:
        ReaperdError: there is no process `top`.
    """
    stats = {stat.pid: stat for pid in procfs.list_pids() if (stat := procfs.read_stat(pid)) is not None}
    table = ProcessTable(Seen(pid=_KERNEL, ppid=_KERNEL, pgid=0, sid=0, start_time=0))
    table.snapshot(_seen(stat, stats) for stat in stats.values())
    known = frozenset(subreapers)
    return Forest(table, {pid: _node(stats[pid], known) for pid in _wanted(table, top) if pid in stats})


def _seen(stat: procfs.Stat, stats: Mapping[int, procfs.Stat]) -> Seen:
    """Return the model's record; a parent that we cannot see is as good as none."""
    return Seen(
        pid=stat.pid,
        ppid=stat.ppid if stat.ppid in stats else _KERNEL,
        pgid=stat.pgid,
        sid=stat.sid,
        start_time=stat.start_time,
        comm=stat.comm,
        state=stat.state,
        num_threads=stat.num_threads,
        exit_code=stat.exit_code,
    )


def _wanted(table: ProcessTable, top: int | None) -> Iterator[int]:
    process = table.root if top is None else table.get(top)
    if process is None:
        raise ReaperdError(f"cannot show process {top}: there is none", hint="reaperd tree shows all")
    if top is not None:
        yield process.pid
    for below in table.descendants(process):
        yield below.pid


def _node(stat: procfs.Stat, subreapers: frozenset[int]) -> Node:
    words = b" ".join(procfs.read_cmdline(stat.pid) or [])
    command = words.decode(errors="surrogateescape") or stat.comm
    tids = tuple(procfs.threads(stat.pid)) if stat.num_threads > 1 else ()
    return Node(stat, command, tids, stat.pid in subreapers)


def _daemons(path: Path | None) -> set[int]:
    """Return the pid of the daemon that listens at `path`, if one does: it is a subreaper from its start."""
    # Imported here: it brings the user database, and only this needs it.
    from reaperd.config.paths import default_socket  # noqa: PLC0415

    with suppress(OSError, ReaperdError), sockets.socket(sockets.AF_UNIX) as connection:
        connection.settimeout(_DAEMON_S)
        connection.connect(str(path or default_socket()))
        return {peer_of(connection).pid}
    return set()


# --- showing --------------------------------------------------------------------------------------------


@click.command(
    cls=Command,
    exits="0: shown. 1: there is no such process.",
    examples=(
        "reaperd tree",
        "reaperd tree $$",
        "reaperd tree --kernel",
        "reaperd tree --json | jq '.items[].groups[].processes[] | select(.zombie)'",
    ),
)
@click.argument("pid", type=click.IntRange(1), required=False)
@click.option("--kernel", is_flag=True, help="Show the kernel's own threads too.")
@json_option
@socket_option
def tree(pid: int | None, *, kernel: bool, as_json: bool, socket: Path | None) -> int:
    """Show the processes by session and process group: all of them, or PID and all below it.

    Within a group children stand indented under their parents. Zombies, stopped processes and threads are
    marked, and so is init. Of subreapers the kernel tells nobody but themselves: only the daemon, where one
    answers, is known to be one.
    """
    forest = look(pid, _daemons(socket))
    if not kernel:
        forest = without_kernel_threads(forest)
    if as_json:
        put_json(document(forest))
    else:
        put("".join(lines(forest, stdout_screen())))
    return 0


def without_kernel_threads(forest: Forest) -> Forest:
    """Leave out the kernel's own threads, which no program made."""
    nodes = {pid: node for pid, node in forest.nodes.items() if not node.stat.is_kernel_thread}
    return replace(forest, nodes=nodes)


def document(forest: Forest) -> dict[str, Any]:  # Any: JSON
    """Return the documented object."""
    return {
        "schema": SCHEMA,
        "items": [
            {
                "sid": session.sid,
                "leader": _has_leader(forest, session.sid, session),
                "tty": _tty(forest, session),
                "groups": [_group_item(forest, group) for group in forest.groups(session)],
            }
            for session in forest.sessions()
        ],
    }


def _group_item(forest: Forest, group: ProcessGroup) -> dict[str, Any]:  # Any: JSON
    return {
        "pgid": group.pgid,
        "leader": _has_leader(forest, group.pgid, group),
        "processes": [_item(node) for _, node in forest.members(group)],
    }


def _item(node: Node) -> dict[str, Any]:  # Any: JSON
    stat = node.stat
    return {
        "pid": stat.pid,
        "ppid": stat.ppid,
        "name": _decodable(stat.comm),
        "command": _decodable(node.command),
        "state": stat.state,
        "zombie": stat.is_zombie and not stat.is_dead_leader,
        "dead_leader": stat.is_dead_leader,
        "kernel": stat.is_kernel_thread,
        "init": stat.pid == 1,
        "subreaper": node.is_subreaper or None,  # null: not known
        "threads": stat.num_threads,
        "tids": list(node.tids) or [stat.pid],
    }


def lines(forest: Forest, screen: Screen) -> Iterator[str]:
    """Yield the text line by line."""
    for session in forest.sessions():
        tty = _tty(forest, session)
        heading = f"session {session.sid}{f' on {tty}' if tty else ''}"
        yield _line(heading + _leaderless(forest, session.sid, session), screen, BOLD)
        for group in forest.groups(session):
            yield _line(f"  group {group.pgid}" + _leaderless(forest, group.pgid, group), screen)
            members = {node.stat.pid for _, node in forest.members(group)}
            for depth, node in forest.members(group):
                style = COLOURS["failed"] if node.stat.is_zombie else None
                yield _line(f"{'  ' * (depth + 2)}{_words(node, members)}", screen, style)


def _words(node: Node, members: set[int]) -> str:
    """Return one process: pid, marks, parent where it is elsewhere, command."""
    stat = node.stat
    marks = "".join(f" [{mark}]" for mark in _marks(node))
    parent = "" if stat.ppid in members or stat.ppid == _KERNEL else f" (child of {stat.ppid})"
    command = f"[{stat.comm}]" if stat.is_kernel_thread else node.command
    return f"{stat.pid}{marks}{parent} {printable(_decodable(command))}"


def _marks(node: Node) -> Iterator[str]:
    stat = node.stat
    if stat.is_dead_leader:
        yield f"first thread ended, {stat.num_threads - 1} live"
    elif stat.is_zombie:
        yield "zombie"
    elif stat.num_threads > 1:
        yield f"{stat.num_threads} threads"
    if stat.state in "Tt":
        yield "stopped" if stat.state == "T" else "traced"
    if stat.pid == 1:
        yield "init"
    if node.is_subreaper:
        yield "subreaper"


def _leaderless(forest: Forest, number: int, home: Session | ProcessGroup) -> str:
    return " (its leader is gone)" if _has_leader(forest, number, home) is False else ""


def _has_leader(forest: Forest, number: int, home: Session | ProcessGroup) -> bool | None:
    """Tell whether the leader of `home` is there; None for number 0, which is nobody's here.

    The pid can be another process's by now, though not while the group is alive: so it must be in it too.
    """
    if number == _KERNEL:
        return None
    process = forest.table.get(number)
    return process is not None and home in (process.group, process.group.session)


def _tty(forest: Forest, session: Session) -> str | None:
    """Return the terminal of a session, by the first of its processes that has one."""
    for group in forest.groups(session):
        for _, node in forest.members(group):
            if node.stat.tty_nr:
                return tty_name(node.stat.tty_nr)
    return None


def tty_name(number: int) -> str:
    """Return a terminal's name under /dev, from its device number: proc_pid_stat(5), devices.txt."""
    major, minor = number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00
    if 136 <= major <= 143:
        return f"pts/{(major - 136 << 20) + minor}"
    if major == 4:
        return f"tty{minor}" if minor < 64 else f"ttyS{minor - 64}"
    return f"{major}:{minor}"


def _line(text: str, screen: Screen, style: str | None = None) -> str:
    if screen.width is not None and cells_of(text) > screen.width:
        while cells_of(text) > max(screen.width - 3, 0):
            text = text[:-1]
        text += "..."
    return screen.painted(text, style) + "\n"


def _decodable(text: str) -> str:
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
