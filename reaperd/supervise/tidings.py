"""Changes of the model for those who follow them: written down only while somebody does."""

from collections.abc import Callable
from typing import Final

from reaperd.model import Change
from reaperd.telemetry.events import Ring
from reaperd.track.tidings import tiding
from reaperd.track.tracker import Tracker

MOST: Final = 8192  # who is slower than that is told how many it has missed


class Tidings:
    """Keep the latest changes in a ring from the first follower's coming until nobody follows.

    Attributes:
        ring: where they are kept.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.ring = Ring("kernel", MOST)
        self._tracker = tracker
        self._is_kept = False

    def keep(self) -> None:
        """Begin to write down, for one who asks; what was before is not known."""
        standing = self._tracker.standing()
        self.ring.about = {"source": standing.source.value, "why_not": standing.why_not}
        if not self._is_kept:
            self._is_kept = True
            self._tracker.follow(self._note, passersby=True)

    def settle(self, *, has_followers: bool, feed: Callable[[], None]) -> None:
        """Let followers read what is new, or write nothing down where nobody follows any more."""
        if self._is_kept and not has_followers:
            self._is_kept = False
            self._tracker.unfollow(self._note)
        if self.ring.is_fresh:
            self.ring.is_fresh = False
            feed()

    def _note(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            self.ring.put(*tiding(change))
