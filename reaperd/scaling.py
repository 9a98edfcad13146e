"""How many instances users asked for, in place of what the files say.

What was asked for holds through reloads until the number in the file changes: then whoever changed it has
the last word. It does not outlive the daemon.
"""

from dataclasses import dataclass
from pathlib import Path

from reaperd.config.spec import Config


@dataclass(frozen=True, slots=True)
class _Scaled:
    """What was asked for, and what stood in the file meanwhile."""

    count: int
    in_file: int  # what the file said then


class Scaling:
    """Read configurations with the numbers that users asked for."""

    def __init__(self) -> None:
        self._scaled: dict[str, _Scaled] = {}

    def load(self, path: Path, scale: tuple[str, int] | None) -> Config:
        """Read the files; `scale` is a service and its number, asked for just now.

        Raises:
            ConfigError: with every problem of all files.
        """
        # Imported here: a daemon whose configuration never changes has no use for what reads it.
        from reaperd.config.parse import load  # noqa: PLC0415

        counts = {name: scaled.count for name, scaled in self._scaled.items()}
        config = load(path, scale=counts | dict([scale] if scale else []))
        in_file = dict(config.instances)
        outdated = {name for name, scaled in self._scaled.items() if in_file.get(name) != scaled.in_file}
        if scale is not None:
            outdated.discard(scale[0])
        if not outdated:
            return config
        kept = {name: count for name, count in counts.items() if name not in outdated}
        return load(path, scale=kept | dict([scale] if scale else []))

    def follow(self, config: Config, scale: tuple[str, int] | None) -> None:
        """Remember `scale`, and forget what the files overruled; `config` is what is followed from now on."""
        in_file = dict(config.instances)
        if scale is not None:
            name, count = scale
            self._scaled[name] = _Scaled(count, in_file.get(name, 0))
        self._scaled = {
            name: scaled for name, scaled in self._scaled.items() if in_file.get(name) == scaled.in_file
        }
