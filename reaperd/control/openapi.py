"""The OpenAPI document of the control plane, made from the table of routes: OpenAPI 3.1, JSON Schema 2020-12.

    python -m reaperd.control.openapi docs/reference/openapi.json docs/reference/control.md

writes the document, and the table of routes into the page. The daemon serves the same at `/openapi.json`.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from reaperd import __version__
from reaperd.control.routes import NAME, ROUTES, Route
from reaperd.control.schemas import COMPONENTS, MEDIA, Schema, name_of_schema

BEGIN: Final = "<!-- routes -->"
END: Final = "<!-- end of routes -->"

_WHO: Final = "A service, all instances of one, a group, or a pattern"
_NAMED: Final[Schema] = {"type": "array", "items": {"type": "string", "minLength": 1}}
_PARAMETERS: Final[Mapping[str, tuple[str, Schema]]] = {
    "name": (f"{_WHO}; may be given several times.", _NAMED),
    "names": (
        'Services, groups or patterns, or "all".',
        {"oneOf": [{**_NAMED, "minItems": 1}, {"const": "all"}]},
    ),
    "wait": ("Answer when all is settled, or at once.", {"type": "boolean", "default": True}),
    "dry_run": ("Say what would change, and change nothing.", {"type": "boolean", "default": False}),
    "instances": ("How many there are to be.", {"type": "integer", "minimum": 0, "maximum": 1000}),
    "signal": ("A signal's name or number.", {"type": ["string", "integer"]}),
    "scope": (
        "Who gets it: the main process, its process group, or every descendant.",
        {"enum": ["main", "group", "tree"], "default": "main"},
    ),
    "follow": ("Go on with what comes.", {"type": "boolean", "default": False}),
    "kernel": (
        "What changes among processes, from now on, rather than what the daemon does.",
        {"type": "boolean", "default": False},
    ),
    "since": ("Only what is not older: a time, or how long ago.", {"type": "string"}),
    "after": ("Only what comes after this number.", {"type": "integer", "minimum": 0}),
    "last": ("Only the last so many.", {"type": "integer", "minimum": 0}),
    "service": (f"{_WHO}, whose events are wanted; may be given several times.", _NAMED),
}
_NEEDED: Final = frozenset({"names"})
_REFUSALS: Final = {
    "400": "No such key, parameter or value; the hint says what would be right.",
    "401": "Over TCP: no token, or an unknown one.",
    "403": "The caller lacks the right; or a web page asks.",
    "404": "No such service, or path.",
    "408": "The request did not come in time.",
    "409": "Not possible as things are.",
    "413": "The body is too large.",
    "421": "Over TCP: the Host is no address.",
    "422": "The configuration has problems; nothing was changed.",
    "431": "The head is too large.",
    "500": "The daemon could not.",
    "503": "Too many clients, or the daemon is ending.",
}


def document() -> dict[str, object]:
    """Return the whole document."""
    paths: dict[str, dict[str, object]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    bearer = {"type": "http", "scheme": "bearer", "description": "Over TCP only."}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "reaperd",
            "version": __version__,
            "summary": "The control plane of the reaperd daemon",
            "description": "HTTP/1.1 on a Unix socket, where the kernel says who asks; and over TCP, where "
            "that is switched on, with a token.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "http://localhost", "description": "through the daemon's Unix socket"}],
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {"schemas": COMPONENTS, "securitySchemes": {"token": bearer}},
    }


def _operation(route: Route) -> dict[str, object]:
    words = route.path.replace(NAME, "one").replace(".", "/").strip("/").split("/")
    operation: dict[str, object] = {
        "operationId": "-".join([route.method.lower(), *words]),
        "summary": route.does,
        "description": f"Takes the right `{route.need.word}`.",
        "x-right": route.need.word,
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": {**dict(_responses(route)), "default": _refusal("Whatever is refused says why.")},
    }
    if route.body:
        needed = [key for key in route.body if key in _NEEDED]
        schema: dict[str, object] = {
            "type": "object",
            "properties": {key: _described(key) for key in route.body},
            "additionalProperties": False,
        }
        if needed:
            schema["required"] = needed
        content = {"application/json": {"schema": schema}}
        operation["requestBody"] = {"required": bool(needed), "content": content}
    return operation


def _path_parameters(route: Route) -> Iterator[Schema]:
    if NAME in route.path:
        kind = {"type": "string"}
        yield {"name": "name", "in": "path", "required": True, "description": f"{_WHO}.", "schema": kind}


def _query_parameters(route: Route) -> Iterator[Schema]:
    for key in route.query:
        description, schema = _PARAMETERS[key]
        yield {"name": key, "in": "query", "description": description, "schema": schema}


def _described(key: str) -> Schema:
    description, schema = _PARAMETERS[key]
    return {**schema, "description": description}


def _responses(route: Route) -> Iterator[tuple[str, Schema]]:
    name = name_of_schema(route.schema)
    schema = {"schema": {"$ref": f"#/components/schemas/{name}"}}
    content = dict.fromkeys(MEDIA.get(name, ("application/json",)), schema)
    yield "200", {"description": f"`{route.schema}`", "content": content}
    if route.verb == "shutdown":
        yield "202", {"description": "It will, and was not waited for.", "content": content}
    for status, why in _REFUSALS.items():
        yield status, _refusal(why)


def _refusal(why: str) -> Schema:
    schema = {"$ref": "#/components/schemas/error"}
    return {"description": why, "content": {"application/json": {"schema": schema}}}


# --- pages ----------------------------------------------------------------------------------------------


def as_text() -> str:
    """Return the document as the file holds it."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def table() -> str:
    """Return the table of routes for the page."""
    rows = [
        f"| `{each.method} {each.path}` | {each.need.word} | {each.does} | `{each.schema}` |"
        for each in ROUTES
    ]
    return "\n".join(["| request | right | does | answers |", "| --- | --- | --- | --- |", *rows])


def refreshed(page: str) -> str:
    """Return a page with its table as it should be."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main(paths: Iterable[str]) -> None:
    """Write the files named anew."""
    for path in map(Path, paths):
        path.write_text(as_text() if path.suffix == ".json" else refreshed(path.read_text()))


if __name__ == "__main__":
    main(sys.argv[1:])
