"""When scheduled services are due, by the wall clock."""

from collections.abc import Callable

from reaperd.policy.words import Event
from reaperd.supervise.service import Service
from reaperd.supervise.world import World


class Schedules:
    """Post `ScheduleDue` at each time of each scheduled service that is wanted up."""

    def __init__(self, world: World, post: Callable[[Service, Event], None]) -> None:
        self._world = world
        self._post = post

    def arm(self, service: Service) -> None:
        """Let the times of `next_spec`, else of `spec`, come due from now on; replaces what was armed."""
        raise NotImplementedError(service)

    def cancel(self, service: Service) -> None:
        """Let them come due no more; harmless where nothing was armed."""
