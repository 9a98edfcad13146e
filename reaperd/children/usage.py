"""How much memory the trees of runs have: a cost that grows with the number of runs, not of processes."""

import os
from collections.abc import Collection, Mapping
from typing import Final

from reaperd.kernel import procfs

MOST: Final = 1024  # processes of one run that are added up; beyond that it has no sum


def memory(tops: Mapping[str, Collection[int]]) -> dict[str, int]:
    """Return the resident bytes of each run's tree, given our own children in it.

    Pages that processes share count in each of them, as in ps(1). A run of more than `MOST` processes is left
    out, and so is one of which nothing is left.
    """
    if not procfs.has_children_files():
        return _in_one_look(tops)
    found = {run_id: _of_tree(pids) for run_id, pids in tops.items()}
    return {run_id: size for run_id, size in found.items() if size}


def _of_tree(pids: Collection[int]) -> int | None:
    count = total = 0
    for pid in pids:
        below = procfs.descendants(pid, MOST - count)
        count += 1 + len(below)
        if count > MOST:
            return None
        total += (procfs.memory(pid) or 0) + sum(stat.rss_bytes for stat in below)
    return total


def _in_one_look(tops: Mapping[str, Collection[int]]) -> dict[str, int]:
    """Return the same where every look at a tree is one at all processes of the machine."""
    run_of = {pid: run_id for run_id, pids in tops.items() for pid in pids}
    sizes: dict[str, int] = {}
    for stat in procfs.descendants(os.getpid()):  # parents before their children
        run_id = run_of.get(stat.pid) or run_of.get(stat.ppid)
        if run_id is not None:
            run_of[stat.pid] = run_id
            sizes[run_id] = sizes.get(run_id, 0) + stat.rss_bytes
    return sizes
