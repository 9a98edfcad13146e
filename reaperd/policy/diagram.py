"""Draw the states of a service from the table of decisions, for the reference.

    python -m reaperd.policy.diagram docs/reference/states.md

What stands between a comment `states` and a comment `end of states` is replaced. Nothing here knows what
leads where: each pair of the table is decided for many runs and specs, and what comes of it is drawn.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Final

from reaperd.config.spec import Every, FdCheck, Restart, Schedule, ServiceSpec, StartLimit
from reaperd.policy.decide import IGNORED, TABLE, decide
from reaperd.policy.words import (
    After,
    Awaits,
    CheckFailed,
    Event,
    Exited,
    MainExited,
    NotSpawned,
    Run,
    SpawnFailed,
    State,
    Unhealthy,
    Want,
)

BEGIN: Final = "<!-- states, written by python -m reaperd.policy.diagram -->"
END: Final = "<!-- end of states -->"
_WELL, _BADLY = Exited(code=0), Exited(code=1)
_NOW: Final = 10**9

Edge = tuple[State, State]


def edges() -> dict[Edge, list[str]]:
    """Return what leads from state to state: the names of events."""
    found: dict[Edge, list[str]] = {}
    for (state, kind), run, spec in product(TABLE, _runs(), _specs()):
        for event in _events(kind):
            after, _ = decide(replace(run, state=state), event, spec)
            names = found.setdefault((state, after.state), [])
            if kind.__name__ not in names:
                names.append(kind.__name__)
    return found


def _runs() -> list[Run]:
    return [
        Run(want=want, after=after, awaits=awaits, cause=cause, starts=starts)
        for want, after, awaits, cause, starts in product(Want, After, Awaits, (_WELL, _BADLY), ((), (_NOW,)))
    ]


def _specs() -> list[ServiceSpec]:
    plain = ServiceSpec("x", ("x",))
    return [
        plain,
        replace(plain, restart=Restart.NEVER),
        replace(plain, start_limit=StartLimit(count=1)),
        replace(plain, ready=FdCheck(3)),
        replace(plain, schedule=Schedule(Every(1)), restart=Restart.NEVER),
    ]


def _events(kind: type) -> list[Event]:
    if kind is MainExited:
        return [MainExited(_WELL, _NOW), MainExited(_BADLY, _NOW)]
    if kind is SpawnFailed:
        return [SpawnFailed(NotSpawned("exec", 2), _NOW)]
    if kind is CheckFailed:
        return [CheckFailed(Unhealthy("no answer"), _NOW)]
    event: Event = kind(_NOW)
    return [event]


def lines() -> Iterator[str]:
    """Give the diagram, the table of what is handled, and what is ignored."""
    drawn = edges()
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield "    [*] --> stopped"
    for (before, after), names in drawn.items():
        if before is not after:
            yield f"    {before.value} --> {after.value}: {', '.join(names)}"
    yield "```"
    yield ""
    yield "| state | event | next |"
    yield "| --- | --- | --- |"
    for state, kind in sorted(TABLE, key=lambda pair: list(State).index(pair[0])):
        nexts = [
            after.value
            for (before, after), names in drawn.items()
            if before is state and kind.__name__ in names
        ]
        yield f"| {state.value} | `{kind.__name__}` | {', '.join(nexts)} |"
    yield ""
    yield "Ignored:"
    yield ""
    for state in State:
        names = sorted(kind.__name__ for each, kind in IGNORED if each is state)
        yield f"- {state.value}: {', '.join(f'`{name}`' for name in names)}"


def refreshed(text: str) -> str:
    """Return a page with its diagram drawn anew."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return "\n".join([f"{before}{BEGIN}", *lines(), f"{END}{after}"])


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(refreshed(page.read_text()))
