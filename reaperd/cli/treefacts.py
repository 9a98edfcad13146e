"""What `reaperd tree` shows: the model's picture, of the daemon or of a scan, and what /proc adds to it."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from reaperd.kernel import procfs
from reaperd.model import ProcessTable, Seen
from reaperd.track import look
from reaperd.track.portrait import KERNEL, document

Picture = dict[str, Any]  # JSON: reaperd.tree/1
_NOBODY: Final = -1
_MOST_CAUSES: Final = 100  # zombies that are looked into; a machine that leaks has thousands of the same kind


def scan() -> Picture:
    """Return a picture of every process that can be seen.

    Raises:
        KernelError: no descriptor is left.
    """
    seen = list(look.everybody())
    pids = {one.pid for one in seen}
    kernel = Seen(pid=KERNEL, ppid=KERNEL, pgid=0, sid=0, start_time=0)
    table = ProcessTable(kernel, _NOBODY)  # whose children were adopted, a look cannot tell
    # A parent that we cannot see is as good as none.
    table.snapshot(one if one.ppid in pids else one._replace(ppid=KERNEL) for one in seen)
    return document(table, "scan", table)


def processes(picture: Picture) -> Iterator[dict[str, Any]]:
    """Yield every process of a picture."""
    for session in picture["items"]:
        for group in session["groups"]:
            yield from group["processes"]


def only_below(picture: Picture, pid: int) -> Picture | None:
    """Return the picture of one process and all below it, None where it is not in the picture."""
    children: dict[int, list[int]] = {}
    pids = set()
    for item in processes(picture):
        pids.add(item["pid"])
        children.setdefault(item["ppid"], []).append(item["pid"])
    if pid not in pids:
        return None
    kept = {pid}
    for parent in (found := [pid]):
        new = [child for child in children.get(parent, ()) if child not in kept]
        kept.update(new)
        found += new
    return _only(picture, lambda item: item["pid"] in kept)


def without_kernel_threads(picture: Picture) -> Picture:
    """Leave out the kernel's own threads, which no program made."""
    return _only(picture, lambda item: not item["kernel"])


def _only(picture: Picture, is_kept: Callable[[dict[str, Any]], bool]) -> Picture:
    items = []
    for session in picture["items"]:
        groups = [
            {**group, "processes": [item for item in group["processes"] if is_kept(item)]}
            for group in session["groups"]
        ]
        groups = [group for group in groups if group["processes"]]
        if groups:
            items.append({**session, "groups": groups})
    return {**picture, "items": items}


def add_facts(picture: Picture) -> None:
    """Add what /proc tells of each process now, and of zombies why nobody reaps them."""
    for session in picture["items"]:
        for group in session["groups"]:
            for item in group["processes"]:
                stat = procfs.read_stat(item["pid"])
                is_same = stat is not None and item["start_time"] in (0, stat.start_time)
                _add_facts(item, stat if is_same else None)
                if stat is not None and is_same and stat.tty_nr and session["tty"] is None:
                    session["tty"] = tty_name(stat.tty_nr)
    _add_causes([item for item in processes(picture) if item["zombie"]])


def _add_facts(item: dict[str, Any], stat: procfs.Stat | None) -> None:
    words = b" ".join(procfs.read_cmdline(item["pid"]) or []) if stat is not None else b""
    item["command"] = words.decode(errors="backslashreplace") or item["name"]
    item["kernel"] = stat is not None and stat.is_kernel_thread
    item["age"] = None if stat is None else round(stat.age_s, 3)
    item["cpu"] = None if stat is None else round(stat.cpu_s, 3)
    item["memory"] = None if stat is None else stat.rss_bytes
    tids = item["tids"] if stat is not None and item["threads"] > 1 else ()
    item["thread_list"] = [thread for tid in tids if (thread := _thread(item["pid"], tid)) is not None]


def _thread(pid: int, tid: int) -> dict[str, Any] | None:
    stat = procfs.read_thread_stat(pid, tid)
    if stat is None:
        return None
    return {
        "tid": tid,
        "name": stat.comm.encode(errors="surrogateescape").decode(errors="backslashreplace"),
        "state": stat.state,
        "age": round(stat.age_s, 3),
        "cpu": round(stat.cpu_s, 3),
    }


def _add_causes(zombies: list[dict[str, Any]]) -> None:
    if not zombies:
        return
    from reaperd.zombies.scan import scan as look_into  # noqa: PLC0415  # psutil: only where there is one

    causes = {
        each.pid: each.cause for each in look_into([item["pid"] for item in zombies[:_MOST_CAUSES]]).zombies
    }
    for item in zombies:
        cause = causes.get(item["pid"])
        item["cause"] = None if cause is None else cause.name


def tty_name(number: int) -> str:
    """Return a terminal's name under /dev, from its device number: proc_pid_stat(5), devices.txt."""
    major, minor = number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00
    if 136 <= major <= 143:
        return f"pts/{(major - 136 << 20) + minor}"
    if major == 4:
        return f"tty{minor}" if minor < 64 else f"ttyS{minor - 64}"
    return f"{major}:{minor}"
