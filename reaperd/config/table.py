"""How a table of keys is described, and how a TOML table is read by it.

All that a configuration may say is rows of `Key`; a new key is a new row. The reader, the reference, the
JSON Schema and every message are made from the same rows.

A reader gets the raw value and its `Site`. It raises ValueError, with a text that reads well after the
key's name, where the whole value is wrong, and reports to inner sites where a part of it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any, Final

from reaperd.config.report import Site
from reaperd.units import shown, suggest

Read = Callable[[object, Site], object]
Schema = Mapping[str, object]
"""What JSON Schema says of a value."""

_TOML_NAMES: Final[Mapping[type, str]] = {
    bool: "a boolean",
    int: "an integer",
    float: "a float",
    str: "a string",
    list: "an array",
    dict: "a table",
    datetime: "a date-time",
    date: "a date",
    time: "a time",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value is and how it is read.

    Attributes:
        name: what the reference calls it, such as `a duration`.
        read: from the raw value to what the spec holds.
        keys: what a table may hold; empty for everything else.
        schema: what JSON Schema says of it; of a table's keys it is told by the rows.
        dollars: whether `${` means something in it, or may stand there.
        merges: whether a template's table and a service's become one; otherwise the service's replaces it.
    """

    name: str
    read: Read
    keys: "tuple[Key, ...]" = ()
    schema: Schema = field(default_factory=dict)
    merges: bool = False
    dollars: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """One row of the table of keys.

    Attributes:
        name: as it is written in the file.
        kind: what its value is.
        doc: what it does, for the reference: a sentence or two.
        default: what holds without it, as it would be written in the file; empty where `doc` says it.
        field: the field of the spec, where it is not called as the key is.
        required: whether leaving it out is a problem.
    """

    name: str
    kind: Kind
    doc: str
    default: str = ""
    field: str = ""
    required: bool = False


def read_keys(
    table: Mapping[str, object], keys: tuple[Key, ...], site: Site, *, partial: bool = False
) -> dict[str, Any]:
    """Return what a table says, by field of the spec, without the keys that it leaves out.

    Problems are reported, and what has one is left out too. A `partial` table need not hold what is
    required. Any: a value is what its row's reader returns.
    """
    known = {key.name: key for key in keys}
    values: dict[str, Any] = {}
    for name, raw in table.items():
        here = site.inside(table, name)
        if name in known:
            read_key(known[name], raw, here, values)
        else:
            here.problem(unknown_key(name, keys))
    for key in keys:
        if key.required and key.name not in table and not partial:
            site.at(key.name).problem(f"is missing; wanted: {key.kind.name}")
    return values


def read_key(key: Key, raw: object, site: Site, values: dict[str, Any]) -> None:
    """Read one value into `values`, or report what is wrong with it."""
    try:
        if not key.kind.dollars:
            _refuse_variables(raw)
        values[key.field or key.name] = key.kind.read(raw, site)
    except ValueError as error:
        site.problem(str(error))


def _refuse_variables(raw: object) -> None:
    for text in raw if isinstance(raw, list) else [raw]:
        if isinstance(text, str) and "${" in text:
            where = "in commands and in environment"
            raise ValueError(f"holds {shown(text)}, but variables count {where} only; write the value itself")


def unknown_key(name: str, keys: tuple[Key, ...]) -> str:
    """Return what to say of a key that is none of `keys`."""
    deeper = [f'"{key.name}.{name}"' for key in keys if any(inner.name == name for inner in key.kind.keys)]
    if deeper:
        return f"unknown key here; did you mean {' or '.join(deeper)}?"
    names = [key.name for key in keys]
    return f"unknown key{suggest(name, names) or '; allowed here: ' + ', '.join(names)}"


def table_of(keys: tuple[Key, ...], build: Callable[..., object], *, merges: bool = True) -> Kind:
    """Return the kind of a table with `keys`, of which `build` makes a record.

    `build` may raise ValueError: what is wrong with the values together. It is not called for a table in
    which something is wrong alone, so it sees no half-read table; the reader then returns None, and the
    table around, which sees the report grow too, is not built either.
    """

    def read(value: object, site: Site) -> object:
        if not isinstance(value, dict):
            raise wrong_type(value, "a table", f"; its keys: {', '.join(key.name for key in keys)}")
        before = site.report.count
        values = read_keys(value, keys, site)
        return build(**values) if site.report.count == before else None

    return Kind("a table", read, keys, {"type": "object"}, merges=merges)


def one_of(values: Mapping[str, object], names: tuple[str, ...]) -> str:
    """Return which of `names` is among `values`.

    Raises:
        ValueError: none is, or several are.
    """
    found = [name for name in names if name in values]
    if len(found) == 1:
        return found[0]
    said = f"says {' and '.join(found)}" if found else "says nothing of it"
    raise ValueError(f"needs exactly one of {', '.join(names)}, and {said}")


def wrong_type(value: object, wanted: str, hint: str = "") -> ValueError:
    """Return the error that a value is of another type than wanted, in the words of TOML."""
    kind = next(name for each, name in _TOML_NAMES.items() if isinstance(value, each))
    return ValueError(f"{kind} where {wanted} is wanted{hint}")
