"""A Procfile: lines of `name: command`, which a shell runs."""

import re
import shlex
from pathlib import Path
from typing import Final

from reaperd.config.importers.draft import MOST_SERVICES, Draft, Imported, Names, literal, refuse

_LINE: Final = re.compile(r"([A-Za-z0-9_-]+):\s*(\S.*)")
_SHELL: Final = frozenset("|&;<>()$`\\\"'*?[#~=%!{}\n")  # without these a shell would only split
_BUILTINS: Final = frozenset({"cd", "exec", "export", "source", ".", "eval", "set", "ulimit", "umask"})
_FIRST_PORT: Final = 5000
_PORT_STEP: Final = 100


def read(text: str, path: Path) -> Imported:
    """Return the services of a Procfile.

    Raises:
        ConfigError: it has a line that is none, or too many.
    """
    imported, names = Imported(), Names()
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        found = _LINE.fullmatch(stripped)
        if found is None:
            raise refuse(f"{path}:{number}", 'is no line of a Procfile; write it like "web: command"')
        if len(imported.drafts) == MOST_SERVICES:
            raise refuse(path, f"has too many processes; at most {MOST_SERVICES} are allowed")
        name, command = found[1], found[2]
        draft = Draft(names.name_for(name), name)
        draft.keys["command"] = _command(command)
        _port(draft, command, len(imported.drafts))
        if (path.parent / ".env").is_file():
            draft.keys["environment_files"] = [".env"]
        imported.drafts.append(draft)
    if imported.drafts:
        imported.lose("", "a Procfile does not say when to start a program again; add restart where needed")
    _release(imported)
    return imported


def _command(line: str) -> list[str]:
    first = line.split(maxsplit=1)[0]
    if _SHELL.isdisjoint(line) and first not in _BUILTINS:
        return shlex.split(line)
    return ["/bin/sh", "-c", literal(line)]


def _port(draft: Draft, command: str, index: int) -> None:
    """Give a program that asks for PORT the one that foreman would."""
    if "PORT" in command:
        draft.keys["environment"] = {"PORT": str(_FIRST_PORT + _PORT_STEP * index)}
        draft.lose("PORT comes from whoever runs a Procfile; the one here is what foreman would give")


def _release(imported: Imported) -> None:
    """Let the program of a release run to its end before the others start."""
    for release in imported.drafts:
        if release.where == "release":
            release.keys["oneshot"] = True
            for draft in imported.drafts:
                if draft is not release:
                    draft.keys["requires"] = [release.name]
            return
