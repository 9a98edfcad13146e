"""What services act through: the seam between decisions and the machine."""

from collections.abc import Callable
from dataclasses import dataclass

from reaperd.children.children import Children
from reaperd.loop.poller import Poller
from reaperd.loop.timers import Timers
from reaperd.policy.words import Timer
from reaperd.telemetry.logs import Log

Deadline = tuple[str, Timer]  # a service's name and which of its timers


@dataclass(frozen=True, slots=True)
class World:
    """Everything with an effect, passed in and never reached for."""

    children: Children
    poller: Poller
    timers: Timers[Deadline]
    clock: Callable[[], int]  # CLOCK_MONOTONIC in nanoseconds
    log: Log
