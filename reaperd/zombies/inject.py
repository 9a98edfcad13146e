"""Let a process collect its zombies, or forget them from now on, by system calls that it makes for us.

Runs in a process of its own (`python -m reaperd.zombies.inject`), with a request on standard input and an
answer on standard output, each one JSON object. A tracer's stops are answers of waitpid, and the process
that asks may be killed at any moment; this one is in a session of its own, blocks every signal and sends
none, so that it gets to the point where the other process is as it was. Only SIGKILL of itself can keep it
from that.
"""

import errno
import json
import os
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from reaperd.errors import KernelError
from reaperd.kernel import procfs, ptrace, signals, wait
from reaperd.zombies.attach import hold
from reaperd.zombies.hold import Faulted, Held, Lost, Refused, Target

SA_NOCLDWAIT: Final = 2  # sigaction(2): children that end leave no zombie


@dataclass(frozen=True, slots=True)
class Victim:
    """A zombie to be collected.

    Attributes:
        pid: as we see it.
        start_time: clock ticks since boot; with the pid its identity.
        inner_pid: as the process that shall collect it sees it.
        ppid: its parent when it was looked at.
    """

    pid: int
    start_time: int
    inner_pid: int
    ppid: int


def collect(held: Held, victims: Iterable[Victim], said: dict[int, str]) -> None:
    """Let the held process wait for each victim; what came of it goes into `said`, by pid.

    "reaped"; "gone" before us; "not-child" of that process; "kept": it has living threads, or a tracer holds
    it; "moved" to another parent; or the name of an error. A pid is looked at again just before it is waited
    for: it may have become another's.

    Raises:
        Lost, Faulted: see `Held.call`.
    """
    for victim in victims:
        stat = procfs.read_stat(victim.pid)
        if stat is None or stat.start_time != victim.start_time or not stat.is_zombie:
            said[victim.pid] = "gone"
        elif stat.ppid != victim.ppid:
            said[victim.pid] = "moved"
        else:
            options = os.WNOHANG | wait.WALL
            answer = held.call(held.layout.numbers.wait4, (victim.inner_pid, 0, options, 0))
            said[victim.pid] = _meaning(answer, victim)


def _meaning(answer: int, victim: Victim) -> str:
    if answer == victim.inner_pid:
        return "reaped"
    if answer == 0:
        return "kept"
    return "not-child" if answer == -errno.ECHILD else errno.errorcode.get(-answer, str(answer))


def forget_children(held: Held, *, undo: bool) -> bool:
    """Set, or clear, SA_NOCLDWAIT of the held process, its handler kept; tell whether reading it back agrees.

    Never by SIG_IGN, which the programs it runs would inherit. What stood where the structure is put is
    restored.

    Raises:
        Lost, Faulted: see `Held.call`.
        Refused: its memory cannot be used, or it refuses the call; nothing has changed.
    """
    word = 4 if held.layout.name == "i386" else 8  # struct sigaction of the kernel: handler, then flags
    size = 4 * word + 8
    before = ptrace.read_memory(held.tid, held.scratch, size)
    if before is None or not ptrace.write_memory(held.tid, held.scratch, before):
        raise Refused("no-scratch", "there is no room below its stack")
    try:
        flags = _flags(held, word)
        wanted = flags & ~SA_NOCLDWAIT if undo else flags | SA_NOCLDWAIT
        ptrace.write_memory(held.tid, held.scratch + word, wanted.to_bytes(word, "little"))
        if held.call(held.layout.numbers.rt_sigaction, (signal.SIGCHLD, held.scratch, 0, 8)) < 0:
            raise Refused("refused", "it may not change what it does about SIGCHLD")
        return _flags(held, word) == wanted
    finally:
        ptrace.write_memory(held.tid, held.scratch, before)


def _flags(held: Held, word: int) -> int:
    """Let it read its own disposition of SIGCHLD into the scratch place, and return the flags."""
    if held.call(held.layout.numbers.rt_sigaction, (signal.SIGCHLD, 0, held.scratch, 8)) < 0:
        raise Refused("refused", "it may not read what it does about SIGCHLD")
    return int.from_bytes(ptrace.read_memory(held.tid, held.scratch + word, word) or b"", "little")


def answer_to(request: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    """Do what is asked for and say what came of it: the body of the process of its own."""
    target = Target(request["pid"], request["start_time"])
    said: dict[int, str] = {}
    answer: dict[str, Any] = {"said": said, "held_s": None, "confirmed": None}
    try:
        held = hold(target, request["within_s"], force=request["force"])
        try:
            if request["verb"] == "reap":
                collect(held, [Victim(*words) for words in request["victims"]], said)
            else:
                answer["confirmed"] = forget_children(held, undo=request["verb"] == "uncure")
        finally:
            answer["held_s"] = held.let_go()
    except Refused as refused:
        answer |= {"refused": refused.code, "why": refused.why, "hint": refused.hint}
    except Lost:
        answer |= {"refused": "gone", "why": f"process {target.pid} ended in the middle"}
    except Faulted:
        answer |= {"refused": "faulted", "why": f"process {target.pid} was not let make the call (a filter?)"}
    except KernelError as error:
        answer |= {"refused": "error", "why": error.message}
    return answer


def main() -> None:
    """Read a request, answer it, and leave; whoever asked may be gone by then."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, our own waiting would hear of nothing
    signals.block_all()
    try:
        request = json.load(sys.stdin)
    except ValueError:  # who asked was killed in the middle of asking
        return
    answer = json.dumps(answer_to(request))
    with suppress(OSError):
        os.write(1, answer.encode() + b"\n")
    os._exit(0)  # lets go, if need be, of a thread that would not stop


if __name__ == "__main__":
    main()
