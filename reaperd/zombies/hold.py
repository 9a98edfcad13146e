"""Stop one thread of another process, let it make system calls of ours, and leave no trace of it.

Order and reasons of what happens to a thread:

1. It is seized and interrupted. It stops on its way back to user mode, the interrupted call's verdict in its
   registers: a code that only the kernel knows (make it anew), or EINTR.
2. Registers and signal mask are saved, all signals blocked: a handler must not run in the middle of our call.
3. It is sent to an instruction that enters the kernel, one that is there: text is never written to. It stops
   on the way into our call and on the way out. More calls can follow.
4. The saved registers are put back as they were, verdict included, and it is interrupted once more, to stop
   where the kernel judges such verdicts. So the kernel itself decides between making the call anew and EINTR;
   let go of at the end of our call, the program would be given the verdict's code.
5. Calls that never restart (epoll_wait and others: signal(7)) say EINTR for every interruption, ours
   included: such a call is made anew unless a signal waits.

From the moment its registers are written nothing gives up before they are restored. The caller must have
blocked all its signals, and must end its process after a `Refused`: that lets go of a thread that never
stopped.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from errno import ESRCH
from signal import SIGBUS, SIGCHLD, SIGCONT, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP, SIGURG, SIGWINCH
from typing import Final

from reaperd.errors import KernelError
from reaperd.kernel import procfs, proctask, ptrace
from reaperd.kernel.ptrace import AtCall, AtSignal, Ended, Interrupted
from reaperd.kernel.registers import AARCH64, Layout, x86_layout

_ALL_SIGNALS: Final = (1 << 64) - 1
_FAULTS: Final = frozenset({SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS})
_IGNORED_BY_DEFAULT: Final = sum(1 << (number - 1) for number in (SIGCHLD, SIGCONT, SIGURG, SIGWINCH))
_PATIENCE_S: Final = 1.0  # then a thread that is to be restored is asked to stop once more
_CHUNK_BYTES: Final = 1 << 20
_SEARCHED_BYTES: Final = 16 << 20


class Refused(Exception):  # noqa: N818 - an answer of the machine, not a failure of ours
    """It cannot be done, and nothing was done.

    Attributes:
        code: for programs.
        why: for people; a whole sentence.
        hint: what to do, or None.
    """

    def __init__(self, code: str, why: str, hint: str | None = None) -> None:
        super().__init__(why)
        self.code = code
        self.why = why
        self.hint = hint


class Lost(Exception):  # noqa: N818 - the same
    """The thread has ended in the middle: nothing is left that could be restored."""


class Faulted(Exception):  # noqa: N818 - the same
    """The call was not made, or answered by a signal instead of a result; the thread can be restored."""


@dataclass(frozen=True, slots=True)
class Target:
    """The process that shall make calls of ours."""

    pid: int
    start_time: int  # clock ticks since boot; with the pid its identity


def layout_of(registers: bytes, machine: str) -> Layout | None:
    """Return how a thread on such a machine calls the kernel; None where we do not know."""
    if machine == "x86_64":
        return x86_layout(registers)
    return AARCH64 if machine == "aarch64" else None


class Held:
    """One thread that is stopped and will make calls of ours, until `let_go`."""

    def __init__(self, pid: int, tid: int, *, is_filtered: bool) -> None:
        """Read what has to be restored; the thread is stopped.

        Raises:
            Refused: there is no way to let it make calls; it has been let go of.
        """
        self.since = time.monotonic()
        self.pid: Final = pid
        self.tid: Final = tid
        registers = ptrace.registers(tid)
        layout = layout_of(registers, os.uname().machine)
        if layout is None:
            ptrace.detach(tid)
            raise Refused("unknown-registers", f"registers of {os.uname().machine} are not known here")
        self.layout: Final = layout
        self._call: Final = proctask.current_call(pid, tid)
        self._saved: Final = self._off_critical_section(registers)
        self._mask: Final = ptrace.signal_mask(tid)
        self._is_written = False
        # A filter's SIGSYS is forced: blocked it would kill. Where none can come, nobody else's shall.
        self._blocked: Final = _ALL_SIGNALS & ~(1 << (SIGSYS - 1)) if is_filtered else _ALL_SIGNALS
        self._gadget: Final = self._find_gadget()

    def _off_critical_section(self, registers: bytes) -> bytes:
        """Return the registers to restore: moved to its abort address inside a restartable sequence.

        That is where the kernel sends every thread that was interrupted there (rseq(2), rseq_ip_fixup in
        kernel/rseq.c). It forgets the section once the thread is elsewhere, as in our call; so this is ours
        to do.
        """
        area = 0 if self._call is not None else ptrace.rseq_area(self.tid)
        pointer = ptrace.read_memory(self.tid, area + 8, 8) if area else None
        section = int.from_bytes(pointer, "little") if pointer else 0
        data = ptrace.read_memory(self.tid, section, 32) if section else None
        if data is None:
            return registers
        start, length, abort = (int.from_bytes(data[at : at + 8], "little") for at in (8, 16, 24))
        is_inside = start <= self.layout.pc(registers) < start + length
        return self.layout.moved(registers, abort) if is_inside else registers

    def _find_gadget(self) -> int:
        layout, length = self.layout, len(self.layout.gadget)
        likely = layout.likely_gadget(self._saved)
        if likely is not None and ptrace.read_memory(self.tid, likely, length) == layout.gadget:
            return likely
        for start, end in _executable(self.tid):
            found = self._search(start, end)
            if found is not None:
                return found
        self.let_go()
        raise Refused("no-gadget", "its memory holds no instruction that enters the kernel")

    def _search(self, start: int, end: int) -> int | None:
        layout = self.layout
        for chunk in range(start, min(end, start + _SEARCHED_BYTES), _CHUNK_BYTES):
            data = ptrace.read_memory(self.tid, chunk, min(_CHUNK_BYTES, end - chunk)) or b""
            at = data.find(layout.gadget)
            while at >= 0:
                if at % layout.step == 0 and chunk + at != layout.pc(self._saved):
                    return chunk + at
                at = data.find(layout.gadget, at + 1)
        return None

    @property
    def scratch(self) -> int:
        """Return an address below its stack, beyond the part that leaf functions use (128 bytes)."""
        return self.layout.sp(self._saved) - 256 & ~15

    def call(self, number: int, arguments: Sequence[int]) -> int:
        """Let it make one system call and return the result, negative for an error.

        Raises:
            Lost: it ended, by a signal from elsewhere or by a seccomp filter.
            Faulted: a filter answered by SIGSYS, or the instruction is not there any more.
        """
        try:
            if not self._is_written:
                ptrace.set_signal_mask(self.tid, self._blocked)
                self._is_written = True
            ptrace.set_registers(self.tid, self.layout.calling(self._saved, self._gadget, number, arguments))
            self._to_call()  # on the way in
            self._to_call()  # on the way out
            return self.layout.result(ptrace.registers(self.tid))
        except KernelError as error:
            raise _lost(error) from error

    def _to_call(self) -> None:
        ptrace.to_next_call(self.tid)
        is_late = False
        while True:
            stop = ptrace.next_stop(self.tid, time.monotonic() + _PATIENCE_S)
            match stop:
                case AtCall():
                    return
                case Interrupted() if is_late:
                    raise Faulted  # frozen meanwhile, perhaps: our call was not made
                case Ended():
                    raise Lost
                case AtSignal(number) if number in _FAULTS:
                    raise Faulted  # not handed on: it was for our call, not for the program
                case AtSignal(number):  # SIGSTOP alone cannot be blocked
                    ptrace.to_next_call(self.tid, number)
                case Interrupted():
                    ptrace.to_next_call(self.tid)
                case None:
                    is_late = True
                    ptrace.interrupt(self.tid)

    def let_go(self) -> float:
        """Restore it and let it run; return for how many seconds it was held.

        Raises:
            Lost: it has ended.
        """
        try:
            if self._is_written:
                ptrace.set_registers(self.tid, self._saved)
                ptrace.set_signal_mask(self.tid, self._mask)
                self._to_verdict()
            self._make_anew()
            ptrace.detach(self.tid)
        except KernelError as error:
            raise _lost(error) from error
        return time.monotonic() - self.since

    def _to_verdict(self) -> None:
        """Let it stop where the kernel judges the verdict of an interrupted call; signals pass."""
        ptrace.interrupt(self.tid)
        ptrace.go_on(self.tid)
        while True:
            stop = ptrace.next_stop(self.tid, time.monotonic() + _PATIENCE_S)
            match stop:
                case Interrupted():
                    return
                case Ended():
                    raise Lost
                case AtSignal(number):
                    ptrace.go_on(self.tid, number)
                case AtCall():
                    ptrace.go_on(self.tid)
                case None:
                    ptrace.interrupt(self.tid)

    def _make_anew(self) -> None:
        """Make a call that was given up for our interruption once more, unless a signal waits anyway."""
        registers = ptrace.registers(self.tid)
        if self.layout.given_up(registers, self._call) and not _signal_waits(self.pid, self.tid):
            ptrace.set_registers(self.tid, self.layout.again(registers, self._call))


def _signal_waits(pid: int, tid: int) -> bool:
    """Tell whether a signal is about to be delivered, one that is neither blocked nor ignored."""
    status = procfs.read_status(pid, tid)
    if status is None:
        return True
    word = {
        name: int(status.get(name, "0"), 16) for name in ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")
    }
    ignored = word["SigIgn"] | (_IGNORED_BY_DEFAULT & ~word["SigCgt"])
    return bool((word["SigPnd"] | word["ShdPnd"]) & ~word["SigBlk"] & ~ignored)


def _executable(tid: int) -> list[tuple[int, int]]:
    """Return where a thread's program text stands, the kernel's own vDSO first: proc_pid_maps(5).

    Asked of the thread: a leader that has ended shows no memory, though its threads still run in it.
    """
    found = []
    for line in (procfs.read_permitted(f"/proc/{tid}/maps", 16 << 20) or b"").split(b"\n"):
        words = line.split(None, 5)
        if len(words) >= 5 and words[1][:1] == b"r" and words[1][2:3] == b"x":
            name = words[5] if len(words) > 5 else b""
            start, _, end = words[0].partition(b"-")
            if name != b"[vsyscall]":
                found.append((name != b"[vdso]", int(start, 16), int(end, 16)))
    return [(start, end) for _, start, end in sorted(found)]


def _lost(error: KernelError) -> Exception:
    return Lost() if error.errno == ESRCH else error
