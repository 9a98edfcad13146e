"""Look for zombies below the daemon, or clear some of them: the daemon's helper, in a process of its own.

    python -P -m reaperd.zombies.tend look DAEMON
    python -P -m reaperd.zombies.tend nudge|inject DAEMON PID:START:PPID...

The answer is one line of JSON on standard output. DAEMON is the pid of who asks: nobody but what descends
from it is looked at, and nobody else is ever touched. The daemon itself collects what it is the parent of. A
zombie is named by its pid, its start time and the parent that was seen to have it; what is another's by now
is left alone, and so is whatever a tracer holds, for that may be a stranger.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from reaperd.errors import ReaperdError
from reaperd.kernel import procfs

if TYPE_CHECKING:
    from reaperd.zombies.ladder import Offer
    from reaperd.zombies.remedy import Outcome, Wish
    from reaperd.zombies.scan import Zombie

MOST_LISTED: Final = 10_000  # zombies by pid in one answer; the rest are counted
_ENOUGH_S: Final = 20.0  # after so long no further parent is asked to do anything
_WITHIN_S: Final = 2.0  # how long one parent may take


def look(daemon: int) -> dict[str, Any]:  # Any: JSON
    """Return the zombies below a daemon, by the child of its that they stand under, parent and cause.

    Raises:
        ReaperdError: it cannot be told.
    """
    stats = procfs.descendants(daemon)
    tops: dict[int, int] = {}
    for stat in stats:  # parents come before their children
        tops[stat.pid] = stat.pid if stat.ppid == daemon else tops.get(stat.ppid, 0)
    pids = [stat.pid for stat in stats if _is_for_others(stat, daemon)]
    if not pids:
        return {"groups": []}  # without having imported what looks closer
    from reaperd.zombies.scan import scan  # noqa: PLC0415

    zombies = [zombie for zombie in scan(pids).zombies if not zombie.is_dead_leader and zombie.ppid != daemon]
    return {"groups": list(_grouped(zombies, tops))}


def _is_for_others(stat: procfs.Stat, daemon: int) -> bool:
    return stat.is_zombie and not stat.is_dead_leader and stat.ppid != daemon


def _grouped(zombies: Sequence["Zombie"], tops: Mapping[int, int]) -> Iterator[dict[str, Any]]:  # Any: JSON
    from reaperd.zombies.report import decodable  # noqa: PLC0415

    groups: dict[tuple[int, str], list[Zombie]] = {}
    for zombie in zombies:
        groups.setdefault((zombie.ppid, zombie.cause.name), []).append(zombie)
    room = MOST_LISTED
    for (ppid, cause), found in groups.items():
        found.sort(key=lambda zombie: -(zombie.at_least_s or 0.0))  # the oldest first, if not all fit
        yield {
            "top": tops.get(ppid, tops.get(found[0].pid, 0)),
            "ppid": ppid,
            "parent": decodable(found[0].parent.name) if found[0].parent else "?",
            "cause": cause,
            "evidence": found[0].cause.evidence,
            "helps": found[0].cause.advice,
            "zombies": [
                [
                    zombie.pid,
                    zombie.start_time,
                    None if zombie.at_least_s is None else round(zombie.at_least_s, 2),
                ]
                for zombie in found[:room]
            ],
            "more": max(len(found) - room, 0),
        }
        room = max(room - len(found), 0)


class _Nobody:
    """Whom a daemon's helper could ask: nobody."""

    def tell(self, text: str) -> None:
        """Say nothing: the outcome says it all."""

    def agrees(self, question: str) -> bool:
        """Never end a parent."""
        del question
        return False

    def wants(self, offer: "Offer", question: str) -> bool:
        """Never let go on what somebody has stopped."""
        del offer, question
        return False


def clear(daemon: int, remedy: str, named: Sequence[tuple[int, int, int]]) -> dict[str, Any]:  # Any: JSON
    """Clear those zombies by the gentlest remedy that `remedy` allows, and return what became of them.

    Raises:
        ReaperdError: it cannot be told.
    """
    from reaperd.zombies.ladder import Method  # noqa: PLC0415
    from reaperd.zombies.remedy import Wish  # noqa: PLC0415
    from reaperd.zombies.scan import scan  # noqa: PLC0415

    wanted = set(named)
    below = {stat.pid for stat in procfs.descendants(daemon)}
    there = [
        zombie
        for zombie in scan([pid for pid, _, _ in named]).zombies
        if (zombie.pid, zombie.start_time, zombie.ppid) in wanted and zombie.ppid in below - {os.getpid()}
    ]
    held = [zombie for zombie in there if zombie.tracer]
    free = [zombie for zombie in there if not zombie.tracer]
    gone: dict[int, str | None] = dict.fromkeys({pid for pid, _, _ in named} - {z.pid for z in there})
    stay = [_staying(zombie, f"process {zombie.tracer} traces it", None) for zombie in held]
    wishes = [Wish(may_inject=False, within_s=_WITHIN_S)]
    if remedy == "inject":
        wishes.append(Wish(Method.INJECT, may_inject=True, within_s=_WITHIN_S))
    for outcome in _cleared(free, wishes):
        if outcome.is_gone:
            gone[outcome.zombie.pid] = outcome.by
        else:
            stay.append(_staying(outcome.zombie, outcome.why or "it is still there", outcome.hint))
    return {"gone": list(gone.items()), "stay": _summed(stay)}


def _cleared(zombies: Sequence["Zombie"], wishes: Sequence["Wish"]) -> Iterator["Outcome"]:
    """Clear zombies, parent by parent, while there is time; what is left of one wish is for the next."""
    from reaperd.zombies.remedy import Outcome, clear  # noqa: PLC0415

    until = time.monotonic() + _ENOUGH_S
    parents: dict[tuple[int, str], list[Zombie]] = {}
    for zombie in zombies:
        parents.setdefault((zombie.ppid, zombie.cause.name), []).append(zombie)
    for group in parents.values():
        left, last = group, list[Outcome]()
        for wish in wishes:
            if time.monotonic() > until:
                break
            last = clear(left, wish, _Nobody())
            yield from (outcome for outcome in last if outcome.is_gone)
            last = [outcome for outcome in last if not outcome.is_gone]
            left = [outcome.zombie for outcome in last]
            if not left:
                break
        tried = {outcome.zombie.pid for outcome in last}
        yield from last
        yield from (
            Outcome(z, is_gone=False, why="there was no time left") for z in left if z.pid not in tried
        )


def _staying(zombie: "Zombie", why: str, hint: str | None) -> tuple[int, str, str | None]:
    return zombie.ppid, why, hint


def _summed(stay: Sequence[tuple[int, str, str | None]]) -> list[dict[str, Any]]:  # Any: JSON
    counts: dict[tuple[int, str, str | None], int] = {}
    for each in stay:
        counts[each] = counts.get(each, 0) + 1
    return [{"ppid": ppid, "why": why, "hint": hint, "count": n} for (ppid, why, hint), n in counts.items()]


def main(words: Sequence[str] | None = None) -> int:
    """Do what the words say; return the exit status: 0, or 1 where it could not be done."""
    verb, daemon, *named = sys.argv[1:] if words is None else words
    if os.getppid() != int(daemon):  # it has ended: whoever is our parent now asked for nothing
        return 1
    try:
        if verb == "look":
            answer = look(int(daemon))
        else:
            keys = (tuple(map(int, word.split(":"))) for word in named)
            answer = clear(int(daemon), verb, [(pid, start, ppid) for pid, start, ppid in keys])
    except ReaperdError as error:
        sys.stdout.write(f"{error.message}\n")
        return 1
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
