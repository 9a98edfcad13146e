"""From one configuration to the next, touching only what changed."""

from reaperd.config.diff import Diff, diff
from reaperd.config.spec import Config
from reaperd.supervise.supervisor import Supervisor


def difference(old: Config, new: Config) -> Diff:
    """Return what `apply` would change."""
    return diff(old, new)


def apply(supervisor: Supervisor, old: Config, new: Config) -> Diff:
    """Make the supervisor follow `new`; unchanged services keep their processes. Returns what changed."""
    found = diff(old, new)
    specs = {spec.name: spec for spec in new.services}
    wishes = supervisor.wishes
    wishes.remove(found.removed)
    for name in found.changed:
        wishes.change(specs[name])
    for name in found.added:
        if name in wishes.services:
            wishes.change(specs[name])  # it was removed a moment ago and is still on its way down
        else:
            wishes.add(specs[name])
    wishes.arrange(specs)
    supervisor.know_identities()
    supervisor.start(found.added)
    return found
