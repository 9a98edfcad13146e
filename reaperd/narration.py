"""Which events somebody is told who asks for some: where in the ring to begin, and what to leave out."""

from collections.abc import Callable
from typing import Final

from reaperd.control.words import Window
from reaperd.telemetry.events import Event, Following, Ring

_BEFORE: Final = 10  # events that whoever follows is shown before what comes


def everything(_event: Event) -> bool:
    """Leave nothing out."""
    return True


def following(ring: Ring, window: Window, is_meant: Callable[[Event], bool], now_s: float) -> Following:
    """Return a place in `ring` for whoever asked for `window`; `now_s` is of the wall clock."""
    if window.after is not None:
        return Following(ring, window.after + 1, follow=window.follow, is_meant=is_meant)
    since_s = window.since_s if window.ago_s is None else now_s - window.ago_s
    found = [event for event in ring.since(ring.first) if is_meant(event)]
    if since_s is not None:
        found = [event for event in found if event.at_ns / 1e9 >= since_s]
    last = window.last
    if last is None and window.follow and since_s is None:
        last = _BEFORE
    if last is not None:
        found = found[max(len(found) - last, 0) :]
    start = found[0].seq if found else ring.next
    return Following(ring, start, follow=window.follow, is_meant=is_meant)
