"""The daemon's children without the daemon: real forks, the real handler, and a turn when a test wants one.

For scenarios only: a nursery makes its process a child subreaper.
"""

import os
import resource
import select
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, Final

from reaperd.children.child import StageFailed
from reaperd.children.children import Children, Ended
from reaperd.children.fork import Forked, read_report
from reaperd.children.plan import Inheritance
from reaperd.children.sweep import Progress
from reaperd.config.spec import ServiceSpec
from reaperd.kernel import prctl
from tests.support.processes import WITHIN_S, wait_readable

_POLL_S: Final = 0.05  # for what no signal tells


class Nursery:
    """Children, and who of them has ended so far."""

    def __init__(self, *, cgroups: bool) -> None:
        self.ended: list[Ended] = []
        inherited = Inheritance(dict(os.environ), resource.getrlimit(resource.RLIMIT_NOFILE), frozenset())
        self.children = Children(inherited, cgroups=cgroups)
        self._numbers = count(1)

    def start(self, command: Sequence[str], **keys: Any) -> tuple[str, int]:  # Any: keys of a spec
        """Start a run and return its id and main process, once that runs its program."""
        run_id, result = self.try_start(command, **keys)
        assert isinstance(result, int), result
        return run_id, result

    def try_start(
        self, command: Sequence[str], **keys: Any
    ) -> tuple[str, int | StageFailed]:  # Any: the same
        """Start a run and return its id, and its main process or the stage that failed."""
        run_id = f"run.{next(self._numbers)}"
        descriptors = keys.pop("descriptors", ())
        spec = ServiceSpec(name=keys.pop("name", "web"), command=tuple(command), **keys)
        forked = self.children.spawn(spec, run_id, descriptors)
        if not isinstance(forked, Forked):
            return run_id, forked
        wait_readable(forked.report_fd, what="report")
        report = read_report(forked.report_fd)
        os.close(forked.report_fd)
        return run_id, report if isinstance(report, StageFailed) else forked.pid

    def turn(self) -> None:
        """Reap, apply and look for orphans, as a turn of the daemon does."""
        self.children.reaper.handle(signal.SIGCHLD, None)
        assert self.children.reaper.failure is None, self.children.reaper.failure
        self.ended += self.children.apply()
        self.children.adopt()

    def wait_empty(self, run_id: str, *, killing: bool = False, within_s: float = WITHIN_S) -> None:
        """Take turns until nothing of a run is left; with `killing`, go on killing as the daemon does."""
        deadline = time.monotonic() + within_s
        while True:
            self.turn()
            if self.children.is_empty(run_id):
                self.children.ended(run_id)
                return
            more = killing and self.children.kill(run_id) is Progress.MORE
            left = [(stat.pid, stat.comm, stat.state) for stat in self.children.members(run_id)]
            assert time.monotonic() < deadline, f"still there: {left}"
            if not more:
                signal.sigtimedwait({signal.SIGCHLD}, _POLL_S)

    def wait_members(self, run_id: str, number: int, name: str = "", within_s: float = WITHIN_S) -> list[int]:
        """Take turns until a run has so many living processes of that name, or any, and return them."""
        deadline = time.monotonic() + within_s
        while True:
            found = [stat for stat in self.children.members(run_id) if name in ("", stat.comm)]
            if len(found) >= number:
                return sorted(stat.pid for stat in found)
            self.turn()
            assert time.monotonic() < deadline, f"only {found}"
            time.sleep(0.002)

    def close(self) -> None:
        """End all that is left."""
        self.turn()
        deadline = time.monotonic() + WITHIN_S
        while not self.children.nobody_left():
            self.children.kill_everybody()
            signal.sigtimedwait({signal.SIGCHLD}, _POLL_S)
            self.turn()
            assert time.monotonic() < deadline, f"left: {self.children.everybody()}"
        self.children.close()


@contextmanager
def nursery(*, cgroups: bool) -> Iterator[Nursery]:
    """Yield a nursery; whatever has been forked is killed and reaped on the way out."""
    prctl.set_child_subreaper(True)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    made = Nursery(cgroups=cgroups)
    signal.signal(signal.SIGCHLD, made.children.reaper.handle)
    try:
        yield made
    finally:
        made.close()
        with suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)


def read_line(fd: int) -> str:
    """Return what arrives on a pipe up to the end of a line."""
    data = b""
    while not data.endswith(b"\n"):
        assert select.select([fd], [], [], WITHIN_S)[0], f"only {data!r}"
        chunk = os.read(fd, 1)
        assert chunk, f"ended after {data!r}"
        data += chunk
    return data.decode().rstrip("\n")
