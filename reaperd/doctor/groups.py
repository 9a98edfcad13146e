"""What control groups there are: whether each run can have one, and what it could be limited by."""

import os
from pathlib import Path
from typing import Final

from reaperd.doctor.findings import Found, no, partly, yes
from reaperd.kernel import cgroup, cgroup_control

_WANTED: Final = ("cpu", "memory", "pids")


def can_be_made() -> Found:
    """Make one below our own, and remove it."""
    own = cgroup.find_own()
    if own is None:
        return no("no hierarchy of version 2 holds this process")
    directory = f"{own}/reaperd-doctor-{os.getpid()}"
    cgroup.make(directory)
    try:
        can_kill = Path(directory, "cgroup.kill").exists()
    finally:
        cgroup.remove(directory)
    detail = f"made and removed one in {own}"
    return yes(detail) if can_kill else partly(f"{detail}; no cgroup.kill, which needs Linux 5.14")


def can_limit() -> Found:
    """Tell which controllers our own cgroup has, and could give to those below."""
    own = cgroup.find_own()
    if own is None:
        return no("no hierarchy of version 2 holds this process")
    found = cgroup_control.controllers(own)
    missing = [name for name in _WANTED if name not in found]
    detail = f"{own} has: {' '.join(sorted(found)) or 'none'}"
    if not missing:
        return yes(detail)
    what = f"{detail}; without {', '.join(missing)}"
    return no(what) if len(missing) == len(_WANTED) else partly(what)
