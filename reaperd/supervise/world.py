"""What services act through: the seam between decisions and the machine."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from reaperd.children.children import Children
from reaperd.loop.poller import Poller
from reaperd.loop.timers import Timers
from reaperd.policy.words import Timer
from reaperd.telemetry.logs import Log


class Pulse(Enum):
    """Deadlines of the effects, which policy knows nothing of."""

    TRY = "try"  # of a service that is awaited: its next readiness check, or the end of its `delay`
    CHECK = "check"  # of a running service: its next health check
    ANSWER = "answer"  # of a service: how long a connection to it may take
    WATCHDOG = "watchdog"  # of a running service: its next word
    FLUSH = "flush"  # of an outlet that fails: its next try
    AGE = "age"  # of a log file: when it is old
    ZOMBIES = "zombies"  # the next look for zombies under services
    REPORT = "report"  # of a service: the next look at what its child says, where that cannot be watched
    SCHEDULE = "schedule"  # of all schedules: the next try to have a timer for them
    HELPER = "helper"  # of a helper's run: how long it may take


Deadline = tuple[str, Timer | Pulse]  # a service's name, a helper's run or an outlet's name, and which timer


@dataclass(frozen=True, slots=True)
class World:
    """Everything with an effect, passed in and never reached for."""

    children: Children
    poller: Poller
    timers: Timers[Deadline]
    clock: Callable[[], int]  # CLOCK_MONOTONIC in nanoseconds
    log: Log
    wall: Callable[[], int] = time.time_ns  # CLOCK_REALTIME: for what people read, never to decide by
