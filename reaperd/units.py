"""Durations, sizes, signal names and words: read what a person writes, print what a person reads.

Every reader raises ValueError with a text that reads well after the name of the key, such as
`service.web.stop.timeout: `. What a printer prints, its reader reads back to the same number.
"""

import signal
from collections.abc import Iterable
from typing import Final

_DIGITS: Final = frozenset("0123456789")
_LONGEST: Final = 64  # characters; keeps int() far from its own limit and messages short

_DURATIONS: Final = {
    "w": 604_800_000_000_000,
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
MAX_DURATION_NS: Final = 36_500 * _DURATIONS["d"]  # a century: fits the kernel's 64-bit nanoseconds
_DURATION_HELP: Final = (
    'write it like "500ms", "1m30s" or "2h" (units w d h m s ms us ns, largest first), '
    "or as a number of seconds"
)

_SIZES: Final = {
    "TiB": 1 << 40,
    "TB": 10**12,
    "GiB": 1 << 30,
    "GB": 10**9,
    "MiB": 1 << 20,
    "MB": 10**6,
    "KiB": 1 << 10,
    "kB": 10**3,
    "B": 1,
}
_SIZES_FOLDED: Final = {unit.lower(): factor for unit, factor in _SIZES.items()}
MAX_SIZE: Final = (1 << 63) - 1  # off_t
_SIZE_HELP: Final = (
    'write it like "64MiB" or "10MB" (units B kB MB GB TB KiB MiB GiB TiB), or as a number of bytes'
)

_SIGNAL_HELP: Final = 'write it like "TERM", "SIGHUP", "RTMIN+3" or 15'


def suggest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean "..."?` for the known word that is most like `word`, or nothing."""
    # Imported here: only a mistake needs it.
    from difflib import get_close_matches  # noqa: PLC0415

    by_folded = {candidate.lower(): candidate for candidate in known}
    close = get_close_matches(word.lower(), by_folded, n=1, cutoff=0.6)
    return f'; did you mean "{by_folded[close[0]]}"?' if close else ""


def shown(value: str | float) -> str:
    """Return `value` for a message: bounded, and with nothing in it that a terminal would obey."""
    if isinstance(value, int):  # str() itself refuses an integer of some thousand digits
        return str(value) if abs(value) < 10**20 else "this integer"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in value[:_LONGEST])
    return f'"{text}{"..." if len(value) > _LONGEST else ""}"'


def parse_duration(text: str | float) -> int:
    """Return nanoseconds; a bare number, written as text or not, is seconds.

    Raises:
        ValueError: not a duration, negative, finer than a nanosecond, or longer than a century.
    """
    if isinstance(text, bool):
        raise ValueError(f"a boolean is not a duration; {_DURATION_HELP}")  # noqa: TRY004  # one type for all
    total = _duration_of_text(text) if isinstance(text, str) else _duration_of_number(text)
    if total > MAX_DURATION_NS:
        raise ValueError(f"{shown(text)} is too long; at most {format_duration(MAX_DURATION_NS)} is allowed")
    return total


def _duration_of_number(seconds: float) -> int:
    if not 0 <= seconds < float("inf"):  # NaN fails every comparison
        raise ValueError(
            f"{shown(seconds)} is not a duration: it is negative or not finite; {_DURATION_HELP}"
        )
    # Bounded before it is multiplied: a float may overflow to infinity.
    return round(min(seconds, MAX_DURATION_NS) * _DURATIONS["s"])


def _duration_of_text(text: str) -> int:
    wrong = ValueError(f"{shown(text)} is not a duration; {_DURATION_HELP}")
    if len(text) > _LONGEST:
        raise wrong
    number, unit, rest = _split(text)
    if not unit and not rest:
        unit = "s"
    total, smallest = 0, MAX_DURATION_NS
    while True:
        factor = _DURATIONS.get(unit)
        if factor is None or factor >= smallest:
            raise wrong
        total, smallest = total + _scaled(number, factor, wrong), factor
        if not rest:
            return total
        number, unit, rest = _split(rest)


def format_duration(ns: int) -> str:
    """Return the shortest exact form, such as `1m30s`; zero is `0s`.

    Raises:
        ValueError: negative.
    """
    if ns < 0:
        raise ValueError(f"{ns} is negative, and a duration is not")
    parts = []
    for unit, factor in _DURATIONS.items():
        if unit != "w":  # 10d reads better than 1w3d
            count, ns = divmod(ns, factor)
            parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"


def parse_size(text: str | int) -> int:
    """Return bytes; a bare number is bytes. KiB is 1024 and kB 1000; case does not matter.

    Raises:
        ValueError: not a size, negative, not a whole number of bytes, or above 2^63 - 1.
    """
    if isinstance(text, bool):
        raise ValueError(f"a boolean is not a size; {_SIZE_HELP}")  # noqa: TRY004  # one type for all
    total = _size_of_text(text) if isinstance(text, str) else text
    if total < 0:
        raise ValueError(f"{shown(total)} is not a size: it is negative; {_SIZE_HELP}")
    if total > MAX_SIZE:
        raise ValueError(f"{shown(text)} is too large; at most {MAX_SIZE} bytes are allowed")
    return total


def _size_of_text(text: str) -> int:
    wrong = ValueError(f"{shown(text)} is not a size; {_SIZE_HELP}")
    if len(text) > _LONGEST:
        raise wrong
    number, unit, rest = _split(text)
    factor = _SIZES_FOLDED.get(unit.lower() or "b")
    if factor is None or rest:
        raise wrong
    return _scaled(number, factor, wrong)


def format_size(size: int) -> str:
    """Return the exact form with the largest unit that divides it, such as `64MiB`; zero is `0B`.

    Raises:
        ValueError: negative.
    """
    if size < 0:
        raise ValueError(f"{size} is negative, and a size is not")
    for unit, factor in _SIZES.items():
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return "0B"


def parse_signal(text: str | int) -> int:
    """Return a signal's number from its name, with or without SIG, from `RTMIN+3`, or from its number.

    Raises:
        ValueError: no such signal, or one that libc keeps to itself (32 and 33).
    """
    if isinstance(text, bool):
        raise ValueError(f"a boolean is not a signal; {_SIGNAL_HELP}")  # noqa: TRY004  # one type for all
    if isinstance(text, int):
        return _usable(text)
    name = text.upper().removeprefix("SIG")
    if text and len(text) <= _LONGEST and set(text) <= _DIGITS:
        return _usable(int(text))
    if f"SIG{name}" in signal.Signals.__members__:
        return signal.Signals[f"SIG{name}"].value
    number = _realtime(name)
    if number is None:
        names = [known.removeprefix("SIG") for known in signal.Signals.__members__]
        raise ValueError(f"{shown(text)} is not a signal; {_SIGNAL_HELP}{suggest(name, names)}")
    return number


def _usable(number: int) -> int:
    if number not in signal.valid_signals():
        raise ValueError(f"{shown(number)} is not a signal that can be sent; {_SIGNAL_HELP}")
    return number


def _realtime(name: str) -> int | None:
    for base, sign, step in (("RTMIN+", 1, signal.SIGRTMIN), ("RTMAX-", -1, signal.SIGRTMAX)):
        offset = name.removeprefix(base)
        if offset != name and 0 < len(offset) <= 2 and set(offset) <= _DIGITS:
            number = step + sign * int(offset)
            return number if signal.SIGRTMIN <= number <= signal.SIGRTMAX else None
    return None


def format_signal(number: int) -> str:
    """Return `SIGTERM`, `SIGRTMIN+3`, or `signal 32` for one that has no name.

    Raises:
        ValueError: not a signal's number at all.
    """
    if not 1 <= number <= signal.SIGRTMAX:
        raise ValueError(f"{number} is not a signal's number; 1 to {int(signal.SIGRTMAX)} are")
    if signal.SIGRTMIN < number < signal.SIGRTMAX:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _split(text: str) -> tuple[str, str, str]:
    """Return a leading number, the letters after it, and what follows them."""
    end = 0
    while end < len(text) and (text[end] in _DIGITS or text[end] == "."):
        end += 1
    stop = end
    while stop < len(text) and text[stop].isalpha():
        stop += 1
    return text[:end], text[end:stop], text[stop:]


def _scaled(number: str, factor: int, wrong: ValueError) -> int:
    """Return a decimal number times `factor`, exactly, or raise `wrong`."""
    whole, dot, fraction = number.partition(".")
    if not whole or (dot and not fraction) or "." in fraction:
        raise wrong
    places: int = 10 ** len(fraction)
    scaled, rest = divmod(int(whole + fraction) * factor, places)
    if rest:
        raise wrong
    return scaled
