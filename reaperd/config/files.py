"""Refuse log files that two services, or both outputs of one, would write in different ways.

Several may share a file: the daemon is its only writer, and lines stay whole. But it is one file, rotated in
one way; and by two names it would be two, each of which is set aside under the other's hands.
"""

import os
from collections.abc import Iterable, Mapping

from reaperd.config.services import Entry
from reaperd.config.spec import LogFile, ServiceSpec


def check_files(specs: Iterable[ServiceSpec], entries: Mapping[str, Entry]) -> None:
    """Report each use of a file that does not agree with the first one."""
    first: dict[str, tuple[str, str, LogFile]] = {}
    for spec in specs:
        name = spec.base or spec.name
        for key, to in (("stdout", spec.stdout), ("stderr", spec.stderr)):
            if not isinstance(to, LogFile):
                continue
            other, other_key, agreed = first.setdefault(_place(to.file), (name, key, to))
            if to != agreed:
                entry = entries[name]
                entry.site.inside(entry.table, key).problem(
                    f"{to.file} is the file of service.{other}.{other_key} too, "
                    f"{_difference(to, agreed)}; write both alike, or name another file"
                )


def _place(path: str) -> str:
    # The file itself may not be a link, and may not be there yet; directories can be both.
    folder, name = os.path.split(os.path.normpath(path))
    return os.path.join(os.path.realpath(folder), name)  # noqa: PTH118 - specs hold texts


def _difference(to: LogFile, agreed: LogFile) -> str:
    return f"called {agreed.file} there" if to.file != agreed.file else "with other settings there"
