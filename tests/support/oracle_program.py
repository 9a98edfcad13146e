"""Random programs of system calls, carried out by real processes and by the model, compared after each call.

A program is not written down beforehand: each step is drawn from what there is, so that most calls mean
something, and some name what has gone, what never was, or what belongs to somebody else. The seed alone makes
it, as long as nothing but the puppets takes pids in the namespace.
"""

import gc
import signal
from collections import Counter, deque
from collections.abc import Callable
from errno import errorcode
from random import Random
from typing import Final

from reaperd.model import Process, ProcessTable, Seen
from reaperd.model.invariants import check
from tests.support.mirror import Mirror, fact
from tests.support.oracle_stage import INIT, Answer, Stage, ending, ending_thread, let_pids_be_reused, look
from tests.support.oracle_twin import Fact, Step, Twin, numbers_of

_MANY: Final = 16  # processes, zombies included: from here on more end than begin
_LOG_STEPS: Final = 30


class DisagreementError(AssertionError):
    """The kernel and the model have come apart."""


EVERY_OUTCOME: Final = {
    *("fork done", "exec done", "thread done", "thread_exit done", "exit done", "kill done", "kill ESRCH"),
    *("setsid done", "setsid EPERM", "subreaper done", "wait done", "wait ECHILD", "wait ESRCH"),
    *("setpgid done", "setpgid EPERM", "setpgid EACCES", "setpgid ESRCH", "setpgid EINVAL"),
}


def run_program(seed: str, steps: int, most_steps: int) -> dict[str, int]:
    """Run a program as PID 1 of a namespace; return how often each call ended in which way.

    It goes on after `steps` until each outcome has come, but not beyond `most_steps`.

    Raises:
        AssertionError: kernel, model and table are not the same; with the last steps.
    """
    gc.disable()  # not in the forks of this process either: there it would copy every page
    program = Program(seed)
    try:
        while program.count < steps or (program.count < most_steps and not program.has_met_all):
            program.step()
    except AssertionError as error:
        log = "\n".join(program.log)
        raise AssertionError(f"seed {seed}, step {program.count}: {error}\nthe last steps:\n{log}") from error
    return dict(program.outcomes)


class Program:
    """The stage and its twin, and a table that looks at the stage."""

    def __init__(self, seed: str) -> None:
        """Begin with the init alone."""
        self.random = Random(seed)
        self.stage = Stage()
        self.twin = Twin()
        (root,) = look()
        self.table = ProcessTable(root)
        self.mirror = Mirror(root)
        self.count = 0
        self.log: deque[str] = deque(maxlen=_LOG_STEPS)
        self.outcomes: Counter[str] = Counter()
        self.gone = [2]  # numbers that named something once

    @property
    def has_met_all(self) -> bool:
        """Whether each call has come to each of its ends."""
        return set(self.outcomes) >= EVERY_OUTCOME

    def step(self) -> None:
        """Draw a call, carry it out twice, and compare."""
        self.count += 1
        if self.random.random() < 0.02:
            let_pids_be_reused()
        step = self.draw()
        self.log.append(f"{step.tid}: {step.name} {step.numbers}")
        real = self.carry_out(step)
        self.log[-1] += f" = {real}"
        self.outcomes[f"{step.name} {errorcode.get(real.errno, 'done')}"] += 1
        mine = self.twin.carry_out(step, real)
        if mine != real:
            raise DisagreementError(f"{step}: the kernel answers {real}, the model {mine}")
        self.compare()

    def carry_out(self, step: Step) -> Answer:
        """Let the kernel have it, and wait until it has had its effect."""
        actor = self.twin.threads[step.tid].process
        ended = self.twin.ended_by(step)
        self.gone = [*self.gone, *ended, step.tid][-20:]
        with ending(ended):
            if actor.pid in ended:
                self.stage.tell(step.tid, step.name, *step.numbers)
                return Answer()
            if step.name == "thread_exit":
                with ending_thread(actor.pid, step.tid):
                    self.stage.tell(step.tid, step.name, *step.numbers)
                return Answer()
            return self.stage.call(step.tid, step.name, *step.numbers)

    # Comparing.

    def compare(self) -> None:
        """Fail unless /proc, the model and the table show the same."""
        seen = look()
        real = {one.pid: fact_of(one) for one in seen}
        _same("/proc", real, "the model", self.twin.facts())
        check(self.twin.init)
        if self.random.random() < 0.3:
            self._compare_table(seen, real)

    def _compare_table(self, seen: list[Seen], real: dict[int, Fact]) -> None:
        """Fail unless table and mirror show the same after a look in any order, the first for some steps."""
        self.random.shuffle(seen)
        for one in self.random.sample(seen, self.random.randrange(2)):
            self.mirror.read(self.table.observe(one))
        self.mirror.read(self.table.snapshot(seen))
        tracked = [self.table.seen(process) for process in self.table]
        _same("/proc", real, "the table", {one.pid: fact_of(one) for one in tracked})
        check(self.table)
        assert self.mirror.facts == {one.key: fact(one, one.tids) for one in tracked}, "not what was told"
        if again := self.table.snapshot(seen):
            raise DisagreementError(f"the same look again changes the table: {again}")

    # Drawing.

    def draw(self) -> Step:
        """Return a call that some living thread makes next."""
        crowd = len(self.twin.processes)
        weights: dict[Callable[[], Step], float] = {
            self._fork: 8 if crowd < _MANY else 1,
            self._exit: 2 if crowd < _MANY else 6,
            self._thread_exit: 4,
            self._kill: 2,
            self._wait: 10,
            self._setpgid: 10,
            self._setsid: 3,
            self._subreaper: 3,
            self._thread: 3,
            self._exec: 2,
        }
        (kind,) = self.random.choices(list(weights), list(weights.values()))
        return kind()

    def _actor(self, *, may_be_init: bool = True) -> int:
        """Return some thread; half of the time the youngest or one with children, so that trees grow deep."""
        tids = [tid for tid in sorted(self.twin.threads) if may_be_init or tid != INIT] or [INIT]
        parents = [tid for tid in tids if self.twin.threads[tid].process.children]
        return self.random.choice(self.random.choice([tids, tids, parents or tids, [self._youngest(tids)]]))

    def _youngest(self, tids: list[int]) -> int:
        return max(tids, key=list(self.twin.threads).index)

    def _actor_with_child(self) -> int:
        """Return a thread of a process that has a child, if there is one: best a child that has execed."""
        children = [one for one in self.twin.processes if one.parent is not None]
        parents = {one.parent.pid for one in children if one.parent is not None}
        execed = {one.parent.pid for one in children if one.parent is not None and one.has_execed}
        tids = [
            tid
            for tid in sorted(self.twin.threads)
            if self.twin.threads[tid].process.pid in (execed or parents)
        ]
        return self.random.choice(tids or [INIT])

    def _simple(self, name: str, *numbers: int, may_be_init: bool = True) -> Step:
        """Return this call, or where only the init could make it that must not, a fork."""
        tid = self._actor(may_be_init=may_be_init)
        return Step(tid, name, numbers) if may_be_init or tid != INIT else Step(INIT, "fork")

    def _fork(self) -> Step:
        return self._simple("fork")

    def _exec(self) -> Step:
        return self._simple("exec", may_be_init=False)

    def _thread(self) -> Step:
        return self._simple("thread", may_be_init=False)

    def _exit(self) -> Step:
        return self._simple("exit", self.random.randrange(256), may_be_init=False)

    def _thread_exit(self) -> Step:
        return self._simple("thread_exit", self.random.randrange(256), may_be_init=False)

    def _setsid(self) -> Step:
        """Let a process make a session, if there is one that has left its group while others stayed."""
        pgids = {one.group.pgid for one in self.twin.processes}
        left = [one for one in self.twin.processes if one.pid in pgids and not one.is_leader]
        tids = sorted(thread.tid for one in left for thread in one.threads)
        return Step(self.random.choice(tids), "setsid") if tids else self._simple("setsid")

    def _subreaper(self) -> Step:
        return self._simple("subreaper", self.random.choice([1, 1, 0]))

    def _setpgid(self) -> Step:
        tid = self._actor_with_child() if self.random.random() < 0.5 else self._actor()
        actor = self.twin.threads[tid].process
        if self.random.random() < 0.2 and (leaving := self._leader_leaving()) is not None:
            return leaving
        pid = self.random.choice([0, 0, actor.pid, *self._children(actor) * 2, self._number()])
        near = [one.group.pgid for one in self.twin.processes if one.group.session is actor.group.session]
        pgid = self.random.choice([0, pid, actor.group.pgid, *near, self._number(), self._number(), -1])
        return Step(tid, "setpgid", (pid, pgid))

    def _leader_leaving(self) -> Step | None:
        """Return a call by which a leader would leave others behind in its group, if there is one."""
        leaders = [one for one in self.twin.processes if one.is_leader and not one.is_session_leader]
        able = [one for one in leaders if one.threads and len(one.group.processes) > 1]
        if not able:
            return None
        leader = self.random.choice(able)
        others = [one.pgid for one in leader.group.session.process_groups if one.pgid != leader.pid]
        return Step(leader.threads[0].tid, "setpgid", (0, self.random.choice(others))) if others else None

    def _wait(self) -> Step:
        parents = {one.parent.pid for one in self.twin.processes if one.parent is not None and one.is_zombie}
        tids = [tid for tid in sorted(self.twin.threads) if self.twin.threads[tid].process.pid in parents]
        tid = self.random.choice(tids) if tids and self.random.random() < 0.8 else self._actor()
        children = self._children(self.twin.threads[tid].process)
        selectors = (-1, -1, 0, -self._number(), self._number(), self.random.choice([-(2**31), *children]))
        return Step(tid, "wait", (self.random.choice(selectors),))

    def _kill(self) -> Step:
        number = self.random.choice([0, int(signal.SIGTERM), int(signal.SIGKILL)])
        selector = self.random.choice([self._number()] * 4 + [-self._number()] * 2 + [0])
        if self.random.random() < 0.03:
            selector = -1
        return self._simple("kill", selector, number)

    def _children(self, process: Process) -> list[int]:
        return [child.pid for child in process.children]

    def _number(self) -> int:
        """Return a number above 1 that names something, or did, or never will."""
        live = sorted({*numbers_of(self.twin.processes), *self.twin.threads} - {INIT})
        return self.random.choice([*live, *live, *live, INIT + 1, self.random.choice(self.gone), 4_000_000])


def fact_of(seen: Seen) -> Fact:
    """Return what must agree of one process that was looked at, or that the table shows so."""
    is_alive = not seen.is_zombie
    tids = frozenset(seen.tids) - ({seen.pid} if seen.is_dead_leader else set()) if is_alive else frozenset()
    return Fact(
        seen.ppid, seen.pgid, seen.sid, seen.is_zombie, tids, seen.exit_code if seen.is_zombie else None
    )


def _same(one: str, facts: dict[int, Fact], other: str, others: dict[int, Fact]) -> None:
    if facts == others:
        return
    lines = [
        f"{pid}: {one} {facts.get(pid)}, {other} {others.get(pid)}"
        for pid in sorted(facts.keys() | others.keys())
        if facts.get(pid) != others.get(pid)
    ]
    raise DisagreementError("\n".join(["not the same:", *lines]))
