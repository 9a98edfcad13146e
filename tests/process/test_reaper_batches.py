import os
import signal
import sys
from pathlib import Path
from typing import Final

import pytest

from reaperd.children import reaper as module
from reaperd.children.reaper import Reaper
from reaperd.kernel.wakeup import Wakeup
from reaperd.loop.loop import Loop
from reaperd.loop.poller import Poller
from tests.support.daemons import daemon, service
from tests.support.processes import call_in_process, fork_child, wait_zombie


class Turns:
    """What a turn is made of, where all that happens is that children are reaped."""

    def __init__(self, reaper: Reaper, pids: set[int]) -> None:
        self.left = pids
        self.batches: list[int] = []
        self._reaper = reaper

    def collect_exits(self) -> None:
        """Take what was reaped."""
        taken = {record.pid for record in self._reaper.take()}
        self.batches.append(len(taken))
        self.left -= taken

    def take_signals(self) -> None:
        """Nothing."""

    def fire_timers(self) -> None:
        """Nothing."""

    def settle(self) -> None:
        """Nothing."""

    def timeout_ns(self) -> int | None:
        """Wait for as long as it takes: only a signal can end a poll here."""
        return None

    def finished(self) -> bool:
        """Tell whether all have been reaped."""
        return not self.left

    def turn_failed(self, step: str, error: Exception, trace: str) -> None:
        """Fail the scenario."""
        raise AssertionError(f"{step}: {error}\n{trace}")

    def source_closed(self, name: str) -> None:
        """Fail the scenario."""
        raise AssertionError(name)


def _one_signal_for_many(known: bool) -> list[int]:  # noqa: FBT001 - a scenario's arguments are plain
    signal.alarm(30)  # a reaper that forgets somebody would wait for ever
    vars(module)["BATCH"] = 8  # small, so that few children are many
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    reaper = Reaper(lambda _pid: None)
    signal.signal(signal.SIGCHLD, reaper.handle)
    pids = {fork_child(lambda: None) for _ in range(20)}
    if known:
        for pid in pids:
            reaper.know(pid, os.pidfd_open(pid))
    for pid in pids:
        wait_zombie(pid)
    turns = Turns(reaper, pids)
    Loop(Poller(), Wakeup(), {signal.SIGCHLD}, turns).run()
    return turns.batches


@pytest.mark.parametrize("known", [True, False])
def test_what_a_full_batch_leaves_over_is_reaped_in_the_next_turns(known: bool) -> None:  # noqa: FBT001 - parametrized
    """Twenty deaths are one signal; the rest of them has none of its own to come, and is not forgotten."""
    assert call_in_process(_one_signal_for_many, known) == [8, 8, 4]


# A daemon of which the first two looks for dead children fail.
_BLIND: Final = """
import sys
from reaperd import daemon
from reaperd.children.reaper import Reaper
whole, failures = Reaper._reap_up_to, [1, 2]
def look(self, most):
    if failures:
        raise OSError(failures.pop())
    return whole(self, most)
Reaper._reap_up_to = look
sys.exit(daemon.main())
"""


def test_a_death_is_seen_though_the_first_looks_fail(tmp_path: Path) -> None:
    """No further signal comes to say it again: the next turns look by themselves."""
    program = (sys.executable, "-c", _BLIND)
    with daemon(tmp_path, service("web", "true", oneshot=True), program=program) as running:
        running.event("service.exited")
        # Once for both, where they came within one poll: at the start one SIGCHLD may be waiting already.
        assert len(running.events("daemon.cannot_reap")) in {1, 2}
