"""What a configuration says, resolved and frozen: no text is left to interpret here.

Durations are integers of nanoseconds, signals are numbers, defaults are filled in. Two specs are equal
exactly when nothing about the service would have to change: a reload compares them.
"""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

SECOND_NS: Final = 1_000_000_000


class Restart(Enum):
    """When a service whose main process ended is started again."""

    NEVER = "never"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next try: `initial * factor ** (failures - 1)`, at most `max`."""

    initial_ns: int = SECOND_NS // 2
    factor: float = 2.0
    max_ns: int = 30 * SECOND_NS
    jitter: float = 0.1  # give or take this share of the delay, 0 to 1
    reset_after_ns: int = 10 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Stop:
    """How a service is asked to end, and how long until it is made to."""

    signal: int = 15
    timeout_ns: int = 10 * SECOND_NS


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service as its user wants it."""

    name: str
    command: tuple[str, ...]
    directory: str | None = None
    user: str | None = None
    group: str | None = None
    environment: tuple[tuple[str, str], ...] = ()  # sorted by name
    restart: Restart = Restart.ON_FAILURE
    backoff: Backoff = field(default_factory=Backoff)
    stop: Stop = field(default_factory=Stop)


@dataclass(frozen=True, slots=True)
class DaemonSpec:
    """The daemon's own settings."""

    socket: Path
    state_dir: Path


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration; services stand in the order of the file."""

    source: Path
    daemon: DaemonSpec
    services: tuple[ServiceSpec, ...]
