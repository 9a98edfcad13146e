"""Where the lines of a service go: the forms of `stdout` and `stderr`."""

from typing import Final

from reaperd.config.kinds import BOOLEAN, PATH, SIZE, choice, duration, integer
from reaperd.config.report import Site
from reaperd.config.spec import LogFile, Sink
from reaperd.config.table import Key, Kind, table_of, wrong_type

_SECOND_NS: Final = 1_000_000_000

FILE: Final = (
    Key("file", PATH, "The file. It is appended to, and made if it is missing.", field="path", required=True),
    Key("max_size", SIZE, "From this size on a new file is begun. Without it: never for its size."),
    Key(
        "max_age",
        duration(_SECOND_NS),
        "After this time a new file is begun. Without it: never for its age.",
        field="max_age_ns",
    ),
    Key("keep", integer(0, 10_000), "How many old files are kept.", "5"),
    Key("compress", BOOLEAN, "Whether old files are compressed.", "false"),
    Key("max_line", SIZE, "A longer line is cut here, and marked.", '"64KiB"'),
    Key("buffer", SIZE, "How much is held back while the file cannot be written.", '"1MiB"'),
)


def _output(name: str, sinks: Kind) -> Kind:
    file = table_of(FILE, LogFile, merges=False)

    def read(value: object, site: Site) -> object:
        if isinstance(value, dict):
            return file.read(value, site)
        if not isinstance(value, str):
            raise wrong_type(value, f"{sinks.name}, or a table with file,")
        return sinks.read(value, site)

    return Kind(name, read, FILE, {"oneOf": [sinks.schema, {"type": "object"}]})


_SINKS: Final = choice(Sink, without=(Sink.STDOUT,))
STDOUT: Final = _output(f"{_SINKS.name}, or a table", _SINKS)
STDERR: Final = _output(f"{choice(Sink).name}, or a table", choice(Sink))
