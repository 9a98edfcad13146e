"""The other half of the oracle: the same operations on the model, by number, with the answers of the kernel.

Numbers become processes and groups by walking the tree, so that nothing but the model's own references keeps
anything alive. A call that the kernel answers is carried out here after it, for the sake of the pids that the
kernel chooses; everything else the model has to know by itself.

One thing the kernel leaves open. It keeps the children of each thread apart and looks for a zombie among the
caller's first; those of an ended thread go to a sibling. So the eldest comes first where one thread had all
the children, and elsewhere any zombie that matches is a right answer to wait4(2).
"""

import signal
from collections.abc import Iterable
from errno import ECHILD, EINVAL, ESRCH
from typing import Final, NamedTuple

from reaperd.model import Process, ProcessGroup, Thread, WouldSleepError
from reaperd.model.tree import descendants
from tests.support.oracle_stage import INIT, Answer

_NOT_DEADLY: Final = 0  # kill(2) with signal 0 only asks


class Step(NamedTuple):
    """One call by one thread."""

    tid: int
    name: str
    numbers: tuple[int, ...] = ()


class Fact(NamedTuple):
    """What must agree of one process."""

    ppid: int
    pgid: int
    sid: int
    is_zombie: bool
    tids: frozenset[int]  # of the living threads
    exit_code: int | None  # of a zombie, a wait status


class Twin:
    """A tree of the model, and the threads in it by number."""

    def __init__(self) -> None:
        """Begin with an init of one thread."""
        self.init = Process.new_init(INIT).build()
        self.threads: dict[int, Thread] = {}
        self._unordered: set[int] = set()  # pids whose children are not known to come eldest first
        self._start_thread(self.init, INIT)

    # Looking.

    @property
    def processes(self) -> list[Process]:
        """All processes, zombies included."""
        return [self.init, *descendants(self.init)]

    def find(self, pid: int) -> Process | None:
        """Return the process with this pid, or None."""
        return next((process for process in self.processes if process.pid == pid), None)

    def facts(self) -> dict[int, Fact]:
        """Return what must agree, by pid."""
        return {process.pid: fact_of(process) for process in self.processes}

    def ended_by(self, step: Step) -> list[int]:
        """Return the pids of the processes that will become zombies in this step."""
        actor = self.threads[step.tid].process
        if step.name == "exit" or (step.name == "thread_exit" and len(actor.threads) == 1):
            return [actor.pid]
        if step.name == "kill" and step.numbers[1] != _NOT_DEADLY:
            reached = self._reached_by(actor, step.numbers[0])
            return [process.pid for process in reached if process.is_alive and not process.is_init]
        return []

    def _reached_by(self, actor: Process, selector: int) -> list[Process]:
        """Return the processes, zombies included, that kill(2) with this number is for."""
        if selector > 0:
            # A thread's number will do for its process.
            thread = self.threads.get(selector)
            found = thread.process if thread is not None else self.find(selector)
            return [found] if found is not None else []
        if selector == -1:
            return [process for process in self.processes if process not in (self.init, actor)]
        group = actor.group if selector == 0 else self._group(-selector)
        return list(group.processes) if group is not None else []

    def _group(self, pgid: int) -> ProcessGroup | None:
        groups = (process.group for process in self.processes)
        return next((group for group in groups if group.pgid == pgid), None)

    # Carrying out.

    def carry_out(self, step: Step, real: Answer) -> Answer:
        """Carry out a call that has been answered so by the kernel, and return the model's answer."""
        actor = self.threads[step.tid].process
        answer = self._carry_out(actor, step, real)
        self._forget_order()
        return answer

    def _carry_out(self, actor: Process, step: Step, real: Answer) -> Answer:
        match step.name, step.numbers:
            case "setsid", ():
                return _setsid(actor)
            case "setpgid", (pid, pgid):
                return Answer(self._setpgid(actor, pid, pgid) or 0)
            case "subreaper", (on,):
                actor.set_child_subreaper(bool(on))
                return Answer()
            case "wait", (selector,):
                return self._wait(actor, selector, real)
            case "kill", (selector, number):
                return self._kill(actor, selector, number)
        return self._begin_or_end(actor, step, real)

    def _begin_or_end(self, actor: Process, step: Step, real: Answer) -> Answer:
        match step.name, step.numbers:
            case "fork", ():
                self._start_thread(actor.fork(real.a).build(), real.a)
                return real
            case "thread", ():
                self._start_thread(actor, real.a)
                return real
            case "exec", ():
                return self._exec(actor, step.tid)
            case "exit", (code,):
                self._end([actor], code << 8, step.tid)
                return Answer()
            case "thread_exit", (code,):
                return self._thread_exit(actor, step.tid, code << 8)
        raise AssertionError(step)

    def _start_thread(self, process: Process, tid: int) -> None:
        self.threads[tid] = process.new_thread(tid).build()

    def _exec(self, process: Process, caller: int) -> Answer:
        """End all threads but one, which becomes the leader if it was not."""
        for thread in process.threads:
            if thread.tid not in (process.pid, caller):
                self.threads.pop(thread.tid).exit(signal.SIGKILL)
        if caller != process.pid:
            if process.pid not in self.threads:
                self._start_thread(process, process.pid)
            self.threads.pop(caller).exit(0)
        process.exec()
        return Answer()

    def _setpgid(self, actor: Process, pid: int, pgid: int) -> int | None:
        """Move by number: the errno, or None."""
        if pgid < 0:
            return EINVAL
        process = self.find(pid) if pid else actor
        if process is None:
            return EINVAL if pid in self.threads else ESRCH
        if pgid in (0, process.pid):
            was_leader, errno = process.is_leader, process.why_not_group(actor)
            made = process.create_group(actor)
            assert (made is not None) == (errno is None and not was_leader), "refused without an errno"
            return errno
        group = self._group(pgid) or ProcessGroup(pgid, actor.group.session)  # a number without members
        errno = process.why_not_move(group, actor)
        assert process.move_to_group(group, actor) == (errno is None), "refused without an errno"
        return errno

    def _wait(self, actor: Process, selector: int, real: Answer) -> Answer:
        child = actor.child(real.a) if real.a else None
        is_open = actor.pid in self._unordered and child is not None and child.is_zombie
        if is_open and child is not None and _matches(actor, child, selector):
            selector = child.pid
        try:
            waited = actor.wait(selector, nohang=True)
        except ChildProcessError:
            return Answer(ECHILD)
        except ProcessLookupError:
            return Answer(ESRCH)
        if waited is None:
            _must_sleep(actor, selector)
            return Answer()
        return Answer(0, *waited)

    def _kill(self, actor: Process, selector: int, number: int) -> Answer:
        reached = self._reached_by(actor, selector)
        if number != _NOT_DEADLY:
            self._end([one for one in reached if one.is_alive and not one.is_init], number)
        return Answer() if reached else Answer(ESRCH)

    def _thread_exit(self, process: Process, tid: int, status: int) -> Answer:
        if len(process.threads) == 1:
            self._end([process], status, tid)
        else:
            assert not self.threads.pop(tid).exit(status), "not the last thread, and said to be"
        return Answer()

    def _end(self, ending: list[Process], status: int, caller: int = 0) -> None:
        """End processes at once, each with all its threads; the first of these has the status."""
        for process in ending:
            threads = sorted(process.threads, key=lambda thread: thread.tid != caller)
            for thread in threads:
                del self.threads[thread.tid]
                thread.exit(status)
                process.group_exit()
            is_mixed = process.pid in self._unordered or len(threads) > 1 or len(ending) > 1
            if process.children and is_mixed:
                self._unordered.add(process.reaper().pid)
            process.exit()

    def _forget_order(self) -> None:
        """Know whose children have no known order: a second thread makes it so, until one child is left."""
        for process in self.processes:
            if len(process.threads) > 1:
                self._unordered.add(process.pid)
            elif len(process.children) < 2:
                self._unordered.discard(process.pid)
        self._unordered.intersection_update(process.pid for process in self.processes)


def fact_of(process: Process) -> Fact:
    """Return what must agree of one process of the model."""
    parent = process.parent
    return Fact(
        parent.pid if parent is not None else 0,
        process.group.pgid,
        process.group.session.sid,
        process.is_zombie,
        frozenset(thread.tid for thread in process.threads),
        process.exit_code if process.is_zombie else None,
    )


def numbers_of(processes: Iterable[Process]) -> set[int]:
    """Return every number that names a process, a group or a session among these."""
    return {n for one in processes for n in (one.pid, one.group.pgid, one.group.session.sid)}


def _setsid(actor: Process) -> Answer:
    errno = actor.why_not_session()
    made = actor.create_session()
    assert (made is None) == (errno is not None), "refused without an errno"
    return Answer(errno or 0) if made is None else Answer(0, made[0].sid, made[1].pgid)


def _must_sleep(actor: Process, selector: int) -> None:
    """Fail unless a call that may sleep would."""
    try:
        waited = actor.wait(selector)
    except WouldSleepError:
        return
    raise AssertionError(f"{waited} without sleeping, and nothing with WNOHANG")


def _matches(actor: Process, child: Process, selector: int) -> bool:
    pgid = -selector if selector else actor.group.pgid
    return selector in (-1, child.pid) or (selector <= 0 and child.group.pgid == pgid)
