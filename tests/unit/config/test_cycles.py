from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from reaperd.config.cycles import find_cycles

Graph = dict[str, list[str]]


def test_a_cycle_is_given_with_its_first_name_at_its_end() -> None:
    """The names stand in the order in which each waits for the next."""
    assert find_cycles({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]}) == [("a", "b", "c", "a")]
    assert find_cycles({"a": ["a"]}) == [("a", "a")]


def test_a_long_chain_is_no_cycle() -> None:
    """Ten thousand services that wait for each other in a row are followed without recursion."""
    assert find_cycles({str(n): [str(n + 1)] for n in range(10_000)}) == []


def _without(graph: Graph, taken: set[tuple[str, str]]) -> Graph:
    return {name: [other for other in others if (name, other) not in taken] for name, others in graph.items()}


def _can_be_ordered(graph: Graph) -> bool:
    """Tell, in the plainest way, whether everybody gets a turn after all they wait for."""
    left = {name: set(others) & graph.keys() for name, others in graph.items()}
    while left:
        free = {name for name, others in left.items() if not others}
        if not free:
            return False
        left = {name: others - free for name, others in left.items() if name not in free}
    return True


_names = st.sampled_from("abcdef")


@given(st.dictionaries(_names, st.lists(_names, unique=True, max_size=4)))
def test_it_finds_a_cycle_exactly_where_there_is_one(graph: Graph) -> None:
    """No cycle means an order exists; and without one link of each cycle found, one does."""
    cycles = find_cycles(graph)
    assert (not cycles) == _can_be_ordered(graph)
    for cycle in cycles:
        assert cycle[0] == cycle[-1]
        assert all(there in graph[here] for here, there in pairwise(cycle))
    assert _can_be_ordered(_without(graph, {(cycle[-2], cycle[-1]) for cycle in cycles}))
