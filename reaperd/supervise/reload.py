"""From one configuration to the next, touching only what changed."""

from reaperd.config.diff import Diff, diff
from reaperd.config.spec import Config
from reaperd.supervise.supervisor import Supervisor


def apply(supervisor: Supervisor, old: Config, new: Config) -> Diff:
    """Make the supervisor follow `new`; unchanged services keep their processes. Returns what changed."""
    difference = diff(old, new)
    specs = {spec.name: spec for spec in new.services}
    for name in difference.removed:
        supervisor.remove(name)
    for name in difference.changed:
        supervisor.change(specs[name])
    for name in difference.added:
        if name in supervisor.services:
            supervisor.change(specs[name])  # it was removed a moment ago and is still on its way down
        else:
            supervisor.add(specs[name])
    supervisor.arrange(specs)
    supervisor.start(difference.added)
    return difference
