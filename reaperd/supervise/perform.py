"""Actions to effects: the one place where a decision about a service touches the world.

`perform` is a flat match over actions. What an effect brings about at once (a fork that fails, a program
that is already there) comes back as an event through `post`, and is decided like any other.
"""

import errno
import os
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from reaperd.children.child import StageFailed
from reaperd.children.fork import Forked, read_report
from reaperd.children.sweep import Progress
from reaperd.errors import ReaperdError
from reaperd.loop.poller import Phase
from reaperd.policy.words import (
    Action,
    ArmTimer,
    CancelTimer,
    Emit,
    Event,
    Fork,
    Kill,
    NotSpawned,
    Ready,
    Signal,
    SpawnFailed,
    State,
)
from reaperd.supervise import explain
from reaperd.supervise.service import Service
from reaperd.supervise.world import World

_ABOUT_MAIN: Final = frozenset({"service.running", "service.exited", "service.stopping", "service.killing"})

Post = Callable[[Service, Event], None]


class Performer:
    """Carry out what was decided.

    Implements `loop.poller.Source` for the reports of children on their way to exec.

    Attributes:
        more: a kill goes on in the next turn, which must not wait.
    """

    name = "spawn reports"
    phase = Phase.REPORTS

    def __init__(self, world: World, post: Post) -> None:
        self.more = False
        self._children = world.children
        self._poller = world.poller
        self._timers = world.timers
        self._clock = world.clock
        self._log = world.log
        self._post = post
        self._of_run: dict[str, Service] = {}
        self._of_report: dict[int, Service] = {}
        self._run_ids = (f"{os.urandom(6).hex()}.{number}" for number in count(1))

    def perform(self, service: Service, actions: Sequence[Action]) -> None:
        """Carry out actions in their order."""
        for action in actions:
            match action:
                case Fork():
                    self._fork(service)
                case Signal(signal=number):
                    self._signal(service, number)
                case Kill():
                    self.kill(service)
                case ArmTimer(timer=timer, at_ns=at_ns):
                    self._timers.arm((service.spec.name, timer), at_ns)
                case CancelTimer(timer=timer):
                    self._timers.cancel((service.spec.name, timer))
                case Emit(event=event, fields=fields):
                    self._emit(service, event, dict(fields))

    def service_of(self, run_id: str | None) -> Service | None:
        """Return the service that a run belongs to, while any process of that run is left."""
        return None if run_id is None else self._of_run.get(run_id)

    def is_empty(self, service: Service) -> bool:
        """Tell whether no process of the service is left, as of the latest look for orphans."""
        return service.run_id is None or self._children.is_empty(service.run_id)

    def end_run(self, service: Service) -> None:
        """Forget a run of which no process is left."""
        if service.run_id is not None:
            self._children.ended(service.run_id)
            del self._of_run[service.run_id]
            service.run_id = None

    def tell_newcomers(self, service: Service) -> None:
        """Send the stop signal to who was being forked while the others of its tree got it."""
        if service.run_id is not None and service.run.state is State.STOPPING and service.run.rung == 0:
            self._children.signal_newcomers(service.run_id, service.spec.stop.signal)

    def kill(self, service: Service) -> None:
        """Go on ending the service's tree."""
        if service.run_id is None or service.stuck:
            return
        match self._children.kill(service.run_id):
            case Progress.MORE:
                self.more = True
            case Progress.STUCK:
                service.stuck = True
                self._log("service.stuck", service=service.spec.name)
            case Progress.KILLED:
                pass

    # --- spawn reports ----------------------------------------------------------------------------------

    def ready(self, fd: int, events: int) -> None:
        """Read the report of a child: it has become its program, or says why not."""
        del events
        self.read_report(self._of_report[fd])

    def failed(self, fd: int) -> None:
        """Give up on a report that cannot be read; the child's exit will tell the rest."""
        self._close_report(self._of_report[fd])

    def read_report(self, service: Service) -> None:
        """Read what the child has reported so far, if it has not been read yet."""
        if service.report_fd is None:
            return
        report = read_report(service.report_fd)
        if report is False:
            return
        self._close_report(service)
        if isinstance(report, StageFailed):
            service.not_spawned = NotSpawned(report.stage, report.errno)
        else:
            self._post(service, Ready(self._clock()))

    def _close_report(self, service: Service) -> None:
        if service.report_fd is not None:
            self._poller.drop(service.report_fd)
            os.close(service.report_fd)
            del self._of_report[service.report_fd]
            service.report_fd = None

    # --- effects ----------------------------------------------------------------------------------------

    def _fork(self, service: Service) -> None:
        self.end_run(service)
        service.take_next_spec()
        run_id = next(self._run_ids)
        forked = self._spawn(service, run_id)
        if isinstance(forked, StageFailed):
            cause = NotSpawned(forked.stage, forked.errno)
            self._post(service, SpawnFailed(cause, self._clock()))
            return
        service.run_id, service.report_fd = run_id, forked.report_fd
        service.main = service.latest = forked.pid
        self._of_run[run_id] = service
        self._of_report[forked.report_fd] = service
        self._poller.watch(forked.report_fd, self)

    def _spawn(self, service: Service, run_id: str) -> Forked | StageFailed:
        try:
            return self._children.spawn(service.spec, run_id)
        except ReaperdError:
            # The user or group was there when the configuration was read, and is gone since.
            return StageFailed("user", errno.ENOENT)

    def _signal(self, service: Service, number: int) -> None:
        if service.run_id is not None and not self.is_empty(service):
            self._children.signal(service.run_id, number)

    def _emit(self, service: Service, event: str, fields: dict[str, object]) -> None:
        if event == "service.spawn_failed" and isinstance(service.run.cause, NotSpawned):
            problem, hint = explain.spawn_problem(service.run.cause, service.spec)
            fields.update(problem=f'cannot start "{service.spec.name}": {problem}', hint=hint)
        elif event in _ABOUT_MAIN:
            fields = {"pid": service.latest, **fields}
        self._log(event, service=service.spec.name, **fields)
