"""The old files of a log: what they are called, which there are, which are too many.

`web.log` is written to. Once it is large or old it is called `web.log.000001`, the next one `web.log.000002`,
and so on: a number stands for one file for ever, so that nobody who reads, compresses or removes one meets
another under its name. Compressed it is `web.log.000001.gz`. While both are there, which is until the moment
after the compressed one is complete, they are the same.
"""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

COMPRESSED: Final = ".gz"
PART: Final = ".gz.part"  # a compressed one that is not complete, and never will be if nobody is at it
_DIGITS: Final = 6  # for lists in their order; more where there are more


@dataclass(frozen=True, slots=True)
class Old:
    """One old file, or both of its forms; none where only a part of a compressed one was left behind."""

    number: int
    path: str
    plain: bool
    compressed: bool

    @property
    def paths(self) -> tuple[str, ...]:
        """Its forms that are there, the compressed one first: that is complete as soon as it is there."""
        forms = ((self.path + COMPRESSED, self.compressed), (self.path, self.plain))
        return tuple(path for path, is_there in forms if is_there)


def old_path(path: str, number: int) -> str:
    """Return what the old file with this number is called."""
    return f"{path}.{number:0{_DIGITS}}"


def old_files(path: str) -> list[Old]:
    """Return the old files of `path`, the oldest first.

    Raises:
        OSError: its directory cannot be read.
    """
    folder, name = os.path.split(path)
    pattern = re.compile(re.escape(name) + rf"\.(\d{{{_DIGITS},}})(|\.gz|\.gz\.part)")
    forms: dict[int, set[str]] = {}
    for each in os.listdir(folder or "."):  # noqa: PTH208 - names are all it is about
        match = pattern.fullmatch(each)
        if match is not None:
            forms.setdefault(int(match[1]), set()).add(match[2])
    return [
        Old(number, old_path(path, number), plain="" in found, compressed=COMPRESSED in found)
        for number, found in sorted(forms.items())
    ]


def set_aside(path: str) -> None:
    """Give `path` the name of its newest old file.

    Raises:
        OSError: rename(2), or the directory cannot be read.
    """
    found = old_files(path)
    os.rename(path, old_path(path, found[-1].number + 1 if found else 1))  # noqa: PTH104 - paths are texts


def prune(path: str, keep: int) -> None:
    """Remove the oldest files until `keep` are left.

    Raises:
        OSError: the directory cannot be read, or one of them cannot be removed.
    """
    found = old_files(path)
    for old in found[: max(len(found) - keep, 0)]:
        for each in (*old.paths, old.path + PART):
            with suppress(FileNotFoundError):
                os.unlink(each)  # noqa: PTH108 - paths are texts
