"""The import rules of the architecture: who may know whom."""

import sys
from collections.abc import Iterable
from typing import Final

import pytest

from tests.support.imports import Import, imports_of, modules, read_imports

# Top to bottom. Imports point down; what stands on one line does not import each other.
LAYERS: Final = (
    ("__main__",),
    ("entry",),
    ("cli",),
    ("daemon",),
    ("assembly", "aside"),
    ("announce",),
    ("verbs",),
    ("teller",),
    ("naming", "narration", "measures"),
    ("supervise", "control", "zombies", "scaling", "doctor"),
    ("output",),
    ("policy", "loop", "children", "sd", "telemetry"),
    ("track",),
    ("config", "model", "kernel"),
    ("crontab",),  # the files are checked by it, and schedules are reckoned by it
    ("errors", "units", "moments", "lean"),
    ("deferred",),
)
RANK: Final = {part: rank for rank, parts in enumerate(reversed(LAYERS)) for part in parts}

# Each library with its one home; the init, whole in one file, has ctypes for what only it needs.
HOMES: Final = {
    "psutil": {"zombies"},
    "structlog": {"telemetry"},
    "click": {"cli"},
    "h11": {"control"},
    "cronsim": {"crontab"},
    "yaml": {"config"},
    "ctypes": {"kernel", "pid1"},
}
# Of the standard library, but not for this program: threads and fork do not go together, and another's event
# loop, children or log are not wanted.
STRANGERS: Final = {"asyncio", "threading", "multiprocessing", "concurrent", "subprocess", "logging", "pty"}

# Commands that a person runs, never the daemon: they may start programs, and a specimen takes calls and
# threads that nobody else has a use for.
ADMITTED: Final = {
    ("reaperd.zombies.acts", "subprocess"),
    ("reaperd.zombies.helper", "subprocess"),
    ("reaperd.zombies.keeper", "ctypes"),
    ("reaperd.zombies.posed_careless", "ctypes"),
    ("reaperd.zombies.posed_careless", "threading"),
    ("reaperd.zombies.posed_controls", "ctypes"),
    ("reaperd.zombies.posed_unable", "threading"),
    ("reaperd.deferred", "?"),  # whatever its caller names, in the place of which it stood
}

# The daemon is one more program: who may import it.
RUN_BY: Final = {"daemon": "reaperd.cli.run", "assembly": "reaperd.daemon"}

FROM_FUNCTION = "def f():\n    if x:\n        from reaperd.cli import main\n"


def part_of(module: str) -> str:
    """Return which box of the table a module belongs to: a package, or a file beside them."""
    return module.split(".")[1] if "." in module else ""


def violations(module: str, imports: Iterable[Import]) -> list[str]:
    """Return each import that breaks a rule, with its line."""
    return [
        f"{module}:{each.line} imports {each.name}: {problem}"
        for each in imports
        if (problem := _problem(module, each.name)) is not None
    ]


def _problem(module: str, name: str) -> str | None:
    top = name.split(".", maxsplit=1)[0]
    if name.startswith("."):
        return "imports are written in full"
    if top == "reaperd":
        return _problem_among_ours(module, name)
    if (module, top) in ADMITTED:
        return None
    if top in HOMES:
        return None if part_of(module) in HOMES[top] else f"{top} lives in {sorted(HOMES[top])}"
    if top in STRANGERS:
        return "not in this program"
    return None if top in sys.stdlib_module_names else "not a dependency"


def _problem_among_ours(module: str, name: str) -> str | None:
    here, there = part_of(module), part_of(name)
    if here == "pid1":
        return "pid1 imports nothing of ours"
    if there in {"", here}:  # the version, or a neighbour
        return None
    if there == "pid1":
        return None if here == "entry" or module == "reaperd.cli.init" else "pid1 is for entry and `init`"
    if there in RUN_BY:
        return None if module == RUN_BY[there] else "the daemon is for `run`"
    if here not in RANK or there not in RANK:
        return "has no place in the table"
    return None if RANK[there] < RANK[here] else "imports point down"


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_what_it_may(module: str) -> None:
    """Down only, libraries in their homes only, inside functions too."""
    assert violations(module, imports_of(module)) == []


@pytest.mark.parametrize(
    ("module", "source", "problem"),
    [
        ("reaperd.policy.stop", "import reaperd.loop.timers", "imports point down"),
        ("reaperd.policy.stop", "from reaperd.supervise import explain", "imports point down"),
        ("reaperd.model.tree", "from reaperd.kernel.procfs import Stat", "imports point down"),
        ("reaperd.units", "from reaperd.errors import Exit", "imports point down"),
        ("reaperd.pid1", "from reaperd.errors import Exit", "pid1 imports nothing of ours"),
        ("reaperd.pid1", "from reaperd import __version__", "pid1 imports nothing of ours"),
        ("reaperd.cli.status", "from reaperd.daemon import main", "the daemon is for `run`"),
        ("reaperd.cli.run", "import reaperd.assembly", "the daemon is for `run`"),
        ("reaperd.daemon", FROM_FUNCTION, "imports point down"),
        ("reaperd.zombies.scan", "if TYPE_CHECKING:\n    import click", "click lives in ['cli']"),
        ("reaperd.cli.tree", "from psutil import Process", "psutil lives in ['zombies']"),
        ("reaperd.loop.loop", "import ctypes.util", "ctypes lives in ['kernel', 'pid1']"),
        ("reaperd.loop.loop", "import structlog.dev as s", "structlog lives in ['telemetry']"),
        ("reaperd.cli.main", "import h11", "h11 lives in ['control']"),
        ("reaperd.config.schedules", "from cronsim import CronSim", "cronsim lives in ['crontab']"),
        ("reaperd.cli.import_", "import yaml", "yaml lives in ['config']"),
        ("reaperd.crontab", "from reaperd.config.spec import Cron", "imports point down"),
        ("reaperd.supervise.reload", "from reaperd.scaling import Scaling", "imports point down"),
        ("reaperd.cli.main", "import requests", "not a dependency"),
        ("reaperd.daemon", "import threading", "not in this program"),
        ("reaperd.loop.loop", "from . import timers", "imports are written in full"),
        ("reaperd.loop.loop", "x = lambda: import_module('reaperd.cli.main')", "imports point down"),
        ("reaperd.kernel.wait", "importlib.import_module(f'reaperd.cli.{x}')", "imports point down"),
        ("reaperd.kernel.wait", "__import__(name)", "not a dependency"),
        ("reaperd.utils", "import reaperd.units", "has no place in the table"),
    ],
)
def test_the_rules_see_what_breaks_them(module: str, source: str, problem: str) -> None:
    """Whatever way the import is written."""
    [said] = violations(module, read_imports(source))
    assert said.endswith(problem)


def test_every_part_has_its_place() -> None:
    """A new package or file is put into the table before it is imported."""
    assert {part_of(module) for module in modules()} <= {*RANK, "pid1", ""}


def test_there_are_no_cycles() -> None:
    """Neither among packages, which the layers exclude, nor among the files of one.

    Records that refer to each other, as a process and its group do, may name each other's types.
    """
    graph = {
        module: {each.name for each in imports_of(module) if not each.for_types} & modules().keys()
        for module in modules()
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for below in sorted(graph[module]):
                visit(below, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def reached(start: str, found: set[str] | None = None) -> set[str]:
    """Return all that importing a module of ours imports at once, libraries by their top name."""
    found = set() if found is None else found
    for each in imports_of(start):
        name = each.name if each.name in modules() else each.name.split(".")[0]
        if not (each.deferred or each.for_types or name in found):
            found.add(name)
            if name in modules():
                reached(name, found)
    return found


def test_the_daemon_holds_no_library_that_it_does_not_need() -> None:
    """An idle daemon has neither the command line's library nor psutil nor HTTP in memory."""
    held = reached("reaperd.assembly")
    assert {"json", "reaperd.control.server", "reaperd.kernel.wait"} <= held, "the search goes deep"
    assert not held & {"click", "psutil", "h11", "cronsim", "structlog", "tomllib"}


def test_the_package_itself_imports_nothing_of_ours() -> None:
    """Importing `reaperd` costs nothing; it blocks signals before anything else where it becomes an init."""
    assert {each.name for each in imports_of("reaperd")} <= {"sys", "posix", "_signal"}
