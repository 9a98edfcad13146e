"""Read a configuration: from its path to frozen specs, or to every problem that its files have."""

import os
from collections.abc import Mapping
from pathlib import Path

from reaperd.config.include import included
from reaperd.config.read import parse_toml, read_source
from reaperd.config.report import Report
from reaperd.config.spec import Config
from reaperd.config.validate import Scale, validate
from reaperd.errors import ConfigError, Problem


def load(path: Path, environ: Mapping[str, str] = os.environ, scale: Scale | None = None) -> Config:
    """Return the configuration that the file at `path` and those it includes hold.

    Args:
        path: the main file; relative paths in it are relative to its folder.
        environ: what `${NAME}` is looked up in, after a service's own files.
        scale: numbers of instances that hold in place of those in the files, by service.

    Raises:
        ConfigError: with every problem of all files; nothing of them is used then.
    """
    source = read_source(path)
    document = parse_toml(source)
    if not document:
        what = "is empty; a configuration needs at least one [service.NAME] with a command"
        raise ConfigError((Problem(str(path), "", what),))
    report = Report()
    files = [(source, document), *included(source, document, report)]
    return validate(files, report, environ, scale or {})
