"""Hold one thread of another process, read and write its registers: ptrace(2).

A tracer is a thread, and only this thread may ask anything about the thread it holds. Its stops are answers
of waitpid(2), so a process that collects children must not trace: it would swallow them. Everything but
`seize` needs the thread to be stopped, else it says ESRCH, as it does once the thread is gone.

When a tracer ends, the kernel lets go of what it held and the thread goes on with the registers it has then.
"""

import errno
import os
import signal
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from ctypes import Structure, addressof, c_long, c_size_t, c_void_p, create_string_buffer, sizeof
from dataclasses import dataclass
from functools import cache
from typing import Final

from reaperd.errors import KernelError
from reaperd.kernel import wait
from reaperd.kernel.libc import declare, last_errno

TRACESYSGOOD: Final = 0x1  # PTRACE_O_: stops at system calls can be told from SIGTRAP
SUSPEND_SECCOMP: Final = 0x200000  # PTRACE_O_: no filter looks at what the thread does while it is held

_CONT: Final = 7
_GETREGS: Final = 12
_SETREGS: Final = 13
_DETACH: Final = 17
_SYSCALL: Final = 24
_GETREGSET: Final = 0x4204
_SETREGSET: Final = 0x4205
_SEIZE: Final = 0x4206
_INTERRUPT: Final = 0x4207
_GETSIGMASK: Final = 0x420A
_SETSIGMASK: Final = 0x420B
_GET_RSEQ: Final = 0x420F
_NT_PRSTATUS: Final = 1  # <elf.h>
_EVENT_STOP: Final = 128  # PTRACE_EVENT_STOP
_SYSCALL_STOP: Final = signal.SIGTRAP | 0x80  # with TRACESYSGOOD
_MASK_BYTES: Final = 8  # sigset_t of the kernel
_RSEQ: Final = struct.Struct("=QIIII")  # struct ptrace_rseq_configuration
_MOST_REGISTERS: Final = 1024


class _IoVector(Structure):  # struct iovec
    _fields_ = (("base", c_void_p), ("length", c_size_t))


@dataclass(frozen=True, slots=True)
class AtCall:
    """Stopped on the way into or out of a system call."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Stopped by `interrupt`, or together with its whole process (SIGSTOP)."""


@dataclass(frozen=True, slots=True)
class AtSignal:
    """Stopped before a signal is delivered, which has to be handed on."""

    signal: int


@dataclass(frozen=True, slots=True)
class Ended:
    """It is no more, or no longer ours."""


Stop = AtCall | Interrupted | AtSignal | Ended


@cache
def _function() -> Callable[..., int]:
    return declare("ptrace", c_long, c_long, c_void_p, c_void_p)


def _ptrace(request: int, tid: int, address: int, data: int) -> int:
    """Make one request.

    Raises:
        KernelError: whatever it failed with.
    """
    answer = _function()(request, tid, address, data)
    if answer < 0:
        raise KernelError("ptrace", last_errno(), what=f"trace thread {tid}")
    return answer


def seize(tid: int, options: int) -> None:
    """Begin to trace a thread without stopping it: PTRACE_SEIZE.

    Raises:
        KernelError: EPERM where that is forbidden or somebody else does, ESRCH where it is gone, EINVAL or
            EPERM where an option is not to be had.
    """
    _ptrace(_SEIZE, tid, 0, options)


def interrupt(tid: int) -> None:
    """Let a thread stop as soon as it can, out of whatever it sleeps in: PTRACE_INTERRUPT.

    Raises:
        KernelError: ESRCH once it is gone.
    """
    _ptrace(_INTERRUPT, tid, 0, 0)


def go_on(tid: int, signal_number: int = 0) -> None:
    """Let it run until its next stop: PTRACE_CONT."""
    _ptrace(_CONT, tid, 0, signal_number)


def to_next_call(tid: int, signal_number: int = 0) -> None:
    """Let it run until it enters or leaves a system call: PTRACE_SYSCALL."""
    _ptrace(_SYSCALL, tid, 0, signal_number)


def detach(tid: int, signal_number: int = 0) -> None:
    """Let it run, and trace it no more: PTRACE_DETACH."""
    _ptrace(_DETACH, tid, 0, signal_number)


def next_stop(tid: int, deadline: float) -> Stop | None:
    """Wait until it stops; None at `deadline` (CLOCK_MONOTONIC, seconds).

    SIGCHLD must be blocked and must not be ignored: it is what wakes this up.
    """
    while True:
        try:
            found, status = os.waitpid(tid, os.WNOHANG | wait.WALL)
        except ChildProcessError:
            return Ended()
        if found:
            return _stop(status)
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        with suppress(InterruptedError):
            signal.sigtimedwait({signal.SIGCHLD}, left)


def _stop(status: int) -> Stop:
    if not os.WIFSTOPPED(status):
        return Ended()
    if status >> 16 == _EVENT_STOP:
        return Interrupted()
    number = os.WSTOPSIG(status)
    return AtCall() if number == _SYSCALL_STOP else AtSignal(number)


def registers(tid: int) -> bytes:
    """Return the general registers, as `kernel.registers` takes them apart."""
    buffer = create_string_buffer(_MOST_REGISTERS)
    if _has_regset_only():
        vector = _IoVector(addressof(buffer), sizeof(buffer))
        _ptrace(_GETREGSET, tid, _NT_PRSTATUS, addressof(vector))
        return buffer.raw[: vector.length]
    _ptrace(_GETREGS, tid, 0, addressof(buffer))
    return buffer.raw[: 27 * 8]  # struct user_regs_struct, of 32-bit threads too


def set_registers(tid: int, data: bytes) -> None:
    """Write the general registers."""
    buffer = create_string_buffer(data, len(data))
    if _has_regset_only():
        vector = _IoVector(addressof(buffer), len(data))
        _ptrace(_SETREGSET, tid, _NT_PRSTATUS, addressof(vector))
    else:
        _ptrace(_SETREGS, tid, 0, addressof(buffer))


@cache
def _has_regset_only() -> bool:
    # On x86-64 a register set of a 32-bit thread has a shape of its own; PTRACE_GETREGS has not.
    return os.uname().machine != "x86_64"


def signal_mask(tid: int) -> int:
    """Return the blocked signals, bit 0 for signal 1; in sigsuspend the mask it will go back to."""
    buffer = create_string_buffer(_MASK_BYTES)
    _ptrace(_GETSIGMASK, tid, _MASK_BYTES, addressof(buffer))
    return int.from_bytes(buffer.raw, "little")


def set_signal_mask(tid: int, mask: int) -> None:
    """Block exactly these signals."""
    buffer = create_string_buffer(mask.to_bytes(_MASK_BYTES, "little"), _MASK_BYTES)
    _ptrace(_SETSIGMASK, tid, _MASK_BYTES, addressof(buffer))


def rseq_area(tid: int) -> int:
    """Return the address of the thread's struct rseq, 0 where it has none or the kernel does not tell."""
    buffer = create_string_buffer(_RSEQ.size)
    try:
        _ptrace(_GET_RSEQ, tid, _RSEQ.size, addressof(buffer))
    except KernelError as error:
        if error.errno in {errno.EIO, errno.EINVAL}:  # Linux before 5.13, or without CONFIG_RSEQ
            return 0
        raise
    return int(_RSEQ.unpack(buffer.raw)[0])


def read_memory(tid: int, address: int, length: int) -> bytes | None:
    """Return memory of a thread that we trace; None where nothing is mapped: proc_pid_mem(5)."""
    try:
        fd = os.open(f"/proc/{tid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.pread(fd, length, address)
        finally:
            os.close(fd)
    except (OSError, OverflowError):  # addresses of the upper half are no offsets
        return None
    return data if len(data) == length else None


def write_memory(tid: int, address: int, data: bytes) -> bool:
    """Write into the memory of a thread that we trace; False where that is impossible."""
    try:
        fd = os.open(f"/proc/{tid}/mem", os.O_WRONLY | os.O_CLOEXEC)
        try:
            return os.pwrite(fd, data, address) == len(data)
        finally:
            os.close(fd)
    except (OSError, OverflowError):
        return False
