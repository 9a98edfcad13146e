import pytest

from reaperd.errors import ReaperdError
from reaperd.model import (
    CycleError,
    IdTakenError,
    InitCannotExitError,
    NotAliveError,
    NotZombieError,
    Process,
    ThreadsAliveError,
    TreeGoneError,
    Waited,
    WouldSleepError,
)
from reaperd.model.invariants import check


@pytest.fixture
def init() -> Process:
    """Return the init of a small tree."""
    return Process.new_init(1).build()


def test_init_is_the_root_of_its_own_tree() -> None:
    """Two inits may have the same pid: there is no global one."""
    one, other = Process.new_init(1).build(), Process.new_init(1).build()
    assert one.is_init
    assert one.parent is None
    assert one.fork(2).build().parent is one
    assert other.children == ()


def test_a_child_is_held_by_its_parent(init: Process) -> None:
    """A fork is in its parent's children, which keep it alive, and knows its parent."""
    init.fork(2).build().fork(3).build()
    (child,) = init.children
    (grandchild,) = child.children
    assert (child.pid, grandchild.pid) == (2, 3)
    assert grandchild.parent is child
    assert init.child(2) is child
    assert init.child(3) is None
    assert not child.is_init
    check(init)


def test_a_child_starts_in_the_group_and_session_of_its_parent(init: Process) -> None:
    """Fork inherits group and session, not threads, data or being a subreaper."""
    init.set_child_subreaper(True)
    init.set_data("mine")
    child = init.fork(2).build()
    assert child.group is init.group
    assert child.data(str) is None
    assert not child.is_child_subreaper
    assert child.threads == ()


def test_build_makes_no_thread(init: Process) -> None:
    """A process has the threads that somebody builds, and none by itself."""
    assert init.threads == ()
    assert not init.has_threads


def test_data_is_one_value_of_each_type(init: Process) -> None:
    """A process carries one value of a type, given to its builder or later."""
    child = init.fork(2).data("web").data(7).build()
    assert child.data(str) == "web"
    assert child.data(int) == 7
    assert child.data(float) is None
    child.set_data("db")
    assert child.data(str) == "db"
    child.clear_data(str)
    assert child.data(str) is None
    assert child.data(int) == 7


def test_data_prefers_the_exact_type(init: Process) -> None:
    """A value of a derived type answers only where there is none of the type itself."""
    init.set_data(True)
    assert init.data(int) is True
    init.set_data(5)
    assert init.data(int) == 5
    assert init.data(object) is True


def test_exit_makes_a_zombie_that_keeps_its_place(init: Process) -> None:
    """A zombie has its status, group and place under its parent until it is freed."""
    child = init.fork(2).build()
    group = child.create_group()
    child.set_exit_code(3)
    child.exit()
    assert child.is_zombie
    assert not child.is_alive
    assert not child.is_freed
    assert init.children == (child,)
    assert child.group is group
    assert child.exit_code == 3
    check(init)


def test_exit_of_a_zombie_changes_nothing(init: Process) -> None:
    """A process ends once; a freed one stays free."""
    child = init.fork(2).build()
    child.exit()
    child.exit()
    assert child.is_zombie
    child.free()
    child.exit()
    assert child.is_freed


def test_free_takes_a_zombie_out_of_the_tree(init: Process) -> None:
    """After free() the parent has the child no more, and neither has the group."""
    child = init.fork(2).build()
    child.exit()
    child.free()
    assert init.children == ()
    assert child not in init.group.processes
    assert child.is_freed
    assert not child.is_zombie
    check(init)


def test_init_cannot_exit(init: Process) -> None:
    """exit() on the init raises, and the tree is as it was."""
    child = init.fork(2).build()
    with pytest.raises(InitCannotExitError, match="cannot end process 1"):
        init.exit()
    assert init.is_alive
    assert init.children == (child,)


def test_only_a_zombie_is_freed(init: Process) -> None:
    """free() on a living or a freed process raises, and the tree is as it was."""
    child = init.fork(2).build()
    with pytest.raises(NotZombieError, match="alive"):
        child.free()
    assert init.children == (child,)
    child.exit()
    child.free()
    with pytest.raises(NotZombieError, match="free already") as caught:
        child.free()
    assert isinstance(caught.value, ReaperdError)
    assert caught.value.hint
    with pytest.raises(NotZombieError):
        init.free()


def test_orphans_go_to_init(init: Process) -> None:
    """Without a subreaper an orphan's next parent is the init of its tree."""
    parent = init.fork(2).build()
    orphan = parent.fork(3).build()
    zombie = parent.fork(4).build()
    zombie.exit()
    parent.exit()
    assert parent.children == ()
    assert orphan.parent is init
    assert init.children == (parent, orphan, zombie)
    check(init)


def test_orphans_go_to_the_nearest_living_subreaper(init: Process) -> None:
    """An orphan goes to the nearest child subreaper above, and past one that has ended."""
    outer = init.fork(2).build()
    inner = outer.fork(3).build()
    for process in (outer, inner):
        process.set_child_subreaper(True)
    parent = inner.fork(4).build()
    orphan = parent.fork(5).build()
    assert orphan.reaper() is inner
    parent.exit()
    assert orphan.parent is inner
    inner.exit()
    assert orphan.parent is outer
    assert parent.parent is outer
    outer.set_child_subreaper(False)
    outer.exit()
    assert orphan.parent is init
    check(init)


def test_a_subreaper_does_not_inherit_its_own_children(init: Process) -> None:
    """The children of a subreaper that ends go to the next one above, not to itself."""
    subreaper = init.fork(2).build()
    subreaper.set_child_subreaper(True)
    child = subreaper.fork(3).build()
    subreaper.exit()
    assert child.parent is init


def test_ended_processes_neither_fork_nor_start_threads(init: Process) -> None:
    """build() raises once the process has ended, also when it was begun before."""
    parent = init.fork(2).build()
    child, thread = parent.fork(3), parent.new_thread(4)
    parent.exit()
    with pytest.raises(NotAliveError, match="cannot fork process 3"):
        child.build()
    with pytest.raises(NotAliveError, match="cannot start thread 4"):
        thread.build()
    check(init)


def test_a_pid_names_one_child(init: Process) -> None:
    """A child cannot get the pid of its parent or of a sibling."""
    init.fork(2).build()
    for pid in (1, 2):
        with pytest.raises(IdTakenError, match="in use"):
            init.fork(pid).build()
    assert [child.pid for child in init.children] == [2]


def test_nobody_is_put_below_himself(init: Process) -> None:
    """An observer cannot put a process below itself, below a zombie, or an init anywhere."""
    parent = init.fork(2).build()
    child = parent.fork(3).build()
    zombie = init.fork(4).build()
    zombie.exit()
    for process, above in (
        (parent, child),
        (parent, parent),
        (child, zombie),
        (init, Process.new_init(9).build()),
    ):
        with pytest.raises(CycleError):
            process.put_under(above)
    child.put_under(parent)
    check(init)


def test_an_orphan_needs_ancestors() -> None:
    """Where nobody holds the init, a process with children cannot end: nobody is there to inherit."""
    child = Process.new_init(1).build().fork(2).build()
    assert child.parent is None
    assert not child.is_init
    grandchild = child.fork(3).build()
    with pytest.raises(TreeGoneError):
        child.exit()
    assert child.children == (grandchild,)
    grandchild.exit()
    grandchild.free()
    child.exit()
    child.free()
    assert child.is_freed


class TestThreads:
    """Threads belong to a process and hold it."""

    def test_whoever_builds_a_thread_holds_it(self, init: Process) -> None:
        """A process knows its threads weakly: one that is let go is gone, and its number free."""
        thread = init.new_thread(1).data("leader").build()
        assert thread.process is init
        assert thread.tid == 1
        assert thread.is_leader
        assert thread.data(str) == "leader"
        other = init.new_thread(2).build()
        assert list(init.threads) == [thread, other]
        del thread
        assert list(init.threads) == [other]
        again = init.new_thread(1).build()
        assert list(init.threads) == [other, again]

    def test_a_tid_names_one_living_thread(self, init: Process) -> None:
        """A second thread of a living one's number is refused."""
        thread = init.new_thread(2).build()
        with pytest.raises(IdTakenError):
            init.new_thread(2).build()
        assert init.threads == (thread,)

    def test_exit_says_which_thread_is_the_last(self, init: Process) -> None:
        """exit() is True for the last thread alone, and its code is the process's."""
        child = init.fork(2).build()
        one, two = child.new_thread(2).build(), child.new_thread(3).build()
        assert not one.exit(7)
        assert child.exit_code == 7
        assert child.threads == (two,)
        assert two.exit(8)
        assert child.exit_code == 8
        assert not child.is_zombie

    def test_group_exit_settles_the_exit_code(self, init: Process) -> None:
        """After group_exit() the threads that still end do not change the exit code."""
        child = init.fork(2).build()
        one, two = child.new_thread(101).build(), child.new_thread(102).build()
        one.exit(7)
        child.group_exit()
        assert child.is_group_exited
        assert two.exit(3)
        assert child.exit_code == 7

    def test_a_thread_ends_once(self, init: Process) -> None:
        """A second exit() only repeats the answer."""
        one, two = init.new_thread(1).build(), init.new_thread(2).build()
        one.exit(1)
        again = init.new_thread(1).build()
        assert not one.exit(2)
        assert init.exit_code == 1
        assert init.threads == (two, again)

    def test_children_stay_while_a_thread_lives(self, init: Process) -> None:
        """A process whose leader has ended is no zombie and keeps its children until the last thread ends."""
        process = init.fork(2).build()
        leader, worker = process.new_thread(2).build(), process.new_thread(3).build()
        child = process.fork(4).build()
        leader.exit(0)
        with pytest.raises(ThreadsAliveError, match="threads still alive: 3") as caught:
            process.exit()
        assert caught.value.tids == (3,)
        assert process.is_alive
        assert process.children == (child,)
        assert worker.exit(0)
        process.exit()
        assert child.parent is init
        check(init)


class TestWait:
    """Process.wait is the search of wait4(2)."""

    def test_each_selector_finds_its_children(self, init: Process) -> None:
        """One child, my own group, any, or another group."""
        for pid in (2, 3, 4):
            init.fork(pid).build()
        two, three, four = init.children
        three.create_group()
        two.set_exit_code(20)
        for child in (two, three, four):
            child.exit()
        assert init.wait(4) == (4, 0)
        assert init.wait(-3) == Waited(pid=3, status=0)
        assert init.wait(0) == (2, 20)
        assert init.children == ()
        check(init)

    def test_the_eldest_zombie_comes_first(self, init: Process) -> None:
        """Among those that match, children are taken in the order in which they came."""
        two, three, four = (init.fork(pid).build() for pid in (2, 3, 4))
        for child in (four, three):
            child.exit()
        assert init.wait() == (3, 0)
        two.exit()
        assert init.wait() == (2, 0)

    def test_no_matching_child_is_an_error(self, init: Process) -> None:
        """ECHILD where no child matches, ended or not; ESRCH for what cannot be negated."""
        child = init.fork(2).build()
        child.create_group()
        child.fork(3).build().exit()
        for selector in (3, 0, -3):
            with pytest.raises(ChildProcessError):
                init.wait(selector, nohang=True)
        with pytest.raises(ChildProcessError):
            Process.new_init(1).build().wait()
        with pytest.raises(ProcessLookupError):
            init.wait(-(2**31))

    def test_living_children_mean_later(self, init: Process) -> None:
        """Where a child matches and lives, wait() would sleep; with nohang it answers None."""
        init.fork(2).build()
        for selector in (-1, 0, 2, -1 * init.group.pgid):
            assert init.wait(selector, nohang=True) is None
            with pytest.raises(WouldSleepError, match="no such child has ended yet"):
                init.wait(selector)

    def test_a_dead_leader_is_not_waited_for(self, init: Process) -> None:
        """A child whose leader thread has ended is waited for when its last thread has ended too."""
        child = init.fork(2).build()
        leader, worker = child.new_thread(2).build(), child.new_thread(3).build()
        leader.exit(0)
        assert init.wait(2, nohang=True) is None
        worker.exit(9)
        child.exit()
        assert init.wait(2) == (2, 9)

    def test_the_children_of_all_threads_count(self, init: Process) -> None:
        """A child is the process's, whichever thread forked it, so any thread's wait finds it."""
        threads = [init.new_thread(tid).build() for tid in (1, 5)]
        for thread in threads:
            thread.process.fork(10 + thread.tid).build().exit()
        assert {init.wait(), init.wait()} == {(11, 0), (15, 0)}


def test_representations_name_the_numbers(init: Process) -> None:
    """What a failing test prints says who and where."""
    child = init.fork(2).build()
    thread = child.new_thread(3).build()
    assert repr(init) == "Process(1, group=1)"
    assert repr(thread) == "Thread(3, process=2)"
    thread.exit(0)
    child.exit()
    assert repr(child) == "Process(2, parent=1, group=1, zombie)"
    assert repr(child.group) == "ProcessGroup(1, session=1)"
    assert repr(child.group.session) == "Session(1)"


def test_a_process_that_has_ended_does_not_exec(init: Process) -> None:
    """A zombie runs nothing."""
    child = init.fork(2).build()
    child.exit()
    with pytest.raises(NotAliveError, match="cannot run another program: process 2 has ended"):
        child.exec()
