"""Read the text of a configuration file: bounded, never waiting, and sure to be a file."""

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

from reaperd.config.report import Source
from reaperd.errors import ConfigError, Problem

MAX_BYTES: Final = 1 << 20  # far above any real file, far below what would hold the daemon up

_KINDS: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_VALUES: Final = "allowed: text in quotes, a number, true or false, an [array], a { table }"


def read_source(path: Path) -> Source:
    """Read the text of a regular file.

    Raises:
        ConfigError: it cannot be read, is no regular file, is too large, or is not UTF-8.
    """
    try:
        raw = _read_bounded(path)
    except OSError as error:
        _refuse(path, f"cannot be read: {os.strerror(error.errno or 0)}")
    except ValueError:  # a NUL within the path
        _refuse(path, "cannot be read: its name holds a NUL byte")
    if len(raw) > MAX_BYTES:
        _refuse(path, f"is too large; at most {MAX_BYTES // 1024} KiB are allowed")
    if raw.startswith(b"\xef\xbb\xbf"):
        _refuse(path, "begins with a byte order mark; save it as UTF-8 without one", line=1)
    try:
        return Source(path, raw.decode())
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        _refuse(path, f"is not UTF-8: byte 0x{raw[error.start]:02x} cannot stand here", line=line)


def _read_bounded(path: Path) -> bytes:
    # O_NONBLOCK: opening a pipe must not wait for a writer. O_NOCTTY: a terminal must not become ours.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        kind = stat.S_IFMT(os.fstat(fd).st_mode)
        if kind != stat.S_IFREG:
            _refuse(path, f"is {_KINDS.get(kind, 'something else')}, not a file")
        chunks, size = [], 0
        while size <= MAX_BYTES and (chunk := os.read(fd, MAX_BYTES)):
            chunks.append(chunk)
            size += len(chunk)
        return b"".join(chunks)
    finally:
        os.close(fd)


def parse_toml(source: Source) -> Mapping[str, object]:
    """Return the tables of a TOML text.

    Raises:
        ConfigError: it is malformed, with line and column.
    """
    try:
        document = tomllib.loads(source.text)
    except RecursionError:
        _refuse(source.path, "is not valid TOML: arrays or tables are nested too deeply")
    except ValueError as error:  # TOMLDecodeError, or int() that refuses thousands of digits
        _refuse_malformed(source, str(error))
    return document


def _refuse_malformed(source: Source, message: str) -> NoReturn:
    """Turn `Invalid value (at line 3, column 7)` into a problem with its place."""
    what, _, place = message.rpartition(" (at ")
    if not what:
        what, place = message, "end of document)"
    line, column = _place(source.text, place)
    hint = f"; {_VALUES}" if what == "Invalid value" else ""
    _refuse(source.path, f"is not valid TOML: {_plain(what)}{hint}", line=line, column=column)


def _place(text: str, place: str) -> tuple[int, int]:
    numbers = [int(word) for word in place.replace(",", " ").replace(")", " ").split() if word.isdecimal()]
    if len(numbers) == 2:
        return numbers[0], numbers[1]
    lines = text.removesuffix("\n").split("\n")  # "end of document": where the last line ends
    return len(lines), len(lines[-1]) + 1


def _plain(what: str) -> str:
    """Write a tuple of names within a message, such as `('service', 'web')`, as a dotted key."""
    before, parenthesis, rest = what.partition("(")
    names, closing, after = rest.partition(")")
    if parenthesis and closing:
        key = ".".join(name.strip(" '\"") for name in names.split(",") if name.strip())
        what = f"{before}{key}{after}"
    return what[:1].lower() + what[1:]


def _refuse(path: Path, what: str, *, line: int | None = None, column: int | None = None) -> NoReturn:
    where = ":".join(str(part) for part in (path, line, column) if part is not None)
    raise ConfigError((Problem(where, "", what),)) from None
