"""Signal masks as /proc shows them: proc_pid_status(5)."""

from typing import Final

# Signals 32 and 33 belong to the C library, which lets nobody change them. Its posix_spawn(3) leaves 32
# ignored in the programs that it starts, so whatever make runs inherits that: nptl(7).
_LIBRARYS_OWN: Final = 3 << 31


def signal_mask(hexadecimal: str) -> int:
    """Return a mask without the C library's own two signals."""
    return int(hexadecimal, 16) & ~_LIBRARYS_OWN
