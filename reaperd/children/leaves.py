"""A cgroup for each run: the exact answer to whose process is this, and the quickest end of them all.

    <own>                                        where the daemon is, and stays
    <own>/reaperd-<pid namespace>-<pid>-<start>  one of this daemon, without processes of its own
    <own>/.../<service>.<run>                    a leaf: one of each run, never used again

Once a run is to be limited the daemon leaves <own> for a cgroup beside these: see `shares`.

The child enters its leaf itself, by a descriptor that was opened before the fork, and before it can fork:
so no descendant is ever outside. The daemon could write the pid instead, but the kernel may hold whoever
writes for some milliseconds (seen: 8 ms; a grace period of RCU), and the daemon has others to serve.

Leaves are used where they are ours to make. They are not

- where no cgroup2 is mounted, or it cannot be written: a plain user's, most containers';
- under a systemd that has not given our unit's cgroup away (`Delegate=`): it believes itself alone there,
  root or not. It runs where /run/systemd/system exists: sd_booted(3). Ours is the nearest unit above us,
  told by its name's ending, and must carry the mark of delegation. Neither INVOCATION_ID, which every child
  inherits, nor being allowed to write says anything about that;
- where our cgroup is threaded, or divides threads among those below it: such a one takes no processes there.
  One that divides memory or the like among those below it cannot have us in it, the root apart.

Then the other ways to know a run's processes have to do: see `family`.
"""

import os
import select
from contextlib import suppress
from pathlib import Path
from typing import Final

from reaperd.children.shares import DAEMON, Setting, Shares
from reaperd.errors import KernelError, ReaperdError
from reaperd.kernel import cgroup, cgroup_control, procfs

_PREFIX: Final = "reaperd-"
_BOOTED: Final = Path("/run/systemd/system")
_UNITS: Final = (".service", ".scope", ".slice", ".socket", ".mount", ".swap")
_HINT: Final = "without it descendants are followed by their parents, sessions and environment"


def find_place(*, booted: bool | None = None) -> str:
    """Return the directory of our own cgroup, where it is ours to divide.

    Args:
        booted: whether systemd runs this machine or container; None to look.

    Raises:
        ReaperdError: says why not.
    """
    own = cgroup.find_own()
    if own is None:
        raise ReaperdError("cannot give runs a cgroup: no cgroup2 that holds us is mounted", hint=_HINT)
    if (_BOOTED.is_dir() if booted is None else booted) and not _is_given_to_us(own):
        hint = "Delegate=yes in the daemon's unit lets it use cgroups of its own"
        raise ReaperdError(f"cannot give runs a cgroup: {own} is systemd's", hint=hint)
    if not os.access(f"{own}/cgroup.procs", os.W_OK, effective_ids=True):
        raise ReaperdError(f"cannot give runs a cgroup: {own} may not be written", hint=_HINT)
    return own


def _is_given_to_us(own: str) -> bool:
    for each in (own, *map(str, Path(own).parents)):
        if each.endswith(_UNITS):
            return cgroup.is_delegated(each)
    return False


class Leaves:
    """Own the cgroups of all runs.

    Attributes:
        directory: the daemon's one, which holds them.
    """

    __slots__ = ("_epoll", "_leaf_of", "_lingering", "_prefix", "_run_of", "_shares", "_watched", "directory")

    def __init__(self, place: str) -> None:
        """Make the daemon's cgroup in `place`, and tidy up what earlier daemons have left there.

        Raises:
            ReaperdError: it cannot be made, or takes no processes.
        """
        _tidy(place)
        name = _name_of_ours()
        self.directory = f"{place}/{name}"
        self._prefix = f"/{name}/"
        self._shares = Shares(place, self.directory)
        self._make_ours()
        self._leaf_of: dict[str, str] = {}
        self._run_of: dict[str, str] = {}
        self._lingering: list[str] = []
        self._epoll = select.epoll()
        self._watched: dict[int, str] = {}

    @property
    def fd(self) -> int:
        """Polls readable when a leaf that was the last thing left of a run may have become empty."""
        return self._epoll.fileno()

    def make(self, run_id: str, service: str) -> int:
        """Make a run's leaf and return a descriptor to enter it by; the caller owns that.

        Raises:
            KernelError: the kernel allows no more, or somebody has taken our cgroup away.
        """
        leaf = f"{service}.{run_id}"
        try:
            cgroup.make(f"{self.directory}/{leaf}")
        except KernelError:
            if os.path.exists(self.directory):  # noqa: PTH110 - texts
                raise
            self._make_ours()
            cgroup.make(f"{self.directory}/{leaf}")
        self._leaf_of[run_id], self._run_of[leaf] = leaf, run_id
        return cgroup.open_procs(f"{self.directory}/{leaf}")

    def put(self, run_id: str, wanted: tuple[Setting, ...]) -> dict[str, str]:
        """Write values into a run's leaf; return why not, by key."""
        leaf = self._leaf_of.get(run_id)
        return {} if leaf is None else self._shares.put(leaf, wanted)

    def path(self, run_id: str) -> str | None:
        """Return the directory of a run's leaf, None where it has none."""
        leaf = self._leaf_of.get(run_id)
        return None if leaf is None else f"{self.directory}/{leaf}"

    def run_of(self, pid: int) -> str | None:
        """Return the run in whose leaf a process is, or was when it became a zombie."""
        path = cgroup.path_of(pid) or ""
        before, prefix, rest = path.partition(self._prefix)
        del before
        return self._run_of.get(rest.partition("/")[0]) if prefix else None

    def pids(self, run_id: str) -> list[int]:
        """Return who lives in a run's leaf, and in the cgroups that it has made there."""
        leaf = self._leaf_of.get(run_id)
        return [] if leaf is None else cgroup.pids(f"{self.directory}/{leaf}")

    def kill(self, run_id: str) -> bool:
        """Send SIGKILL to all in a run's leaf; False where the kernel cannot (before Linux 5.14)."""
        leaf = self._leaf_of.get(run_id)
        return leaf is not None and cgroup.kill(f"{self.directory}/{leaf}")

    def kill_all(self) -> bool:
        """Send SIGKILL to all in all leaves; False where the kernel cannot."""
        return cgroup.kill(self.directory)

    def oom_kills(self, run_id: str) -> int | None:
        """Return how many of a run the kernel has killed for want of memory; None if it does not count."""
        leaf = self._leaf_of.get(run_id)
        return None if leaf is None else cgroup.oom_kills(f"{self.directory}/{leaf}")

    def cpu_s(self, run_id: str) -> float | None:
        """Return the seconds of processor time of all who ever were in a run's leaf; None if not counted."""
        leaf = self._leaf_of.get(run_id)
        return None if leaf is None else cgroup.cpu_s(f"{self.directory}/{leaf}")

    def is_empty(self, run_id: str) -> bool:
        """Tell whether nobody lives in a run's leaf; while somebody does, `fd` will tell when to ask again.

        That is for those who are not below us: somebody may have moved them there. Our own descendants
        announce their deaths.
        """
        leaf = self._leaf_of.get(run_id)
        return leaf is None or not cgroup.is_populated(f"{self.directory}/{leaf}") or self._watch(leaf)

    def drain(self) -> None:
        """Take note of what `fd` tells; to be called when it is readable."""
        for fd, _events in self._epoll.poll(0):
            if not cgroup.is_populated_by(fd):
                self._unwatch(fd)

    def ended(self, run_id: str) -> None:
        """Remove the leaf of a run of which nothing is left."""
        leaf = self._leaf_of.pop(run_id, None)
        if leaf is None:
            return
        del self._run_of[leaf]
        for fd in [fd for fd, watched in self._watched.items() if watched == leaf]:
            self._unwatch(fd)
        # What cannot be removed yet (the kernel may take a moment over the last one's end) is tried again.
        self._lingering = [each for each in (*self._lingering, leaf) if not self._remove(each)]

    def close(self) -> None:
        """Remove all that can be removed; the daemon is leaving."""
        for fd in list(self._watched):
            self._unwatch(fd)
        self._epoll.close()
        _remove_empty(self.directory)
        self._shares.end()

    def _watch(self, leaf: str) -> bool:
        """Watch a populated leaf from now on; True if it has become empty meanwhile."""
        if leaf in self._watched.values():
            return False
        fd = cgroup.open_events(f"{self.directory}/{leaf}")
        if fd is None or not cgroup.is_populated_by(fd):  # this read is what later changes are told from
            if fd is not None:
                os.close(fd)
            return True
        self._watched[fd] = leaf
        self._epoll.register(fd, select.EPOLLPRI)
        return False

    def _unwatch(self, fd: int) -> None:
        del self._watched[fd]
        self._epoll.unregister(fd)
        os.close(fd)

    def _remove(self, leaf: str) -> bool:
        try:
            return cgroup.remove(f"{self.directory}/{leaf}")
        except KernelError:
            return True  # no longer ours to remove

    def _make_ours(self) -> None:
        if not os.path.exists(self.directory):  # noqa: PTH110 - texts
            cgroup.make(self.directory)
        if cgroup.kind(self.directory) != "domain":
            cgroup.remove(self.directory)
            why = "the daemon's own divides threads among those below it"
            raise ReaperdError(f"cannot give runs a cgroup: {why}", hint=_HINT)
        # For the count of those killed for memory, where that is allowed.
        with suppress(KernelError):
            cgroup_control.give(self.directory, "memory")
        self._shares.renew()


def _name_of_ours() -> str:
    us = procfs.read_stat(os.getpid())
    assert us is not None, "this process is running"
    return f"{_PREFIX}{_pid_namespace()}-{us.pid}-{us.start_time}"


def _pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - a number is all that is wanted


def _tidy(place: str) -> None:
    """Remove what earlier daemons have left in `place`, if they are provably dead and nobody lives in it.

    A pid tells nothing about other PID namespaces: a neighbour's daemon lives though we cannot see it.
    Who lives in a dead daemon's leaf is a program that somebody may want back: it stays.
    """
    for name in os.listdir(place):  # noqa: PTH208 - names are all that is wanted
        if name.startswith(_PREFIX) and _is_dead(name.removeprefix(_PREFIX).removesuffix(DAEMON).split("-")):
            _remove_empty(f"{place}/{name}")


def _is_dead(words: list[str]) -> bool:
    if len(words) != 3 or not all(word.isdecimal() for word in words) or int(words[0]) != _pid_namespace():
        return False
    stat = procfs.read_stat(int(words[1]))
    return stat is None or stat.start_time != int(words[2])


def _remove_empty(directory: str) -> None:
    """Remove a daemon's cgroup with those of its leaves in which nobody lives."""
    try:
        with os.scandir(directory) as entries:
            leaves = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        for leaf in leaves:
            if not cgroup.is_populated(leaf):  # or its own empty cgroups would go, too
                cgroup.remove(leaf)
        if not cgroup.is_populated(directory):
            cgroup.remove(directory)
    except (OSError, KernelError):
        return  # another user's, or removed by another daemon meanwhile
