"""Commands that run on behalf of a service: stop and reload commands, hooks, exec checks."""

from reaperd.policy.words import HookKind
from reaperd.supervise.service import Service
from reaperd.supervise.world import World


class Helpers:
    """Fork helper processes, bound their time, and tell who asked how they ended."""

    def __init__(self, world: World) -> None:
        self._world = world

    def stop(self, service: Service) -> None:
        """Run the service's stop command, within the service's stop timeout."""
        raise NotImplementedError(service, self._world)

    def hook(self, service: Service, kind: HookKind) -> None:
        """Run what the user wants run at this moment; how it ends changes nothing."""
        raise NotImplementedError(service, kind)
