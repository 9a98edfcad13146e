import tracemalloc
from dataclasses import FrozenInstanceError

import pytest

from reaperd.model import (
    Adopted,
    Execed,
    Exited,
    Forked,
    GroupChanged,
    Identified,
    InitCannotExitError,
    Left,
    NotTrackedError,
    Process,
    ProcessKey,
    ProcessTable,
    Reaped,
    Renamed,
    Reparented,
    Seen,
    SessionChanged,
    ThreadEnded,
    ThreadStarted,
)
from reaperd.model.invariants import check

ROOT = Seen(100, 7, 90, 80, 5, "reaperd")
SH = Seen(101, 100, 90, 80, 11, "sh")
CAT = Seen(102, 101, 90, 80, 12, "cat")


@pytest.fixture
def table() -> ProcessTable:
    """Return a table whose root is a subreaper and has a child and a grandchild."""
    table = ProcessTable(ROOT)
    table.root.set_child_subreaper(True)
    table.forked(100, SH)
    table.forked(101, CAT)
    check(table)
    return table


def process_of(table: ProcessTable, pid: int) -> Process:
    """Return the process with this pid, which must be there."""
    process = table.get(pid)
    assert process is not None
    return process


def place(table: ProcessTable, pid: int) -> tuple[int, int, int]:
    """Return ppid, pgid and sid."""
    return table.seen(process_of(table, pid))[1:4]


def test_the_root_is_a_real_process() -> None:
    """A table begins with the process it was given, in the session and group it was seen in."""
    table = ProcessTable(ROOT)
    assert table.root.pid == 100
    assert table.root.is_init
    assert table.key(table.root) == ProcessKey(100, 5)
    assert place(table, 100) == (0, 90, 80)
    assert [thread.tid for thread in table.root.threads] == [100]
    assert list(table) == [table.root]
    check(table)


def test_changes_are_frozen(table: ProcessTable) -> None:
    """Nobody rewrites what happened."""
    (change,) = table.exited(102, 0)
    with pytest.raises(FrozenInstanceError):
        change.key = ProcessKey(1, 1)  # type: ignore[misc]  # that is the point


def test_lookups_are_by_pid_and_by_key(table: ProcessTable) -> None:
    """A pid finds whoever has it now, a key only that very process."""
    sh = process_of(table, 101)
    assert table.find(SH.key) is sh
    assert table.find(ProcessKey(101, 99)) is None
    assert table.get(999) is None
    assert 101 in table
    assert SH.key in table
    assert sh in table
    assert ProcessKey(101, 99) not in table
    assert "101" not in table
    assert Process.new_init(101).build() not in table
    assert len(table) == 3
    assert [process.pid for process in table.descendants(table.root)] == [101, 102]


def test_a_stranger_has_no_key() -> None:
    """A process that is not in the table, or has left it, is not told about."""
    table = ProcessTable(ROOT)
    stranger = Process.new_init(100).build()
    with pytest.raises(NotTrackedError):
        table.key(stranger)
    with pytest.raises(NotTrackedError):
        table.seen(stranger)
    assert not table.is_adopted(stranger)


def test_forked_adds_a_child(table: ProcessTable) -> None:
    """A fork that was looked at comes as it was seen."""
    assert table.forked(101, Seen(103, 101, 103, 80, 13, "x")) == (
        Forked(ProcessKey(103, 13), SH.key, 103, 80, "x"),
    )
    assert place(table, 103) == (101, 103, 80)
    check(table)


def test_forked_by_pid_alone_inherits(table: ProcessTable) -> None:
    """A fork of which only the pid is known is what its parent is, until the first look."""
    table.session_changed(101, 101)
    assert table.forked(SH.key, 103) == (Forked(ProcessKey(103, 0), SH.key, 101, 101, "sh"),)
    child = process_of(table, 103)
    assert table.observe(Seen(103, 101, 101, 101, 13, "sh")) == (
        Identified(ProcessKey(103, 13), ProcessKey(103, 0)),
    )
    assert table.key(child) == ProcessKey(103, 13)
    assert table.forked(101, 104, start_time=14)[0].key == ProcessKey(104, 14)
    check(table)


def test_forked_twice_says_nothing_new(table: ProcessTable) -> None:
    """The same fork can be observed again."""
    assert table.forked(100, SH) == ()
    assert table.forked(100, 101) == ()
    assert len(table) == 3


def test_forked_by_somebody_unknown_is_nothing(table: ProcessTable) -> None:
    """A parent that is not below the root, or an older one with that pid, has no children here."""
    assert table.forked(999, 103) == ()
    assert table.forked(ProcessKey(101, 1), 103) == ()
    assert table.forked(101, Seen(100, 101, 1, 1, 77)) == ()
    assert len(table) == 3


def test_a_fork_whose_parent_has_ended_is_an_orphan(table: ProcessTable) -> None:
    """The fork may be observed after the parent's end: the child is where orphans go."""
    table.exited(101, 0)
    (change,) = table.forked(101, Seen(103, 101, 90, 80, 13, "x"))
    assert change == Adopted(ProcessKey(103, 13), None, ROOT.key, 90, 80, "x")
    (change,) = table.forked(101, 104)
    assert isinstance(change, Adopted)
    check(table)


def test_a_fork_that_was_reparented_before_the_look(table: ProcessTable) -> None:
    """Who forked and who is the parent by now are two facts."""
    assert table.forked(101, Seen(103, 100, 90, 80, 13, "x")) == (
        Forked(ProcessKey(103, 13), SH.key, 90, 80, "x"),
        Adopted(ProcessKey(103, 13), SH.key, ROOT.key, 90, 80, "x"),
    )


def test_a_reused_pid_is_a_new_process(table: ProcessTable) -> None:
    """Another start time is another process: the old one is gone before the new one comes."""
    old = process_of(table, 102)
    new = CAT._replace(start_time=50)
    assert table.observe(new) == (
        Exited(CAT.key, None),
        Reaped(CAT.key, None, None),
        Forked(new.key, SH.key, 90, 80, "cat"),
    )
    assert old.is_freed
    assert process_of(table, 102) is not old
    assert table.find(CAT.key) is None
    check(table)


def test_what_was_seen_of_an_older_process_is_passed_over(table: ProcessTable) -> None:
    """A start time before that of the process with this pid is news of one that has long gone."""
    assert table.observe(CAT._replace(start_time=3, state="Z")) == ()
    assert table.forked(101, CAT._replace(start_time=3)) == ()
    assert table.find(CAT.key) is process_of(table, 102)


def test_a_new_process_with_a_known_pid_may_be_nobody_of_ours(table: ProcessTable) -> None:
    """The pid was used again outside: the old process is gone all the same."""
    table.observe(CAT._replace(start_time=50, ppid=999))
    assert table.get(102) is None
    check(table)


def test_a_fork_of_a_zombies_pid_is_a_new_process(table: ProcessTable) -> None:
    """A zombie's pid cannot be forked again, so that zombie was reaped unseen."""
    table.exited(102, 256)
    changes = table.forked(101, 102)
    assert changes[0] == Reaped(CAT.key, 256, None)
    assert process_of(table, 102).is_alive


def test_a_zombie_goes_in_two_steps(table: ProcessTable) -> None:
    """exited() leaves a zombie with its status; reaped() takes it out, and names who waited."""
    assert table.exited(102, 256) == (Exited(CAT.key, 256),)
    cat = process_of(table, 102)
    assert cat.is_zombie
    assert cat.exit_code == 256
    assert place(table, 102) == (101, 90, 80)
    check(table)
    assert table.reaped(102) == (Reaped(CAT.key, 256, SH.key),)
    assert table.get(102) is None
    assert table.key(cat) == CAT.key
    check(table)


def test_reaped_alone_is_both_steps(table: ProcessTable) -> None:
    """Who is reaped has exited, even if nobody said so."""
    assert table.reaped(101, 9) == (
        Exited(SH.key, 9),
        Adopted(CAT.key, SH.key, ROOT.key, 90, 80, "cat"),
        Reaped(SH.key, 9, ROOT.key),
    )
    check(table)


def test_a_status_may_come_later(table: ProcessTable) -> None:
    """A look finds a zombie without its status; who waits brings it."""
    assert table.observe(CAT._replace(state="Z")) == (Exited(CAT.key, None),)
    assert table.exited(102, 15) == ()
    assert process_of(table, 102).exit_code == 15
    assert table.reaped(102) == (Reaped(CAT.key, 15, SH.key),)


def test_observations_of_nobody_change_nothing(table: ProcessTable) -> None:
    """An unknown pid, or the key of a process that is gone, is passed over."""
    for who in (999, ProcessKey(101, 1)):
        assert table.exited(who, 0) == ()
        assert table.reaped(who, 0) == ()
        assert table.reparented(who, 100) == ()
        assert table.session_changed(who, 5) == ()
        assert table.group_changed(who, 5) == ()
        assert table.exec(who, "x") == ()
        assert table.thread_started(who, 5) == ()
        assert table.thread_ended(who, 5) == ()
    assert table.observe_subtree(ProcessKey(999, 1), []) == ()
    assert len(table) == 3


def test_the_root_does_not_exit(table: ProcessTable) -> None:
    """The end of the root is a mistake of the observer; in a look it is passed over."""
    with pytest.raises(InitCannotExitError):
        table.exited(100, 0)
    with pytest.raises(InitCannotExitError):
        table.reaped(100, 0)
    assert table.observe(ROOT._replace(state="Z")) == ()
    assert table.observe(ROOT._replace(start_time=6)) == ()
    assert table.reparented(100, 101) == ()
    check(table)


def test_orphans_are_adopted(table: ProcessTable) -> None:
    """A dying parent's children go where the kernel sends them, and the root's new ones are adopted."""
    assert not table.is_adopted(process_of(table, 102))
    assert table.exited(101, 0) == (
        Exited(SH.key, 0),
        Adopted(CAT.key, SH.key, ROOT.key, 90, 80, "cat"),
    )
    assert table.is_adopted(process_of(table, 102))


def test_orphans_go_to_a_subreaper_below(table: ProcessTable) -> None:
    """Under another subreaper it is a new parent, not an adoption."""
    process_of(table, 101).set_child_subreaper(True)
    table.forked(102, 103, start_time=13)
    assert table.exited(102, 0)[1] == Reparented(ProcessKey(103, 13), CAT.key, SH.key)


def test_reparented_follows_the_kernel(table: ProcessTable) -> None:
    """A new parent counts, also one that the model would not have chosen."""
    table.forked(100, 103, start_time=13)
    assert table.reparented(102, 103) == (Reparented(CAT.key, SH.key, ProcessKey(103, 13)),)
    assert table.reparented(102, 103) == ()
    assert isinstance(table.reparented(102, 100)[0], Adopted)
    check(table)


def test_nobody_is_reparented_below_himself(table: ProcessTable) -> None:
    """A parent that is below the process is a pid used again: nothing is believed."""
    assert table.reparented(101, 102) == ()
    assert table.reparented(101, 101) == ()
    check(table)


def test_an_unknown_parent_below_a_subreaper_is_waited_for(table: ProcessTable) -> None:
    """No orphan leaves a subreaper, so a parent that we do not know is one that we do not know yet."""
    assert table.reparented(102, 999) == ()
    assert place(table, 102)[0] == 101


def test_orphans_leave_a_root_that_does_not_keep_them(table: ProcessTable) -> None:
    """Below a root that is no subreaper a parent outside takes the process and all below it away."""
    table.root.set_child_subreaper(False)
    sh, cat = process_of(table, 101), process_of(table, 102)
    assert table.observe(SH._replace(ppid=1)) == (Left(SH.key, 1), Left(CAT.key, 101))
    assert list(table) == [table.root]
    assert sh.is_freed
    assert cat.is_freed
    check(table)


def test_a_session_that_we_never_saw_made(table: ProcessTable) -> None:
    """The kernel is right: the session is made, and its processes share it."""
    assert table.session_changed(101, 55, 66) == (
        SessionChanged(SH.key, 80, 55),
        GroupChanged(SH.key, 90, 66),
    )
    table.session_changed(102, 55, 66)
    group, session = table.group(66), table.session(55)
    assert group is not None
    assert session is not None
    assert group.processes == (process_of(table, 101), process_of(table, 102))
    assert session.process_groups == (group,)
    assert table.session_changed(101, 55, 66) == ()
    assert set(table.sessions) == {table.root.group.session, session}
    check(table)


def test_group_changed_stays_in_the_session(table: ProcessTable) -> None:
    """setpgid(2) does not leave the session; the group is made if it is new."""
    assert table.group_changed(101, 101) == (GroupChanged(SH.key, 90, 101),)
    assert table.group_changed(102, 101) == (GroupChanged(CAT.key, 90, 101),)
    assert process_of(table, 101).group is process_of(table, 102).group
    assert table.group(77) is None
    assert table.session(77) is None
    check(table)


def test_a_group_number_may_come_again_in_another_session(table: ProcessTable) -> None:
    """A group whose end was missed does not draw a new one with its number into its old session."""
    table.group_changed(101, 101)
    table.group_changed(102, 101)
    table.session_changed(101, 101)
    assert place(table, 101) == (100, 101, 101)
    assert place(table, 102) == (101, 101, 80)
    assert table.group(101) is process_of(table, 101).group
    table.group_changed(102, 90)
    check(table)


def test_a_group_is_found_after_one_of_its_number_has_gone(table: ProcessTable) -> None:
    """The end of a group whose last member was seen late takes nothing from the one that is there now."""
    table.group_changed(101, 101)
    table.session_changed(102, 55, 101)
    check(table)
    table.reaped(102, 0)
    assert table.group(101) is process_of(table, 101).group
    check(table)


def test_a_group_is_found_without_its_leader(table: ProcessTable) -> None:
    """By the members that are left of it."""
    table.group_changed(101, 101)
    table.group_changed(102, 101)
    table.reaped(101, 0)
    assert table.group(101) is process_of(table, 102).group
    check(table)


def test_a_held_process_keeps_no_number(table: ProcessTable) -> None:
    """Whoever holds a freed process sees its group; the table has that number no more."""
    table.session_changed(102, 102)
    cat = process_of(table, 102)
    table.reaped(102, 0)
    assert cat.group.pgid == 102
    assert table.group(102) is None
    assert table.session(102) is None
    assert len(table.sessions) == 1


def test_exec_renames(table: ProcessTable) -> None:
    """An exec is said as such, and known by the process; a look sees another name and cannot tell why."""
    assert table.exec(102, "tac") == (Execed(CAT.key, "tac"),)
    process = table.get(102)
    assert process is not None
    assert process.has_execed
    assert table.exec(102) == (Execed(CAT.key, "tac"),)
    assert table.observe(CAT._replace(comm="worker")) == (Renamed(CAT.key, "tac", "worker"),)
    table.exited(102, 0)
    assert table.exec(102, "zombie") == ()


def test_the_table_owns_a_leader_for_each_process(table: ProcessTable) -> None:
    """A process has its leader from the start; others come and go as they are observed."""
    cat = process_of(table, 102)
    assert [thread.tid for thread in cat.threads] == [102]
    assert table.thread_started(102, 200) == (ThreadStarted(CAT.key, 200),)
    assert table.thread_started(102, 200) == ()
    assert table.seen(cat).num_threads == 2
    assert {thread.tid for thread in cat.threads} == {102, 200}
    assert table.thread_ended(102, 200) == (ThreadEnded(CAT.key, 200, is_last=False),)
    assert table.thread_ended(102, 200) == ()
    assert table.seen(cat).num_threads == 1
    check(table)


def test_a_dead_leader_with_living_threads_is_no_zombie(table: ProcessTable) -> None:
    """Its state is Z, but it keeps its children, and it can come back by exec."""
    sh = process_of(table, 101)
    look = SH._replace(state="Z", num_threads=2, tids=(101, 200))
    assert table.observe(look) == (
        ThreadStarted(SH.key, 200),
        ThreadEnded(SH.key, 101, is_last=False),
    )
    assert not sh.is_zombie
    assert [child.pid for child in sh.children] == [102]
    assert table.seen(sh) == look._replace(tids=(200,))
    assert table.observe(look) == ()
    check(table)
    assert table.exec(101, "sh") == (
        ThreadStarted(SH.key, 101),
        ThreadEnded(SH.key, 200, is_last=False),
        Execed(SH.key, "sh"),
    )
    assert table.seen(sh).state == "R"
    check(table)


def test_the_last_thread_is_told(table: ProcessTable) -> None:
    """When the last known thread has ended, the process is a zombie or has threads that we do not know."""
    table.thread_started(102, 200)
    assert table.thread_ended(102, 102, 3) == (ThreadEnded(CAT.key, 102, is_last=False),)
    assert table.seen(process_of(table, 102)).is_dead_leader
    assert table.thread_ended(102, 200, 4) == (ThreadEnded(CAT.key, 200, is_last=True),)
    assert process_of(table, 102).is_alive
    check(table)
    table.exited(102, 5)
    assert process_of(table, 102).exit_code == 5
    assert table.thread_started(102, 201) == ()
    check(table)


def test_a_look_finds_threads(table: ProcessTable) -> None:
    """Where a look lists threads they are followed; where it does not, only the leader is."""
    assert table.observe(CAT._replace(tids=(102, 7, 8))) == (
        ThreadStarted(CAT.key, 7),
        ThreadStarted(CAT.key, 8),
    )
    assert table.observe(CAT._replace(num_threads=3)) == ()
    assert table.observe(CAT._replace(tids=(102, 8))) == (ThreadEnded(CAT.key, 7, is_last=False),)
    assert table.observe(CAT._replace(state="Z", num_threads=2)) == (
        ThreadEnded(CAT.key, 102, is_last=False),
    )
    assert table.observe(CAT) == (ThreadStarted(CAT.key, 102),)
    check(table)


def test_observe_takes_only_what_is_below_the_root(table: ProcessTable) -> None:
    """Somebody whose parent is not known is nobody of ours."""
    assert table.observe(Seen(500, 1, 500, 500, 3)) == ()
    assert table.observe(Seen(100, 101, 1, 1, 77)) == ()
    assert table.observe(Seen(103, 101, 90, 80, 13, "x")) == (
        Forked(ProcessKey(103, 13), SH.key, 90, 80, "x"),
    )


def test_observe_finds_an_orphan_under_the_root(table: ProcessTable) -> None:
    """A child of the root that it did not fork has been adopted, and tells what it brings."""
    assert table.observe(Seen(103, 100, 103, 104, 13, "x", "Z")) == (
        Adopted(ProcessKey(103, 13), None, ROOT.key, 103, 104, "x"),
        Exited(ProcessKey(103, 13), None),
    )
    check(table)


def test_a_zombie_does_not_come_back(table: ProcessTable) -> None:
    """A look that began before the end does not undo it."""
    table.exited(102, 0)
    assert table.observe(CAT) == ()
    assert process_of(table, 102).is_zombie
    assert table.seen(process_of(table, 102)).state == "Z"


def test_data_hangs_on_a_process_after_discovery(table: ProcessTable) -> None:
    """Who finds a process can hang its own record on it, which stays with that process alone."""
    cat = process_of(table, 102)
    cat.set_data("service web")
    assert process_of(table, 102).data(str) == "service web"
    assert cat.data(ProcessKey) == CAT.key
    table.observe(CAT._replace(start_time=50))
    assert process_of(table, 102).data(str) is None


def test_pid_0_can_be_the_root_of_a_machine() -> None:
    """Everything that has no parent in this PID namespace is then a child of the root."""
    table = ProcessTable(Seen(0, 0, 0, 0, 0, "swapper"))
    table.snapshot([Seen(1, 0, 1, 1, 1, "init"), Seen(2, 0, 0, 0, 1, "kthreadd"), Seen(3, 2, 0, 0, 1)])
    assert place(table, 3) == (2, 0, 0)
    assert place(table, 1) == (0, 1, 1)
    check(table)


def test_a_process_costs_less_than_two_kibibytes() -> None:
    """Even where each process leads a session of its own."""
    look = [Seen(1000 + n, 100, 1000 + n, 1000 + n, 1_000_000 + n, f"service-{n}") for n in range(1000)]
    table = ProcessTable(ROOT)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        table.snapshot(look)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / len(look) < 2048
