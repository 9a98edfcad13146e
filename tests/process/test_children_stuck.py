"""A run that cannot be ended keeps nobody else from being served."""

import os
import signal
from pathlib import Path

from reaperd.children.sweep import Progress
from tests.support.cgroups import own_v1_cgroup, write
from tests.support.nursery import nursery
from tests.support.processes import call_in_process, need_root, wait_gone, wait_state, wait_until


def _freeze(directory: str, state: str) -> None:
    write(f"{directory}/freezer.state", state)
    path = Path(directory, "freezer.state")
    wait_until(lambda: path.read_text().strip() == state, f"{directory} to be {state}")


def _unkillable(cgroups: bool, directory: str) -> list[object]:  # noqa: FBT001 - travels as JSON
    with nursery(cgroups=cgroups) as kids:
        stuck, main = kids.start(["sleep", "1000"], name="stuck")
        write(f"{directory}/cgroup.procs", str(main))
        _freeze(directory, "FROZEN")
        wait_state(main, "D")
        try:
            turns = [kids.children.kill(stuck) for _ in range(20)]
            other, second = kids.start(["sh", "-c", "sleep 1000 & wait"], name="other")
            kids.wait_members(other, 2)
            kids.children.kill(other)
            kids.wait_empty(other, killing=True)
            held = [
                kids.children.is_empty(stuck),
                [stat.pid for stat in kids.children.members(stuck)] == [main],
            ]
        finally:
            _freeze(directory, "THAWED")
        wait_gone(main)
        wait_gone(second)
        kids.wait_empty(stuck)
        ended = next(each for each in kids.ended if each.pid == main)
        return [Progress.STUCK not in turns, *held, os.WTERMSIG(ended.status)]


def test_a_process_in_state_d_is_waited_for_without_waiting() -> None:
    """Others start and end meanwhile; SIGKILL has been sent, and ends it as soon as it can."""
    need_root()
    for cgroups in (True, False):
        with own_v1_cgroup("freezer") as directory:
            result = call_in_process(_unkillable, cgroups, directory)
        assert result == [True, False, True, signal.SIGKILL]
