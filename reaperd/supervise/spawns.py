"""Start the main process of a run, and hear whether it became its program.

A child on its way to exec has a pipe that closes there: the end of file says that the program is in its
place, a record before it at which stage that failed, and why (children.child). Where no more can be watched,
a timeout of the poll looks at it until it has said so.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from reaperd.children.child import StageFailed
from reaperd.children.fork import Forked, read_report
from reaperd.config.spec import SECOND_NS
from reaperd.errors import KernelError, ReaperdError
from reaperd.loop.poller import Phase
from reaperd.policy.words import Event, NotSpawned, Spawned, SpawnFailed
from reaperd.supervise.listeners import ListenError, Listeners
from reaperd.supervise.orders import outfit
from reaperd.supervise.output import Outputs
from reaperd.supervise.readiness import Gear, Readiness
from reaperd.supervise.service import Service
from reaperd.supervise.world import Pulse, World

LOOK_NS: Final = SECOND_NS // 20


class Spawns:
    """Fork main processes with all that they are given.

    Implements `loop.poller.Source` for the reports of children on their way to exec.

    Args:
        world: what is acted through.
        readiness: gives what a child needs to say that it is ready.
        outputs: gives pipes for what it writes.
        listeners: gives its sockets.
        post: takes the events.
    """

    name = "spawn reports"
    phase = Phase.REPORTS

    def __init__(
        self,
        world: World,
        readiness: Readiness,
        outputs: Outputs,
        listeners: Listeners,
        post: Callable[[Service, Event], None],
    ) -> None:
        self._children = world.children
        self._poller = world.poller
        self._timers = world.timers
        self._clock = world.clock
        self._readiness = readiness
        self._outputs = outputs
        self._listeners = listeners
        self._post = post
        self._of_report: dict[int, Service] = {}

    def spawn(self, service: Service, run_id: str) -> bool:
        """Fork the main process of a new run; return whether there is one, and post what failed otherwise."""
        forked = self._spawn(service, run_id)
        if isinstance(forked, StageFailed):
            self._readiness.end_run(service)
            cause = NotSpawned(forked.stage, forked.errno, forked.what)
            self._post(service, SpawnFailed(cause, self._clock()))
            return False
        service.run_id, service.report_fd = run_id, forked.report_fd
        service.main = service.latest = forked.pid
        self._of_report[forked.report_fd] = service
        try:
            self._poller.watch(forked.report_fd, self)
        except KernelError:
            self._look_later(service)
        return True

    def due(self, name: str) -> None:
        """Look at a report that cannot be watched."""
        for service in [each for each in self._of_report.values() if each.spec.name == name]:
            self.read_report(service)
            if service.report_fd is not None:
                self._look_later(service)

    def _look_later(self, service: Service) -> None:
        self._timers.arm((service.spec.name, Pulse.REPORT), self._clock() + LOOK_NS)

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
            self._post(service, Spawned(self._clock()))

    def _close_report(self, service: Service) -> None:
        if service.report_fd is not None:
            self._poller.drop(service.report_fd)
            self._timers.cancel((service.spec.name, Pulse.REPORT))
            os.close(service.report_fd)
            del self._of_report[service.report_fd]
            service.report_fd = None

    def _spawn(self, service: Service, run_id: str) -> Forked | StageFailed:
        try:
            gear = self._gear(service, run_id)
        except ListenError as error:
            return StageFailed("sockets", error.errno, error.address)
        except KernelError as error:
            return StageFailed("descriptors", error.errno)
        spec = outfit(service.spec, service.spec.command, *gear.environment)
        try:
            return self._children.spawn(spec, run_id, (*gear.descriptors, *gear.passed))
        except ReaperdError:
            # The user or group was there when the configuration was read, and is gone since.
            return StageFailed("user", errno.ENOENT)
        finally:
            gear.close()

    def _gear(self, service: Service, run_id: str) -> Gear:
        gear = self._readiness.prepare(service, run_id)
        try:
            environment, passed = self._listeners.give(service.spec)
            return replace(
                gear,
                environment=(*gear.environment, *environment),
                descriptors=(*gear.descriptors, *self._outputs.open(service)),
                passed=passed,
            )
        except KernelError:
            gear.close()
            raise
