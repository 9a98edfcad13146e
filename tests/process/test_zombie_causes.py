"""What is said of zombies too young to be judged; test_specimens.py has what is said of old ones."""

import os
import time
from typing import Any

import pytest

from reaperd.zombies.careless import TRANSIT_S
from reaperd.zombies.scan import scan
from reaperd.zombies.specimens import specimen
from tests.support.blocked import blocked_32
from tests.support.processes import call_in_pid_namespace, call_in_process, owned_child, wait_gone

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="some kinds are made on x86-64 only")


def _young(kind: str) -> Any:
    with specimen(kind) as roles:
        found = {zombie.pid: zombie for zombie in scan().zombies}
        zombie = found[roles["zombie"][0]]
        return [zombie.cause.name, zombie.at_least_s is not None and zombie.at_least_s < 1]


@pytest.mark.parametrize(
    ("kind", "cause"),
    [("stopped", "parent-stopped"), ("traced", "parent-traced"), ("held", "held-by-tracer")],
)
def test_who_cannot_collect_is_named_even_of_a_young_zombie(kind: str, cause: str) -> None:
    """However long one waits, nothing would change."""
    assert call_in_process(_young, kind)[0] == cause


@pytest.mark.parametrize("kind", ["never-waits", "handler-own", "blocked"])
def test_who_may_yet_collect_is_not_blamed(kind: str) -> None:
    """A zombie of a moment is in transit, whatever its parent looks like."""
    cause, is_young = call_in_process(_young, kind)
    if not is_young:
        pytest.skip("this machine was too slow, or its kernel has no /proc/PID/sched")
    assert cause == "in-transit"


def _own_zombie() -> list[str]:
    with owned_child(lambda: None) as child:
        wait_gone(child)
        return [zombie.cause.name for zombie in scan().zombies if zombie.pid == child]


def test_pid_1_has_longer_than_others() -> None:
    """A zombie of the namespace's init is not judged at once."""
    assert call_in_pid_namespace(_own_zombie) == ["in-transit"]


def test_a_32_bit_parent_has_numbers_of_its_own() -> None:
    """Its waitpid is number 7, which is poll to others: what it waits for is understood all the same."""
    with blocked_32("-DANOTHER") as parent:
        time.sleep(TRANSIT_S + 0.1)  # nothing happens: that is the point
        (zombie,) = scan(parent.zombies).zombies
        assert zombie.cause.name == "waits-for-another", zombie.cause
