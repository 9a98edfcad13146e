"""What a check is, and what it finds."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from reaperd.errors import KernelError, ReaperdError


class Verdict(Enum):
    """How it stands with one thing."""

    YES = "yes"
    PARTLY = "partly"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Found:
    """What one check found, in a sentence or a figure."""

    verdict: Verdict
    detail: str


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that may or may not be had here.

    Attributes:
        name: a word or two for it.
        does: what reaperd does with it.
        tried: how it is found out.
        instead: what is done where it cannot be had; None where nothing takes its place.
        look: finds it out; whatever it cannot do is an error of these types.
        needed: whether reaperd cannot do its work without it.
    """

    name: str
    does: str
    tried: str
    instead: str | None
    look: Callable[[], Found]
    needed: bool = False

    def found(self) -> Found:
        """Return what there is; an error says that there is nothing, and why."""
        try:
            return self.look()
        except KernelError as error:
            return Found(Verdict.NO, error.message)
        except ReaperdError as error:
            return Found(Verdict.NO, f"{error.message}{f' ({error.hint})' if error.hint else ''}")
        except OSError as error:
            return Found(Verdict.NO, error.strerror or str(error))


def yes(detail: str) -> Found:
    """Return that it is there."""
    return Found(Verdict.YES, detail)


def partly(detail: str) -> Found:
    """Return that it is there, with a limit that should be known."""
    return Found(Verdict.PARTLY, detail)


def no(detail: str) -> Found:
    """Return that it is not there."""
    return Found(Verdict.NO, detail)
