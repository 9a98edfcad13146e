"""Find cycles in who waits for whom."""

from collections.abc import Collection, Mapping


def find_cycles(waits_for: Mapping[str, Collection[str]]) -> list[tuple[str, ...]]:
    """Return cycles such that taking a link out of each leaves none; none where there is no cycle.

    Each is given as the names along it, the first one again at its end. Without recursion: a chain of
    services may be longer than Python's stack.
    """
    cycles = []
    done: set[str] = set()
    for start in waits_for:
        path: list[str] = []
        on_path: set[str] = set()
        pending = [(start, False)]
        while pending:
            name, is_left = pending.pop()
            if is_left:
                done.add(name)
                on_path.remove(path.pop())
            elif name in on_path:
                cycles.append((*path[path.index(name) :], name))
            elif name not in done:
                path.append(name)
                on_path.add(name)
                pending.append((name, True))
                pending.extend((other, False) for other in reversed(list(waits_for.get(name, ()))))
    return cycles
