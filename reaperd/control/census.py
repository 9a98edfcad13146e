"""Who is connected, who may still come, and whom we refused: counted, and told in bounded words.

`MOST` may be there at once. Of these the last `RESERVED` are for those with every right, so that others
cannot keep them out, and no single one of the others (a user; over TCP an address) has more than
`MOST_OF_ONE`.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from reaperd.control.words import Caller, Remote, name_of

MOST: Final = 128
RESERVED: Final = 16
MOST_OF_ONE: Final = 32
TOLD_NS: Final = 10_000_000_000  # at most one word about refusals in that time, with their number


class Census:
    """Count clients.

    Attributes:
        refusals: how many requests and clients were refused, by the code of the refusal.
        slow: how many were parted with because they took nothing of what was there for them.
        tell: what takes the words about them: the log.
    """

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.refusals: Counter[str] = Counter()
        self.slow = 0
        self.tell: Callable[..., None] = _to_nobody
        self._clock = clock
        self._of: Counter[str] = Counter()
        self._untold = 0
        self._told_ns: int | None = None

    @property
    def present(self) -> int:
        """How many are there."""
        return self._of.total()

    @property
    def is_full(self) -> bool:
        """Whether nobody at all can come in."""
        return self.present >= MOST

    @property
    def is_pressed(self) -> bool:
        """Whether those who take their time keep others out."""
        return self.present >= MOST - RESERVED

    def admits(self, caller: Caller, *, is_admin: bool) -> bool:
        """Tell whether one more may come in."""
        if is_admin:
            return not self.is_full
        return not self.is_pressed and self._of[_kind(caller)] < MOST_OF_ONE

    def came(self, caller: Caller) -> None:
        """Count one who came in."""
        self._of[_kind(caller)] += 1

    def left(self, caller: Caller) -> None:
        """Count one who left."""
        kind = _kind(caller)
        self._of[kind] -= 1
        if not self._of[kind]:
            del self._of[kind]

    def refused(self, caller: Caller, code: str) -> None:
        """Count a refusal, and say so now and then: whoever is refused may come again at once."""
        self.refusals[code] += 1
        self._untold += 1
        now_ns = self._clock()
        if self._told_ns is None or now_ns - self._told_ns >= TOLD_NS:
            self.tell("control.refused", client=name_of(caller), reason=code, count=self._untold)
            self._told_ns, self._untold = now_ns, 0

    def dropped(self, caller: Caller, unsent_bytes: int) -> None:
        """Count one who took nothing for too long."""
        self.slow += 1
        self.tell("control.dropped", client=name_of(caller), unsent=unsent_bytes)


def _to_nobody(name: str, /, **keys: object) -> None:
    del name, keys


def _kind(caller: Caller) -> str:
    """Return what clients are counted by: the user, or the address without its port."""
    return caller.address.rpartition(":")[0] if isinstance(caller, Remote) else str(caller.uid)
