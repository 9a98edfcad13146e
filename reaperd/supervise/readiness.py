"""Look out for a service becoming ready, in whichever way its user has chosen.

    notify          it says so over a socket of its own         notifications
    fd              it writes a line to a pipe                  here
    log             it writes a line that matches               output
    delay           it has lived for so long                    a timer
    tcp, http, exec it is asked, again and again                probes

What a child has to be given for that is made before the fork (`prepare`) and lasts as long as the run
(`end_run`); looking out lasts from the exec (`begin`) until the service is ready or on its way down (`end`).
How long that may take is policy's business.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from reaperd.children.plan import Descriptors
from reaperd.config.spec import (
    SECOND_NS,
    DelayCheck,
    ExecCheck,
    FdCheck,
    HttpCheck,
    LogCheck,
    NotifyCheck,
    TcpCheck,
)
from reaperd.errors import KernelError
from reaperd.kernel import fds
from reaperd.loop.poller import Phase
from reaperd.policy.words import Event, Ready
from reaperd.supervise.helper import Errand
from reaperd.supervise.notifications import Notifications
from reaperd.supervise.output import Outputs
from reaperd.supervise.probes import Answered, Probes
from reaperd.supervise.service import Service
from reaperd.supervise.world import Pulse, World

TRY_NS: Final = 10 * SECOND_NS  # how long one question may take
FIRST_PAUSE_NS: Final = SECOND_NS // 20
LONGEST_PAUSE_NS: Final = SECOND_NS


@dataclass(frozen=True, slots=True)
class Gear:
    """What the child of a new run is given.

    Attributes:
        environment: variables.
        descriptors: those that are closed after the fork.
        passed: those that stay open here.
    """

    environment: tuple[tuple[str, str], ...] = ()
    descriptors: Descriptors = ()
    passed: Descriptors = ()

    def close(self) -> None:
        """Close our copies of the child's ends."""
        for fd in {fd for fd, _number in self.descriptors}:
            os.close(fd)


@dataclass(slots=True)
class _Awaited:
    """A service that is not ready yet, and how often it was asked."""

    service: Service
    tries: int = 0


class Readiness:
    """Look out for services becoming ready.

    Implements `loop.poller.Source` for the pipes of services that write a line when they are.
    """

    name = "readiness"
    phase = Phase.REPORTS

    def __init__(
        self,
        world: World,
        probes: Probes,
        outputs: Outputs,
        notifications: Notifications,
        post: Callable[[Service, Event], None],
    ) -> None:
        self._world = world
        self._probes = probes
        self._post = post
        self._notifications = notifications
        self._outputs = outputs
        self._awaited: dict[str, _Awaited] = {}
        self._pipes: dict[int, Service] = {}
        self._pipe_of: dict[str, int] = {}

    # --- a run ------------------------------------------------------------------------------------------

    def prepare(self, service: Service, run_id: str) -> Gear:
        """Make what the child of a new run is to be given.

        Raises:
            KernelError: no descriptor is left.
        """
        environment = self._speech(service, run_id)
        if isinstance(service.spec.ready, FdCheck):
            return Gear(environment, ((self._make_pipe(service), service.spec.ready.fd),))
        return Gear(environment)

    def _speech(self, service: Service, run_id: str) -> tuple[tuple[str, str], ...]:
        """Return what lets a run say how it is: where, and how often it has to."""
        spec = service.spec
        if not isinstance(spec.ready, NotifyCheck) and spec.watchdog_ns is None:
            return ()
        address = ("NOTIFY_SOCKET", self._notifications.open(service, run_id))
        if spec.watchdog_ns is None:
            return (address,)
        return address, ("WATCHDOG_USEC", str(spec.watchdog_ns // 1000))

    def end_run(self, service: Service) -> None:
        """Close what was made for a run that is over; harmless where nothing was."""
        self.end(service)
        self._close_pipe(service)
        self._notifications.close(service)

    # --- looking out ------------------------------------------------------------------------------------

    def begin(self, service: Service) -> None:
        """Begin to look out, now that the service's program runs."""
        self._awaited[service.spec.name] = _Awaited(service)
        try:
            self._look_out(service)
        except KernelError as error:
            service.unready = error.message  # no more can be watched: the end of its time decides

    def _look_out(self, service: Service) -> None:
        match service.spec.ready:
            case NotifyCheck():
                self._notifications.listen(service)
            case FdCheck():
                self._world.poller.watch(self._pipe_of[service.spec.name], self)
            case LogCheck():
                pass  # its output is read along with from the fork on
            case DelayCheck(delay_ns=delay_ns):
                self._arm(service, delay_ns)
            case _:
                self._ask(service)

    def end(self, service: Service) -> None:
        """Look out no more; harmless where nothing had begun. What it says of itself is still heard."""
        if self._awaited.pop(service.spec.name, None) is None:
            return
        self._world.timers.cancel((service.spec.name, Pulse.TRY))
        self._probes.end(service.spec.name, Errand.READY)
        self._outputs.look_no_more(service)
        self._close_pipe(service)

    def due(self, name: str) -> None:
        """Ask again; where there is nothing to ask, the wait was all."""
        awaited = self._awaited.get(name)
        if awaited is None:
            return
        if isinstance(awaited.service.spec.ready, DelayCheck):
            self._is_ready(awaited.service)
        else:
            self._ask(awaited.service)

    def answered(self, answered: Answered) -> None:
        """Take what came of a question."""
        awaited = self._awaited.get(answered.service)
        if awaited is None:
            return
        awaited.service.unready = answered.problem
        if answered.problem is None:
            self._is_ready(awaited.service)
        else:
            awaited.tries += 1
            self._arm(awaited.service, pause_ns(awaited.tries))

    def _ask(self, service: Service) -> None:
        check = service.spec.ready
        assert isinstance(check, TcpCheck | HttpCheck | ExecCheck)
        self._probes.ask(service.spec, Errand.READY, check, TRY_NS)

    def _arm(self, service: Service, wait_ns: int) -> None:
        self._world.timers.arm((service.spec.name, Pulse.TRY), self._world.clock() + wait_ns)

    def _is_ready(self, service: Service) -> None:
        self._post(service, Ready(self._world.clock()))

    # --- a line in a pipe -------------------------------------------------------------------------------

    def ready(self, fd: int, events: int) -> None:
        """Look for the end of a line; a pipe that was closed without one says nothing."""
        del events
        service = self._pipes[fd]
        data = os.read(fd, 4096)
        if b"\n" in data:
            self._is_ready(service)
        if b"\n" in data or not data:
            self._close_pipe(service)

    def failed(self, fd: int) -> None:
        """Close a pipe that cannot be read; the time to become ready will be over."""
        self._close_pipe(self._pipes[fd])

    def _make_pipe(self, service: Service) -> int:
        read_fd, write_fd = fds.pipe()
        fds.set_nonblocking(read_fd)
        self._pipes[read_fd] = service
        self._pipe_of[service.spec.name] = read_fd
        return write_fd

    def _close_pipe(self, service: Service) -> None:
        fd = self._pipe_of.pop(service.spec.name, None)
        if fd is not None:
            self._world.poller.drop(fd)
            del self._pipes[fd]
            os.close(fd)


def pause_ns(tries: int) -> int:
    """Return the wait after the `tries`-th question (from 1): twice as long each time, up to a second."""
    return min(FIRST_PAUSE_NS << min(tries - 1, 32), LONGEST_PAUSE_NS)
