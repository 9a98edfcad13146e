"""Try something in a child, so that nothing of it stays with us and nothing of it can hold us up."""

import os
import select
import signal
from collections.abc import Callable
from typing import Final, NoReturn

from reaperd.errors import KernelError
from reaperd.kernel import signals

_LONGEST_S: Final = 5.0
_MOST_BYTES: Final = 4096  # PIPE_BUF: written whole or not at all
_DONE: Final = b"+"
_FAILED: Final = b"-"


def tried(attempt: Callable[[], str]) -> str:
    """Run `attempt` in a child and return what it returns; whatever it forks is killed with it.

    Raises:
        OSError: what it raised, in words; or ETIMEDOUT.
    """
    receives, sends = os.pipe()
    mask = signals.block_all()
    child = os.fork()
    if child == 0:
        os.close(receives)
        _attempt(attempt, sends)
    signals.restore(mask)
    os.close(sends)
    try:
        said = _hear(receives)
    finally:
        os.close(receives)
        os.killpg(child, signal.SIGKILL)  # unreaped, so the number is still its own
        os.waitpid(child, 0)
    if not said.startswith(_DONE):
        raise OSError(0, os.fsdecode(said[1:]) or f"no answer within {_LONGEST_S:g} s")
    return os.fsdecode(said[1:])


def _hear(fd: int) -> bytes:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return os.read(fd, _MOST_BYTES) if poll.poll(_LONGEST_S * 1000) else b""


def _attempt(attempt: Callable[[], str], sends: int) -> NoReturn:
    try:
        os.setpgid(0, 0)
        signals.reset(signals.changed())
        signals.restore(())
        said = _DONE + os.fsencode(attempt())
    except KernelError as error:
        said = _FAILED + os.fsencode(error.message)
    except OSError as error:
        said = _FAILED + os.fsencode(error.strerror or str(error))
    except BaseException as error:  # noqa: BLE001 - whatever it was, the parent's code must not run twice
        said = _FAILED + os.fsencode(f"{type(error).__name__}: {error}")
    try:
        os.write(sends, said[:_MOST_BYTES])
        signal.pause()  # what it made is looked at and killed from outside
    finally:
        os._exit(0)
