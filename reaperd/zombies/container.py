"""Which container a process lives in, as far as the path of its cgroup tells: cgroups(7).

Engines write the container's id, 64 hexadecimal digits, into the path; Kubernetes the pod's uid as well.
"""

import os
import re
from functools import lru_cache
from typing import Final, NamedTuple

from reaperd.kernel import procfs

# Compiled, and kept, by `re` where they are first used: few machines have a container, and no run needs all.
_ID: Final = r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])"
_POD: Final = r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})"
_NAMED: Final = (
    r"/(?:lxc(?:\.payload)?[./]|machine\.slice/machine-|machine\.slice/systemd-nspawn@)"
    r"([^/]+?)(?:\.scope|\.service)?(?:/|$)"
)
CGROUP_BYTES: Final = 65536
_KNOWN: Final = 64  # cgroups that are kept in mind: zombies of one parent share theirs


class Place(NamedTuple):
    """Where a process lives.

    Attributes:
        cgroup: its path; None where it cannot be told.
        container: the id that its engine gave it, or its name; None outside of containers.
        pod: the uid of its Kubernetes pod.
    """

    cgroup: str | None = None
    container: str | None = None
    pod: str | None = None


NOWHERE: Final = Place()


@lru_cache(_KNOWN)
def place_of(cgroup: str | None) -> Place:
    """Return what a cgroup's path tells."""
    if cgroup is None:
        return NOWHERE
    ids, pod, named = re.findall(_ID, cgroup), re.search(_POD, cgroup), re.search(_NAMED, cgroup)
    return Place(
        cgroup,
        ids[-1] if ids else named.group(1) if named else None,
        pod.group(1).replace("_", "-") if pod else None,
    )


def read_cgroup(pid: int) -> str | None:
    """Return the path that says most about where a process lives; None where none says more than the root."""
    return path_in(procfs.read_permitted(f"/proc/{pid}/cgroup", CGROUP_BYTES) or b"")


@lru_cache(_KNOWN)
def path_in(data: bytes) -> str | None:
    """Return the path that says most of those in a file `cgroup`; None where none says more than the root."""
    lines = os.fsdecode(data).splitlines()
    paths = [line.split(":", 2)[2] for line in lines if line.count(":") >= 2]
    unified = next((line[3:] for line in lines if line.startswith("0::")), "/")
    told = unified if unified != "/" else max(paths, key=len, default="/")
    return None if told == "/" else told
