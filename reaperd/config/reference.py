"""Write the tables of keys into the reference and the manual page.

    python -m reaperd.config.reference docs/reference/configuration.md docs/man/reaperd.toml.5

What stands between a comment `keys of TABLE` and a comment `end of keys` is replaced; the prose around
stays. A test fails when a file does not say what the table of keys says.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reaperd.config.daemon_keys import DAEMON
from reaperd.config.keys import SERVICE, USE
from reaperd.config.table import Key

TABLES: Final = {"daemon": DAEMON, "service": (USE, *SERVICE)}
_COMMENT: Final = ("<!-- ", '.\\" ')
_BEGIN: Final = tuple(f"{mark}keys of " for mark in _COMMENT)
_END: Final = tuple(f"{mark}end of keys" for mark in _COMMENT)


def refreshed(text: str, *, is_man: bool) -> str:
    """Return a document with each of its tables of keys written anew."""
    lines: list[str] = []
    skipping = False
    for line in text.splitlines():
        if line.startswith(_END):
            skipping = False
        if not skipping:
            lines.append(line)
        if line.startswith(_BEGIN):
            skipping = True
            name = line.partition(" keys of ")[2].replace(",", " ").split()[0]
            lines += _man(TABLES[name]) if is_man else _markdown(TABLES[name])
    return "\n".join(lines) + "\n"


def rows(keys: tuple[Key, ...], prefix: str = "") -> Iterator[tuple[str, Key]]:
    """Give each key with its dotted name; the keys of a table follow it."""
    for key in keys:
        yield prefix + key.name, key
        yield from rows(key.kind.keys, f"{prefix}{key.name}.")


def _markdown(keys: tuple[Key, ...]) -> Iterator[str]:
    yield "| key | value | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, key in rows(keys):
        cells = (f"`{name}`", key.kind.name, _default(key), key.doc)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(key: Key) -> str:
    if key.required:
        return "required"
    return f"`{key.default}`" if key.default else ""


def _man(keys: tuple[Key, ...]) -> Iterator[str]:
    for name, key in rows(keys):
        default = f", default {key.default}" if key.default else ", required" if key.required else ""
        yield ".TP"
        yield f".B {name}"
        yield _roff(f"({key.kind.name}{default})")
        yield _roff(key.doc)


def _roff(text: str) -> str:
    """Return text for man(7): code in bold, and nothing that roff would take for its own."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace('"', "\\(dq")
    parts = escaped.split("`")  # every second part is code
    line = "".join(f"\\fB{part}\\fR" if index % 2 else part for index, part in enumerate(parts))
    return f"\\&{line}" if line[0] in ".'" else line


def main(paths: list[str]) -> None:
    """Rewrite the files named."""
    for path in map(Path, paths):
        path.write_text(refreshed(path.read_text(), is_man=path.suffix != ".md"))


if __name__ == "__main__":
    main(sys.argv[1:])
