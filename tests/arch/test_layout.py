"""What the architecture says of the source besides its imports, where that is cheap to see."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Final, get_args

import pytest

from reaperd.policy.decide import IGNORED, RESTING, TABLE
from reaperd.policy.words import (
    Event,
    MainExited,
    SpawnFailed,
    State,
    TreeEmpty,
)
from reaperd.supervise.perform import _ABOUT_MAIN
from reaperd.telemetry.names import EVENTS
from tests.support.imports import imports_of, modules

# --- the state machine ----------------------------------------------------------------------------------

_NO_PROCESS: Final = "before the fork and after the end the tree is empty: this could come from no process"
_NO_MAIN: Final = "before the fork and after the end there is no main process that could end"
_RAN: Final = "Ready said that its exec worked"
_UP: Final = "an empty tree is looked for in STOPPING only: before that there is a main process"

_WITHOUT_PROCESS: Final = (*RESTING, State.WAITING, State.BACKOFF)

IMPOSSIBLE: Final[dict[tuple[State, type], str]] = {
    **{(state, TreeEmpty): _NO_PROCESS for state in _WITHOUT_PROCESS},
    **{(state, MainExited): _NO_MAIN for state in _WITHOUT_PROCESS},
    **{(state, SpawnFailed): _NO_MAIN for state in _WITHOUT_PROCESS},
    (State.RUNNING, SpawnFailed): _RAN,
    (State.STARTING, TreeEmpty): _UP,
    (State.RUNNING, TreeEmpty): _UP,
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", get_args(Event))
def test_each_pair_of_state_and_event_is_in_exactly_one_place(state: State, event: type) -> None:
    """Handled, ignored on purpose, or impossible for a reason that can be said."""
    places = [(state, event) in place for place in (TABLE, IGNORED, IMPOSSIBLE)]
    assert places.count(True) == 1


def test_no_pair_is_of_something_else() -> None:
    """The tables hold nothing but pairs of a state and an event."""
    pairs = {(state, event) for state in State for event in get_args(Event)}
    assert TABLE.keys() | IGNORED | IMPOSSIBLE.keys() == pairs


# --- what is told ---------------------------------------------------------------------------------------

_NAME: Final = re.compile(r"[a-z]+\.[a-z_]+")
_FAMILIES: Final = {name.split(".")[0] for name in EVENTS}
COMMON: Final = {"service"}  # time, level and event are the log's own


@cache
def tree_of(module: str) -> ast.Module:
    """Return the syntax tree of a module of ours."""
    return ast.parse(modules()[module].read_text())


def told() -> Iterator[tuple[str, str, set[str]]]:
    """Yield where something is told, its name, and the keys that stand there."""
    for module in modules():
        for node in ast.walk(tree_of(module)):
            if isinstance(node, ast.Call) and node.args:
                for name in _event_names(node.args[0]):
                    yield f"{module}:{node.lineno}", name, {*_keywords(node), *_emitted(node)}


def _event_names(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Constant(value=str() as text) if _NAME.fullmatch(text) and text.split(".")[0] in _FAMILIES:
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from _event_names(body)
            yield from _event_names(orelse)


def _keywords(call: ast.Call) -> Iterator[str]:
    return (keyword.arg for keyword in call.keywords if keyword.arg is not None)


def _emitted(call: ast.Call) -> Iterator[str]:
    for pair in ast.walk(ast.Tuple(call.args[1:], ast.Load())):
        match pair:
            case ast.Tuple(elts=[ast.Constant(value=str() as key), _]):
                yield key


def test_everything_told_has_a_name_and_keys_in_the_list() -> None:
    """So that whoever reads the log finds each of them described."""
    unknown = [
        f"{where}: {name} {sorted(keys)}"
        for where, name, keys in told()
        if name not in EVENTS or keys - EVENTS[name][1] - COMMON
    ]
    assert unknown == []


def test_everything_in_the_list_is_told() -> None:
    """No name and no key outlives the code that used it."""
    given: dict[str, set[str]] = {name: set() for name in EVENTS}
    for _, name, keys in told():
        given[name] |= keys
    for name in _ABOUT_MAIN:
        given[name].add("pid")
    for name in EVENTS:
        if name.startswith("helper."):
            given[name].add("errand")  # of the order that each is about
    given["service.spawn_failed"] |= {"problem", "hint"}  # sentences are `perform`'s
    given["daemon.reloaded"] |= EVENTS["daemon.reloaded"][1]  # a dictionary that the answer shares
    assert {name for _, name, _ in told()} == set(EVENTS)
    assert {name: keys - COMMON for name, keys in given.items()} == {
        name: set(keys) for name, (_, keys) in EVENTS.items()
    }


# --- files ----------------------------------------------------------------------------------------------

SAYING_NOTHING: Final = frozenset({"utils", "util", "helpers", "helper", "common", "misc", "base", "manager"})
SAYING_SOMETHING: Final = {
    "reaperd.supervise.helper": "a helper is a command that runs on behalf of a service: the glossary",
    "reaperd.supervise.helpers": "those that run",
    "reaperd.zombies.helper": "a process of its own that traces, so that no reap loop sees its stops",
}


@pytest.mark.parametrize("module", modules())
def test_a_file_says_what_it_is_and_is_named_for_it(module: str) -> None:
    """Names such as `utils` say nothing, and gather what belongs nowhere."""
    assert ast.get_docstring(tree_of(module))
    assert module in SAYING_SOMETHING or not set(module.split(".")) & SAYING_NOTHING


WRITERS_OF_PAGES: Final = {
    "reaperd.policy.diagram": {"sys", "pathlib"},  # run by hand; refreshes the page that it is given
}


def test_pure_packages_have_no_effects() -> None:
    """Decisions and the model take no part in the machine: what they need arrives in arguments."""
    effects = {"time", "signal", "socket", "select", "random", "pathlib", "io", "sys", "fcntl"}
    for module in modules():
        if module.startswith(("reaperd.policy", "reaperd.model")):
            found = {each.name for each in imports_of(module)} & effects
            assert found == WRITERS_OF_PAGES.get(module, set()), module
