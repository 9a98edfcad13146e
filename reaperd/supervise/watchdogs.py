"""Services that are to say from time to time that they live: WATCHDOG=1 of sd_notify(3).

The time runs from the moment the service is ready, and anew from each word. Policy is told when it is over,
or when the service itself says that it is not well; the service's restart policy then says what follows.
"""

from collections.abc import Callable
from typing import Final

from reaperd.policy.words import CheckFailed, Event, Unhealthy
from reaperd.supervise.service import Service
from reaperd.supervise.world import Pulse, World
from reaperd.units import format_duration

_ASKED: Final = "it says itself that it is not well (WATCHDOG=trigger)"


class Watchdogs:
    """Watch running services that have a watchdog."""

    def __init__(self, world: World, post: Callable[[Service, Event], None]) -> None:
        self._world = world
        self._post = post
        self._watched: dict[str, tuple[Service, int]] = {}  # with the time that each has, in nanoseconds

    def begin(self, service: Service) -> None:
        """Begin to wait for its words."""
        interval_ns = service.watchdog_ns or service.spec.watchdog_ns
        assert interval_ns is not None
        self._watched[service.spec.name] = (service, interval_ns)
        self.heard(service)

    def end(self, service: Service) -> None:
        """Wait no more; harmless where nothing had begun."""
        if self._watched.pop(service.spec.name, None) is not None:
            self._world.timers.cancel((service.spec.name, Pulse.WATCHDOG))

    def heard(self, service: Service) -> None:
        """Take a sign of life."""
        watched = self._watched.get(service.spec.name)
        if watched is not None:
            self._world.timers.arm((service.spec.name, Pulse.WATCHDOG), self._world.clock() + watched[1])

    def change(self, service: Service, interval_ns: int) -> None:
        """Give a run another time between its words, as it asks; only where it has one at all."""
        if service.spec.watchdog_ns is None:
            return
        service.watchdog_ns = interval_ns
        if service.spec.name in self._watched:
            self.begin(service)

    def triggered(self, service: Service) -> None:
        """Believe a service that says it is not well; one that is not up yet has other ways to fail."""
        if service.spec.watchdog_ns is not None:
            self._fail(service, _ASKED)

    def due(self, name: str) -> None:
        """Give up on a service whose time is over."""
        watched = self._watched.get(name)
        if watched is not None:
            self._fail(watched[0], f"no WATCHDOG=1 for {format_duration(watched[1])}")

    def _fail(self, service: Service, reason: str) -> None:
        self._post(service, CheckFailed(Unhealthy(reason), self._world.clock()))
