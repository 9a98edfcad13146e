"""What services write and where it goes: pipes for each run, one outlet for each place.

A service whose output goes where the daemon's goes, or nowhere, has no pipe: unless a line of it is waited
for. Every other output is a pipe of its run, read by `output.streams`; standard error joins the standard
output's where the user wants both in one.

What a service's hooks, stop and reload commands write goes the same way, each line marked with their name.

A place has one outlet, whoever writes there: lines of several services in one file are never mixed. It lives
as long as somebody may write to it or it still holds lines.
"""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from reaperd.children.plan import Descriptors
from reaperd.config.spec import SECOND_NS, LogCheck, LogFile, ServiceSpec, Sink
from reaperd.errors import KernelError
from reaperd.kernel import fds
from reaperd.output import looks, rotation
from reaperd.output.datagrams import JournalOutlet, SyslogOutlet
from reaperd.output.logfile import FileOutlet
from reaperd.output.matcher import LONGEST_S, Matcher
from reaperd.output.outlet import Outlet
from reaperd.output.screen import ScreenOutlet
from reaperd.output.streams import Shape, Stream, Streams, wait_and_flush
from reaperd.supervise.helper import Errand, Order
from reaperd.supervise.helpers import Helpers
from reaperd.supervise.service import Service
from reaperd.supervise.world import Pulse, World

_STREAMS: Final = {1: "stdout", 2: "stderr"}
_MAX_LINE: Final = 1 << 16
_SEARCH_HINT: Final = 'write ready.log without repetitions of repetitions, "a+" for "(a+)+"'
LEAVING_NS: Final = 2 * SECOND_NS  # how long slow readers may hold up the end of the daemon
COMPRESSING_NS: Final = 3600 * SECOND_NS  # how long it may take; what is left is done the next time


class Outputs:
    """Give each run its pipes, and each place its outlet. Implements `output.logfile.FileDesk`.

    Args:
        world: what is acted through.
        helpers: run what compresses.
        matched: called when a line that is waited for was written.
    """

    def __init__(self, world: World, helpers: Helpers, matched: Callable[[Service], None]) -> None:
        self._world = world
        self._helpers = helpers
        self._tell_match = matched
        self._streams = Streams(world.poller, self._matched, self._unsearched, self._ended)
        self._outlets: dict[str, Outlet] = {}
        self._users: dict[str, int] = {}  # streams of each outlet
        self._latest: dict[str, Service] = {}  # who opened a file last

    # --- runs -------------------------------------------------------------------------------------------

    def open(self, service: Service, helper: str | None = None) -> Descriptors:
        """Make the pipes of a new run, or of its `helper`; return the child's ends, the caller's to close.

        A line that is waited for may come in the same turn as the news that the program runs: it is looked
        for from now on.

        Raises:
            KernelError: no descriptor is left, or no more can be watched.
        """
        spec = service.spec
        ends: list[tuple[int, int]] = []
        try:
            for number, to in ((1, spec.stdout), (2, spec.stderr)):
                if to not in {Sink.NULL, Sink.STDOUT} and (
                    to is not Sink.INHERIT or (helper is None and isinstance(spec.ready, LogCheck))
                ):
                    ends.append((self._open(service, number, to, helper), number))
        except KernelError:
            for write_fd, _number in ends:
                os.close(write_fd)
            raise
        return tuple(ends)

    def look_no_more(self, service: Service) -> None:
        """Look for no line any more; harmless where none was looked for."""
        for stream in self._streams.of(service):
            stream.matcher = None

    def finish(self, service: Service) -> None:
        """Pass on what is left of a run that is over, so that it comes before what the next one writes."""
        self.look_no_more(service)
        for stream in self._streams.of(service):
            self._streams.drain(stream)

    def end(self) -> None:
        """Pass on what is left, within a bounded time, and tell of what is lost; the daemon is leaving."""
        until_ns = time.monotonic_ns() + LEAVING_NS
        self._streams.close(until_ns)
        for outlet in list(self._outlets.values()):
            outlet.flush()
            while wait_and_flush(outlet, until_ns):
                pass
            self._close(outlet)

    def _open(self, service: Service, number: int, to: Sink | LogFile, helper: str | None) -> int:
        read_fd, write_fd = fds.pipe()
        fds.set_nonblocking(read_fd)
        stream = self._stream(service, read_fd, number, to, helper)
        if helper is None and isinstance(service.spec.ready, LogCheck):
            stream.matcher = Matcher(service.spec.ready.pattern)
        try:
            self._streams.add(stream)
        except KernelError:
            os.close(read_fd)
            os.close(write_fd)
            self._let_go(stream.outlet)
            raise
        name = stream.outlet.name
        self._users[name] = self._users.get(name, 0) + 1
        return write_fd

    def _stream(
        self, service: Service, fd: int, number: int, to: Sink | LogFile, helper: str | None
    ) -> Stream:
        def dropped(count: int) -> None:
            service.dropped += count

        name = _STREAMS[number]
        if isinstance(to, LogFile):
            shape = None if helper is None else looks.marked(helper)
            file = self._file(to, service)
            return Stream(fd, service, file, name=name, max_line=to.max_line, shape=shape, dropped=dropped)
        if to is Sink.INHERIT:
            return Stream(fd, service, self._screen(number), name=name, dropped=dropped)
        outlet, shape = self._shaped(service.spec.name, name, to, helper)
        return Stream(fd, service, outlet, name=name, max_line=_MAX_LINE, shape=shape, dropped=dropped)

    def _matched(self, service: object) -> None:
        assert isinstance(service, Service), "streams are opened for services only"
        self.look_no_more(service)
        self._tell_match(service)

    def _unsearched(self, stream: Stream) -> None:
        service = stream.owner
        assert isinstance(service, Service), "streams are opened for services only"
        problem = f"matching lines of its {stream.name} took over {LONGEST_S}s, so no more of it is looked at"
        service.unready = f"{problem}; {_SEARCH_HINT}"
        self._world.log(
            "service.unsearched",
            service=service.spec.name,
            pid=service.latest,
            stream=stream.name,
            problem=problem,
            hint=f"{_SEARCH_HINT} (service.{service.spec.name}.ready.log)",
        )

    # --- outlets ----------------------------------------------------------------------------------------

    def _file(self, spec: LogFile, service: Service) -> FileOutlet:
        outlet = self._outlets.get(spec.file)
        is_new = not isinstance(outlet, FileOutlet)
        if not isinstance(outlet, FileOutlet):
            outlet = self._outlets[spec.file] = FileOutlet(spec, self)
        self._latest[spec.file] = service
        outlet.open(spec)
        if is_new and spec.compress and _has_plain(spec.file):
            self.set_aside(outlet)
        return outlet

    def _shaped(self, name: str, stream: str, to: Sink, helper: str | None) -> tuple[Outlet, Shape | None]:
        mark = None if helper is None else looks.marked(helper)
        match to:
            case Sink.PREFIX:
                return self._screen(1), looks.prefixed(name, stream, helper)
            case Sink.JSON:
                screen = self._screen(1)
                screen.look = looks.json_lines(None, None)
                return screen, looks.json_lines(name, stream, helper)
            case Sink.JOURNAL:
                return self._keep(JournalOutlet(name, stream, self)), mark
            case Sink.SYSLOG:
                return self._keep(SyslogOutlet(name, stream, self)), mark
            case _:
                raise AssertionError(f"{to.value} needs no pipe")

    def _screen(self, fd: int) -> ScreenOutlet:
        outlet = self._outlets.get(_STREAMS[fd])
        if not isinstance(outlet, ScreenOutlet):
            outlet = self._outlets[_STREAMS[fd]] = ScreenOutlet(_STREAMS[fd], fd, self)
        return outlet

    def _keep(self, outlet: Outlet) -> Outlet:
        """Return the outlet of this name that is there already, or else this one."""
        return self._outlets.setdefault(outlet.name, outlet)

    def _ended(self, stream: Stream) -> None:
        name = stream.outlet.name
        self._users[name] -= 1
        self._let_go(stream.outlet)

    def _let_go(self, outlet: Outlet) -> None:
        """Close an outlet to which nobody writes any more, once it holds nothing."""
        if not self._users.get(outlet.name) and outlet.is_idle:
            self._close(outlet)

    def _close(self, outlet: Outlet) -> None:
        lost = outlet.close()
        if lost:
            self._world.log("output.lost", to=outlet.name, lines=lost, problem=outlet.problem)
        for pulse in (Pulse.FLUSH, Pulse.AGE):
            self._world.timers.cancel((outlet.name, pulse))
        for register in (self._outlets, self._users, self._latest):
            register.pop(outlet.name, None)

    # --- what outlets tell ------------------------------------------------------------------------------

    def failing(self, outlet: Outlet, problem: str) -> None:
        """Log that lines cannot be written."""
        self._world.log("output.failing", to=outlet.name, problem=problem)

    def recovered(self, outlet: Outlet, dropped: int) -> None:
        """Log that they can be again."""
        self._world.log("output.recovered", to=outlet.name, dropped_lines=dropped)
        self._let_go(outlet)

    def retry(self, outlet: Outlet, after_ns: int) -> None:
        """Wake an outlet that fails."""
        self._world.timers.arm((outlet.name, Pulse.FLUSH), self._world.clock() + after_ns)

    def ages(self, outlet: FileOutlet, after_ns: int) -> None:
        """Wake a file when it is old."""
        self._world.timers.arm((outlet.name, Pulse.AGE), self._world.clock() + after_ns)

    def set_aside(self, outlet: FileOutlet) -> None:
        """Compress old files, all of the service's: what is asked for meanwhile is done together."""
        service = self._latest[outlet.name]
        if not outlet.spec.compress or not outlet.spec.keep:
            return
        paths = {
            each.spec.file
            for each in self._outlets.values()
            if isinstance(each, FileOutlet) and each.spec.compress and self._latest[each.name] is service
        }
        command = (
            sys.executable,
            "-I",
            "-S",
            str(Path(rotation.__file__).with_name("compress.py")),
            *sorted(paths),
        )
        name = service.spec.name
        self._helpers.run(Order(name, Errand.COMPRESS, ServiceSpec(name, command), COMPRESSING_NS))

    def not_set_aside(self, outlet: FileOutlet, problem: str) -> None:
        """Log that a file should have been rotated."""
        self._world.log("output.not_rotated", to=outlet.name, problem=problem)

    def due(self, name: str, pulse: Pulse) -> None:
        """Act on an outlet's deadline."""
        outlet = self._outlets.get(name)
        if outlet is None:
            return
        if pulse is Pulse.FLUSH:
            outlet.flush()
        elif isinstance(outlet, FileOutlet):
            outlet.due()


def _has_plain(path: str) -> bool:
    with suppress(OSError):
        return any(old.plain for old in rotation.old_files(path))
    return False
