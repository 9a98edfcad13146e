"""What the trees of runs have and use, for status and metrics alike: a look of bounded cost."""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from reaperd.children.family import alive
from reaperd.kernel import procfs
from reaperd.kernel.procfs import Stat

MOST_OF_ONE: Final = 1024  # processes of one run: a crowd costs its own tally, and nobody else's
MOST: Final = 4096  # of all runs: 50 ms


@dataclass(frozen=True, slots=True)
class Tally:
    """What a run has at this moment.

    Attributes:
        memory_bytes: resident in all its processes; what they share counts in each, as in ps(1).
        zombies: those that wait for parents of theirs; our own children, which we reap, are not among them.
        processes: those that live.
        cpu_s: the processor time of those that live.
    """

    memory_bytes: int
    zombies: int
    processes: int = 0
    cpu_s: float = 0.0


def of_trees(tops: Mapping[str, Collection[int]]) -> dict[str, Tally]:
    """Return the tally of each run, given our own children in it.

    Left out is a run of too many processes, and those for which too few were left to read.
    """
    if not procfs.has_children_files():
        return _in_one_look(tops)
    found: dict[str, Tally] = {}
    left = MOST
    for run_id, pids in tops.items():
        most = min(left, MOST_OF_ONE)
        own, below = _tree(pids, most)
        left = max(left - len(own) - len(below), 0)
        if len(own) + len(below) <= most:
            found[run_id] = _tally(own, below)
    return found


def _tree(pids: Iterable[int], most: int) -> tuple[list[Stat], list[Stat]]:
    """Return our own children and who is below them; of a crowd no more than tell that it is one."""
    own: list[Stat] = []
    below: list[Stat] = []
    for pid in pids:
        stat = procfs.read_stat(pid)
        if stat is not None:
            own.append(stat)
            below += procfs.descendants(pid, most=max(most - len(own) - len(below), 0) + 1)
        if len(own) + len(below) > most:
            break
    return own, below


def _tally(own: Collection[Stat], below: Collection[Stat]) -> Tally:
    everybody = (*own, *below)
    living = list(alive(everybody))
    return Tally(
        memory_bytes=sum(stat.rss_bytes for stat in everybody),
        zombies=sum(stat.is_zombie and not stat.is_dead_leader for stat in below),
        processes=len(living),
        cpu_s=sum(stat.cpu_s for stat in living),
    )


def _in_one_look(tops: Mapping[str, Collection[int]]) -> dict[str, Tally]:
    """Return the same where every look at a tree is one at all processes of the machine."""
    run_of = {pid: run_id for run_id, pids in tops.items() for pid in pids}
    trees: dict[str, tuple[list[Stat], list[Stat]]] = {run_id: ([], []) for run_id in tops}
    for stat in procfs.descendants(os.getpid()):  # parents before their children
        is_own = stat.pid in run_of
        run_id = run_of.get(stat.pid if is_own else stat.ppid)
        if run_id is not None:
            run_of[stat.pid] = run_id
            trees[run_id][0 if is_own else 1].append(stat)
    return {run_id: _tally(own, below) for run_id, (own, below) in trees.items()}
