"""What each source file imports, read with `ast`: inside functions and for types only included."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = "reaperd"


@dataclass(frozen=True, slots=True)
class Import:
    """One name that a file imports.

    Attributes:
        name: dotted; a module of ours in full, of others as it is written.
        line: where.
        deferred: inside a function, so that importing the file does not import this.
        for_types: under `if TYPE_CHECKING:`, so that nothing ever imports this.
    """

    name: str
    line: int
    deferred: bool = False
    for_types: bool = False


@cache
def modules() -> dict[str, Path]:
    """Return all our modules by dotted name."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports_of(module: str) -> tuple[Import, ...]:
    """Return what a module of ours imports."""
    return tuple(read_imports(modules()[module].read_text()))


def read_imports(source: str) -> Iterator[Import]:
    """Yield what a source imports; a relative import begins with its dots."""
    return _walk(ast.parse(source), deferred=False, for_types=False)


def _walk(node: ast.AST, *, deferred: bool, for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        for name in _named(child):
            yield Import(name, getattr(child, "lineno", 0), deferred, for_types)
        yield from _walk(
            child,
            deferred=deferred or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda),
            for_types=for_types or _is_for_types(child),
        )


def _named(node: ast.AST) -> Iterable[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            base = "." * level + (module or "")
            return dict.fromkeys(_full(base, alias.name) for alias in names)
        case ast.Call() if (name := _called(node)) is not None:
            return [name]
    return []


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _full(base: str, name: str) -> str:
    """Return the module that `from base import name` needs: `name` may be a module or something in one."""
    full = f"{base}.{name}"
    return full if full in modules() else base


def _called(call: ast.Call) -> str | None:
    """Return what `import_module(...)` or `__import__(...)` imports; of a computed name its beginning."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if called not in {"import_module", "__import__"} or not call.args:
        return None
    first = call.args[0]
    if isinstance(first, ast.JoinedStr) and first.values:
        first = first.values[0]
    return (
        first.value.rstrip(".") if isinstance(first, ast.Constant) and isinstance(first.value, str) else "?"
    )
