"""Which importer a file is for, and what it makes of it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from reaperd.config.importers import compose, procfile, supervisord, write
from reaperd.config.importers.draft import MOST_LOST, Imported, Lost, plain, refuse
from reaperd.config.read import read_source

_READERS: Final[Mapping[str, Callable[[str, Path], Imported]]] = {
    "supervisord": supervisord.read,
    "procfile": procfile.read,
    "compose": compose.read,
}
KINDS: Final = tuple(_READERS)


def import_file(path: Path, kind: str | None) -> tuple[str, list[Lost]]:
    """Return a configuration of ours as text, and what could not be carried over.

    `kind` is one of `KINDS`; None to tell it by the file's name, or by what stands in it.

    Raises:
        ConfigError: the file cannot be read, is of no known kind, or has no service.
        ReaperdError: what is needed to read it is not installed.
    """
    source = read_source(path)
    if "\0" in source.text:
        raise refuse(path, "holds a NUL byte, so it is no text")
    kind = kind or _kind_of(path, source.text)
    imported = _READERS[kind](source.text, path)
    if not imported.drafts:
        why = "".join(f"; {each.where}: {each.what}" for each in imported.everything_lost[:3])
        raise refuse(path, f"has no service that could be carried over{why}")
    everything = imported.everything_lost
    if len(everything) > MOST_LOST:
        raise refuse(path, f"has more than {MOST_LOST} things that could not be carried over")
    name = plain(path.name, 100)
    title = f"Made from {name} ({kind}) by reaperd import; look it over, then: reaperd check"
    return write.toml(imported, title), everything


def _kind_of(path: Path, text: str) -> str:
    name = path.name.lower()
    if name.startswith("procfile"):
        return "procfile"
    if name.endswith((".yml", ".yaml")):
        return "compose"
    if "[program:" in text or "[supervisord]" in text:
        return "supervisord"
    raise refuse(path, f"is of no kind that its name tells; say it with --from: {', '.join(KINDS)}")
