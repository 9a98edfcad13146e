"""Whose fault a zombie is, and why: from facts to a cause, without looking at anything.

The rules are asked in order and the first that fits answers. First what makes the zombie no zombie or
nobody's leak, then what keeps its parent from running, then whether it is too young to judge, then how the
parent treats SIGCHLD. What may not be read is no evidence: then a later, weaker rule answers.
"""

from reaperd.zombies import careless, unable
from reaperd.zombies.cause import Cause
from reaperd.zombies.facts import ParentFacts, ZombieFacts


def explain(zombie: ZombieFacts, parent: ParentFacts | None) -> Cause:
    """Return the cause that fits the facts; `parent` is None where it is gone or cannot be seen."""
    for of_zombie in unable.OF_ZOMBIE:
        if (cause := of_zombie(zombie)) is not None:
            return cause
    if parent is None:
        return careless.orphaned(zombie)
    for of_parent in (*unable.OF_PARENT, *careless.OF_PARENT):
        if (cause := of_parent(zombie, parent)) is not None:
            return cause
    return careless.never_waits(parent)
