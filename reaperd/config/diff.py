"""What a new configuration changes, so that a reload touches nothing else."""

from dataclasses import dataclass, fields

from reaperd.config.spec import Config


@dataclass(frozen=True, slots=True)
class Diff:
    """Names of services, each in exactly one place; removed ones in the old order, the others in the new."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    daemon: tuple[str, ...] = ()  # keys of [daemon] that changed


def diff(old: Config, new: Config) -> Diff:
    """Return what is different; two services are the same when nothing about them would have to change."""
    before = {spec.name: spec for spec in old.services}
    after = {spec.name: spec for spec in new.services}
    return Diff(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(name for name, spec in after.items() if name in before and before[name] != spec),
        unchanged=tuple(name for name, spec in after.items() if before.get(name) == spec),
        daemon=tuple(
            each.name
            for each in fields(new.daemon)
            if getattr(old.daemon, each.name) != getattr(new.daemon, each.name)
        ),
    )
