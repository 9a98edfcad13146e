"""Commands that run on behalf of a service: stop and reload commands, hooks, and checks that need a process.

A helper is forked as services are: as the service's user, in its directory and environment, in a session
and with a marker of its own, so that whatever it leaves behind is found. It is over when its main process
has ended, or its time has: who asked is told at once, and what is left of its tree is killed.

Of each service there is at most one helper for each errand. What is asked for meanwhile waits, the latest
ask in place of an earlier one; a check is never asked for while the one before it is still there.

What stop and reload commands and hooks write goes where the service's output goes, marked; what checks write
is kept for who asked.
"""

import errno
import os
from collections.abc import Callable
from itertools import count
from typing import Final

from reaperd.children.child import StageFailed
from reaperd.children.children import Ended
from reaperd.children.fork import read_report
from reaperd.children.plan import Descriptors
from reaperd.children.sweep import Progress
from reaperd.config.spec import SECOND_NS
from reaperd.errors import KernelError, ReaperdError
from reaperd.kernel import fds, wait
from reaperd.loop.poller import Phase
from reaperd.policy.words import Exited, HookKind, NotSpawned
from reaperd.supervise.helper import (
    HEARD,
    QUIET,
    Errand,
    Finished,
    Helper,
    Order,
    TimedOut,
    last_line,
)
from reaperd.supervise.orders import circumstances, order_of
from reaperd.supervise.service import Service
from reaperd.supervise.world import Pulse, World
from reaperd.units import format_duration

PATIENCE_NS: Final = 30 * SECOND_NS  # how long a hook or a reload command may take
_CHUNK: Final = 4096
_MOST_CHUNKS: Final = 16  # what a pipe holds


class Helpers:
    """Fork helper processes, bound their time, and tell who asked how they ended.

    Implements `loop.poller.Source` for what helpers write that are heard.

    Args:
        world: what is acted through.
        tell: takes each helper's end.

    Attributes:
        more: a kill goes on in the next turn, which must not wait.
        open_outputs: makes pipes that lead where a service's output goes, marked with the errand; their ends
            are the caller's to close.
    """

    name = "helpers"
    phase = Phase.OUTPUT

    def __init__(self, world: World, tell: Callable[[Finished], None]) -> None:
        self.more = False
        self.open_outputs: Callable[[Service, str], Descriptors] = _inherited
        self._world = world
        self._tell = tell
        self._by_run: dict[str, Helper] = {}
        self._by_key: dict[tuple[str, Errand], Helper] = {}
        self._by_output: dict[int, Helper] = {}
        self._ending: dict[str, Helper] = {}  # over, but perhaps not gone
        self._held: dict[tuple[str, Errand], Order] = {}
        self._run_ids = (f"{os.urandom(6).hex()}.h{number}" for number in count(1))

    # --- errands ----------------------------------------------------------------------------------------

    def stop(self, service: Service) -> None:
        """Run the service's stop command, within the service's stop timeout."""
        stop = service.spec.stop
        self.run(order_of(service, Errand.STOP, stop.command, stop.timeout_ns))

    def reload(self, service: Service) -> None:
        """Ask the service to read its own configuration again, if it lives and its user has said how."""
        reload = service.spec.reload
        if reload is None or service.main is None:
            return
        if reload.signal is not None:
            self._world.children.signal_main(service.main, reload.signal, group=False)
        if reload.command:
            self.run(order_of(service, Errand.RELOAD, reload.command, PATIENCE_NS))

    def hook(self, service: Service, kind: HookKind) -> None:
        """Run what the user wants run at this moment; how it ends changes nothing."""
        errand, command = {
            HookKind.EXIT: (Errand.EXIT, service.spec.on_exit),
            HookKind.FAILURE: (Errand.FAILURE, service.spec.on_failure),
        }[kind]
        self.run(order_of(service, errand, command, PATIENCE_NS, circumstances(service)))

    def run(self, order: Order) -> None:
        """Run what is ordered, now or once the one before it is gone."""
        if order.key not in self._by_key:
            self._start(order)
            return
        replaced = self._held.pop(order.key, None) is not None
        if order.errand not in QUIET:
            self._log("helper.skipped" if replaced else "helper.held", order)
        self._held[order.key] = order

    def is_there(self, service: str, errand: Errand) -> bool:
        """Tell whether anything is left of such a helper, wanted or not."""
        return (service, errand) in self._by_key

    def end(self, service: str, errand: Errand) -> None:
        """End such a helper without telling anybody; harmless where there is none."""
        self._held.pop((service, errand), None)
        helper = self._by_key.get((service, errand))
        if helper is not None:
            self._give_up(helper)

    def run_ids(self) -> tuple[str, ...]:
        """Return the markers of all helpers that are there."""
        return tuple(self._by_run)

    def service_of(self, run_id: str | None) -> str | None:
        """Return on whose behalf a helper's run is; None where it is no helper's."""
        helper = None if run_id is None else self._by_run.get(run_id)
        return None if helper is None else helper.order.service

    # --- what happens -----------------------------------------------------------------------------------

    def ended(self, ended: Ended) -> bool:
        """Take the death of a helper's main process; False if it is anybody else's."""
        helper = None if ended.run_id is None else self._by_run.get(ended.run_id)
        if helper is None or helper.pid != ended.pid:
            return False
        outcome = _outcome(helper, ended.status)
        self._drain(helper)
        self._close(helper)
        self._finish(helper, outcome)
        helper.pid = None
        return True

    def due(self, run_id: str) -> None:
        """Give up on a helper whose time is over."""
        helper = self._by_run.get(run_id)
        if helper is not None:
            self._finish(helper, TimedOut())

    def tidy(self) -> None:
        """Kill what is left of helpers that are over, and forget those of which nothing is.

        To be called after each look for orphans, for only then is it known what is left.
        """
        for helper in list(self._ending.values()):
            if self._world.children.is_empty(helper.run_id):
                self._forget(helper)
            elif not helper.stuck:
                self._kill(helper)

    # --- output that is heard ---------------------------------------------------------------------------

    def ready(self, fd: int, events: int) -> None:
        """Keep the end of what a helper writes, so that it can write on."""
        del events
        self._read(self._by_output[fd])

    def failed(self, fd: int) -> None:
        """Close an output that cannot be read."""
        self._close_output(self._by_output[fd])

    def _read(self, helper: Helper) -> bool:
        if helper.output_fd is None:
            return False
        try:
            data = os.read(helper.output_fd, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._close_output(helper)
        helper.said = (helper.said + data)[-helper.order.kept_bytes :]
        return bool(data)

    def _drain(self, helper: Helper) -> None:
        for _ in range(_MOST_CHUNKS):
            if not self._read(helper):
                return

    # --- effects ----------------------------------------------------------------------------------------

    def _start(self, order: Order) -> None:
        run_id = next(self._run_ids)
        helper = self._spawn(order, run_id)
        if isinstance(helper, StageFailed):
            self._report(Finished(order, NotSpawned(helper.stage, helper.errno)), None)
            return
        self._by_run[run_id] = self._by_key[order.key] = helper
        self._world.timers.arm((run_id, Pulse.HELPER), self._world.clock() + order.timeout_ns)
        if helper.output_fd is not None:
            self._by_output[helper.output_fd] = helper
            self._world.poller.watch(helper.output_fd, self)
        if order.errand not in QUIET:
            self._log("helper.started", order, pid=helper.pid)

    def _spawn(self, order: Order, run_id: str) -> Helper | StageFailed:
        read_fd: int | None = None
        outputs: Descriptors = ()
        try:
            if order.errand in HEARD:
                read_fd, write_fd = fds.pipe()
                outputs = ((write_fd, 1), (write_fd, 2))
                fds.set_nonblocking(read_fd)
            elif order.owner is not None:
                outputs = self.open_outputs(order.owner, order.errand.value)
            forked = self._world.children.spawn(order.spec, run_id, outputs)
        except KernelError as error:
            forked = StageFailed("fork", error.errno)
        except ReaperdError:
            # The user or group was there when the configuration was read, and is gone since.
            forked = StageFailed("user", errno.ENOENT)
        finally:
            for write_fd in {fd for fd, _number in outputs}:
                os.close(write_fd)
        if not isinstance(forked, StageFailed):
            return Helper(order, run_id, forked.pid, forked.report_fd, read_fd)
        if read_fd is not None:
            os.close(read_fd)
        return forked

    def _finish(self, helper: Helper, outcome: Exited | NotSpawned | TimedOut) -> None:
        told = helper.told
        self._give_up(helper)
        if not told:
            finished = Finished(helper.order, outcome, last_line(helper.said), helper.said)
            self._report(finished, helper.pid)

    def _give_up(self, helper: Helper) -> None:
        helper.told = True
        self._ending[helper.run_id] = helper
        self._world.timers.cancel((helper.run_id, Pulse.HELPER))

    def _kill(self, helper: Helper) -> None:
        match self._world.children.kill(helper.run_id):
            case Progress.MORE:
                self.more = True
            case Progress.STUCK:
                helper.stuck = True
                self._log("helper.stuck", helper.order)
            case Progress.KILLED:
                pass

    def _forget(self, helper: Helper) -> None:
        self._close(helper)
        self._world.children.ended(helper.run_id)
        del self._ending[helper.run_id], self._by_run[helper.run_id], self._by_key[helper.order.key]
        held = self._held.pop(helper.order.key, None)
        if held is not None:
            self._start(held)

    def _close(self, helper: Helper) -> None:
        self._close_output(helper)
        if helper.report_fd is not None:
            os.close(helper.report_fd)
            helper.report_fd = None

    def _close_output(self, helper: Helper) -> None:
        if helper.output_fd is not None:
            self._world.poller.drop(helper.output_fd)
            del self._by_output[helper.output_fd]
            os.close(helper.output_fd)
            helper.output_fd = None

    def _report(self, finished: Finished, pid: int | None) -> None:
        order = finished.order
        if order.errand not in HEARD:
            self._log_end(finished, pid)
        self._tell(finished)

    def _log_end(self, finished: Finished, pid: int | None) -> None:
        order, problem = finished.order, finished.problem()
        match finished.outcome:
            case NotSpawned(stage=stage, errno=number):
                self._log("helper.not_spawned", order, stage=stage, errno=number, problem=problem)
            case TimedOut():
                self._log("helper.timed_out", order, pid=pid, timeout=format_duration(order.timeout_ns))
            case Exited(code=0) if order.errand in QUIET:
                pass
            case Exited(code=0):
                self._log("helper.ended", order, pid=pid)
            case Exited():
                self._log("helper.failed", order, pid=pid, problem=problem)

    def _log(self, event: str, order: Order, **keys: object) -> None:
        self._world.log(event, service=order.service, errand=order.errand.value, **keys)


def _inherited(_service: Service, _errand: str) -> Descriptors:
    return ()


def _outcome(helper: Helper, status: int) -> Exited | NotSpawned:
    # A dead child has said all it will ever say, so its report can be read to the end now.
    report = False if helper.report_fd is None else read_report(helper.report_fd)
    if isinstance(report, StageFailed):
        return NotSpawned(report.stage, report.errno)
    return Exited(wait.exit_code(status), wait.exit_signal(status), wait.core_dumped(status))
