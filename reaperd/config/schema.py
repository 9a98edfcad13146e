"""Make a JSON Schema of the table of keys, with which an editor completes and checks a configuration.

python -m reaperd.config.schema > reaperd.schema.json
"""

import json
import sys
import tomllib
from typing import Final

from reaperd.config.daemon_keys import DAEMON
from reaperd.config.keys import SERVICE, USE
from reaperd.config.table import Key

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_NAME: Final = "^[A-Za-z0-9_@][A-Za-z0-9_.@-]{0,63}$"


def schema() -> dict[str, object]:
    """Return the schema of a whole file."""
    return {
        "$schema": _DIALECT,
        "title": "reaperd.toml",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "daemon": _table(DAEMON),
            "service": _named(_table((USE, *SERVICE))),
            "template": _named(_table(SERVICE, partial=True)),
        },
    }


def _named(table: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "patternProperties": {_NAME: table}, "additionalProperties": False}


def _table(keys: tuple[Key, ...], *, partial: bool = False) -> dict[str, object]:
    # A template may give what is required: so no key of a service is.
    required = [key.name for key in keys if key.required and not partial and key.name != "command"]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {key.name: _value(key) for key in keys},
        **({"required": required} if required else {}),
    }


def _value(key: Key) -> dict[str, object]:
    described: dict[str, object] = {"description": key.doc, **_kind(key)}
    if key.default:
        described["default"] = tomllib.loads(f"x = {key.default}")["x"]
    return described


def _kind(key: Key) -> dict[str, object]:
    """Return what a value may be; a table is one of the forms, or the only one."""
    if not key.kind.keys:
        return dict(key.kind.schema)
    table = _table(key.kind.keys)
    forms = key.kind.schema.get("oneOf")
    if not isinstance(forms, list):
        return table
    return {"oneOf": [table if form == {"type": "object"} else form for form in forms]}


if __name__ == "__main__":
    json.dump(schema(), sys.stdout, indent=2)
