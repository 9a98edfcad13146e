"""Services in motion: what happened becomes events, events become decisions, decisions are performed.

Everything happens within a turn of the loop. Sources of events only queue them; `settle` decides and
performs until nothing is left: performing can make new events (a fork that fails, a tree that turns out to
be empty already), so it goes round until it is quiet.

Whether a run's tree is empty is exact. A process's children come to us before its death is reported, we
look for them before anything is decided about that death, and a run is empty only when none of our
unreaped children belongs to it.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

from reaperd.children.children import Ended
from reaperd.config.spec import Scope
from reaperd.kernel import wait
from reaperd.policy.decide import decide
from reaperd.policy.stop import LAST_RUNG
from reaperd.policy.words import (
    BackoffOver,
    Event,
    Exited,
    GraceOver,
    MainExited,
    ReadyLate,
    RequirementsMet,
    SpawnFailed,
    Stable,
    State,
    Timer,
    TreeEmpty,
)
from reaperd.supervise.emptied import Emptied
from reaperd.supervise.perform import Ending, Performer
from reaperd.supervise.service import Service
from reaperd.supervise.tally import Tally
from reaperd.supervise.wishes import Wishes
from reaperd.supervise.world import Deadline, Pulse, World
from reaperd.supervise.zombies import Zombies
from reaperd.units import format_signal

# A start takes some milliseconds, in which nobody else is served: the next ones come in the next turn.
STARTS_A_TURN: Final = 16

_BEING_STARTED: Final = "it is just being started"
_NOT_RUNNING: Final = "it does not run"

_TIMER_EVENTS: Final[dict[Timer, type[BackoffOver | Stable | GraceOver]]] = {
    Timer.BACKOFF: BackoffOver,
    Timer.STABLE: Stable,
    Timer.GRACE: GraceOver,
}


class Supervisor:
    """Keep the configured services as their users want them.

    Attributes:
        wishes: what users want of which services.
        tally: how many were reaped and adopted.
        moves: how often a service has changed its state.
    """

    def __init__(self, world: World) -> None:
        self._children = world.children
        self._clock = world.clock
        self._wall = world.wall
        self._log = world.log
        self._performer = Performer(world, self._post)
        self._events: deque[tuple[Service, Event]] = deque()
        self.tally = Tally()
        self.wishes = Wishes(self._performer, self._post, world)
        self._gates = self.wishes.gates
        self.moves = 0
        self._look = False  # something died or is to be stopped: orphans may have come
        self._starts_left = 0  # in this round of `settle`
        if world.children.emptied_fd is not None:
            world.poller.watch(world.children.emptied_fd, Emptied(world.children, self.look))

    @property
    def ending(self) -> Ending | None:
        """Return the essential service whose end ends the daemon; None while there is none."""
        return self._performer.ending

    @property
    def zombies(self) -> Zombies:
        """Return what is known of the zombies that stay under services."""
        return self._performer.zombies

    # --- what users want --------------------------------------------------------------------------------

    @property
    def services(self) -> dict[str, Service]:
        """Return the services by name, in the order of the configuration."""
        return self.wishes.services

    def start(self, names: Iterable[str]) -> None:
        """Want services up, and what they require with them."""
        self.wishes.start(names)
        self._look = True

    def stop(self, names: Iterable[str]) -> None:
        """Want services down, and what requires them before them; asked again it hurries them."""
        self.wishes.stop(names)
        self._look = True

    def restart(self, names: Iterable[str]) -> None:
        """Want services down, then up; only these."""
        self.wishes.restart(names)
        self._look = True

    def know_identities(self) -> None:
        """Look up whom the services run as; no start asks for that again until the next call."""
        specs = (each.next_spec or each.spec for each in self.services.values())
        self._children.know_identities(specs)

    def forward(self, number: int, names: Iterable[str]) -> None:
        """Send a signal to the main processes of services, or of all instances of them."""
        chosen = set(names)
        for service in self.services.values():
            if not chosen & {service.spec.name, service.spec.base} or self._is_before_exec(service):
                continue
            if service.main is not None:
                self._children.signal_main(service.main, number, group=False)

    def signal(self, name: str, number: int, scope: Scope) -> str | None:
        """Send a signal to a service; return why that cannot be, None where it was done."""
        service = self.services[name]
        if self._is_before_exec(service):
            return _BEING_STARTED
        if not self._performer.send(service, number, scope):
            return _NOT_RUNNING
        self._log("service.signalled", service=name, signal=format_signal(number), scope=scope.value)
        return None

    def reload_service(self, name: str) -> str | None:
        """Ask a service to read its own configuration again; return why that cannot be, None where it was."""
        service = self.services[name]
        if self._is_before_exec(service):
            return _BEING_STARTED
        if service.main is None:
            return _NOT_RUNNING
        self._performer.helpers.reload(service)
        return None

    def _is_before_exec(self, service: Service) -> bool:
        """Tell whether its program is not there yet, and cannot have said what a signal is to mean.

        The child would die of one that it gets now. Its report may be there by now, and not read yet.
        """
        self._performer.spawns.read_report(service)
        return service.main is not None and service.report_fd is not None

    # --- what happens -----------------------------------------------------------------------------------

    def collect_exits(self) -> None:
        """Begin a turn: make events of the children that the handler reaped."""
        self.wishes.begin_turn()
        orphans: list[Ended] = []
        for ended in self._children.apply():
            self._look = True
            service = self._performer.service_of(ended.run_id)
            if service is not None and service.main == ended.pid:
                self.tally.main_ended(ended.pid)
                self._main_exited(service, ended)
            elif self._performer.helpers.ended(ended):
                self.tally.count("helper")
            else:
                self.tally.orphan_ended(ended.pid)
                orphans.append(ended)
        if orphans:
            self._tell_orphans(orphans)

    def _main_exited(self, service: Service, ended: Ended) -> None:
        # A dead child has said all it will ever say, so its report can be read to the end now.
        self._performer.spawns.read_report(service)
        if self._has_successor(service):
            return
        service.main = None
        if service.not_spawned is not None:
            self._performer.end_run(service)  # no program ever ran, so there is no tree
            self._post(service, SpawnFailed(service.not_spawned, ended.at_ns))
            service.not_spawned = None
            return
        status = ended.status
        code, number, dumped = wait.exit_code(status), wait.exit_signal(status), wait.core_dumped(status)
        self._post(service, MainExited(Exited(code, number, dumped, ended.out_of_memory), ended.at_ns))

    def _has_successor(self, service: Service) -> bool:
        """Let the process that was named follow as the main one, if it lives and is ours to wait for now."""
        pid, service.named_main = service.named_main, None
        if pid is None or service.not_spawned is not None or service.run.state is State.STOPPING:
            return False
        if not self._children.is_child(pid) or self._children.run_of(pid) != service.run_id:
            return False
        service.main = service.latest = pid
        self._log("service.main_changed", service=service.spec.name, pid=pid)
        return True

    def _tell_orphans(self, orphans: list[Ended]) -> None:
        # One line a turn: a storm of orphans must not become a storm of lines.
        services = {name for o in orphans if (name := self._performer.name_of(o.run_id))}
        shown = [f"{orphan.name or '?'}[{orphan.pid}]" for orphan in orphans[:5]]
        self._log("orphans.reaped", count=len(orphans), orphans=shown, services=sorted(services)[:5])

    def due(self, deadlines: Iterable[Deadline]) -> None:
        """Make events of timers that came due."""
        now_ns = self._clock()
        for name, timer in deadlines:
            if isinstance(timer, Pulse):
                self._look = True
                self._performer.due(name, timer)
            elif name in self.services:
                self._post(self.services[name], _over(timer, self.services[name], now_ns))

    def look(self) -> None:
        """Look for what nothing announces: orphans while nobody dies, and who does not end by SIGKILL."""
        self._look = True
        self._adopt()
        self._look = True
        for service in self._gates.emptying.values():
            self._performer.see_unkillable(service)

    # --- decide and perform -----------------------------------------------------------------------------

    @property
    def more(self) -> bool:
        """Tell whether something goes on in the next turn, which must not wait."""
        # Events are left only where a part of `settle` raised: nothing else would wake the loop for them.
        return self._performer.more or self._performer.helpers.more or self._gates.more or bool(self._events)

    def end_outputs(self) -> None:
        """Pass on what services wrote last; the daemon is leaving."""
        self._performer.outputs.end()
        self._performer.listeners.end()

    def name_of(self, run_id: str) -> str | None:
        """Return the service that a run is of, or runs on behalf of; None once the run is over."""
        return self._performer.name_of(run_id)

    def helper_runs(self) -> tuple[str, ...]:
        """Return the runs of the commands that run on behalf of services."""
        return self._performer.helpers.run_ids()

    def settle(self) -> None:
        """Decide and perform until quiet, but for starts beyond what one turn has time for."""
        self._look = self._look or self.more
        self._starts_left = STARTS_A_TURN
        self._performer.more = self._performer.helpers.more = False
        while self._events or self._look:
            self._adopt()
            while self._events:
                self._decide(*self._events.popleft())
            self._release()
            # Helpers first: a service is empty only once its stop command is gone too.
            self._performer.helpers.tidy()
            for service in list(self._gates.emptying.values()):
                self._see_whether_empty(service)
        self._performer.listeners.settle(self.services.values())
        self.wishes.drop_leavers()

    def _post(self, service: Service, event: Event) -> None:
        self._events.append((service, event))

    def _adopt(self) -> None:
        if not self._look:
            return
        self._look = False
        for adopted in self._children.adopt():
            name = self._performer.name_of(adopted.run_id)
            self.tally.came(adopted.pid)
            self._log("orphan.adopted", pid=adopted.pid, name=adopted.name, service=name)
            service = self._performer.service_of(adopted.run_id)
            if service is not None:
                self._performer.tell_newcomers(service)

    def _decide(self, service: Service, event: Event) -> None:
        before = service.run
        service.run, actions = decide(service.run, event, service.spec)
        self._performer.perform(service, actions)
        self._gates.file(service)
        if service.run.state is not before.state:
            service.since_wall_ns = self._wall()
            self.moves += 1
        if (service.run.state, service.run.awaits) != (before.state, before.awaits):
            self._gates.moved.add(service.spec.name)
        if service.at_rest():
            self._performer.listeners.rested()
            self.wishes.settled(service)

    def _release(self) -> None:
        """Let those go on that nothing holds any more: some start, some stop."""
        stoppable = self._gates.stoppable()
        for service, asked in stoppable:
            self._look = True
            service.stuck = False
            self._post(service, asked(self._clock()))
        if stoppable:
            return  # what stops may be what others wait for: they come next
        startable = self._gates.startable(self._starts_left, self._tell_holds)
        self._starts_left -= len(startable)
        for service in startable:
            self._post(service, RequirementsMet(self._clock()))

    def _tell_holds(self, service: Service, names: tuple[str, ...]) -> None:
        self._log("service.waiting", service=service.spec.name, waits_for=names)

    def _see_whether_empty(self, service: Service) -> None:
        if self._performer.is_empty(service):
            self._performer.end_run(service)
            self._post(service, TreeEmpty(self._clock()))
        elif service.run.rung == LAST_RUNG:
            self._performer.kill(service)


def _over(timer: Timer, service: Service, now_ns: int) -> Event:
    """Return what it means that a deadline of a service's run is over."""
    if timer is Timer.READY:
        return ReadyLate(now_ns, service.unready)
    return _TIMER_EVENTS[timer](now_ns)
