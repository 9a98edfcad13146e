"""Moments of the wall clock, as logs, streams and answers write them.

Without `datetime`: that is for those who read times or reckon with them, and costs the daemon 400 KiB.
"""

import time
from typing import Final

_SECOND_NS: Final = 1_000_000_000


def rfc3339(at_ns: int, digits: int = 3) -> str:
    """Return a moment in UTC, such as `2026-11-20T16:00:00.125Z`.

    Args:
        at_ns: nanoseconds since the epoch, CLOCK_REALTIME.
        digits: how many there are after the point, 1 to 9; the rest is cut off.
    """
    seconds, rest_ns = divmod(at_ns, _SECOND_NS)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{rest_ns:09}"[: len(text) + 1 + digits] + "Z"
