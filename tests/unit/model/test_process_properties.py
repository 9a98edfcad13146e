"""Random programs on the model and on plain dictionaries, compared after each step."""

from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from reaperd.model import (
    InitCannotExitError,
    NotZombieError,
    Process,
    Thread,
    ThreadsAliveError,
    WouldSleepError,
)
from reaperd.model.invariants import check
from reaperd.model.tree import descendants
from tests.unit.model.world import INIT, World

Dump = dict[int, tuple[object, ...]]

OPERATIONS: Final = (
    "fork",
    "fork",
    "fork",
    "setsid",
    "create_group",
    "move",
    "subreaper",
    "thread",
    "thread_exit",
    "exit",
    "exit",
    "free",
    "wait",
)
STEPS: Final = st.lists(
    st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 99), st.integers(0, 99)),
    min_size=30,
    max_size=120,
)


class Twin:
    """The model and the reference, which every operation is carried out on."""

    def __init__(self) -> None:
        self.world = World()
        self.init = Process.new_init(INIT).build()
        self.threads: dict[int, Thread] = {}
        self.new_thread(INIT, INIT)

    def new_thread(self, pid: int, tid: int) -> None:
        """Start a thread in both."""
        self.threads[tid] = self.find(pid).new_thread(tid).build()
        self.world.procs[pid].tids.add(tid)

    def find(self, pid: int) -> Process:
        """Return the process by walking, so that nothing but the tree holds it."""
        return next(process for process in (self.init, *descendants(self.init)) if process.pid == pid)

    def step(self, name: str, pid: int, number: int) -> None:
        """Carry out one operation on the process `pid`."""
        getattr(self, f"do_{name}")(self.find(pid), pid, number)

    def other(self, number: int) -> int:
        """Return some pid."""
        pids = list(self.world.procs)
        return pids[number % len(pids)]

    def do_fork(self, process: Process, pid: int, _number: int) -> None:
        """Fork with a leader thread; a zombie does not."""
        if process.is_alive:
            child = self.world.fork(pid).pid
            process.fork(child).build()
            self.new_thread(child, child)

    def do_setsid(self, process: Process, pid: int, _number: int) -> None:
        """Make a session, where both agree whether that is possible."""
        if process.is_alive:
            may = process.why_not_session() is None
            made = process.create_session()
            assert (made is not None) == may == self.world.setsid(pid)

    def do_create_group(self, process: Process, pid: int, _number: int) -> None:
        """Make a group of its own; what the kernel grants without effect is None in the model."""
        if process.is_alive:
            was_leader, may = process.is_leader, process.why_not_group() is None
            made = process.create_group()
            granted = self.world.setpgid(pid, pid)
            assert granted == may
            assert (made is not None) == (granted and not was_leader)

    def do_move(self, process: Process, pid: int, number: int) -> None:
        """Move to the group that some other process is in."""
        target = self.find(self.other(number)).group
        may = process.why_not_move(target) is None
        assert process.move_to_group(target) == may == self.world.setpgid(pid, target.pgid)

    def do_subreaper(self, process: Process, pid: int, number: int) -> None:
        """Become a child subreaper, or stop being one."""
        process.set_child_subreaper(bool(number % 2))
        self.world.procs[pid].subreaper = bool(number % 2)

    def do_thread(self, process: Process, pid: int, _number: int) -> None:
        """Start one more thread."""
        if process.is_alive:
            self.new_thread(pid, self.world.free_number())

    def do_thread_exit(self, _process: Process, pid: int, number: int) -> None:
        """End a thread, the leader perhaps; the code stays, as nobody waits for threads."""
        proc = self.world.procs[pid]
        if proc.tids:
            tid = sorted(proc.tids)[number % len(proc.tids)]
            proc.tids.remove(tid)
            proc.code = number
            assert self.threads.pop(tid).exit(number) == (not proc.tids)

    def do_exit(self, process: Process, pid: int, number: int) -> None:
        """End a process, after all of its threads if the number is even."""
        proc = self.world.procs[pid]
        if pid == INIT:
            refuse(process.exit, InitCannotExitError)
            return
        while proc.tids and number % 2 == 0:
            self.do_thread_exit(process, pid, number)
        if proc.tids:
            refuse(process.exit, ThreadsAliveError)
            return
        process.exit()
        if not proc.zombie:
            self.world.exit(pid, proc.code)

    def do_free(self, process: Process, pid: int, _number: int) -> None:
        """Free a zombie, or be refused."""
        if self.world.procs[pid].zombie:
            process.free()
            self.world.reap(pid)
        else:
            refuse(process.free, NotZombieError)

    def do_wait(self, process: Process, pid: int, number: int) -> None:
        """Wait with each kind of selector."""
        target = self.other(number)
        selector = (-1, 0, target, -target)[number % 4]
        try:
            found = self.world.find_zombie(pid, selector)
        except ChildProcessError:
            refuse(lambda: process.wait(selector), ChildProcessError)
            return
        if found is None:
            assert process.wait(selector, nohang=True) is None
            refuse(lambda: process.wait(selector), WouldSleepError)
            return
        assert process.wait(selector) == (found, self.world.procs[found].code)
        self.world.reap(found)

    def same(self) -> None:
        """Fail unless model and reference show the same."""
        check(self.init)
        assert self.shown_by_model() == self.shown_by_world()
        processes = [self.init, *descendants(self.init)]
        assert {process.group.pgid for process in processes} == {
            group.pgid for session in {p.group.session for p in processes} for group in session.process_groups
        }

    def shown_by_model(self) -> Dump:
        """Return every fact about every process of the model."""
        return {
            process.pid: (
                process.parent.pid if process.parent else 0,
                process.group.pgid,
                process.group.session.sid,
                process.is_zombie,
                process.is_child_subreaper,
                process.exit_code,
                {thread.tid for thread in process.threads},
                [child.pid for child in process.children],
            )
            for process in (self.init, *descendants(self.init))
        }

    def shown_by_world(self) -> Dump:
        """Return every fact about every process of the reference."""
        return {
            proc.pid: (
                proc.ppid,
                proc.pgid,
                proc.sid,
                proc.zombie,
                proc.subreaper,
                proc.code,
                proc.tids,
                [child.pid for child in self.world.children(proc.pid)],
            )
            for proc in self.world.procs.values()
        }


def refuse(call: object, error: type[Exception]) -> None:
    """Fail unless `call()` raises `error`."""
    assert callable(call)
    try:
        call()
    except error:
        return
    raise AssertionError(f"{error.__name__} expected")


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_any_program_shows_the_same_as_dictionaries(steps: list[tuple[str, int, int]]) -> None:
    """After each of any operations the model shows what plain dictionaries show, refusals included."""
    twin = Twin()
    for name, who, number in steps:
        twin.step(name, twin.other(who), number)
        twin.same()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**16), st.permutations(range(2, 10)), st.permutations(range(2, 10)))
def test_any_order_of_exits_ends_in_the_same_tree(seed: int, one: list[int], other: list[int]) -> None:
    """Whatever the order in which the same processes end, the same tree is left."""

    def left(order: list[int]) -> Dump:
        init = Process.new_init(1).build()
        processes = [init]
        for pid in range(2, 14):  # 10 to 13 stay alive
            processes.append(processes[seed % len(processes)].fork(pid).build())
        processes[2].set_child_subreaper(True)
        for pid in order:
            processes[pid - 1].exit()
            check(init)
        return {
            process.pid: (process.parent.pid if process.parent else 0, process.is_zombie)
            for process in processes
            if process.is_alive
        }

    assert left(one) == left(other)
