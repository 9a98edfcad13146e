"""The zombies that stay under services, as the latest look found them: plain data, no effects.

A zombie counts once it has stayed for the `age` of its service. Where the kernel does not tell since when it
is one, it is counted from the first look that saw it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from reaperd.config.spec import SECOND_NS, Zombies
from reaperd.supervise.service import Service

MOST_TRIES: Final = 3  # of clearing one zombie
MOST_NAMED: Final = 2048  # zombies that one helper is asked to clear

Key = tuple[int, int]  # of a zombie: pid and start time
Place = tuple[str, int]  # of its parent: the service's name, and the pid
Wanted = Callable[[int], tuple[Service, Zombies] | None]  # of a child of the daemon: whose it is, what counts


@dataclass(slots=True)
class Heap:
    """The zombies of one parent that have stayed long enough."""

    parent: str  # its name
    cause: str
    helps: str
    oldest_s: float = 0.0
    keys: list[Key] = field(default_factory=list)
    more: int = 0  # that were counted only

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.keys) + self.more


class Litter:
    """What the latest look found.

    Attributes:
        heaps: by service and parent.
        next_ns: when the next of those that are too young will be old enough; None if there are none.
    """

    def __init__(self) -> None:
        self.heaps: dict[Place, Heap] = {}
        self.next_ns: int | None = None
        self._first_seen: dict[Key, int] = {}
        self._tries: dict[Key, int] = {}

    def take(self, groups: Sequence[Mapping[str, Any]], wanted: Wanted, now_ns: int) -> None:  # Any: JSON
        """Take what a look found (zombies/tend.py) in place of what the one before it had found."""
        seen: dict[Key, int] = {}
        self.heaps, self.next_ns = {}, None
        for group in groups:
            found = wanted(group["top"])
            if found is not None:
                service, zombies = found
                self._take(group, (service.spec.name, group["ppid"]), zombies.age_ns, now_ns, seen)
        self._first_seen = seen
        self._tries = {key: tries for key, tries in self._tries.items() if key in seen}

    def _take(
        self, group: Mapping[str, Any], place: Place, age_ns: int, now_ns: int, seen: dict[Key, int]
    ) -> None:
        heap = Heap(group["parent"], group["cause"], group["helps"])
        for pid, start_time, told_s in group["zombies"]:
            key = (pid, start_time)
            seen[key] = self._first_seen.get(key, now_ns)
            since_ns = now_ns - seen[key] if told_s is None else int(told_s * SECOND_NS)
            if since_ns >= age_ns:
                heap.keys.append(key)
                heap.oldest_s = max(heap.oldest_s, since_ns / SECOND_NS)
            else:
                due_ns = now_ns + age_ns - since_ns
                self.next_ns = min(due_ns, self.next_ns or due_ns)
        if heap.keys and len(heap.keys) == len(group["zombies"]):
            heap.more = group["more"]  # no older than those listed, all of which are old enough
        if heap.keys:
            self._add(place, heap)

    def _add(self, place: Place, heap: Heap) -> None:
        known = self.heaps.setdefault(place, heap)
        if known is not heap:  # the same parent's, for another cause
            known.keys += heap.keys
            known.more += heap.more
            known.oldest_s = max(known.oldest_s, heap.oldest_s)

    def next_tries(self) -> list[tuple[int, int, int]]:
        """Return pid, start time and parent of those to be tried to be cleared, and count the try."""
        named = [
            (*key, ppid)
            for (_, ppid), heap in self.heaps.items()
            for key in heap.keys
            if self._tries.get(key, 0) < MOST_TRIES
        ][:MOST_NAMED]
        for pid, start_time, _ in named:
            self._tries[pid, start_time] = self._tries.get((pid, start_time), 0) + 1
        return named

    def cleared(self, by: Mapping[int, str | None]) -> dict[Place, str | None]:
        """Leave out who is gone, by pid; return the parents that have none left, with what helped there."""
        empty: dict[Place, str | None] = {}
        for place, heap in list(self.heaps.items()):
            methods = [by[pid] for pid, _ in heap.keys if pid in by]
            heap.keys = [key for key in heap.keys if key[0] not in by]
            if methods and not heap.count:
                empty[place] = max(filter(None, methods), default=None)
                del self.heaps[place]
        return empty

    def forget(self, service: str) -> None:
        """Leave out what is under a service."""
        for place in [place for place in self.heaps if place[0] == service]:
            del self.heaps[place]

    def count(self, service: str) -> int:
        """Return how many stay under a service."""
        return sum(heap.count for (name, _), heap in self.heaps.items() if name == service)

    def rows(self) -> list[tuple[str, str, int]]:
        """Return how many stay, by service and name of the parent."""
        counts: dict[tuple[str, str], int] = {}
        for (service, _), heap in self.heaps.items():
            counts[service, heap.parent] = counts.get((service, heap.parent), 0) + heap.count
        return [(service, parent, count) for (service, parent), count in sorted(counts.items())]
