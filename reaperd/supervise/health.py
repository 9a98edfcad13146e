"""Check running services from time to time."""

from collections.abc import Callable

from reaperd.policy.words import Event
from reaperd.supervise.helpers import Helpers
from reaperd.supervise.service import Service
from reaperd.supervise.world import World


class Health:
    """Check running services from time to time."""

    def __init__(self, world: World, helpers: Helpers, post: Callable[[Service, Event], None]) -> None:
        self._world = world
        self._helpers = helpers
        self._post = post

    def begin(self, service: Service) -> None:
        """Begin."""
        raise NotImplementedError(service)

    def end(self, service: Service) -> None:
        """End; harmless where nothing had begun."""
