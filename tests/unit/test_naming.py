from collections.abc import Iterable

import pytest

from reaperd import naming
from reaperd.config.spec import ServiceSpec
from reaperd.control.words import Answer


def spec(name: str, *groups: str) -> ServiceSpec:
    """Return a service; one with a colon is an instance."""
    base, colon, number = name.partition(":")
    instance = int(number) if colon else None
    return ServiceSpec(name, ("x",), base=base if colon else "", instance=instance, groups=groups)


SPECS = {
    each.name: each
    for each in (
        spec("db", "backend"),
        spec("web:1", "front"),
        spec("web:2", "front"),
        spec("worker", "backend", "slow"),
    )
}
BASES = ("web", "idle")


def meant(*asked: str) -> tuple[str, ...]:
    """Return who is meant."""
    found = naming.resolve(asked, SPECS, BASES)
    assert isinstance(found, tuple), found
    return found


def refused(asked: Iterable[str]) -> tuple[int, str, str]:
    """Return status, message and hint of a refusal."""
    found = naming.resolve(tuple(asked), SPECS, BASES)
    assert isinstance(found, Answer)
    error = found.body["error"]
    assert isinstance(error, dict)
    return found.status, error["message"], error["hint"]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ((), ("db", "web:1", "web:2", "worker")),
        (("all",), ("db", "web:1", "web:2", "worker")),
        (("worker", "db", "worker"), ("worker", "db")),
        (("web",), ("web:1", "web:2")),
        (("web:2", "web"), ("web:2", "web:1")),
        (("idle",), ()),
        (("backend",), ("db", "worker")),
        (("slow", "front"), ("worker", "web:1", "web:2")),
        (("w*",), ("web:1", "web:2", "worker")),
        (("web:?",), ("web:1", "web:2")),
        (("web:[2-9]", "d[!c]"), ("web:2", "db")),
        (("*",), ("db", "web:1", "web:2", "worker")),
    ],
)
def test_a_word_means_services(asked: tuple[str, ...], names: tuple[str, ...]) -> None:
    """A full name, that of all instances, a group or a pattern; each service once, in the order asked."""
    assert meant(*asked) == names


@pytest.mark.parametrize(
    ("word", "message", "hint"),
    [
        ("wbe", 'cannot find a service called "wbe"', 'did you mean "web"?'),
        ("bakcend", 'cannot find a service called "bakcend"', 'did you mean "backend"?'),
        ("wroker*", 'cannot find a service that matches "wroker*"', 'did you mean "worker"?'),
        ("[", 'cannot find a service that matches "["', "reaperd status lists the services there are"),
        ("", 'cannot find a service called ""', "reaperd status lists the services there are"),
    ],
)
def test_a_word_that_means_nothing_is_refused(word: str, message: str, hint: str) -> None:
    """With what was probably meant, whatever kind of word it is."""
    assert refused(["db", word]) == (404, message, hint)


def test_patterns_are_bounded() -> None:
    """Long ones are cut, hostile ones take no time, and too many are refused."""
    assert refused(f"*{number}" for number in range(65))[0] == 400
    assert refused(["*a" * 5000])[0] == 404
    assert refused(["[" * 5000 + "!" * 5000])[0] == 404


def test_a_filter_tells_of_services_that_come_later() -> None:
    """By each kind of word; without any, all are meant."""
    later = spec("web:3", "front")
    for word, is_meant in (("web", True), ("front", True), ("w*", True), ("all", True), ("db", False)):
        assert naming.filter_of((word,))(later) is is_meant
    assert naming.filter_of(())(later)
