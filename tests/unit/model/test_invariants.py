from collections.abc import Callable

import pytest

from reaperd.model import Process, ProcessGroup, ProcessTable, Seen, Session
from reaperd.model.invariants import check


@pytest.fixture
def init() -> Process:
    """Return an init with a child that has a thread in it, and with a grandchild."""
    init = Process.new_init(1).build()
    init.fork(2).build().fork(3).build()
    return init


def test_a_sound_tree_passes(init: Process) -> None:
    """check() says nothing of what is right, for a tree and for a table."""
    check(init)
    check(ProcessTable(Seen(1, 0, 1, 1, 1)))


def lose_group_member(init: Process) -> None:
    """Take a process out of the group it holds."""
    init.group.remove(init.children[0])


def count_twice(init: Process) -> None:
    """Count a process in a group that it has left."""
    init.children[0].create_session()
    init.group.add(init.children[0])


def forget_group(init: Process) -> None:
    """Take a group out of its session."""
    init.group.session.remove_group(init.group)


def use_pid_twice(init: Process) -> None:
    """Give a grandchild the pid of its grandparent."""
    init.children[0].children[0].fork(1).build()


def free_in_place(init: Process) -> None:
    """Let a freed process stay among the children."""
    child = init.children[0].children[0]
    parent = init.children[0]
    child.forget()
    parent.add_child(child)


BROKEN: list[tuple[Callable[[Process], None], str]] = [
    (lose_group_member, "is missing from"),
    (count_twice, "is counted in ProcessGroup"),
    (forget_group, "is missing from"),
    (use_pid_twice, "a pid is used twice"),
    (free_in_place, "is missing from"),
]


@pytest.mark.parametrize(("damage", "message"), BROKEN)
def test_a_broken_tree_is_told(init: Process, damage: Callable[[Process], None], message: str) -> None:
    """check() says what is broken."""
    damage(init)
    with pytest.raises(AssertionError, match=message):
        check(init)


def test_only_an_init_is_the_top_of_a_tree(init: Process) -> None:
    """Part of a tree cannot be checked by itself."""
    with pytest.raises(AssertionError, match="so it is no init"):
        check(init.children[0])


def test_a_group_is_in_one_session(init: Process) -> None:
    """A group that another session counts is told."""
    child = init.children[0]
    made = child.create_session()
    assert made is not None
    made[0].add_group(init.group)
    with pytest.raises(AssertionError, match="is counted in Session"):
        check(init)


def test_a_table_that_lost_somebody_is_told() -> None:
    """Tree and table must hold the same processes, under the same numbers."""
    table = ProcessTable(Seen(1, 0, 1, 1, 1))
    table.forked(1, 2, start_time=5)
    (child,) = table.root.children
    thread = child.new_thread(77).build()
    with pytest.raises(AssertionError, match="other threads than the table holds"):
        check(table)
    thread.exit(0)
    child.put_in_group(ProcessGroup(50, Session(60)))
    with pytest.raises(AssertionError, match="group 50 of"):
        check(table)
    child.put_in_group(table.root.group)
    check(table)
    child.fork(3).build()
    with pytest.raises(AssertionError, match="table and tree hold different processes"):
        check(table)
