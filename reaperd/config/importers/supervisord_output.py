"""Where supervisord would write what its programs write, as our `stdout` and `stderr`."""

from typing import Final, Protocol

from reaperd.config.importers.draft import Draft, Value
from reaperd.units import MAX_SIZE, format_size

_UNITS: Final = {"kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}
_OWN: Final = {"/dev/stdout", "/dev/stderr", "/dev/fd/1", "/dev/fd/2", "/proc/self/fd/1", "/proc/self/fd/2"}
_LEAST: Final = 1 << 10
_MOST: Final = 1 << 40
_MOST_KEPT: Final = 10_000


class Program(Protocol):
    """What is needed of a section."""

    @property
    def draft(self) -> Draft:
        """The service that it becomes."""

    def text(self, key: str, *, ours: bool = False) -> str | None:
        """Return a key's text."""

    def number(self, key: str, default: int) -> int:
        """Return a number."""

    def flag(self, key: str) -> bool:
        """Return whether a key says yes."""


def outputs(program: Program) -> dict[str, Value]:
    """Return the keys for both outputs."""
    keys: dict[str, Value] = {}
    stdout = _sink(program, "stdout")
    if stdout is not None:
        keys["stdout"] = stdout
    if program.flag("redirect_stderr"):
        keys["stderr"] = "stdout"
    else:
        stderr = _sink(program, "stderr")
        if stderr is not None:
            keys["stderr"] = stderr
    return keys


def _sink(program: Program, name: str) -> Value | None:
    """Return where an output goes; None where the daemon's default is as near as can be."""
    if program.flag(f"{name}_syslog"):
        return "syslog"
    key = f"{name}_logfile"
    file = (program.text(key) or "").strip()
    match file.upper():
        case "":
            return None
        case "AUTO":
            program.draft.lose(f"{key} = AUTO: what it writes goes where the daemon's own output goes")
            return None
        case "NONE":
            return "null"
        case "SYSLOG":
            return "syslog"
    return None if file in _OWN else _file(program, name, file)


def _file(program: Program, name: str, file: str) -> Value:
    sink: dict[str, Value] = {"file": file}
    size = _size(program, f"{name}_logfile_maxbytes")
    if size:
        sink["max_size"] = format_size(max(_LEAST, min(size, _MOST)))
    kept = program.number(f"{name}_logfile_backups", 10)
    if size and kept != 5:
        sink["keep"] = min(kept, _MOST_KEPT)
    return sink


def _size(program: Program, key: str) -> int:
    text = (program.text(key) or "50MB").strip().lower()
    number, factor = text, 1
    for unit, each in _UNITS.items():
        if text.endswith(unit):
            number, factor = text.removesuffix(unit), each
    if number.isascii() and number.isdecimal() and len(number) <= 18 and int(number) * factor <= MAX_SIZE:
        return int(number) * factor
    program.draft.lose(f"{key} = {text}: is no size; 50MB is taken")
    return 50 << 20
