"""What is true of every tree at every moment; tests ask after each step, and so may a daemon in doubt."""

from reaperd.model.process import Process
from reaperd.model.session import Session
from reaperd.model.snapshot import ProcessKey
from reaperd.model.table import ProcessTable
from reaperd.model.tree import descendants


def check(subject: ProcessTable | Process) -> None:
    """Check a table, or the tree of an init: O(processes).

    Raises:
        AssertionError: something is not as it must be, and what.
    """
    if isinstance(subject, ProcessTable):
        _check_tree(subject.root)
        _check_table(subject)
    else:
        _check_tree(subject)


def _require(fact: bool, broken: str) -> None:  # noqa: FBT001 - it is what assert takes, and python -O keeps it
    if not fact:
        raise AssertionError(broken)


def _check_tree(init: Process) -> None:
    _require(init.is_init and init.parent is None, f"{init} has a parent, so it is no init")
    _require(init.is_alive, f"{init} has ended, and it is an init")
    processes = [init, *descendants(init)]
    pids = {process.pid for process in processes}
    _require(len(pids) == len(processes), "a pid is used twice")
    for process in processes:
        _check_place(process)
        _check_life(process)
    members = set(processes)
    for session in {process.group.session for process in processes}:
        _check_session(session, members)


def _check_place(process: Process) -> None:
    for child in process.children:
        _require(child.parent is process, f"{child} is a child of {process} and does not know it")
        _require(process.child(child.pid) is child, f"{child} is kept under another pid")
    group = process.group
    _require(process in group.processes, f"{process} is missing from {group}")
    _require(group in group.session.process_groups, f"{group} is missing from {group.session}")


def _check_life(process: Process) -> None:
    _require(not process.is_freed, f"{process} is free and still in the tree")
    for thread in process.threads:
        _require(thread.process is process, f"{thread} is a thread of {process} and does not know it")
    if process.is_zombie:
        _require(not process.children, f"{process} has ended and kept its children")
        _require(not process.threads, f"{process} has ended and a thread of it lives")


def _check_session(session: Session, members: set[Process]) -> None:
    for group in session.process_groups:
        _require(group.session is session, f"{group} is counted in {session} and is in another")
        _require(session.group(group.pgid) is group, f"{group} is counted under another number")
        _require(not group.is_empty, f"{group} is empty and still counted")
        for process in group.processes:
            _require(process.group is group, f"{process} is counted in {group} and is in another")
            _require(process in members, f"{process} is counted in {group} and is not in the tree")


def _check_table(table: ProcessTable) -> None:
    processes = {table.root, *table.descendants(table.root)}
    _require(set(table) == processes, "table and tree hold different processes")
    _require(len(table) == len(processes), "the table counts other processes than it holds")
    for process in processes:
        _require(table.get(process.pid) is process, f"{process} is not found by its pid")
        key = table.key(process)
        _require(key.pid == process.pid, f"{process} has the key of another pid")
        _require(process.data(ProcessKey) == key, f"{process} does not carry its key")
        _require(table.find(key) is process, f"{process} is not found by its key")
        _check_tracked_threads(table, process)
        _check_numbers(table, process)


def _check_tracked_threads(table: ProcessTable, process: Process) -> None:
    tids = {thread.tid for thread in process.threads}
    seen = table.seen(process)
    _require(set(seen.tids) == tids, f"{process} has other threads than the table holds")
    if process.is_zombie:
        _require(seen.is_zombie, f"{process} has ended, and the table shows it alive")
    elif not process.is_init:  # the root can be seen ended, and is the init of the tree all the same
        _require(
            (process.pid in tids) == (seen.state != "Z"), f"{process} has a leader that is in two states"
        )


def _check_numbers(table: ProcessTable, process: Process) -> None:
    pgid, session = process.group.pgid, process.group.session
    group = table.group(pgid)
    _require(group is not None and group.pgid == pgid, f"group {pgid} of {process} is not found")
    _require(not process.is_leader or group is process.group, f"{process} leads another group than is found")
    _require(table.session(session.sid) is session, f"session {session.sid} of {process} is not found")
