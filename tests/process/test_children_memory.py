"""Who was killed for want of memory is told from who was killed by hand."""

import os
import signal
from pathlib import Path
from typing import Final

import pytest

from reaperd.children.leaves import find_place
from reaperd.errors import ReaperdError
from tests.support.cgroups import own_v1_cgroup, write
from tests.support.nursery import Nursery, nursery
from tests.support.processes import call_in_process, need_root, system_python, wait_gone

MIB: Final = 1 << 20
HOG: Final = "import signal\nx = bytearray(400 << 20)\nsignal.pause()"


def _end(kids: Nursery, run_id: str, main: int) -> list[object]:
    wait_gone(main, 60)
    kids.wait_empty(run_id)
    ended = next(each for each in kids.ended if each.pid == main)
    return [os.WTERMSIG(ended.status), ended.out_of_memory]


def _in_short_memory(directory: str, python: str) -> list[object]:
    write(f"{directory}/cgroup.procs", str(os.getpid()))
    write(f"{directory}/memory.limit_in_bytes", str(100 * MIB))
    with nursery(cgroups=False) as kids:
        by_kernel = _end(kids, *kids.start([python, "-c", HOG], oom_score_adj=1000))
        run_id, main = kids.start(["sleep", "1000"])
        os.kill(main, signal.SIGKILL)
        by_hand = _end(kids, run_id, main)
    return [by_kernel, by_hand]


def test_the_daemons_own_count_tells_who_was_short_of_memory() -> None:
    """A program that takes too much is killed for it; one that is killed by hand later is not."""
    need_root()
    with own_v1_cgroup("memory") as directory:
        if (Path(directory) / "memory.memsw.limit_in_bytes").exists():
            write(f"{directory}/memory.limit_in_bytes", str(100 * MIB))
            write(f"{directory}/memory.memsw.limit_in_bytes", str(100 * MIB))
        result = call_in_process(_in_short_memory, directory, system_python())
    assert result == [[signal.SIGKILL, True], [signal.SIGKILL, False]]


def _in_short_leaf(python: str) -> list[object]:
    with nursery(cgroups=True) as kids:
        shell = 'read go; "$0" -c "$1"; exit 3'
        read, write_end = os.pipe()
        run_id, main = kids.start(["sh", "-c", f"{shell} <&9", python, HOG], descriptors=((read, 9),))
        (leaf,) = (each.path for each in os.scandir(str(kids.children.cgroup)) if each.is_dir())
        if not Path(leaf, "memory.max").exists():
            return []
        write(f"{leaf}/memory.max", str(100 * MIB))
        os.write(write_end, b"go\n")
        wait_gone(main, 60)
        kids.wait_empty(run_id)
        ended = next(each for each in kids.ended if each.pid == main)
        return [os.waitstatus_to_exitcode(ended.status), ended.out_of_memory]


def test_the_count_of_the_leaf_tells_of_every_process_of_the_run() -> None:
    """A worker is killed for memory, and the main process leaves with 3 because of it."""
    try:
        own = find_place()
    except ReaperdError as error:
        pytest.skip(error.message)
    if "memory" not in Path(own, "cgroup.subtree_control").read_text().split():
        pytest.skip(f"{own} gives no memory controller to those below it")
    assert call_in_process(_in_short_leaf, system_python()) == [3, True]
