"""The end of the daemon: services in order, then whoever is left, then nobody.

    services   all are asked to stop, those that need others first; unclaimed orphans get SIGTERM
    rest       no service runs any more; what is left has a moment to go by itself
    killing    what is still left is killed and reaped
    done       the daemon has no child any more

Each phase has a deadline, so that a process that cannot be killed (state D) does not keep the daemon. The
first has the one that the user sets, else one by which each service has its own grace; when it is over,
killing comes next.
"""

import signal
from enum import IntEnum
from typing import Final

from reaperd.children.sweep import Progress
from reaperd.config.spec import SECOND_NS
from reaperd.errors import Exit
from reaperd.policy.stop import longest_ns
from reaperd.policy.words import Cause, Exited, State
from reaperd.supervise.perform import Ending
from reaperd.supervise.supervisor import Supervisor
from reaperd.supervise.world import World

LEAST_NS: Final = 90 * SECOND_NS  # for the services, unless the user says how long they have
BEYOND_NS: Final = 30 * SECOND_NS  # the longest grace of any service, at least
REST_NS: Final = 5 * SECOND_NS
KILLING_NS: Final = 10 * SECOND_NS


class Phase(IntEnum):
    """How far the end has come."""

    UP = 0
    SERVICES = 1
    REST = 2
    KILLING = 3
    DONE = 4


class Shutdown:
    """Take everything down, step by step.

    Attributes:
        phase: how far it has come.
        deadline_ns: when the phase ends whatever happens; None while up or done.
        status: what the daemon leaves with.
        timeout_ns: how long the services have; None for what their own timeouts take.
        more: a kill goes on in the next turn, which must not wait.
    """

    def __init__(self, supervisor: Supervisor, world: World, timeout_ns: int | None) -> None:
        self.timeout_ns = timeout_ns
        self.phase = Phase.UP
        self.deadline_ns: int | None = None
        self.status: int = Exit.OK
        self.more = False
        self._supervisor = supervisor
        self._children = world.children
        self._clock = world.clock
        self._log = world.log

    def follow(self, ending: Ending) -> None:
        """Begin because an essential service ended, and leave with its status; nothing if it has begun."""
        if self.phase is Phase.UP:
            self.status = _status_of(ending.cause)
            self.ask(f'essential service "{ending.name}": {ending.text}')

    def ask(self, cause: str) -> None:
        """Begin, or where it has begun already, hurry."""
        self._supervisor.settle()  # who is on the way down by now is seen by what has been decided
        if self.phase is Phase.UP:
            self._log("daemon.stopping", cause=cause)
            self._stop_services()
            self._children.signal_unclaimed(signal.SIGTERM)
            return
        self._log("daemon.hurried", cause=cause)
        if self.phase is Phase.SERVICES:
            services = self._supervisor.services.items()
            self._supervisor.stop([name for name, service in services if service.run.state is State.STOPPING])
        elif self.phase is Phase.REST:
            self._enter(Phase.KILLING, KILLING_NS)

    def _stop_services(self) -> None:
        services = self._supervisor.services
        longest = max((longest_ns(service.spec.stop) for service in services.values()), default=0)
        enough_ns = max(LEAST_NS, longest + BEYOND_NS)
        self._enter(Phase.SERVICES, enough_ns if self.timeout_ns is None else self.timeout_ns)
        # To ask one again that is on its way down already would hurry it.
        self._supervisor.stop([name for name in reversed(services) if not services[name].is_going_down()])

    def step(self) -> None:
        """Go on as far as possible; to be called at the end of each turn."""
        self.more = False
        late = self.deadline_ns is not None and self._clock() >= self.deadline_ns
        if self.phase is Phase.SERVICES and late and not self._all_at_rest():
            self._log("daemon.hurried", cause="shutdown_timeout is over")
            self._enter(Phase.KILLING, KILLING_NS)
            late = False
        if self.phase is Phase.SERVICES and self._all_at_rest():
            self._enter(Phase.REST, REST_NS)
            # Hooks were only just told of the end, and have as long to finish as the phase lasts.
            self._children.signal_everybody(signal.SIGTERM, but=self._supervisor.helper_runs())
            late = False
        if self.phase is Phase.REST:
            if late:
                self._enter(Phase.KILLING, KILLING_NS)
                late = False
            self._done_if_alone()
        if self.phase is Phase.KILLING:
            self._kill(late=late)

    def _kill(self, *, late: bool) -> None:
        self._done_if_alone()
        if self.phase is Phase.DONE:
            return
        if late:
            left = [stat.pid for stat in self._children.everybody()]
            self._log("daemon.left_behind", pids=left)
            self.status = Exit.INTERNAL
            self._enter(Phase.DONE, None)
            return
        self.more = self._children.kill_everybody() is Progress.MORE

    def _done_if_alone(self) -> None:
        if self._children.nobody_left():
            self._enter(Phase.DONE, None)

    def _enter(self, phase: Phase, duration_ns: int | None) -> None:
        self.phase = phase
        self.deadline_ns = None if duration_ns is None else self._clock() + duration_ns

    def _all_at_rest(self) -> bool:
        return all(service.at_rest() for service in self._supervisor.services.values())


def _status_of(cause: Cause) -> int:
    """Return what a shell would report of such an end; what never ran, or never worked, is a failure."""
    match cause:
        case Exited(code=int() as code):
            return code
        case Exited(signal=int() as number):
            return 128 + number
        case _:
            return Exit.FAILED
