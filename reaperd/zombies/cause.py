"""What is said of a zombie: why it is there, by what evidence, and what would help."""

from collections.abc import Callable
from typing import NamedTuple

from reaperd.zombies.facts import ParentFacts, ZombieFacts


class Cause(NamedTuple):
    """Why a zombie is there.

    Attributes:
        name: for programs; never changes its meaning.
        sentence: for people who never heard of wait(2).
        evidence: what it rests on.
        advice: what would help.
        is_leak: False where nothing has to be done, or nothing can be done yet.
    """

    name: str
    sentence: str
    evidence: str
    advice: str
    is_leak: bool = True


ZombieRule = Callable[[ZombieFacts], Cause | None]
ParentRule = Callable[[ZombieFacts, ParentFacts], Cause | None]


def let_collect(parent: ParentFacts) -> str:
    """Return the command that lets the parent collect what it did not."""
    return f"reaperd reap --parent {parent.pid} --yes"


def end_parent(parent: ParentFacts) -> str:
    """Return what helps where nothing but the parent is in the way."""
    told = f"let it collect them: {let_collect(parent)}; or mend it"
    # Without its init a container ends, or the machine.
    return told if parent.is_init else f"{told}, or end it, so that init does: kill {parent.pid}"


def counted(number: int, word: str) -> str:
    """Return a number of things, with the word in the plural where it must be."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
