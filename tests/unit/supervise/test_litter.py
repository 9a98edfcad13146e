"""What counts of what a look found, without any process."""

from typing import Any

from reaperd.config.spec import SECOND_NS, ServiceSpec, Zombies
from reaperd.policy.words import Run
from reaperd.supervise.litter import MOST_TRIES, Litter
from reaperd.supervise.service import Service

WEB = Service(ServiceSpec("web", ("web",)), Run())
DB = Service(ServiceSpec("db", ("db",)), Run())
AGE = Zombies(age_ns=30 * SECOND_NS)
OF = {10: WEB, 11: DB}


def wanted(child: int) -> tuple[Service, Zombies] | None:
    """Return whose child of the daemon that is."""
    return (OF[child], AGE) if child in OF else None


def group(top: int, ppid: int, *ages: float | None, more: int = 0, cause: str = "busy") -> dict[str, Any]:
    """Return a parent with zombies of these ages; their pids come after its own."""
    zombies = [[ppid * 100 + number, 5, age] for number, age in enumerate(ages)]
    return {
        "top": top,
        "ppid": ppid,
        "parent": f"p{ppid}",
        "cause": cause,
        "helps": "",
        "zombies": zombies,
        "more": more,
    }


def test_who_is_old_enough_counts() -> None:
    """By service and parent, strangers not at all; the next one that will be is known."""
    litter = Litter()
    litter.take([group(10, 20, 40, 31, 10), group(11, 30, 99), group(99, 40, 99)], wanted, 1000)
    assert (litter.count("web"), litter.count("db")) == (2, 1)
    assert litter.rows() == [("db", "p30", 1), ("web", "p20", 2)]
    assert litter.next_ns == 1000 + 20 * SECOND_NS
    assert litter.heaps["web", 20].oldest_s == 40


def test_an_unknown_age_counts_from_the_first_look() -> None:
    """Where the kernel does not tell, it has been a zombie since it was first seen, at least."""
    litter = Litter()
    litter.take([group(10, 20, None)], wanted, 0)
    assert litter.count("web") == 0
    litter.take([group(10, 20, None)], wanted, 30 * SECOND_NS)
    assert litter.count("web") == 1
    litter.take([], wanted, 31 * SECOND_NS)
    litter.take([group(10, 20, None)], wanted, 90 * SECOND_NS)
    assert litter.count("web") == 0  # another one by that pid, for the first had gone


def test_those_that_were_only_counted_count_if_the_listed_ones_are_old() -> None:
    """They are no younger than the youngest that is listed."""
    litter = Litter()
    litter.take([group(10, 20, 40, 35, more=500)], wanted, 0)
    assert litter.count("web") == 502
    litter.take([group(10, 20, 40, 5, more=500)], wanted, 0)
    assert litter.count("web") == 1


def test_one_parent_with_two_causes_is_one_place() -> None:
    """Its zombies are added up."""
    litter = Litter()
    litter.take([group(10, 20, 40), group(10, 20, 50, cause="clone-child")], wanted, 0)
    assert litter.count("web") == 2
    assert litter.heaps["web", 20].oldest_s == 50


def test_each_is_tried_a_few_times_only() -> None:
    """What does not help is not repeated for ever; a zombie with the same pid later is another one."""
    litter, look = Litter(), [group(10, 20, 40)]
    for _ in range(MOST_TRIES):
        litter.take(look, wanted, 0)
        assert litter.next_tries() == [(2000, 5, 20)]
    litter.take(look, wanted, 0)
    assert litter.next_tries() == []
    litter.take([], wanted, 0)
    litter.take(look, wanted, 0)
    assert litter.next_tries() == [(2000, 5, 20)]


def test_what_is_gone_leaves_its_place() -> None:
    """A parent that has none left is told with what helped; who has some left stays."""
    litter = Litter()
    litter.take([group(10, 20, 40), group(10, 30, 40, 41)], wanted, 0)
    assert litter.cleared({2000: "inject", 3000: "nudge"}) == {("web", 20): "inject"}
    assert litter.count("web") == 1
    litter.forget("web")
    assert litter.rows() == []
