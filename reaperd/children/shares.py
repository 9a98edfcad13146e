"""What runs may have of the machine: the keys `memory_max`, `cpu_weight` and `pids_max`, by control groups.

A run's leaf has a controller's files once both the daemon's cgroup and the place that it is in give it to
those below. The place holds the daemon itself, and who gives memory away must hold no process. So the daemon
leaves it for a cgroup of its own beside that of the runs, the first time that a service asks for a limit:

    <place>                                               empty by then, and gives the controllers
    <place>/reaperd-<pid namespace>-<pid>-<start>         gives them too; the runs' leaves are below
    <place>/reaperd-<pid namespace>-<pid>-<start>.daemon  the daemon

Where others are in the place, which the daemon will not move, it goes back and says why there are no limits.
The root of the whole hierarchy may hold processes and give: there the daemon stays. At its end it goes back
too, and takes the controllers from the place again.
"""

import errno
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from reaperd.config.spec import ServiceSpec
from reaperd.errors import KernelError
from reaperd.kernel import cgroup, cgroup_control

DAEMON: Final = ".daemon"


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of a controller.

    Attributes:
        key: what the configuration calls it.
        controller: whose it is.
        file: of a cgroup.
        value: as the kernel takes it.
        asked: whether the configuration says so; else it is what the kernel begins with.
    """

    key: str
    controller: str
    file: str
    value: str
    asked: bool = True


def settings(spec: ServiceSpec) -> tuple[Setting, ...]:
    """Return what a service asks for."""
    return tuple(each for each in _all(spec) if each.asked)


def changes(old: ServiceSpec, new: ServiceSpec) -> tuple[Setting, ...]:
    """Return what a run of `old` has to be given to be one of `new`."""
    return tuple(after for before, after in zip(_all(old), _all(new), strict=True) if before != after)


def _all(spec: ServiceSpec) -> tuple[Setting, ...]:
    return (
        _setting("memory_max", "memory", "memory.max", spec.memory_max, "max"),
        _setting("cpu_weight", "cpu", "cpu.weight", spec.cpu_weight, "100"),
        _setting("pids_max", "pids", "pids.max", spec.pids_max, "max"),
    )


def _setting(key: str, controller: str, file: str, value: int | None, otherwise: str) -> Setting:
    return Setting(key, controller, file, otherwise if value is None else str(value), value is not None)


def complaint(refused: dict[str, str]) -> str | None:
    """Return a sentence on keys that have no effect, each with its reason; None where all have."""
    by_reason: dict[str, list[str]] = {}
    for key, reason in refused.items():
        by_reason.setdefault(reason, []).append(key)
    sentences = [
        f"{', '.join(keys)} {'has' if len(keys) == 1 else 'have'} no effect: {reason}"
        for reason, keys in by_reason.items()
    ]
    return "; ".join(sentences) or None


class Shares:
    """Give the runs' cgroups their controllers, and values. What was refused once stays refused."""

    __slots__ = ("_directory", "_given", "_moved", "_place", "_refused")

    def __init__(self, place: str, directory: str) -> None:
        """Begin without any; `directory`, in `place`, is where the leaves are."""
        self._place = place
        self._directory = directory
        self._given: dict[str, bool] = {}  # and whether the place gives them because of us
        self._refused: dict[str, str] = {}
        self._moved = False

    def put(self, leaf: str, wanted: tuple[Setting, ...]) -> dict[str, str]:
        """Write values into a leaf, a name in our directory; return why not, by key."""
        refused = {}
        for each in wanted:
            reason = self._refusal(each.controller)
            if reason is None:
                try:
                    cgroup_control.put(f"{self._directory}/{leaf}", each.file, each.value)
                except KernelError as error:
                    reason = error.message
            if reason is not None and each.asked:
                refused[each.key] = reason
        return refused

    def renew(self) -> None:
        """Give what was given before; our directory was made anew."""
        for controller in self._given:
            with suppress(KernelError):
                cgroup_control.give(self._directory, controller)

    def end(self) -> None:
        """Go back and leave the place as it was; where somebody lives in our directory all stays."""
        for controller, by_us in self._given.items():
            with suppress(KernelError):
                if by_us:
                    cgroup_control.take(self._place, controller)
        self._return()

    def _refusal(self, controller: str) -> str | None:
        """Return why the leaves do not have a controller, None where they do by now."""
        if controller not in self._given and controller not in self._refused:
            reason = self._obtain(controller)
            if reason is not None:
                self._refused[controller] = reason
        return self._refused.get(controller)

    def _obtain(self, controller: str) -> str | None:
        there = cgroup_control.controllers(self._place)
        if controller not in there:
            found = " ".join(sorted(there)) or "none"
            return f"cgroup v2 has no controller for it here ({self._place}/cgroup.controllers: {found})"
        by_us = controller not in cgroup_control.given(self._place)
        try:
            if by_us:
                self._leave()
                cgroup_control.give(self._place, controller)
            cgroup_control.give(self._directory, controller)
        except KernelError as error:
            if not self._given:
                self._return()
            return _reason(error, self._place)
        self._given[controller] = by_us
        return None

    def _leave(self) -> None:
        """Leave the place, unless it is the root, for a cgroup of our own."""
        if self._moved or cgroup.kind(self._place) is None:
            return
        cgroup.make(self._directory + DAEMON)
        self._moved = True
        _move(self._directory + DAEMON)

    def _return(self) -> None:
        """Undo `_leave`, as far as that can be."""
        if self._moved:
            with suppress(KernelError):
                _move(self._place)
                cgroup.remove(self._directory + DAEMON)
                self._moved = False


def _move(directory: str) -> None:
    """Enter a cgroup.

    Raises:
        KernelError: EBUSY, it gives controllers away; EACCES, it is not ours.
    """
    cgroup_control.put(directory, "cgroup.procs", "0")


def _reason(error: KernelError, place: str) -> str:
    if error.errno == errno.EBUSY:
        return f"other processes than the daemon are in its control group, {place}, so it cannot be divided"
    return error.message
