"""reaperd zombies --watch: who leaks, and how fast.

On a terminal each look is drawn over the one before; anywhere else it is one more paragraph, or one more line
of JSON, so that a log of it can be read.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn

from reaperd.cli.render import Column, Screen, cell, put, stdout_screen, table
from reaperd.zombies.trend import Trend, Trends

if TYPE_CHECKING:
    from reaperd.zombies.scan import Scan

SCHEMA: Final = "reaperd.zombies.watch/1"
_COLUMNS: Final = (
    Column("ZOMBIES", right=True),
    Column("NEW/MIN", right=True),
    Column("TREND", styles={"leak": "\x1b[31m"}),
    Column("PARENT"),
)


def watch(look: Callable[[], "Scan"], every_s: float, *, as_json: bool) -> NoReturn:
    """Look until Ctrl-C."""
    trends = Trends()
    drawn = 0  # lines of the look before that are still to be seen
    if as_json:
        put(json.dumps({"schema": SCHEMA}) + "\n")
    while True:
        found = look()
        count, seen = len(found.collectable), trends.look(found.collectable, time.monotonic())
        screen = stdout_screen()
        if as_json:
            put(json.dumps(_as_json(count, seen)) + "\n")
        elif screen.moves:
            lines = _fitting(_as_text(count, seen, screen).splitlines(), _height())
            put(over(lines, drawn))
            drawn = len(lines)
        else:
            put(_as_text(count, seen, screen) + "\n")
        if sys.stdout is not None:
            sys.stdout.flush()
        time.sleep(every_s)


def over(lines: list[str], drawn: int) -> str:
    """Return what draws lines in place of the latest so many: ECMA-48 (CPL, ED)."""
    back = f"\x1b[{drawn}F\x1b[J" if drawn else ""
    return back + "".join(f"{line}\n" for line in lines)


def _fitting(lines: list[str], height: int) -> list[str]:
    """Return as many lines as can be drawn over later: what has left the screen cannot be."""
    room = max(height - 1, 1)  # the cursor has the last line
    if len(lines) <= room:
        return lines
    return [*lines[: room - 1], f"and {len(lines) - room + 1} more"]


def _height() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).lines or 24
    except OSError:
        return 24


def _as_text(count: int, seen: list[Trend], screen: Screen) -> str:
    rows = [
        (
            str(trend.count),
            "-" if trend.per_minute is None else f"{trend.per_minute:.1f}",
            cell(trend.word),
            cell(trend.parent),
        )
        for trend in seen
    ]
    head = f"{time.strftime('%H:%M:%S')}  {count} {'zombie' if count == 1 else 'zombies'}\n"
    return head + (table(_COLUMNS, rows, screen) if rows else "")


def _as_json(count: int, seen: list[Trend]) -> dict[str, Any]:  # Any: JSON
    items = [
        {
            "parent": trend.parent,
            "count": trend.count,
            "per_minute": None if trend.per_minute is None else round(trend.per_minute, 3),
            "trend": trend.word,
        }
        for trend in seen
    ]
    return {"count": count, "items": items}
