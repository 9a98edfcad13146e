"""How many children were reaped and how many orphans came to us, since the daemon began."""

from collections import Counter


class Tally:
    """Count children.

    Attributes:
        reaped: how many were reaped, by what they were: "main", "helper" or "orphan".
        adopted: how many came to us as orphans, each once.
    """

    def __init__(self) -> None:
        self.reaped: Counter[str] = Counter()
        self.adopted = 0
        self._living: set[int] = set()  # orphans that were counted when they came

    def count(self, was: str) -> None:
        """Count one that was reaped."""
        self.reaped[was] += 1

    def came(self, pid: int) -> None:
        """Count an orphan that lives; not again where it is only now known whose it is."""
        self.adopted += pid not in self._living
        self._living.add(pid)

    def main_ended(self, pid: int) -> None:
        """Count the end of a main process, which may be an orphan that was named as such."""
        self.count("main")
        self._living.discard(pid)

    def orphan_ended(self, pid: int) -> None:
        """Count an orphan that was reaped; one that had ended when it came was not counted before."""
        self.count("orphan")
        if pid in self._living:
            self._living.remove(pid)
        else:
            self.adopted += 1
