"""Find and read the files that the main file includes."""

import glob
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from reaperd.config.kinds import PATTERNS
from reaperd.config.read import parse_toml, read_source
from reaperd.config.report import Report, Site, Source
from reaperd.errors import ConfigError

File = tuple[Source, Mapping[str, object]]


def included(main: Source, document: Mapping[str, object], report: Report) -> Iterator[File]:
    """Give each file that `[daemon] include` names, once, in the order of patterns and then of names.

    A pattern that matches nothing includes nothing, for a drop-in directory may be empty; a name without
    any wildcard has to be there. What is wrong with a file is reported, and the file left out.
    """
    daemon = document.get("daemon", {})
    patterns = daemon.get("include", []) if isinstance(daemon, dict) else []
    site = Site(report, main, ("daemon", "include"))
    seen = {os.path.realpath(main.path)}
    for path in _matches(patterns, site):
        real = os.path.realpath(path)
        if real not in seen:
            seen.add(real)
            yield from _read(path, report)


def _matches(patterns: object, site: Site) -> Iterator[Path]:
    before = site.report.count
    try:
        found = PATTERNS.read(patterns, site)
    except ValueError:
        return  # reported where the table is read
    if site.report.count > before or not isinstance(found, tuple):
        return
    for index, pattern in enumerate(found):
        full = os.path.join(glob.escape(str(site.source.folder)), pattern)  # noqa: PTH118  # glob takes a text
        paths = sorted(glob.glob(full))  # noqa: PTH207  # Path.glob has no escape for the folder's name
        if not paths and not glob.has_magic(pattern):
            site.at(index).problem(f"there is no file {full}")
        yield from map(Path, paths)


def _read(path: Path, report: Report) -> Iterator[File]:
    try:
        source = read_source(path)
        yield source, parse_toml(source)
    except ConfigError as error:
        report.add_all(path, error)
