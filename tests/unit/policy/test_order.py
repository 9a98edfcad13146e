from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reaperd.config.spec import ServiceSpec
from reaperd.policy import order
from reaperd.policy.order import Graph, Hold, graph_of, holds, satisfies
from reaperd.policy.words import Awaits, Run, State, Want

NAMES = "abcdef"
UP, DOWN = Want.UP, Want.DOWN


def spec(name: str, **keys: tuple[str, ...]) -> ServiceSpec:
    """Return a service with these edges."""
    return replace(ServiceSpec(name, (name,)), **keys)  # type: ignore[arg-type] # its own fields


def instance(base: str, number: int, **keys: tuple[str, ...]) -> ServiceSpec:
    """Return one instance of a service."""
    return replace(spec(f"{base}:{number}", **keys), base=base, instance=number)


@st.composite
def edges(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    """Return who requires whom: anything, cycles and names that are not there included."""
    others = st.lists(st.sampled_from([*NAMES, "gone"]), max_size=4).map(tuple)
    return {name: draw(others) for name in draw(st.sets(st.sampled_from(NAMES), min_size=1))}


def reached(names: list[str], leads_to: Mapping[str, tuple[str, ...]]) -> set[str]:
    """Return all that can be reached from `names`, found by repeating until nothing is new."""
    found = set(names)
    while more := {other for name in found for other in leads_to.get(name, ())} - found:
        found |= more
    return found


def in_a_cycle(name: str, leads_to: Mapping[str, tuple[str, ...]]) -> bool:
    """Tell whether a way leads from `name` back to it."""
    return name in reached(list(leads_to.get(name, ())), leads_to)


@given(edges(), st.lists(st.sampled_from(NAMES), max_size=4))
def test_closures_against_a_naive_reference(requires: dict[str, tuple[str, ...]], names: list[str]) -> None:
    """All that is led to and nothing else, each once, each after what it leads to; cycles do no harm."""
    graph = graph_of(spec(name, requires=others) for name, others in requires.items())
    for found, leads_to in (
        (order.with_requirements(names, graph), graph.requires),
        (order.with_dependants(names, graph), graph.required_by),
    ):
        assert len(found) == len(set(found))
        assert set(found) == reached(names, leads_to)
        for name in found:
            for other in leads_to.get(name, ()):
                assert in_a_cycle(name, leads_to) or found.index(other) < found.index(name)


@given(edges(), edges(), edges())
def test_every_edge_is_seen_from_both_ends(
    requires: dict[str, tuple[str, ...]],
    after: dict[str, tuple[str, ...]],
    before: dict[str, tuple[str, ...]],
) -> None:
    """Whatever way it was written; who is required is not also merely before."""
    names = [*requires, *(name for name in {**after, **before} if name not in requires)]
    graph = graph_of(
        spec(name, requires=requires.get(name, ()), after=after.get(name, ()), before=before.get(name, ()))
        for name in names
    )
    for name in names:
        assert set(graph.requires[name]) == set(requires.get(name, ()))
        earlier = set(after.get(name, ())) | {other for other in before if name in before[other]}
        assert set(graph.after[name]) == earlier - set(graph.requires[name])
        for other in (*graph.requires[name], *graph.after[name]):
            assert name in graph.followed_by[other]
            assert (name in graph.required_by.get(other, ())) == (other in graph.requires[name])


def test_a_long_chain_needs_no_recursion() -> None:
    """Ten thousand services, each requiring the next."""
    graph = graph_of(spec(str(number), requires=(str(number + 1),)) for number in range(10_000))
    found = order.with_requirements(["0"], graph)
    assert (found[0], found[-1], len(found)) == ("10000", "0", 10_001)


def test_the_name_of_a_service_means_all_its_instances() -> None:
    """So it is in `requires`, `after` and `before`."""
    workers = [instance("worker", number, before=("report",)) for number in (1, 2)]
    graph = graph_of(
        [*workers, spec("web", requires=("worker",)), spec("log", after=("worker",)), spec("report")]
    )
    both = ("worker:1", "worker:2")
    assert (graph.requires["web"], graph.after["log"], graph.after["report"]) == (both, both, both)
    assert graph.required_by == {"worker:1": ("web",), "worker:2": ("web",)}


# --- what holds ------------------------------------------------------------------------------------------


def held(runs: Mapping[str, Run], graph: Graph, *oneshots: str, name: str = "web") -> tuple[Hold, ...]:
    """Return what holds `name` while the others are in these runs."""

    def look(other: str) -> tuple[Run, ServiceSpec] | None:
        return (runs[other], replace(spec(other), oneshot=other in oneshots)) if other in runs else None

    return holds(name, graph, look)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("oneshot", [False, True])
def test_a_requirement_holds_until_it_is_ready(state: State, oneshot: bool) -> None:  # noqa: FBT001 - a parameter
    """Ready is running; a oneshot is ready once it has ended well."""
    graph = graph_of([spec("web", requires=("db",)), spec("db")])
    found = held({"db": Run(state, UP)}, graph, *["db"][: int(oneshot)])
    ready = state is (State.EXITED if oneshot else State.RUNNING)
    assert found == (() if ready else (Hold("db", state, needed=True),))
    assert satisfies(Run(state), replace(spec("db"), oneshot=oneshot)) is ready


def test_a_requirement_that_is_not_there_holds_and_is_named() -> None:
    """Such as a service with no instance at the moment."""
    graph = graph_of([spec("web", requires=("worker",))])
    assert held({}, graph) == (Hold("worker", None, needed=True),)


COMING = [
    (Run(State.WAITING, UP), True),
    (Run(State.WAITING, UP, awaits=Awaits.SCHEDULE), False),
    (Run(State.STARTING, UP), True),
    (Run(State.STARTING, UP, failures=1), False),
    (Run(State.BACKOFF, UP, failures=1), False),
    (Run(State.RUNNING, UP), False),
    (Run(State.STOPPING, UP), False),
    (Run(State.STOPPED, DOWN), False),
    (Run(State.FAILED, UP), False),
    (Run(State.EXITED, UP), False),
]


@pytest.mark.parametrize(("run", "holds_it"), COMING)
def test_order_alone_holds_while_the_other_is_on_its_way(run: Run, holds_it: bool) -> None:  # noqa: FBT001 - a parameter
    """One that failed, is down or waits for its time is not waited for."""
    for graph in (
        graph_of([spec("web", after=("log",)), spec("log")]),
        graph_of([spec("web"), spec("log", before=("web",))]),
    ):
        assert held({"log": run}, graph) == ((Hold("log", run.state, needed=False),) if holds_it else ())


def test_order_after_a_oneshot_is_after_its_end() -> None:
    """While it runs it has not done what it is for."""
    graph = graph_of([spec("web", after=("migrate",)), spec("migrate")])
    assert held({"migrate": Run(State.RUNNING, UP)}, graph, "migrate")
    assert not held({"migrate": Run(State.EXITED, UP)}, graph, "migrate")


def test_one_hold_says_what_two_keys_say() -> None:
    """Required and after: it is named once, as needed."""
    graph = graph_of([spec("web", requires=("db", "db"), after=("db", "db")), spec("db", before=("web",))])
    assert held({"db": Run(State.WAITING, UP)}, graph) == (Hold("db", State.WAITING, needed=True),)


def test_a_stop_waits_for_those_that_follow() -> None:
    """By needs and by order alike, as far as they are still up."""
    graph = graph_of([spec("web", requires=("db",)), spec("log", after=("db",)), spec("db")])
    assert order.stops_first("db", graph, {"web", "log", "db"}.__contains__) == ("web", "log")
    assert order.stops_first("db", graph, {"log"}.__contains__) == ("log",)
    assert order.stops_first("web", graph, {"web", "log", "db"}.__contains__) == ()
