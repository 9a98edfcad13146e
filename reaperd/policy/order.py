"""Who comes before whom: what holds a start, what a start or stop brings with it, who may stop yet. Pure.

`requires` is a need: the other must be ready (a oneshot: have ended well) before this starts, is started
with it, and stops after it. `after` and `before` are order alone: they count while the other is on its way,
up to its first failure, so that nobody waits for ever for a neighbour that he does not need.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from reaperd.config.spec import ServiceSpec
from reaperd.policy.words import Awaits, Run, State, Want

_ON_ITS_WAY: Final = frozenset({State.WAITING, State.STARTING})

Known = tuple[Run, ServiceSpec]
Look = Callable[[str], Known | None]  # what is known of a service, by its full name


@dataclass(frozen=True, slots=True)
class Graph:
    """The edges between services, by their full names; every list in the order of the configuration."""

    requires: Mapping[str, tuple[str, ...]]
    after: Mapping[str, tuple[str, ...]]  # order alone
    required_by: Mapping[str, tuple[str, ...]]
    followed_by: Mapping[str, tuple[str, ...]]  # by needs and by order


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a service does not start yet: another, and the state that one is in."""

    name: str
    state: State | None  # None where there is no such service (any more)
    needed: bool


def graph_of(specs: Iterable[ServiceSpec]) -> Graph:
    """Return the edges between `specs`; the name of a service with instances means all of them."""
    specs = list(specs)
    known: defaultdict[str, list[str]] = defaultdict(list)
    for spec in specs:
        known[spec.name].append(spec.name)
        if spec.base and spec.base != spec.name:
            known[spec.base].append(spec.name)

    def named(names: Iterable[str]) -> tuple[str, ...]:
        # A name that is not there stays, so that it holds and can be told.
        return tuple(dict.fromkeys(full for name in names for full in known.get(name, [name])))

    requires = {spec.name: named(spec.requires) for spec in specs}
    after = {spec.name: dict.fromkeys(named(spec.after)) for spec in specs}
    for spec in specs:
        for later in named(spec.before):
            after.setdefault(later, {})[spec.name] = None
    required_by: defaultdict[str, list[str]] = defaultdict(list)
    followed_by: defaultdict[str, list[str]] = defaultdict(list)
    for spec in specs:
        for earlier in requires[spec.name]:
            required_by[earlier].append(spec.name)
        for earlier in dict.fromkeys((*requires[spec.name], *after[spec.name])):
            followed_by[earlier].append(spec.name)
    return Graph(
        requires,
        # What is required is not merely before: one hold says it.
        {
            name: tuple(each for each in names if each not in requires.get(name, ()))
            for name, names in after.items()
        },
        {name: tuple(names) for name, names in required_by.items()},
        {name: tuple(names) for name, names in followed_by.items()},
    )


def holds(name: str, graph: Graph, look: Look) -> tuple[Hold, ...]:
    """Return what keeps `name` from starting now; nothing means that it may."""
    return tuple(_needed(name, graph, look)) + tuple(_coming(name, graph, look))


def _needed(name: str, graph: Graph, look: Look) -> Iterator[Hold]:
    for other in graph.requires.get(name, ()):
        found = look(other)
        if found is None:
            yield Hold(other, None, needed=True)
        elif not satisfies(*found):
            yield Hold(other, found[0].state, needed=True)


def _coming(name: str, graph: Graph, look: Look) -> Iterator[Hold]:
    for other in graph.after.get(name, ()):
        found = look(other)
        if found is not None and _is_coming(*found):
            yield Hold(other, found[0].state, needed=False)


def with_requirements(names: Iterable[str], graph: Graph) -> list[str]:
    """Return `names` and all they need, needs first."""
    return _closure(names, graph.requires)


def with_dependants(names: Iterable[str], graph: Graph) -> list[str]:
    """Return `names` and all that need them, dependants first."""
    return _closure(names, graph.required_by)


def stops_first(name: str, graph: Graph, is_still_up: Callable[[str], bool]) -> tuple[str, ...]:
    """Return those that must stop before `name`, of which `is_still_up` says that they are yet to do so."""
    return tuple(filter(is_still_up, graph.followed_by.get(name, ())))


def _closure(names: Iterable[str], edges: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return `names` and all they lead to, each after what it leads to; a cycle does no harm."""
    done: dict[str, None] = {}
    seen: set[str] = set()
    stack = [(name, False) for name in reversed(list(names))]
    while stack:
        name, expanded = stack.pop()
        if expanded:
            done[name] = None
        elif name not in seen:
            seen.add(name)
            stack.append((name, True))
            stack.extend((other, False) for other in reversed(edges.get(name, ())))
    return list(done)


def satisfies(run: Run, spec: ServiceSpec) -> bool:
    """Tell whether those that require a service may start."""
    return run.state is (State.EXITED if spec.oneshot else State.RUNNING)


def _is_coming(run: Run, spec: ServiceSpec) -> bool:
    if (
        run.want is Want.DOWN
        or run.failures
        or (run.state is State.WAITING and run.awaits is Awaits.SCHEDULE)
    ):
        return False
    return run.state in _ON_ITS_WAY or (spec.oneshot and run.state is State.RUNNING)
