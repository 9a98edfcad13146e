import gc
import weakref
from collections.abc import Iterator
from errno import EACCES, EPERM, ESRCH

import pytest

from reaperd.model import Process, ProcessGroup, ProcessTable, Seen, Session
from reaperd.model.invariants import check


@pytest.fixture
def init() -> Process:
    """Return the init of a small tree."""
    return Process.new_init(1).build()


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Switch the garbage collector off, so that only reference counts free anything."""
    gc.disable()
    yield
    gc.enable()


def session_of(process: Process) -> tuple[Session, ProcessGroup]:
    """Return the session that the process makes, which it must be able to."""
    made = process.create_session()
    assert made is not None
    return made


def group_of(process: Process) -> ProcessGroup:
    """Return the group that the process makes, which it must be able to."""
    made = process.create_group()
    assert made is not None
    return made


def test_init_leads_a_session_and_a_group(init: Process) -> None:
    """A tree begins with one session and one group, of the init's number."""
    assert init.group.pgid == init.group.session.sid == 1
    assert init.group.session.process_groups == (init.group,)
    assert init.group.processes == (init,)
    assert init.is_leader
    assert init.is_session_leader


def test_create_session_moves_the_process(init: Process) -> None:
    """create_session() makes a session and its first group, with the process alone in it."""
    child = init.fork(2).build()
    session, group = session_of(child)
    assert (session.sid, group.pgid) == (2, 2)
    assert group.session is session
    assert child.group is group
    assert group.processes == (child,)
    assert init.group.processes == (init,)
    check(init)


def test_create_session_is_refused_for_any_group_leader(init: Process) -> None:
    """The leader of a group, or of a session, gets None and EPERM: setsid(2)."""
    child = init.fork(2).build()
    assert child.why_not_session() is None
    group = group_of(child)
    for leader in (child, init):
        assert leader.create_session() is None
        assert leader.why_not_session() == EPERM
    assert child.group is group


def test_create_session_is_refused_while_the_number_is_a_group(init: Process) -> None:
    """A process that left the group it made, while others stayed, still cannot make a session."""
    child = init.fork(2).build()
    group = group_of(child)
    stays = child.fork(3).build()
    assert child.move_to_group(init.group)
    assert child.why_not_session() == EPERM
    assert child.create_session() is None
    stays.exit()
    stays.free()
    assert group.is_empty
    assert child.create_session() is not None


def test_create_group_stays_in_the_session(init: Process) -> None:
    """create_group() makes a group of the process's number in the session it is in."""
    child = init.fork(2).build()
    group = group_of(child)
    assert group.session is init.group.session
    assert init.group.session.process_groups == (init.group, group)
    assert init.group.session.group(2) is group
    check(init)


def test_create_group_is_none_for_a_leader(init: Process) -> None:
    """A leader gets None; the kernel refuses it only to a session leader."""
    child = init.fork(2).build()
    group_of(child)
    assert child.create_group() is None
    assert child.why_not_group() is None
    assert init.create_group() is None
    assert init.why_not_group() == EPERM


def test_create_group_rejoins_the_group_of_its_number(init: Process) -> None:
    """A process that left the group it made goes back to it, with those who stayed."""
    child = init.fork(2).build()
    group = group_of(child)
    stays = child.fork(3).build()
    assert child.move_to_group(init.group)
    assert child.create_group() is group
    assert set(group.processes) == {child, stays}


def test_move_to_group_within_the_session(init: Process) -> None:
    """A process moves to any group of its session, and stays where it is without harm."""
    one, two = init.fork(2).build(), init.fork(3).build()
    one_group, two_group = group_of(one), group_of(two)
    assert one.move_to_group(one_group)
    assert two.move_to_group(one_group)
    assert one_group.processes == (one, two)
    assert two_group.processes == ()
    check(init)


def test_move_to_group_is_refused_across_sessions(init: Process) -> None:
    """Another session's group is refused with EPERM: setpgid(2)."""
    one, two = init.fork(2).build(), init.fork(3).build()
    _, group = session_of(one)
    assert not two.move_to_group(group)
    assert two.why_not_move(group) == EPERM
    assert two.group is init.group


def test_move_to_group_is_refused_to_session_leaders(init: Process) -> None:
    """A session leader stays where it is, even if the target is its own group: setpgid(2)."""
    group = group_of(init.fork(2).build())
    assert not init.move_to_group(group)
    assert not init.move_to_group(init.group)
    assert init.why_not_move(group) == EPERM


def test_a_parent_moves_a_child_until_it_execs(init: Process) -> None:
    """setpgid(2) by the parent, zombie child or not, is EACCES once the child has run another program."""
    parent = init.fork(2).build()
    child, group = parent.fork(3).build(), group_of(parent)
    assert child.create_group(parent) is not None
    assert child.move_to_group(group, parent)
    child.exec()
    assert child.has_execed
    assert child.why_not_move(group, parent) == child.why_not_group(parent) == EACCES
    assert not child.move_to_group(group, parent)
    assert child.create_group(parent) is None
    assert child.why_not_move(group) is child.why_not_group(child) is None
    assert not child.fork(4).build().has_execed
    zombie = parent.fork(5).build()
    zombie.exit()
    assert zombie.create_group(parent) is not None
    check(init)


def test_nobody_else_moves_a_process(init: Process) -> None:
    """To anybody but the process and its parent it is no such process: ESRCH."""
    parent = init.fork(2).build()
    child = parent.fork(3).build()
    for stranger in (init, parent.fork(4).build(), child.fork(5).build()):
        assert child.why_not_move(init.group, stranger) == child.why_not_group(stranger) == ESRCH
        assert not child.move_to_group(init.group, stranger)
    parent.exit()
    assert child.why_not_group(parent) == ESRCH
    assert child.move_to_group(init.group, init)


def test_a_parent_moves_no_child_of_another_session(init: Process) -> None:
    """That is EPERM, and comes before EACCES and before what is wrong with the group."""
    child = init.fork(2).build()
    session_of(child)
    child.exec()
    assert child.why_not_move(init.group, init) == child.why_not_group(init) == EPERM


def test_an_empty_group_is_only_its_makers(init: Process) -> None:
    """A group whose last process has left is no more; only the process of its number can go back."""
    one, two = init.fork(2).build(), init.fork(3).build()
    old = group_of(one)
    assert one.move_to_group(init.group)
    assert not two.move_to_group(old)
    assert two.why_not_move(old) == EPERM
    assert one.move_to_group(old)
    assert init.group.session.group(2) is old
    check(init)


def test_a_stale_group_object_is_not_the_new_one(init: Process) -> None:
    """An empty group cannot come back while another object has its number."""
    one, two = init.fork(2).build(), init.fork(3).build()
    old = group_of(one)
    one.move_to_group(init.group)
    new = group_of(one)
    assert two.move_to_group(new)
    one.move_to_group(init.group)
    assert not one.move_to_group(old)
    assert one.move_to_group(new)
    check(init)


def test_ended_processes_make_no_calls(init: Process) -> None:
    """A zombie makes neither session nor group, but its parent can move it; a freed process is not found."""
    child = init.fork(2).build()
    group = group_of(init.fork(3).build())
    child.exit()
    assert child.create_session() is None
    assert child.create_group() is None
    assert child.why_not_session() == child.why_not_group() == ESRCH
    assert child.move_to_group(group)
    child.free()
    assert child.why_not_move(init.group) == ESRCH
    assert not child.move_to_group(init.group)


def test_a_session_lists_each_group_with_a_process(init: Process) -> None:
    """A group that was made and left leaves nothing behind in its session."""
    child = init.fork(2).build()
    for _ in range(3):
        assert child.create_group() is not None
        assert child.move_to_group(init.group)
    assert init.group.session.process_groups == (init.group,)
    assert init.group.session.group(2) is None


@pytest.mark.usefixtures("no_collector")
class TestReferences:
    """Everything goes by reference counts alone."""

    def test_group_and_session_disappear_with_their_last_process(self, init: Process) -> None:
        """They outlive the leader, and zombies, and go when the last member is freed."""
        leader = init.fork(2).build()
        session, group = (weakref.ref(made) for made in session_of(leader))
        member = leader.fork(3).build()
        leader.exit()
        leader.free()
        del leader
        member.exit()
        assert group() is not None
        assert session() is not None
        member.free()
        del member
        assert group() is None
        assert session() is None

    def test_a_group_disappears_when_its_last_process_moves(self, init: Process) -> None:
        """Moving away is enough."""
        child = init.fork(2).build()
        group = weakref.ref(group_of(child))
        assert child.move_to_group(init.group)
        assert group() is None

    def test_a_freed_process_is_held_by_nobody(self, init: Process) -> None:
        """After free() the last reference is the caller's."""
        child = init.fork(2).build()
        gone = weakref.ref(child)
        child.exit()
        child.free()
        del child
        assert gone() is None

    def test_a_tree_goes_with_its_init(self) -> None:
        """Threads and data included, nothing is left when the init is let go, however deep."""
        init = Process.new_init(1).build()
        process = init
        for pid in range(2, 20_000):
            process = process.fork(pid).build()
        group, session = init.group, init.group.session
        gone = weakref.ref(process)
        del process, init
        assert gone() is None
        assert group.processes == ()
        del group
        assert session.process_groups == ()

    def test_a_thread_holds_its_process(self, init: Process) -> None:
        """The thread keeps the process alive, not the other way round."""
        thread = init.fork(2).build().new_thread(2).build()
        thread.exit(0)
        thread.process.exit()
        thread.process.free()
        gone = weakref.ref(thread.process)
        assert gone() is not None
        del thread
        assert gone() is None

    def test_a_table_leaves_nothing_behind(self) -> None:
        """A table holds its threads and has no cycle either."""
        table = ProcessTable(Seen(10, 1, 10, 10, 5))
        table.forked(10, Seen(11, 10, 11, 11, 6, tids=(11, 12)))
        child = table.get(11)
        assert child is not None
        gone = weakref.ref(child), weakref.ref(table), weakref.ref(child.threads[0])
        del child, table
        assert gone[0]() is None
        assert gone[1]() is None
        assert gone[2]() is None
