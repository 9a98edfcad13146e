"""How well the model knows the real tree, as plain data for whoever tells people."""

from dataclasses import dataclass
from enum import Enum

from reaperd.config.daemon_spec import Track


class Source(Enum):
    """Where the model gets its facts from, beside our own forks and reaps."""

    CONNECTOR = "connector"
    LOOKS = "looks"


@dataclass(frozen=True, slots=True)
class Standing:
    """How well the model knows the real tree.

    Attributes:
        scope: who is followed.
        source: where facts come from.
        why_not: why there is no connector, None where there is one or none was wanted.
        processes: in the model, zombies included.
        zombies: of these, that others have to reap and that are watched.
        messages: heard so far.
        lag_s: how old the first message of the latest batch was when that had been followed; None before.
        losses: how many times messages were lost.
        looks: how many times everything was looked at.
        look_s: how long the latest of these took; None where there was none.
        is_dirty: messages were lost, and no look has been taken since.
    """

    scope: Track
    source: Source
    why_not: str | None
    processes: int
    zombies: int
    messages: int
    lag_s: float | None
    losses: int
    looks: int
    look_s: float | None
    is_dirty: bool
