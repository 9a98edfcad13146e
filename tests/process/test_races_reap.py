"""Races between deaths and the SIGCHLD handler, each settled by a rule.

One signal may mean many deaths, so the handler goes on until nothing is left, and never sleeps. A signal may
interrupt the handler itself, so a flag keeps it from nesting. And it may arrive when the handler has looked
for the last time, so whoever is turned away at the flag leaves word to look once more.
"""

import os
import select
import signal
from typing import Final

from reaperd.kernel import procfs, signals, wait
from reaperd.kernel.wakeup import Wakeup
from tests.support.processes import call_in_process, fork_child, wait_gone, wait_until

DEATHS: Final = 1500


class _Guarded:
    """The handler by the rule."""

    def __init__(self) -> None:
        self.reaped: list[int] = []
        self.calls = 0
        self.depth = 0
        self.deepest = 0
        self.vanished = 0
        self._again = False
        self._busy = False

    def handle(self, _number: int, _frame: object) -> None:
        self.calls += 1
        self._again = True
        while self._again and not self._busy:
            self._busy = True
            self._again = False
            self._reap_all()
            self._busy = False

    def _reap_all(self) -> None:
        self.depth += 1
        self.deepest = max(self.depth, self.deepest)
        while (pid := wait.peek_any()) is not None:
            if procfs.read_stat_bytes(pid) is None or wait.reap(pid) is None:
                self.vanished += 1
            else:
                self.reaped.append(pid)
        self.depth -= 1


def _storm() -> list[int]:
    """Let children die as fast as they can with SIGCHLD always open; return what the rules promise."""
    guarded = _Guarded()
    signal.signal(signal.SIGCHLD, guarded.handle)
    wakeup = Wakeup()
    poll = select.poll()
    poll.register(wakeup.fd, select.POLLIN)
    forked = 0
    while forked < DEATHS:
        for _ in range(50):
            fork_child(lambda: None)
        forked += 50
    while len(guarded.reaped) < forked and poll.poll(20_000):
        wakeup.drain()
    answers = [forked - len(guarded.reaped), guarded.deepest, guarded.vanished]
    wakeup.close()
    return answers


def test_no_death_is_lost_and_no_handler_interrupts_itself() -> None:
    """Under a storm every child is collected by signals alone, one handler deep, and never twice."""
    lost, deepest, vanished = call_in_process(_storm, is_storm=True)
    assert (lost, deepest, vanished) == (0, 1, 0)


def _late_death() -> list[bool]:
    """Let a child die, and its signal arrive, when the handler has just looked for the last time."""
    guarded = _Guarded()
    reap_all = guarded._reap_all
    late: list[int] = []

    def reap_and_let_another_die() -> None:
        reap_all()
        if not late:
            late.append(fork_child(lambda: None))
            wait_until(lambda: guarded.calls == 2, "the signal that the flag turns away")

    guarded._reap_all = reap_and_let_another_die  # type: ignore[method-assign]  # luck cannot hit the moment
    signal.signal(signal.SIGCHLD, guarded.handle)
    first = fork_child(lambda: None)
    wait_until(lambda: bool(late) and not guarded._busy, "the handler's end")
    answer = [guarded.reaped == [first, *late], guarded.deepest == 1]
    signals.block_all()
    wait.reap(late[0])  # only where the rule is broken
    return answer


def test_a_death_in_the_handlers_last_moment_is_not_lost() -> None:
    """The signal that was turned away at the flag makes the handler look once more."""
    assert call_in_process(_late_death) == [True, True]


def _many_deaths_one_signal() -> list[int]:
    guarded = _Guarded()
    signal.signal(signal.SIGCHLD, guarded.handle)
    mask = signals.block_all()
    for pid in [fork_child(lambda: None) for _ in range(50)]:
        wait_gone(pid)
    signals.restore(mask)
    return [guarded.calls, len(guarded.reaped)]


def test_one_signal_may_mean_fifty_deaths() -> None:
    """Standard signals do not queue: one call of the handler collects them all."""
    assert call_in_process(_many_deaths_one_signal, is_storm=True) == [1, 50]


def _lines_of_the_dead() -> int:
    """Look before reaping: count deaths of which /proc told nothing, or something of another process."""
    wrong = 0
    for _ in range(200):
        child = fork_child(lambda: None)
        wait_gone(child)
        seen = wait.peek_any()
        stat = procfs.read_stat(child)
        wrong += seen != child or stat is None or not stat.is_zombie or stat.ppid != os.getpid()
        wrong += wait.reap(child) is None
    return wrong


def test_a_zombie_that_was_looked_at_still_has_its_line() -> None:
    """Between looking and reaping nobody else can have its pid."""
    assert call_in_process(_lines_of_the_dead, is_storm=True) == 0


def _group_of_a_dead_leader() -> list[int]:
    """Signal a group whose leader is a zombie, then reap the leader."""
    told, tell = os.pipe()

    def leader() -> None:
        os.setpgid(0, 0)
        fork_child(member)

    def member() -> None:
        signal.signal(signal.SIGTERM, lambda *_: os.write(tell, b"TERM") and os._exit(0))
        os.write(tell, b"here")
        while True:
            signal.pause()

    pid = fork_child(leader)
    ready = os.read(told, 4)
    wait_gone(pid)
    seen = wait.peek_any()
    os.killpg(pid, signal.SIGTERM)
    answer = os.read(told, 4)
    wait.reap(pid)
    return [ready == b"here", seen == pid, answer == b"TERM"]


def test_a_group_is_signalled_while_its_leader_is_unreaped() -> None:
    """The zombie keeps the number of its group from being given to another."""
    assert call_in_process(_group_of_a_dead_leader) == [1, 1, 1]
