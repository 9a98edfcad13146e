import pytest

from reaperd.model import (
    Adopted,
    Exited,
    Forked,
    Left,
    Process,
    ProcessKey,
    ProcessTable,
    Reaped,
    Renamed,
    Reparented,
    Seen,
)
from reaperd.model.invariants import check

ROOT = Seen(100, 7, 100, 100, 5, "reaperd")
TOP = Seen(101, 100, 101, 101, 11, "top")
MIDDLE = Seen(102, 101, 101, 101, 12, "middle")
LEAF = Seen(103, 102, 101, 101, 13, "leaf")
OUTSIDE = (Seen(1, 0, 1, 1, 1, "init"), Seen(7, 1, 7, 7, 2, "shell"), Seen(8, 7, 7, 7, 3, "other"))


@pytest.fixture
def table() -> ProcessTable:
    """Return a table with a chain of three below a root that is a subreaper."""
    table = ProcessTable(ROOT)
    table.root.set_child_subreaper(True)
    table.snapshot([*OUTSIDE, ROOT, TOP, MIDDLE, LEAF])
    check(table)
    return table


def process_of(table: ProcessTable, pid: int) -> Process:
    """Return the process with this pid, which must be there."""
    process = table.get(pid)
    assert process is not None
    return process


def pids(table: ProcessTable) -> list[int]:
    """Return who is in the table."""
    return sorted(process.pid for process in table)


def test_a_snapshot_takes_who_is_below_the_root() -> None:
    """The rest of the machine is passed over, whatever the order of the look."""
    for look in ([*OUTSIDE, ROOT, TOP, MIDDLE], [MIDDLE, TOP, ROOT, *OUTSIDE]):
        table = ProcessTable(ROOT)
        assert table.snapshot(look) == (
            Adopted(TOP.key, None, ROOT.key, 101, 101, "top"),
            Forked(MIDDLE.key, TOP.key, 101, 101, "middle"),
        )
        assert pids(table) == [100, 101, 102]
        check(table)


def test_the_same_snapshot_says_nothing(table: ProcessTable) -> None:
    """What the table shows is what it was shown."""
    assert table.snapshot([ROOT, TOP, MIDDLE, LEAF]) == ()
    assert table.snapshot([table.seen(process) for process in table]) == ()


def test_missing_processes_are_gone_from_the_leaves_up(table: ProcessTable) -> None:
    """Nobody is called an orphan who is gone himself; the root needs not be in the look."""
    assert table.snapshot([TOP]) == (
        Exited(LEAF.key, None),
        Reaped(LEAF.key, None, None),
        Exited(MIDDLE.key, None),
        Reaped(MIDDLE.key, None, None),
    )
    check(table)


def test_the_root_is_followed_too(table: ProcessTable) -> None:
    """Its name and its group may change like anybody's."""
    assert table.snapshot([ROOT._replace(comm="renamed"), TOP, MIDDLE, LEAF]) == (
        Renamed(ROOT.key, "reaperd", "renamed"),
    )


def test_another_process_with_the_roots_pid_is_not_looked_at(table: ProcessTable) -> None:
    """The look does not change who the root is."""
    assert table.snapshot([ROOT._replace(start_time=1, comm="x"), TOP, MIDDLE, LEAF]) == ()


def test_a_reused_pid_in_a_snapshot(table: ProcessTable) -> None:
    """The old process is gone and its children are where the look shows them."""
    new = MIDDLE._replace(start_time=50)
    changes = table.snapshot([ROOT, TOP, new, LEAF._replace(ppid=101)])
    assert changes[0] == Exited(MIDDLE.key, None)
    assert Reaped(MIDDLE.key, None, None) in changes
    assert Forked(new.key, TOP.key, 101, 101, "middle") in changes
    assert process_of(table, 103).parent is process_of(table, 101)
    check(table)


def test_orphans_are_where_the_look_shows_them(table: ProcessTable) -> None:
    """A subreaper that we knew nothing of is not guessed wrong first: the look is followed before the end."""
    assert table.snapshot([ROOT, TOP, MIDDLE._replace(state="Z"), LEAF._replace(ppid=101)]) == (
        Reparented(LEAF.key, MIDDLE.key, TOP.key),
        Exited(MIDDLE.key, None),
    )
    check(table)


def test_a_child_read_before_its_parent_ended(table: ProcessTable) -> None:
    """A look that shows a child under a zombie is two moments: the child is where orphans go."""
    changes = table.snapshot([LEAF, ROOT, TOP, MIDDLE._replace(state="Z")])
    assert changes == (Exited(MIDDLE.key, None), Adopted(LEAF.key, MIDDLE.key, ROOT.key, 101, 101, "leaf"))
    assert table.snapshot([LEAF, ROOT, TOP, MIDDLE._replace(state="Z")]) == ()
    check(table)


def test_a_new_child_of_a_parent_that_the_look_missed(table: ProcessTable) -> None:
    """The parent ended before the look reached it, its child was read before that: it is an orphan."""
    late = Seen(104, 103, 101, 101, 20, "late")
    table.snapshot([ROOT, TOP, MIDDLE, late])
    assert pids(table) == [100, 101, 102, 104]
    assert process_of(table, 104).parent is table.root
    check(table)


def test_a_parent_that_is_too_new_is_waited_for(table: ProcessTable) -> None:
    """A known process under somebody whom the look did not catch stays until the next one."""
    assert table.snapshot([ROOT, TOP, MIDDLE, LEAF._replace(ppid=999)]) == ()
    assert process_of(table, 103).parent is process_of(table, 102)
    new = Seen(999, 101, 101, 101, 30, "sub")
    changes = table.snapshot([ROOT, TOP, MIDDLE, LEAF._replace(ppid=999), new])
    assert changes[-1] == Reparented(LEAF.key, MIDDLE.key, new.key)


def test_a_ring_of_parents_is_not_believed(table: ProcessTable) -> None:
    """Pids used again during the look can make a ring: those whom we know stay, with their new children."""
    ring = [TOP._replace(ppid=103), MIDDLE, LEAF, Seen(200, 201, 1, 1, 40), Seen(201, 200, 1, 1, 41)]
    assert table.snapshot([ROOT, *ring, Seen(300, 103, 101, 101, 42, "new")]) == (
        Forked(ProcessKey(300, 42), LEAF.key, 101, 101, "new"),
    )
    assert pids(table) == [100, 101, 102, 103, 300]
    check(table)


def test_processes_leave_a_root_that_keeps_no_orphans(table: ProcessTable) -> None:
    """Below a root that is no subreaper orphans go outside, and what is below them goes along."""
    table.root.set_child_subreaper(False)
    assert table.snapshot([*OUTSIDE, ROOT, TOP, MIDDLE._replace(ppid=1), LEAF]) == (
        Left(MIDDLE.key, 1),
        Left(LEAF.key, 102),
    )
    assert pids(table) == [100, 101]
    check(table)


def test_a_process_that_was_put_below_the_root_by_mistake(table: ProcessTable) -> None:
    """A look that shows all its ancestors, the root not among them, takes it out even of a subreaper."""
    outside = Seen(9, 8, 7, 7, 4, "mistaken")
    table.observe(outside._replace(ppid=102))
    assert table.snapshot([*OUTSIDE, outside, ROOT, TOP, MIDDLE, LEAF])[-1] == Left(outside.key, 8)
    assert pids(table) == [100, 101, 102, 103]
    check(table)


def test_a_subtree_loses_who_is_missing(table: ProcessTable) -> None:
    """A living parent's child cannot be elsewhere, so it is gone; others are not judged."""
    table.forked(100, 110, start_time=30)
    assert table.observe_subtree(TOP.key, [MIDDLE]) == (Exited(LEAF.key, None), Reaped(LEAF.key, None, None))
    assert pids(table) == [100, 101, 102, 110]
    assert table.observe_subtree(TOP.key, []) == (Exited(MIDDLE.key, None), Reaped(MIDDLE.key, None, None))
    check(table)


def test_a_subtree_does_not_lose_orphans(table: ProcessTable) -> None:
    """An orphan may be with a reaper above, where this look did not go: it is, until a look misses it."""
    table.forked(103, 104, start_time=14)
    assert table.observe_subtree(TOP.key, []) == (
        Exited(MIDDLE.key, None),
        Adopted(LEAF.key, MIDDLE.key, ROOT.key, 101, 101, "leaf"),
        Reaped(MIDDLE.key, None, None),
    )
    assert process_of(table, 104).parent is process_of(table, 103)
    check(table)
    table.observe_subtree(ROOT.key, [TOP])
    assert pids(table) == [100, 101]


def test_orphans_below_a_subreaper_in_the_subtree_are_gone(table: ProcessTable) -> None:
    """An orphan that would have stayed in sight, and was not seen, is gone."""
    table.forked(103, 104, start_time=14)
    process_of(table, 101).set_child_subreaper(True)
    process_of(table, 102).set_child_subreaper(True)
    table.observe_subtree(TOP.key, [TOP])
    assert pids(table) == [100, 101]
    check(table)


def test_a_subtree_whose_top_is_another_process_now(table: ProcessTable) -> None:
    """Where the top's pid was used again the look says nothing about those below the old one."""
    table.observe_subtree(TOP.key, [TOP._replace(start_time=60)])
    assert table.find(TOP.key) is None
    assert pids(table) == [100, 102, 103]
    check(table)


def test_a_subtree_whose_top_leaves(table: ProcessTable) -> None:
    """A look may find that the top itself went outside."""
    table.root.set_child_subreaper(False)
    changes = table.observe_subtree(TOP.key, [TOP._replace(ppid=1), MIDDLE, LEAF])
    assert [type(change) for change in changes] == [Left, Left, Left]
    assert pids(table) == [100]
    check(table)
