"""The log for a person who watches it: the only home of structlog, loaded where somebody does.

structlog imports asyncio, for loggers that are awaited; nothing here ever is. What processes call themselves
is among the values, so the terminal gets nothing that it would obey.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reaperd.deferred import deferred

with deferred("asyncio"):
    import structlog.dev

_NAME_WIDTH: Final = 18


class Lines:
    """Draw events as readable lines.

    Args:
        colors: whether the reader knows the escapes for them.
    """

    def __init__(self, *, colors: bool) -> None:
        self._draw = structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=_NAME_WIDTH, sort_keys=False)

    def __call__(self, level: str, name: str, keys: Mapping[str, object]) -> str:
        """Return one line: what does not apply is left out, for a person reads what is there."""
        present = {key: _harmless(value) for key, value in keys.items() if not _absent(value)}
        moment = time.strftime("%H:%M:%S")
        return str(self._draw(None, level, {**present, "event": name, "level": level, "timestamp": moment}))


def _absent(value: object) -> bool:
    return value is None or value is False


@dataclass(frozen=True, slots=True)
class _Quoted:
    """A text that the renderer is to show as Python would write it: every value but a plain text is."""

    text: str

    def __repr__(self) -> str:
        return repr(self.text)


def _harmless(value: object) -> object:
    """Quote what holds control characters: names of processes are whatever the processes say."""
    return _Quoted(value) if isinstance(value, str) and not value.isprintable() else value
