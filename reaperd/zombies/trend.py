"""Tell a leak from a stock that only stays: what several looks come to, parent by parent. Pure."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from reaperd.zombies.report import decodable, parent_words
from reaperd.zombies.scan import Zombie

_WINDOW_S: Final = 300.0  # new ones are counted over so long


@dataclass(frozen=True, slots=True)
class Trend:
    """What is known of one parent's zombies.

    Attributes:
        parent: pid and command line.
        count: how many there are now.
        per_minute: how many new ones come; None after the first look.
        word: "leak" where they become more, "constant" where none comes, "changing" where they come and go.
    """

    parent: str
    count: int
    per_minute: float | None
    word: str | None


class _Parent:
    __slots__ = ("arrivals", "first_count", "known", "since", "words")

    def __init__(self, since: float) -> None:
        self.since = since
        self.first_count = 0
        self.known: set[tuple[int, int]] = set()
        self.arrivals: deque[float] = deque()
        self.words = ""


class Trends:
    """What has been seen so far."""

    def __init__(self) -> None:
        self._parents: dict[tuple[int, int], _Parent] = {}
        self._began: float | None = None

    def look(self, zombies: Iterable[Zombie], now: float) -> list[Trend]:
        """Take in what a look at `now` (any clock, seconds) has found, and return the trends, worst first.

        Zombies in transit do not count: a parent that waits has new ones all the time.
        """
        is_first = self._began is None
        self._began = now if self._began is None else self._began
        present: dict[tuple[int, int], list[Zombie]] = {}
        for zombie in zombies:
            if zombie.cause.is_leak:
                start = zombie.parent.start_time if zombie.parent is not None else 0
                present.setdefault((zombie.ppid, start), []).append(zombie)
        for key in [key for key in self._parents if key not in present]:
            if not self._parents[key].arrivals:
                del self._parents[key]
        trends = [self._trend(key, found, now, is_first=is_first) for key, found in present.items()]
        return sorted(trends, key=lambda trend: (-(trend.per_minute or 0.0), -trend.count, trend.parent))

    def _trend(self, key: tuple[int, int], zombies: list[Zombie], now: float, *, is_first: bool) -> Trend:
        assert self._began is not None, "set by look"
        parent = self._parents.setdefault(key, _Parent(self._began))
        parent.words = decodable(parent_words(zombies[0]))
        keys = {(zombie.pid, zombie.start_time) for zombie in zombies}
        if is_first:
            parent.first_count = len(keys)
        else:
            parent.arrivals.extend([now] * len(keys - parent.known))
        parent.known = keys
        while parent.arrivals and parent.arrivals[0] <= now - _WINDOW_S:
            parent.arrivals.popleft()
        if is_first:
            return Trend(parent.words, len(keys), None, None)
        span_s = max(min(now - parent.since, _WINDOW_S), 1e-9)
        word = "constant" if not parent.arrivals else "leak" if len(keys) > parent.first_count else "changing"
        return Trend(parent.words, len(keys), len(parent.arrivals) * 60 / span_s, word)
