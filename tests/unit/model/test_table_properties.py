"""The table against a random real tree: through every single event, or through looks alone.

The stream of changes is checked too: a dictionary that only reads changes ends up with the same tree.
"""

from random import Random
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reaperd.model import Change, ProcessKey, ProcessTable, Seen
from reaperd.model.invariants import check
from tests.support.mirror import Fact, Mirror, fact
from tests.unit.model.world import INIT, World

OPERATIONS: Final = (
    *("fork", "fork", "fork", "exec", "exit", "exit", "reap"),
    *("setsid", "setpgid", "subreaper", "thread", "thread_exit"),
)
STEPS: Final = st.lists(
    st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 99), st.integers(0, 99)), min_size=20, max_size=100
)
Steps = list[tuple[str, int, int]]


class Machine:
    """A world with a root in it, and a table that is told about it, or not."""

    def __init__(self, *, subreaper: bool, told: bool) -> None:
        self.world = World()
        for parent in (INIT, INIT):
            self.world.fork(parent)
        self.root = self.world.fork(2)
        self.root.subreaper = subreaper
        self.table = ProcessTable(self.world.seen(self.root.pid))
        self.table.root.set_child_subreaper(subreaper)
        self.mirror = Mirror(self.table.seen(self.table.root))
        self.told = told

    def tell(self, changes: tuple[Change, ...]) -> None:
        """Let the mirror read what the table said."""
        self.mirror.read(changes)
        check(self.table)

    def pick(self, number: int) -> int:
        """Return some pid, below the root where only that is told."""
        pids = [self.root.pid, *(proc.pid for proc in self.world.below(self.root.pid))]
        if not self.told:
            pids = [pid for pid in self.world.procs if pid != INIT]
        return pids[number % len(pids)]

    def step(self, name: str, who: int, number: int) -> None:
        """Let something happen to a process that can do it, and tell the table where it is to be told."""
        pid = self.pick(who)
        proc = self.world.procs[pid]
        if name == "reap":
            if proc.zombie:
                self.world.reap(pid)
                self.on("reaped", ProcessKey(pid, proc.start), proc.code)
        elif not proc.zombie:
            getattr(self, f"do_{name}")(pid, number)

    def on(self, event: str, *arguments: object) -> None:
        """Tell the table of one event."""
        if self.told:
            self.tell(getattr(self.table, event)(*arguments))

    def do_fork(self, pid: int, number: int) -> None:
        """Fork, observed with or without a look at the child."""
        child = self.world.fork(pid)
        self.on("forked", pid, self.world.seen(child.pid) if number % 2 else child.pid)
        self.on("observe", self.world.seen(child.pid))

    def do_setsid(self, pid: int, _number: int) -> None:
        """Make a session."""
        if self.world.setsid(pid):
            self.on("session_changed", pid, pid)

    def do_setpgid(self, pid: int, number: int) -> None:
        """Move to the group of another process, or to one of its own."""
        pgid = pid if number % 2 else self.world.procs[self.pick(number)].pgid
        if self.world.setpgid(pid, pgid):
            self.on("group_changed", pid, pgid)

    def do_subreaper(self, pid: int, number: int) -> None:
        """Become a subreaper or stop, which /proc does not show: a table that is not told guesses wrong."""
        if pid == self.root.pid:
            return
        self.world.procs[pid].subreaper = bool(number % 2)
        process = self.table.get(pid)
        if self.told and process is not None:
            process.set_child_subreaper(bool(number % 2))

    def do_exec(self, pid: int, number: int) -> None:
        """Run another program, with the leader for its only thread."""
        proc = self.world.procs[pid]
        proc.comm, proc.tids = f"program{number}", {pid}
        self.on("exec", pid, proc.comm)

    def do_thread(self, pid: int, _number: int) -> None:
        """Start a thread."""
        tid = self.world.free_number()
        self.world.procs[pid].tids.add(tid)
        self.on("thread_started", pid, tid)

    def do_thread_exit(self, pid: int, number: int) -> None:
        """End a thread that is not the last, the leader perhaps."""
        proc = self.world.procs[pid]
        if len(proc.tids) > 1:
            tid = sorted(proc.tids)[number % len(proc.tids)]
            proc.tids.remove(tid)
            self.on("thread_ended", pid, tid)

    def do_exit(self, pid: int, number: int) -> None:
        """End a process other than the root."""
        if pid not in (2, self.root.pid):
            self.world.exit(pid, number)
            self.on("exited", pid, number)

    def true_facts(self) -> dict[ProcessKey, Fact]:
        """Return what the world says of the root and everybody below."""
        root = self.world.seen(self.root.pid)._replace(ppid=0)
        seen = [root, *(self.world.seen(proc.pid) for proc in self.world.below(self.root.pid))]
        return {one.key: fact(one, self.world.procs[one.pid].tids) for one in seen}

    def table_facts(self) -> dict[ProcessKey, Fact]:
        """Return what the table says of the root and everybody below."""
        return {one.key: fact(one, one.tids) for one in map(self.table.seen, self.table)}

    def same(self) -> None:
        """Fail unless world, table and the reader of changes agree."""
        truth = self.true_facts()
        assert self.table_facts() == truth
        assert self.mirror.facts == truth


@settings(max_examples=80, deadline=None)
@given(STEPS)
def test_every_event_keeps_the_table_in_step(steps: Steps) -> None:
    """Told of each event, though not of one reparenting, the table is the real tree after each of them."""
    machine = Machine(subreaper=True, told=True)
    for name, who, number in steps:
        machine.step(name, who, number)
        machine.same()


@pytest.mark.parametrize("subreaper", [True, False])
@settings(max_examples=60, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 2**16))
def test_looks_alone_end_in_the_real_tree(subreaper: bool, steps: Steps, seed: int) -> None:  # noqa: FBT001 - a parameter
    """After any history, with partial and stale looks between, one snapshot in any order is the real tree."""
    machine, random = Machine(subreaper=subreaper, told=False), Random(seed)
    stale = machine.world.look(machine.world.procs)
    for name, who, number in steps:
        machine.step(name, who, number)
        if number % 5 == 0:
            look_somewhere(machine, random, random.choice(stale) if number % 2 else None)
        if number % 20 == 0:
            stale = machine.world.look(machine.world.procs)
    look = machine.world.look(machine.world.procs)
    random.shuffle(look)
    machine.tell(machine.table.snapshot(look))
    machine.same()
    random.shuffle(look)
    assert machine.table.snapshot(look) == ()


def look_somewhere(machine: Machine, random: Random, stale: Seen | None) -> None:
    """Let the table take a look at one process, at a subtree, or at something that was true before."""
    world, table = machine.world, machine.table
    if stale is not None:
        machine.tell(table.observe(stale))
        return
    pid = random.choice(list(world.procs))
    machine.tell(table.observe(world.seen(pid, with_tids=random.random() < 0.5)))
    process = table.get(pid)
    if process is not None and random.random() < 0.5:
        below = world.look([pid, *(proc.pid for proc in world.below(pid))])
        random.shuffle(below)
        machine.tell(table.observe_subtree(table.key(process), below))
        check_subtree(machine, pid)


def check_subtree(machine: Machine, pid: int) -> None:
    """Fail unless a look at a subtree has put everybody in it where he is."""
    process = machine.table.get(pid)
    if process is None:
        return
    known = {below.pid for below in machine.table.descendants(process)}
    assert known == {proc.pid for proc in machine.world.below(pid)}


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 2**16))
def test_single_looks_in_any_order_end_in_the_real_tree(steps: Steps, seed: int) -> None:
    """Observed one by one, again and again in any order, all living processes are in their places."""
    machine, random = Machine(subreaper=True, told=False), Random(seed)
    for name, who, number in steps:
        machine.step(name, who, number)
    look = machine.world.look(machine.world.procs)
    for _ in look:
        random.shuffle(look)
        for seen in look:
            machine.tell(machine.table.observe(seen))
    machine.same()


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 2**16))
def test_any_order_of_the_same_exits_ends_in_the_same_tree(steps: Steps, seed: int) -> None:
    """Whatever the order in which the same processes are observed to exit and be reaped, one tree is left."""
    machine = Machine(subreaper=True, told=False)
    for name, who, number in steps:
        if name in ("fork", "setsid", "setpgid"):
            machine.step(name, who, number)
    look = machine.world.look(machine.world.procs)
    ending = [proc.pid for proc in machine.world.below(machine.root.pid) if proc.pid % 2]
    left: list[dict[ProcessKey, Fact]] = []
    for turn in range(2):
        table = ProcessTable(machine.world.seen(machine.root.pid))
        table.snapshot(look)
        Random(seed + turn).shuffle(ending)
        for pid in ending:
            table.exited(pid, 0)
            check(table)
        for pid in reversed(ending):
            table.reaped(pid)
            check(table)
        below = [table.seen(process) for process in table.descendants(table.root)]
        left.append({one.key: fact(one, one.tids) for one in below})
    assert left[0] == left[1]
