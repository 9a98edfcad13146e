"""A configuration as bytes, from the process that read its files to the one that follows it.

What is frozen is plain all the way down: numbers, texts, tuples, and records and enums of a few modules.
So marshal carries it, which is part of every interpreter; pickle would cost the daemon 360 KiB. Both ends run
the same code, on the same machine, and one is the child of the other.
"""

import marshal
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from reaperd.config import daemon_spec, listener, spec
from reaperd.config.spec import Config
from reaperd.errors import Problem

_SCALARS: Final = (type(None), bool, int, float, str)
_KINDS: Final[dict[str, Any]] = {  # Any: classes whose arguments are what their instances held
    **{
        name: kind
        for module in (spec, daemon_spec, listener)
        for name, kind in vars(module).items()
        if isinstance(kind, type)
    },
    "Path": Path,
    "Problem": Problem,
}
_TUPLE: Final = ""


def pack(found: Config | tuple[Problem, ...]) -> bytes:
    """Return a configuration, or what is wrong with one, as bytes.

    Raises:
        ValueError: it holds what no configuration does.
    """
    return marshal.dumps(_packed(found))


def unpack(data: bytes) -> Config | tuple[Problem, ...]:
    """Return what was packed. Records and tuples that are alike become one: services share what they can."""
    found = _unpacked(marshal.loads(data), {})  # noqa: S302 - our own child wrote it
    assert isinstance(found, Config | tuple)
    return found


def _packed(value: object) -> Any:  # noqa: ANN401 - what marshal takes
    if type(value) in _SCALARS:
        return value
    if isinstance(value, tuple):
        return _TUPLE, tuple(map(_packed, value))
    name = "Path" if isinstance(value, Path) else type(value).__name__
    if isinstance(value, Enum):
        return name, (value.value,)
    if isinstance(value, Path):
        return name, (str(value),)
    if not is_dataclass(value) or _KINDS.get(name) is not type(value):
        raise ValueError(f"a configuration holds no {name}")
    return name, tuple(_packed(getattr(value, field.name)) for field in fields(value))


def _unpacked(packed: Any, known: dict[str, object]) -> object:  # noqa: ANN401 - what marshal gives
    if type(packed) in _SCALARS:
        return packed
    name, parts = packed
    key = repr(packed)  # which tells 1 from 1.0 and True, as equality does not
    if key not in known:
        values = tuple(_unpacked(part, known) for part in parts)
        known[key] = values if name == _TUPLE else _KINDS[name](*values)
    return known[key]
