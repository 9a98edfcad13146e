"""A helper: what it was asked to do, on whose behalf, and how it ended. Plain data."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from reaperd.config.spec import ServiceSpec
from reaperd.policy.words import Exited, NotSpawned
from reaperd.supervise import explain
from reaperd.supervise.service import Service
from reaperd.supervise.spawn_problem import spawn_problem
from reaperd.units import format_duration

MOST_SAID: Final = 1024  # bytes of a check's output that are kept, its last ones
MOST_ANSWERED: Final = 1 << 20  # the same of an answer for programs
LONGEST_REASON: Final = 200  # characters


class Errand(Enum):
    """What a helper is run for."""

    STOP = "stop"
    RELOAD = "reload"
    EXIT = "on_exit"
    FAILURE = "on_failure"
    READY = "ready"
    HEALTH = "health"
    COMPRESS = "compress"
    LOOK = "zombies"
    REAP = "reap"


CHECKS: Final = frozenset({Errand.READY, Errand.HEALTH})  # asked often: how they end is told to who asked
HEARD: Final = CHECKS | {Errand.LOOK, Errand.REAP}  # what they write is for who asked
QUIET: Final = HEARD | {Errand.COMPRESS}  # nobody needs a line about it while it goes well


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run.

    Attributes:
        service: on whose behalf.
        errand: what for.
        spec: the service's surroundings, with the helper's command in place of the service's.
        timeout_ns: how long it may take.
        about: the run of the service that it is to act on, if there was one.
        kept_bytes: how much is kept of what it writes, where that is heard.
        owner: with whose output its own goes; None where it has the daemon's.
    """

    service: str
    errand: Errand
    spec: ServiceSpec
    timeout_ns: int
    about: str | None = None
    kept_bytes: int = MOST_SAID
    owner: Service | None = None

    @property
    def key(self) -> tuple[str, Errand]:
        """What there is at most one helper of at a time."""
        return self.service, self.errand


@dataclass(frozen=True, slots=True)
class TimedOut:
    """It had not ended in time."""


Outcome = Exited | NotSpawned | TimedOut


@dataclass(frozen=True, slots=True)
class Finished:
    """A helper's end, as far as who asked for it is concerned.

    Attributes:
        order: what it was to do.
        outcome: how that went.
        said: the last line of what it wrote, empty where nobody hears that.
        answer: all that was kept of what it wrote.
    """

    order: Order
    outcome: Outcome
    said: str = ""
    answer: bytes = b""

    def problem(self) -> str | None:
        """Return half a sentence on what went wrong, None where all is well."""
        match self.outcome:
            case Exited(code=0):
                return None
            case TimedOut():
                return f"no answer within {format_duration(self.order.timeout_ns)}"
            case NotSpawned() as cause:
                return spawn_problem(cause, self.order.spec)[0]
            case Exited() as cause:
                ended = explain.cause_text(cause, self.order.spec)
                return f"{ended}: {self.said}" if self.said else ended


@dataclass(slots=True)
class Helper:
    """A helper of which some process is left.

    Attributes:
        order: what it does.
        run_id: its marker, by which its strays are found.
        pid: its main process, None once that is reaped.
        report_fd: where the child says whether its exec worked, None once that is read.
        output_fd: where a check writes to, None for other errands and once it has ended.
        said: the last bytes that came from there.
        told: who asked knows how it ended, or does not want to know any more.
        stuck: it forks faster than it can be killed.
    """

    order: Order
    run_id: str
    pid: int | None
    report_fd: int | None
    output_fd: int | None
    said: bytes = b""
    told: bool = False
    stuck: bool = False


def last_line(said: bytes) -> str:
    """Return the last line with something on it, without what a terminal would obey."""
    lines = said[-MOST_SAID:].decode(errors="replace").strip().splitlines() or [""]
    return "".join(letter if letter.isprintable() else "?" for letter in lines[-1].strip())[:LONGEST_REASON]
