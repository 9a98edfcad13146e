"""Read the files of supervisord: sections of keys, included files, and its `%(name)s`."""

import glob
import re
from collections.abc import Mapping
from configparser import Error, RawConfigParser
from pathlib import Path
from typing import Final

from reaperd.config.importers.draft import Imported, literal, refuse
from reaperd.config.read import MAX_BYTES, read_source
from reaperd.errors import ConfigError

Section = Mapping[str, str]
Sections = dict[str, dict[str, str]]

MOST_FILES: Final = 200
_LONGEST_VALUE: Final = 65536
_VARIABLE: Final = re.compile(r"%(?:%|\(([^)]{1,200})\)([0-9]{0,2})([sd]))")


class Unknown(ValueError):  # noqa: N818 - what it is, and nobody outside catches it as an error
    """A `%(name)s` that means nothing here."""


def read(text: str, path: Path, imported: Imported) -> Sections:
    """Return the sections of a file and of those that it includes; the later ones are added.

    Raises:
        ConfigError: a file cannot be read, is no such file, or there is too much of it.
    """
    sections = _parse(text, path)
    patterns = sections.get("include", {}).get("files", "").split()
    found = [each for pattern in patterns for each in _matches(pattern, path)]
    if len(found) > MOST_FILES:
        raise refuse(path, f"includes {len(found)} files; at most {MOST_FILES} are allowed")
    size = len(text)
    for each in found:
        try:
            more = read_source(each).text
        except ConfigError as error:
            imported.lose("include", f"{each} {error.problems[0].what}")
            continue
        size += len(more)
        if size > MAX_BYTES:
            raise refuse(
                path, f"is too large with what it includes; at most {MAX_BYTES // 1024} KiB are allowed"
            )
        for name, section in _parse(more, each).items():
            if name != "include":  # which only the main file may have
                sections.setdefault(name, {}).update(section)
    return sections


def _parse(text: str, path: Path) -> Sections:
    parser = RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False, default_section="\0")
    parser.optionxform = str.lower  # type: ignore[method-assign,assignment]  # the documented way
    try:
        parser.read_string(text, str(path))
    except (Error, RecursionError) as error:
        first = str(error).split("\n", maxsplit=1)[0]
        raise refuse(path, f"is no file of supervisord: {first[:200]}") from error
    return {name: dict(parser.items(name)) for name in parser.sections()}


def _matches(pattern: str, path: Path) -> list[Path]:
    """Return the files that a pattern means, at most one more than are allowed."""
    whole = Path(path.parent.absolute(), pattern.replace("%(here)s", str(path.parent.absolute())))
    found = []
    for each in glob.iglob(str(whole)):  # noqa: PTH207 - a pattern from the root, which Path.glob refuses
        found.append(Path(each))
        if len(found) > MOST_FILES:
            break
    return sorted(found)


def expanded(text: str, variables: Mapping[str, str | int], environ: Mapping[str, str] | None) -> str:
    """Return `text` with its `%(name)s` replaced.

    `%(ENV_X)s` becomes the value that X has in `environ`; where that is None, for commands and
    environments, our own `${X}`, and every other dollar there stays one.

    Raises:
        Unknown: there is no such variable, or the text would become too long.
    """

    def one(match: re.Match[str]) -> str:
        name, width, kind = match[1], match[2], match[3]
        if name is None:
            return "%"
        if name.startswith("ENV_"):
            return _of_environment(name.removeprefix("ENV_"), environ)
        if name not in variables:
            raise Unknown(f"%({name}){width}{kind} means nothing here")
        value = variables[name]
        number = isinstance(value, int) and kind == "d"
        text = str(value).rjust(int(width or 0), "0" if width.startswith("0") and number else " ")
        return text if environ is not None or isinstance(value, int) else _kept(text)

    parts, at, size = [], 0, 0
    for match in _VARIABLE.finditer(text):
        before = text[at : match.start()]
        parts += [before if environ is not None else literal(before), one(match)]
        at = match.end()
        size += len(parts[-1])
        if size > _LONGEST_VALUE:
            raise Unknown("it becomes too long")
    rest = text[at:]
    return "".join([*parts, rest if environ is not None else literal(rest)])


def _kept(text: str) -> str:
    return text if text.startswith("${") else literal(text)


def _of_environment(name: str, environ: Mapping[str, str] | None) -> str:
    if environ is None:
        return f"${{{name}}}"
    if name not in environ:
        raise Unknown(f"%(ENV_{name})s is not set here")
    return environ[name]
