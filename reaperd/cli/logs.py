"""reaperd logs: what services have written into their files, and go on writing."""

import json
import select
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from reaperd.cli.command import Command, client, moment, service_names, socket_option
from reaperd.cli.render import items_of, printable
from reaperd.errors import Exit, ReaperdError
from reaperd.kernel import inotify
from reaperd.output.reading import Reader

SCHEMA: Final = "reaperd.logs/1"
_FOLLOWED: Final = 10  # lines that are shown before what comes
_MARKS: Final = {"stdout": "|", "stderr": "!"}
_AGAIN_MS: Final = 500  # where a directory cannot be watched, since it is not there


@dataclass(frozen=True, slots=True)
class _Source:
    """One file, and whose it is."""

    service: str
    stream: str
    reader: Reader


@click.command(
    cls=Command,
    exits=(
        "0: shown. 1: a service does not write into a file, or that cannot be read. "
        "4: there is no such service. 69: no daemon."
    ),
    examples=("reaperd logs web", "reaperd logs -f web worker", "reaperd logs --since 10m -n 100 web"),
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=service_names)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, after the last ten lines.")
@click.option("-n", "--lines", type=click.IntRange(min=0), help="Only the last so many lines of each file.")
@click.option(
    "--since",
    "since_s",
    metavar="T",
    callback=moment,
    help="Only what is not older: a time, or how long ago. Lines are told by the times that they begin with.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object a line, the first with the schema."
)
@socket_option
def logs(  # noqa: PLR0913 - one for each option
    names: tuple[str, ...],
    *,
    follow: bool,
    lines: int | None,
    since_s: float | None,
    as_json: bool,
    socket: Path | None,
) -> int:
    """Show what services have written into their files, old ones included.

    The files are read by this command itself: whoever may read them may use it.
    """
    sources = _sources(items_of(client(socket).ask("status", names)), since_s)
    show = _Show(as_json=as_json, named=len(sources) > 1)
    most = _FOLLOWED if follow and lines is None and since_s is None else lines
    for source in sources:
        show.lines(source, _guarded(source, source.reader.start(most)))
    if follow:
        _follow(sources, show)
    return Exit.OK


def _sources(items: Sequence[Mapping[str, Any]], since_s: float | None) -> list[_Source]:  # Any: JSON
    sources: list[_Source] = []
    for item in items:
        name = str(item.get("name"))
        files = item.get("log_files") or {}
        # An output that joins the other one has the same file, and the first one's name.
        paths = {path: stream for stream, path in reversed(files.items()) if path}
        own = [_Source(name, stream, Reader(path, since_s)) for path, stream in reversed(paths.items())]
        if not own:
            raise ReaperdError(
                f'cannot show the log of "{name}": it does not write into a file',
                hint=f'give it one: stdout = {{ file = "..." }} in service.{name}',
            )
        known = {source.reader.path for source in sources}
        sources += [source for source in own if source.reader.path not in known]
    return sources


def _follow(sources: Sequence[_Source], show: "_Show") -> None:
    """Show what comes, until somebody ends us."""
    fd = inotify.open_notices()
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while True:
        # Before reading: what comes while we read is told then.
        folders = {str(Path(source.reader.path).parent) for source in sources}
        watched = [inotify.notice(fd, folder) for folder in folders]
        for source in sources:
            show.lines(source, _guarded(source, source.reader.more()))
        show.flush()
        poll.poll(None if all(watched) else _AGAIN_MS)
        inotify.drain(fd)


def _guarded(source: _Source, lines: Iterator[bytes]) -> Iterator[bytes]:
    """Give lines, and say in our own words why a file cannot be read."""
    while True:
        try:
            line = next(lines)
        except StopIteration:
            return
        except PermissionError as error:
            raise ReaperdError(
                f"cannot read {source.reader.path}: {error.strerror}",
                hint="log files can be read by the user whom the daemon runs as, and by root",
            ) from error
        yield line


class _Show:
    """Print lines: as they are, behind names where there are several files, or as JSON."""

    def __init__(self, *, as_json: bool, named: bool) -> None:
        self._as_json = as_json
        self._named = named
        self._out = None if sys.stdout is None else sys.stdout.buffer
        self._harmless = sys.stdout is not None and sys.stdout.isatty()
        if as_json:
            self._write(json.dumps({"schema": SCHEMA}).encode() + b"\n")

    def lines(self, source: _Source, lines: Iterable[bytes]) -> None:
        """Print lines of a file."""
        prefix = f"{source.service} {_MARKS[source.stream]} ".encode() if self._named else b""
        for line in lines:
            self._write(self._json(source, line) if self._as_json else prefix + self._plain(line))

    def flush(self) -> None:
        """Let what was printed be seen."""
        if self._out is not None:
            self._out.flush()

    def _json(self, source: _Source, line: bytes) -> bytes:
        message = line.removesuffix(b"\n").decode(errors="backslashreplace")
        item = {"service": source.service, "stream": source.stream, "message": message}
        return json.dumps(item).encode() + b"\n"

    def _plain(self, line: bytes) -> bytes:
        """Return a line for whoever reads; a terminal gets nothing that it would obey."""
        if not self._harmless:
            return line
        text = line.removesuffix(b"\n").decode(errors="backslashreplace")
        return "\t".join(map(printable, text.split("\t"))).encode() + b"\n"

    def _write(self, data: bytes) -> None:
        if self._out is not None:
            self._out.write(data)
