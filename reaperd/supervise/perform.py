"""Actions to effects: the one place where a decision about a service touches the world.

`perform` is a flat match over actions. What an effect brings about at once (a fork that fails, a program
that is already there) comes back as an event through `post`, and is decided like any other.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from reaperd.children.sweep import Progress
from reaperd.config.spec import Scope, ServiceSpec
from reaperd.policy.stop import LAST_RUNG
from reaperd.policy.words import (
    Action,
    ArmSchedule,
    ArmTimer,
    AwaitReady,
    CancelSchedule,
    CancelTimer,
    Cause,
    Emit,
    EndChecks,
    EndDaemon,
    Event,
    Fork,
    Kill,
    NotSpawned,
    Ready,
    RunHook,
    RunStopCommand,
    Signal,
    State,
    StopCommandFailed,
    WatchHealth,
)
from reaperd.supervise import explain
from reaperd.supervise.health import Health
from reaperd.supervise.helper import CHECKS, Errand, Finished
from reaperd.supervise.helpers import Helpers
from reaperd.supervise.listeners import Listeners
from reaperd.supervise.notifications import Notifications
from reaperd.supervise.output import Outputs
from reaperd.supervise.probes import Answered, Probes
from reaperd.supervise.readiness import Readiness
from reaperd.supervise.schedules import Schedules
from reaperd.supervise.service import Service
from reaperd.supervise.shares import Shares
from reaperd.supervise.spawn_problem import spawn_problem
from reaperd.supervise.spawns import Spawns
from reaperd.supervise.world import Pulse, World
from reaperd.supervise.zombies import Zombies

_ABOUT_MAIN: Final = frozenset(
    f"service.{about}"
    for about in (
        *("spawned", "running", "not_ready", "unhealthy", "exited", "stopping", "insisting", "killing"),
    )
)

Post = Callable[[Service, Event], None]


@dataclass(frozen=True, slots=True)
class Ending:
    """An essential service that ended, and how."""

    spec: ServiceSpec
    cause: Cause

    @property
    def name(self) -> str:
        """The service's name."""
        return self.spec.name

    @property
    def text(self) -> str:
        """How it ended, in words."""
        return explain.cause_text(self.cause, self.spec)


class Performer:
    """Carry out what was decided.

    Attributes:
        more: a kill goes on in the next turn, which must not wait.
        ending: the essential service whose end ends the daemon.
        helpers: the commands that run on behalf of services.
        outputs: where what the services write goes.
        spawns: the main processes on their way to their programs.
        listeners: the sockets that services are given.
        schedules: the services' next times.
        shares: what the services may have of the machine.
        zombies: those that stay under services.
    """

    def __init__(self, world: World, post: Post) -> None:
        self.more = False
        self._children = world.children
        self._timers = world.timers
        self._clock = world.clock
        self._log = world.log
        self._post = post
        self._of_run: dict[str, Service] = {}
        self.ending: Ending | None = None
        self.helpers = Helpers(world, self._helper_finished)
        self._probes = Probes(world, self.helpers, self._answered)
        self.outputs = Outputs(world, self.helpers, self._line_matched)
        self.helpers.open_outputs = self.outputs.open
        self._notifications = Notifications(world, post)
        self._readiness = Readiness(world, self._probes, self.outputs, self._notifications, post)
        self.listeners = Listeners()
        self.spawns = Spawns(world, self._readiness, self.outputs, self.listeners, post)
        self.shares = Shares(world)
        self._health = Health(world, self._probes, post)
        self.schedules = Schedules(world, post)
        self.zombies = Zombies(world, self.helpers, self._service_of_child, post)
        self._run_ids = (f"{os.urandom(6).hex()}.{number}" for number in count(1))

    def perform(self, service: Service, actions: Sequence[Action]) -> None:  # noqa: C901, PLR0912 - flat, one case an action
        """Carry out actions in their order."""
        for action in actions:
            match action:
                case Fork():
                    self._fork(service)
                case Signal(signal=number, scope=scope):
                    self._signal(service, number, scope)
                case RunStopCommand():
                    self.helpers.stop(service)
                case RunHook(kind=kind):
                    self.helpers.hook(service, kind)
                case AwaitReady():
                    self._readiness.begin(service)
                case WatchHealth():
                    self._watch(service)
                case EndChecks():
                    self._readiness.end(service)
                    self._health.end(service)
                    self._notifications.watchdogs.end(service)
                case ArmSchedule():
                    self.schedules.arm(service)
                case CancelSchedule():
                    self.schedules.cancel(service)
                case EndDaemon(cause=cause):
                    self.ending = self.ending or Ending(service.spec, cause)
                case Kill():
                    self.kill(service)
                case ArmTimer(timer=timer, at_ns=at_ns):
                    self._timers.arm((service.spec.name, timer), at_ns)
                case CancelTimer(timer=timer):
                    self._timers.cancel((service.spec.name, timer))
                case Emit(event=event, fields=fields):
                    self._emit(service, event, dict(fields))

    def _watch(self, service: Service) -> None:
        if service.spec.health is not None:
            self._health.begin(service)
        if service.spec.watchdog_ns is not None:
            self._notifications.listen(service)
            self._notifications.watchdogs.begin(service)

    def service_of(self, run_id: str | None) -> Service | None:
        """Return the service that a run belongs to, while any process of that run is left."""
        return None if run_id is None else self._of_run.get(run_id)

    def _service_of_child(self, pid: int) -> Service | None:
        return self.service_of(self._children.run_of(pid))

    def name_of(self, run_id: str | None) -> str | None:
        """Return the name of the service that a run, or a helper's run, belongs to."""
        service = self.service_of(run_id)
        return service.spec.name if service is not None else self.helpers.service_of(run_id)

    def is_empty(self, service: Service) -> bool:
        """Tell whether no process of the service is left, as of the latest look for orphans.

        Its stop command counts too: it may have more to do once the others are gone, and the next run
        must not meet it.
        """
        return self._has_no_run(service) and not self.helpers.is_there(service.spec.name, Errand.STOP)

    def _has_no_run(self, service: Service) -> bool:
        return service.run_id is None or self._children.is_empty(service.run_id)

    def end_run(self, service: Service) -> None:
        """Forget a run of which no process is left."""
        if service.run_id is not None:
            self._readiness.end_run(service)
            self.outputs.finish(service)
            self.zombies.end(service)
            self._children.ended(service.run_id)
            del self._of_run[service.run_id]
            service.run_id = service.unkillable = None

    def tell_newcomers(self, service: Service) -> None:
        """Send the stop signal to who was being forked while the others of its tree got it."""
        stops = service.run.state is State.STOPPING and service.run.rung < LAST_RUNG
        if service.run_id is not None and stops:
            self._children.signal_newcomers(service.run_id, service.spec.stop.signal)

    def see_unkillable(self, service: Service) -> None:
        """Take note of a process of the service that got SIGKILL and that the kernel does not let end."""
        service.unkillable = None
        if service.run_id is not None and service.run.rung == LAST_RUNG:
            held = next(self._children.unkillable(service.run_id), None)
            service.unkillable = None if held is None else explain.unkillable(*held)

    def kill(self, service: Service) -> None:
        """Go on ending the service's tree, and the command that was to stop it."""
        self.helpers.end(service.spec.name, Errand.STOP)
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

    # --- helpers and checks -----------------------------------------------------------------------------

    def due(self, name: str, pulse: Pulse) -> None:
        """Act on a deadline of a service's checks, or of a helper."""
        match pulse:
            case Pulse.REPORT:
                self.spawns.due(name)
            case Pulse.TRY:
                self._readiness.due(name)
            case Pulse.CHECK:
                self._health.due(name)
            case Pulse.ANSWER:
                self._probes.due(name)
            case Pulse.WATCHDOG:
                self._notifications.watchdogs.due(name)
            case Pulse.HELPER:
                self.helpers.due(name)
            case Pulse.ZOMBIES:
                self.zombies.due()
            case Pulse.SCHEDULE:
                self.schedules.due()
            case Pulse.FLUSH | Pulse.AGE:
                self.outputs.due(name, pulse)

    def _helper_finished(self, finished: Finished) -> None:
        order = finished.order
        if order.errand in CHECKS:
            self._probes.finished(finished)
        elif finished.order.errand in (Errand.LOOK, Errand.REAP):
            self.zombies.finished(finished)
        elif order.errand is Errand.STOP and finished.problem() is not None:
            service = self._of_run.get(order.about or "")
            if service is not None:
                self._post(service, StopCommandFailed(self._clock()))

    def _line_matched(self, service: Service) -> None:
        self._post(service, Ready(self._clock()))

    def _answered(self, answered: Answered) -> None:
        if answered.errand is Errand.READY:
            self._readiness.answered(answered)
        else:
            self._health.answered(answered)

    # --- effects ----------------------------------------------------------------------------------------

    def _fork(self, service: Service) -> None:
        self.end_run(service)
        service.take_next_spec()
        service.forget_words()
        run_id = next(self._run_ids)
        if self.spawns.spawn(service, run_id):
            self._of_run[run_id] = service
            self.shares.begin(service)
            self.zombies.begin(service)

    def _signal(self, service: Service, number: int, scope: Scope) -> None:
        if service.run_id is None or self._has_no_run(service):
            return
        if scope is Scope.TREE or service.main is None:
            self._children.signal(service.run_id, number)
        else:
            self._children.signal_main(service.main, number, group=scope is Scope.GROUP)

    def send(self, service: Service, number: int, scope: Scope) -> bool:
        """Send a signal that a user asked for, and nothing besides; return whether anybody is there."""
        if service.run_id is None or self._has_no_run(service):
            return False
        if scope is Scope.TREE:
            self._children.send(service.run_id, number)
        elif service.main is None:
            return False
        else:
            self._children.send_main(service.main, number, group=scope is Scope.GROUP)
        return True

    def _emit(self, service: Service, event: str, fields: dict[str, object]) -> None:
        if event == "service.spawn_failed" and isinstance(service.run.cause, NotSpawned):
            problem, hint = spawn_problem(service.run.cause, service.spec)
            fields.update(problem=f'cannot start "{service.spec.name}": {problem}', hint=hint)
        elif event in _ABOUT_MAIN:
            fields = {"pid": service.latest, **fields}
        self._log(event, service=service.spec.name, **fields)
