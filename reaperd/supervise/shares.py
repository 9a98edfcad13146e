"""What services may have of the machine, and what is known of what they take: `memory_max` and the like."""

from typing import Final

from reaperd.children.children import Children
from reaperd.config.spec import ServiceSpec
from reaperd.kernel import cgroup_control
from reaperd.supervise.service import Service
from reaperd.supervise.world import World

Row = dict[str, object]

_EVENTS: Final = "memory.events"


class Shares:
    """Keep services to their limits; where that cannot be they run without, and it is said once."""

    def __init__(self, world: World) -> None:
        self._children = world.children
        self._log = world.log

    def begin(self, service: Service) -> None:
        """Take note of which limits a new run does not have."""
        before, service.unlimited = service.unlimited, None
        if service.run_id is not None:
            service.unlimited = self._children.unlimited(service.run_id)
        if service.unlimited not in {None, before}:
            self._log("service.not_limited", service=service.spec.name, problem=service.unlimited)

    def change(self, service: Service, old: ServiceSpec, new: ServiceSpec) -> None:
        """Let a run have what another spec says; its processes stay."""
        if service.run_id is not None:
            self._children.change_shares(service.run_id, old, new)
            self.begin(service)


def taken(children: Children, run_id: str | None) -> Row | None:
    """Return what a run's cgroup tells: its path, events of its memory, and who waited for what.

    None where the run has none; null in it where the kernel does not tell.
    """
    path = None if run_id is None else children.cgroup_of(run_id)
    if path is None:
        return None
    return {
        "path": path,
        "memory_events": cgroup_control.counts(path, _EVENTS),
        "pressure": {each: cgroup_control.pressure(path, each) for each in cgroup_control.PRESSURES},
    }
