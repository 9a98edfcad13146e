"""What the daemon tells those who only look: each verb once, whatever door the ask came through."""

from collections.abc import Callable

from reaperd import __version__, naming, narration
from reaperd.children.family import Claim
from reaperd.config.spec import Config
from reaperd.control.doors import Doors
from reaperd.control.words import Answer, Ask, Feed
from reaperd.model import Process
from reaperd.supervise import status, tracking, why
from reaperd.supervise.shares import taken
from reaperd.supervise.supervisor import Supervisor
from reaperd.supervise.tidings import Tidings
from reaperd.supervise.world import World
from reaperd.telemetry.events import Event, Ring
from reaperd.telemetry.metrics import OPENMETRICS, PROMETHEUS, Facts, render
from reaperd.track import portrait


class Teller:
    """Answer asks that change nothing.

    Attributes:
        ring: the events so far; set once there is a log.
        tidings: what changes among processes.
        doors: where clients come in; set once they are open.
        facts: collects what metrics are made of; set at the same time.
    """

    def __init__(self, supervisor: Supervisor, world: World) -> None:
        self.ring = Ring()
        self.tidings = Tidings(world.children.tracker)
        self.doors: Doors | None = None
        self.facts: Callable[[], Facts] = _no_facts
        self._supervisor = supervisor
        self._world = world

    def named(self, ask: Ask, config: Config) -> tuple[str, ...] | Answer:
        """Return the full names of the services meant: see `naming`."""
        specs = {name: service.spec for name, service in self._supervisor.services.items()}
        return naming.resolve(ask.names, specs, dict(config.instances))

    def tell(self, ask: Ask, config: Config) -> Answer | Feed:
        """Answer at once what is true between two turns, or give what a client is to follow."""
        if ask.verb == "openapi":
            # Imported here: hardly anybody asks.
            from reaperd.control.openapi import document  # noqa: PLC0415

            return Answer(200, document())
        if ask.verb == "events":
            return self._narrate(ask, config)
        if ask.verb == "tree":
            return self._picture()
        if ask.verb == "metrics":
            text = render(self.facts(), openmetrics=ask.openmetrics)
            media = OPENMETRICS if ask.openmetrics else PROMETHEUS
            return Answer(200, {}, (("Content-Type", media),), text)
        return self._tell_services(ask, config)

    def _tell_services(self, ask: Ask, config: Config) -> Answer:
        names = self.named(ask, config)
        if isinstance(names, Answer):
            return names
        self._supervisor.look()
        wishes, timers, now_ns = self._supervisor.wishes, self._world.timers, self._world.clock()
        services = [wishes.services[name] for name in names]
        if ask.verb == "why":
            children = self._world.children
            rows = [
                why.row(service, wishes, timers, now_ns) | {"cgroup": taken(children, service.run_id)}
                for service in services
            ]
            return Answer(200, {"schema": why.SCHEMA, "items": rows})
        tallies = self._world.children.tally(service.run_id for service in services if service.run_id)
        self._supervisor.zombies.count_now(services, tallies)
        rows = status.rows(services, wishes.gates, timers, now_ns, tallies)
        standing = self._world.children.tracker.standing()
        more = {
            "version": __version__,
            "unclaimed": self._world.children.unclaimed(),
            "zombie_looks": self._supervisor.zombies.looks(),
            "tracking": tracking.row(standing, config.daemon.heal_interval_ns),
            "problems": [] if self.doors is None else self.doors.problems(),
        }
        return Answer(200, {"schema": status.SCHEMA, "items": rows, **more})

    def _picture(self) -> Answer:
        tracker = self._world.children.tracker
        tracker.refresh()
        return Answer(200, portrait.document(tracker.table, "daemon", tracker.table, self._service_of))

    def _service_of(self, process: Process) -> str | None:
        claim = process.data(Claim)
        return None if claim is None else self._supervisor.name_of(claim.run_id)

    def _narrate(self, ask: Ask, config: Config) -> Answer | Feed:
        if ask.window.of_kernel:
            self.tidings.keep()
            everything = narration.everything
            return narration.following(self.tidings.ring, ask.window, everything, self._world.wall() / 1e9)
        names = self.named(ask, config)
        if isinstance(names, Answer):
            return names
        is_meant, services = naming.filter_of(ask.names), self._supervisor.services

        def is_wanted(event: Event) -> bool:
            service = services.get(str(event.keys.get("service")))
            return not ask.names or (service is not None and is_meant(service.spec))

        return narration.following(self.ring, ask.window, is_wanted, self._world.wall() / 1e9)


def _no_facts() -> Facts:
    return Facts(__version__, 0, ())
