"""The daemon's own door: `python -m reaperd.daemon -- FILE`, as `reaperd run` starts it.

It is a fresh interpreter, which holds neither the command line's library nor anything else that parsing
needed. Signals are blocked first: to import the rest takes long enough for one to arrive.
"""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from reaperd import lean  # noqa: F401 - before all that follows
from reaperd.aside import Reading
from reaperd.errors import Exit, ReaperdError
from reaperd.kernel import fds

HANDLED: Final = frozenset({signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGINT})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon on the configuration that `argv` names; return its exit status."""
    mask = frozenset(int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED))
    _fill_standard_streams()
    words = [word for word in (sys.argv[1:] if argv is None else argv) if word != "--"]
    try:
        reading = Reading(words[0])
        # Imported here: it is nearly all of the daemon, and a signal can arrive meanwhile.
        from reaperd.assembly import run  # noqa: PLC0415

        return run(reading.result(), mask, HANDLED)
    except ReaperdError as error:
        _complain(f"reaperd: {error.message}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        return error.exit_status
    except Exception as error:  # noqa: BLE001 - what the loop reports by itself, before and after it
        _complain(f"reaperd: cannot go on: {_short(error)}\nhint: this is a fault of reaperd's own\n")
        return Exit.INTERNAL


def _short(error: Exception) -> str:
    """Return what was raised, and where, in one line."""
    # Imported here: both are large, and mostly there is nothing to tell.
    import traceback  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    where = traceback.extract_tb(error.__traceback__)[-1]
    said = " ".join(str(error).split())
    return f"{type(error).__name__}{said and f': {said}'} ({Path(where.filename).name}:{where.lineno})"


def _fill_standard_streams() -> None:
    """Open /dev/null for each standard stream that the caller closed.

    Or the next files that we open would take their numbers, get the log, and be missing in our services.
    """
    while (fd := fds.open_null()) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def _complain(text: str) -> None:
    with suppress(OSError):  # nobody may be there to read it; sys.stderr is None where the caller closed it
        os.write(2, text.encode(errors="backslashreplace"))


if __name__ == "__main__":
    sys.exit(main())
