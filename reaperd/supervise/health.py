"""Ask running services, from time to time, whether they still answer.

The first question comes one interval after the service became ready, each further one an interval after
the answer before: questions cannot overlap, and one that hangs is a failure once its time is over. After so
many failures in a row policy is told, or where the user only wants to know, the log: once, and once more
when the service answers again.
"""

from collections.abc import Callable
from dataclasses import dataclass

from reaperd.config import spec as config
from reaperd.config.spec import HealthAction
from reaperd.policy.words import CheckFailed, Event, Unhealthy
from reaperd.supervise.helper import Errand
from reaperd.supervise.probes import Answered, Probes
from reaperd.supervise.service import Service
from reaperd.supervise.world import Pulse, World


@dataclass(slots=True)
class _Watched:
    """A service that is asked, and how often in a row it has failed."""

    service: Service
    health: config.Health
    failures: int = 0


class Health:
    """Check running services from time to time."""

    def __init__(self, world: World, probes: Probes, post: Callable[[Service, Event], None]) -> None:
        self._world = world
        self._probes = probes
        self._post = post
        self._watched: dict[str, _Watched] = {}

    def begin(self, service: Service) -> None:
        """Begin to ask, one interval from now."""
        assert service.spec.health is not None
        watched = _Watched(service, service.spec.health)
        self._watched[service.spec.name] = watched
        self._arm(watched)

    def end(self, service: Service) -> None:
        """Ask no more; harmless where nothing had begun."""
        if self._watched.pop(service.spec.name, None) is not None:
            self._world.timers.cancel((service.spec.name, Pulse.CHECK))
            self._probes.end(service.spec.name, Errand.HEALTH)

    def due(self, name: str) -> None:
        """Ask a service whose time has come."""
        watched = self._watched.get(name)
        if watched is not None:
            health = watched.health
            self._probes.ask(watched.service.spec, Errand.HEALTH, health.check, health.timeout_ns)

    def answered(self, answered: Answered) -> None:
        """Take what came of a question."""
        watched = self._watched.get(answered.service)
        if watched is None:
            return
        if answered.problem is None:
            self._well(watched)
        else:
            self._unwell(watched, answered.problem)
        self._arm(watched)

    def _well(self, watched: _Watched) -> None:
        if watched.failures >= watched.health.failures:
            self._world.log("service.recovered", service=watched.service.spec.name, pid=watched.service.main)
        watched.failures = 0

    def _unwell(self, watched: _Watched, problem: str) -> None:
        watched.failures += 1
        if watched.failures < watched.health.failures:
            return
        if watched.health.action is HealthAction.RESTART:
            self._post(watched.service, CheckFailed(Unhealthy(problem), self._world.clock()))
        elif watched.failures == watched.health.failures:
            self._world.log(
                "service.ailing",
                service=watched.service.spec.name,
                pid=watched.service.main,
                failures=watched.failures,
                reason=problem,
            )

    def _arm(self, watched: _Watched) -> None:
        at_ns = self._world.clock() + watched.health.interval_ns
        self._world.timers.arm((watched.service.spec.name, Pulse.CHECK), at_ns)
