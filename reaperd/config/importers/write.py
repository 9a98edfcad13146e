"""Write a configuration in the making as TOML, with comments at what could not be carried over."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from reaperd.config.importers.draft import Draft, Imported, Value

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_WIDTH: Final = 100
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def toml(imported: Imported, title: str) -> str:
    """Return the whole text; `title` is its first comment."""
    lines = [*_comment(title)]
    for each in imported.lost:
        lines += _comment(f"not carried over: {f'{each.where}: ' if each.where else ''}{each.what}")
    for draft in imported.drafts:
        lines += ["", *_service(draft)]
    return "\n".join(lines) + "\n"


def _service(draft: Draft) -> Iterator[str]:
    for each in draft.lost:
        yield from _comment(f"not carried over: {each.what}")
    yield f"[service.{_key(draft.name)}]"
    for key, value in draft.keys.items():
        line = f"{key} = {_value(value)}"
        if len(line) > _WIDTH and isinstance(value, list) and len(value) > 1:
            yield f"{key} = ["
            yield from (f"  {_value(each)}," for each in value)
            yield "]"
        elif len(line) > _WIDTH and key == "environment" and isinstance(value, Mapping):
            # A table of its own would have to come last: dotted keys may stand anywhere.
            yield from (f"{key}.{_key(name)} = {_value(each)}" for name, each in value.items())
        else:
            yield line


def _comment(text: str) -> Iterator[str]:
    words, line = text.split(" "), "#"
    for word in words:
        if len(line) + len(word) + 1 > _WIDTH and line not in {"#", "#  "}:
            yield line
            line = "#  "
        line += f" {word}"
    yield line


def _value(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + " }"
    return "[" + ", ".join(_value(each) for each in value) + "]"


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    """Return a basic string: every control character escaped, so that no text can end it early."""
    return '"' + "".join(_ESCAPES.get(char) or _plain(char) for char in text) + '"'


def _plain(char: str) -> str:
    code = ord(char)
    if 0xD800 <= code < 0xE000:
        return "\\uFFFD"  # no character at all, and TOML has no way to write it
    return f"\\u{code:04X}" if code < 0x20 or 0x7F <= code < 0xA0 else char
