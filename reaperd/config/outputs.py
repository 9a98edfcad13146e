"""Where what a service writes goes: the forms of `stdout` and `stderr`."""

from typing import Final

from reaperd.config.kinds import BOOLEAN, PATH, SIZE, choice, duration, integer
from reaperd.config.report import Site
from reaperd.config.spec import LogFile, Sink
from reaperd.config.table import Key, Kind, table_of, wrong_type
from reaperd.units import format_size

_SECOND_NS: Final = 1_000_000_000


def _size(at_least: int, at_most: int) -> Kind:
    """Return the kind of a size within bounds; both bounds are allowed values."""

    def read(value: object, site: Site) -> int:
        size = SIZE.read(value, site)
        assert isinstance(size, int), "that is what sizes are read to"
        if not at_least <= size <= at_most:
            allowed = f"{format_size(at_least)} to {format_size(at_most)}"
            raise ValueError(f"{format_size(size)} is out of range; allowed: {allowed}")
        return size

    return Kind(SIZE.name, read, schema=SIZE.schema)


FILE: Final = (
    Key(
        "file",
        PATH,
        "The file. It is appended to, and made if it is missing, with its directories; it may not be a link.",
        required=True,
    ),
    Key(
        "max_size",
        _size(1 << 10, 1 << 40),
        "Before it would grow larger than this a new file is begun; at least 1KiB. Without it: never for "
        "its size.",
    ),
    Key(
        "max_age",
        duration(_SECOND_NS),
        "So long after its first line a new file is begun; at least 1s. Without it: never for its age.",
        field="max_age_ns",
    ),
    Key("keep", integer(0, 10_000), "How many old files are kept.", "5"),
    Key("compress", BOOLEAN, "Whether old files are compressed, by gzip.", "false"),
    Key(
        "max_line",
        _size(80, 1 << 24),
        "What a line has beyond this, 80B to 16MiB, is cut off, and the line says so.",
        '"64KiB"',
    ),
    Key(
        "buffer",
        _size(1 << 10, 1 << 30),
        "How much is held while the file cannot be written, 1KiB to 1GiB; what comes then is dropped by "
        "whole lines, and the file says how many.",
        '"1MiB"',
    ),
)


def _output(sinks: Kind) -> Kind:
    file = table_of(FILE, LogFile, merges=False)

    def read(value: object, site: Site) -> object:
        if isinstance(value, dict):
            return file.read(value, site)
        if not isinstance(value, str):
            raise wrong_type(value, f"{sinks.name}, or a table with file,")
        return sinks.read(value, site)

    return Kind(f"{sinks.name}, or a table", read, FILE, {"oneOf": [sinks.schema, {"type": "object"}]})


STDOUT: Final = _output(choice(Sink, without=(Sink.STDOUT,)))
STDERR: Final = _output(choice(Sink))
