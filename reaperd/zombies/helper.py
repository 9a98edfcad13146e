"""Ask a process of its own to inject: start it, tell it what to do, hear what came of it. See inject.py."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from errno import EAGAIN
from pathlib import Path
from typing import Any, Final

import reaperd
from reaperd.errors import InternalError
from reaperd.zombies.hold import Target
from reaperd.zombies.inject import Victim

_PROGRAM: Final = "reaperd.zombies.inject"


@dataclass(frozen=True, slots=True)
class Injected:
    """What came of it.

    Attributes:
        said: of each zombie, see `inject.collect`.
        held_s: for how long one thread was stopped; None if none was.
        refused: the code of the reason why it was not done, or not to the end; None if it was.
        why: that reason as a sentence.
        hint: what to do about it.
        confirmed: of a cure, whether reading it back agrees.
    """

    said: Mapping[int, str] = field(default_factory=dict)
    held_s: float | None = None
    refused: str | None = None
    why: str | None = None
    hint: str | None = None
    confirmed: bool | None = None


def reap(target: Target, victims: Sequence[Victim], within_s: float, *, force: bool = False) -> Injected:
    """Let `target` collect these zombies, in one stop of one thread, which may take `within_s` to come.

    Raises:
        InternalError: the process of its own did not answer.
    """
    words = [[victim.pid, victim.start_time, victim.inner_pid, victim.ppid] for victim in victims]
    return _ask(target, {"verb": "reap", "victims": words, "within_s": within_s, "force": force})


def cure(target: Target, within_s: float, *, undo: bool = False, force: bool = False) -> Injected:
    """Let `target` leave no zombies from now on, or no longer: see `inject.forget_children`.

    Raises:
        InternalError: the process of its own did not answer.
    """
    return _ask(target, {"verb": "uncure" if undo else "cure", "within_s": within_s, "force": force})


def _ask(target: Target, request: dict[str, Any]) -> Injected:  # Any: JSON
    request |= {"pid": target.pid, "start_time": target.start_time}
    try:
        helper = subprocess.Popen(
            _command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us, and must not reach who holds somebody
        )
    except OSError as error:
        return Injected(refused="no-helper", why=not_started(sys.executable, error), hint=no_room(error))
    with helper as process:
        output, errors = process.communicate(json.dumps(request).encode())
    try:
        answer = json.loads(output)
    except ValueError as error:
        told = errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise InternalError(f"cannot inject: the helper ended with {process.returncode}: {told}") from error
    answer["said"] = {int(pid): said for pid, said in answer["said"].items()}
    return Injected(**answer)


def not_started(program: str, error: OSError) -> str:
    """Return why a program that would help could not be started."""
    return f"{program} cannot be started: {error.strerror}"


def no_room(error: OSError) -> str | None:
    """Return what to do where there are no pids left: zombies use them up. fork(2)."""
    if error.errno != EAGAIN:
        return None
    return "no further process may be made, perhaps because of these zombies: take --method adopt"


def _command() -> list[str]:
    # As in `reaperd run`: -m looks in the current directory first, where anybody may have left a json.py.
    try:
        is_checkout = Path.cwd() == Path(reaperd.__file__).resolve().parents[1]
    except FileNotFoundError:  # the current directory was removed
        is_checkout = False
    return [sys.executable, *([] if is_checkout else ["-P"]), "-m", _PROGRAM]
