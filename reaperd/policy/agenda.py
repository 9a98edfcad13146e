"""When a scheduled service is due next: pure, both clocks are given.

`every` counts the monotonic clock from the moment the schedule is armed and keeps its pace: the next time is
one interval after the last one, however late that was noticed. `cron` follows the wall clock.

Times that nobody noticed, because the machine slept, was busy or the clock was set forward, count as one.
When the clock is set back, a time that has come does not come again: unless the clock went back by more than
the way to the following time, or by three hours or more. Then it was wrong before, and is simply believed.
"""

from dataclasses import dataclass, replace
from typing import Final

from reaperd.config.spec import SECOND_NS, Cron, Every

CORRECTION_NS: Final = 3 * 3600 * SECOND_NS  # as cron(8) has it: what is set by more was wrong


@dataclass(frozen=True, slots=True)
class Now:
    """Both clocks at one moment."""

    wall_ns: int  # CLOCK_REALTIME
    monotonic_ns: int  # CLOCK_MONOTONIC


@dataclass(frozen=True, slots=True)
class Entry:
    """One schedule and its next time."""

    when: Cron | Every
    next_ns: int | None  # of the wall clock for Cron, of the monotonic one for Every; None: never
    came_ns: int | None = None  # of the wall clock, for Cron: every time up to here has come


def first(when: Cron | Every, now: Now) -> Entry:
    """Return a schedule that begins now."""
    match when:
        case Every(interval_ns=interval_ns):
            return Entry(when, now.monotonic_ns + interval_ns)
        case Cron(expression=expression):
            return Entry(when, _next_ns(expression, now.wall_ns))


def is_due(entry: Entry, now: Now) -> bool:
    """Tell whether the next time has come."""
    if entry.next_ns is None:
        return False
    return entry.next_ns <= (now.monotonic_ns if isinstance(entry.when, Every) else now.wall_ns)


def after_due(entry: Entry, now: Now) -> Entry:
    """Return the schedule of which the next time has come, with the one after that, which is to come."""
    match entry.when:
        case Every(interval_ns=interval_ns):
            assert entry.next_ns is not None, "it was due"
            missed = (now.monotonic_ns - entry.next_ns) // interval_ns
            return replace(entry, next_ns=entry.next_ns + (missed + 1) * interval_ns)
        case Cron(expression=expression):
            return Entry(entry.when, _next_ns(expression, now.wall_ns), came_ns=now.wall_ns)


def after_jump(entry: Entry, now: Now) -> Entry:
    """Return the schedule, not due now, after the wall clock was set."""
    if isinstance(entry.when, Every):
        return entry
    expression = entry.when.expression
    if entry.came_ns is not None and now.wall_ns < entry.came_ns:
        following_ns = _next_ns(expression, entry.came_ns)
        back_ns = entry.came_ns - now.wall_ns
        if following_ns is not None and back_ns < min(following_ns - entry.came_ns, CORRECTION_NS):
            return replace(entry, next_ns=following_ns)
        entry = replace(entry, came_ns=None)
    return replace(entry, next_ns=_next_ns(expression, now.wall_ns))


def wall_ns(entry: Entry, now: Now) -> int | None:
    """Return the next time by the wall clock, as that stands now; None for never."""
    if entry.next_ns is None or isinstance(entry.when, Cron):
        return entry.next_ns
    return now.wall_ns + entry.next_ns - now.monotonic_ns


def _next_ns(expression: str, after_ns: int) -> int | None:
    # Imported here: it brings datetime, and few configurations hold a schedule by the clock.
    from reaperd import crontab  # noqa: PLC0415

    return crontab.next_ns(expression, after_ns)
