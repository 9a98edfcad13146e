"""What the process connector tells, a batch at a time, and what becomes of it where it loses messages.

A loss is told once, and covers everything up to the moment when the queue was empty: until then more may be
lost without another word. So after a loss all is thrown away, unread, until nothing is left. What comes from
that moment on is followed as usual, beside a look at everything that was there before.
"""

import time
from typing import Final

from reaperd.errors import KernelError
from reaperd.kernel.procconn import Connector, Event

_MOST_DRAINED: Final = 64  # batches thrown away in one turn


def connect(*, wanted: bool) -> tuple[Connector | None, str | None]:
    """Return the process connector, or why there is none."""
    if not wanted:
        return None, "it is switched off"
    try:
        return Connector(), None
    except KernelError as error:
        return None, error.message


class Hearing:
    """A connector, and how well it could be followed.

    Attributes:
        connector: what is listened to, None where there is nothing to hear.
        why_not: why there is nothing, for people.
        has_more: whether messages were left over when `read` last had done its share.
        is_draining: whether messages were lost, and there are still some that came before nothing was left.
        messages: heard so far.
        losses: how many times messages were lost.
        lag_ns: how old the first message of the latest batch was when that had been followed; None before.
    """

    __slots__ = ("connector", "has_more", "is_draining", "lag_ns", "losses", "messages", "why_not")

    def __init__(self, connector: Connector | None, why_not: str | None) -> None:
        self.connector = connector
        self.why_not = why_not
        self.has_more = False
        self.is_draining = False
        self.messages = self.losses = 0
        self.lag_ns: int | None = None

    def read(self) -> list[Event] | None:
        """Return what waits, as much as a read brings; None where it is lost: then a look is due.

        Raises:
            KernelError: the connector is broken.
        """
        if self.connector is None:
            return []
        heard = self.connector.read()
        self.has_more = heard.has_more
        if heard.is_lossy:
            self.losses += 1
            self.is_draining = True
        if self.is_draining:
            self._drain(self.connector)
            return None
        self.messages += len(heard.events)
        return heard.events

    def followed(self, events: list[Event]) -> None:
        """Note that a batch has been followed."""
        self.lag_ns = max(0, time.monotonic_ns() - events[0][2])

    def _drain(self, connector: Connector) -> None:
        """Throw messages away until there is none, or enough has been done for one turn."""
        for _ in range(_MOST_DRAINED):
            if not self.has_more:
                break
            heard = connector.read()
            self.has_more = heard.has_more or heard.is_lossy
        self.is_draining = self.has_more

    def end(self, why: str) -> bool:
        """Listen no longer, for a reason that people are told; False where nobody listened."""
        if self.connector is None:
            return False
        self.connector.close()
        self.connector, self.why_not = None, why
        self.has_more = self.is_draining = False
        return True
