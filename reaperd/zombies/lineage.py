"""Zombies below their parents, and these below theirs, as lines of a tree."""

from collections.abc import Iterable

from reaperd.kernel import procfs
from reaperd.zombies.report import decodable, ending
from reaperd.zombies.scan import Zombie


def lines_of(zombies: Iterable[Zombie]) -> list[str]:
    """Return one line for each zombie and each of its ancestors, children below their parents."""
    words: dict[int, str] = {}
    children: dict[int, set[int]] = {}
    for zombie in zombies:
        told = f"[{decodable(zombie.name)}] {ending(zombie)}, {zombie.cause.name}"
        words[zombie.pid] = told
        child, parent = zombie.pid, zombie.ppid
        while child not in children.get(parent, ()):
            children.setdefault(parent, set()).add(child)
            stat = procfs.read_stat(parent) if parent else None
            if stat is None:
                break
            words.setdefault(parent, decodable(stat.comm))
            child, parent = parent, stat.ppid
    roots = sorted(set(children) - {child for found in children.values() for child in found})
    return [line for root in roots for line in _below(root, words, children, 0)]


def _below(pid: int, words: dict[int, str], children: dict[int, set[int]], depth: int) -> list[str]:
    # pid 0 stands for whoever is above what can be seen
    line = [] if pid == 0 else [f"{'  ' * depth}{pid} {words.get(pid, '(gone)')}"]
    deeper = depth + 1 if pid else depth
    return line + [
        told for child in sorted(children.get(pid, ())) for told in _below(child, words, children, deeper)
    ]
