"""Registers of a stopped thread: what it was about to do, and how to let it make a system call of ours.

Pure: bytes as ptrace(2) reads and writes them go in and come out. Numbers of system calls are those of
syscalls(2), the conventions those of syscall(2).

A thread that is stopped inside a system call shows the number of that call, and its result: -512 to -516
where the kernel is going to make it anew by itself (include/linux/errno.h), -EINTR where it gives up. What
is put in the registers for a call of ours says "in no system call", so that the kernel does not take the
result of ours for that of the interrupted one.
"""

import errno
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from reaperd.kernel.proctask import Call

NOT_IN_CALL: Final = 0xFFFFFFFFFFFFFFFF  # orig_rax outside of a system call
_WORD: Final = 0xFFFFFFFFFFFFFFFF
_EINTR: Final = -errno.EINTR


@dataclass(frozen=True, slots=True)
class Numbers:
    """System calls by number: those that are made for others, and those that never restart by themselves."""

    wait4: int
    rt_sigaction: int
    never_restart: frozenset[int]  # signal(7): EINTR whatever SA_RESTART says


class Layout(Protocol):
    """How one architecture keeps what a thread does in its registers."""

    @property
    def name(self) -> str:
        """Return what the architecture is called."""

    @property
    def numbers(self) -> Numbers:
        """Return its system calls."""

    @property
    def gadget(self) -> bytes:
        """Return the instruction that enters the kernel."""

    @property
    def step(self) -> int:
        """Return what addresses of instructions are multiples of."""

    def pc(self, registers: bytes) -> int:
        """Return the address of the next instruction."""

    def sp(self, registers: bytes) -> int:
        """Return the stack pointer."""

    def moved(self, registers: bytes, pc: int) -> bytes:
        """Return the registers with another next instruction."""

    def likely_gadget(self, registers: bytes) -> int | None:
        """Return where an instruction that enters the kernel probably stands; None where nothing says so."""

    def calling(self, registers: bytes, gadget: int, number: int, arguments: Sequence[int]) -> bytes:
        """Return the registers with which the thread makes a system call next, by the gadget there."""

    def result(self, registers: bytes) -> int:
        """Return what a system call has returned: negative for an error."""

    def given_up(self, registers: bytes, call: Call | None) -> bool:
        """Tell whether it is about to return EINTR from a call that never restarts."""

    def again(self, registers: bytes, call: Call | None) -> bytes:
        """Return the registers with which the interrupted call is made once more, from its beginning.

        `call` is what /proc tells of it at the stop.
        """


# --- x86 ------------------------------------------------------------------------------------------------

# struct user_regs_struct in <sys/user.h>: what a 64-bit tracer sees, of 32-bit threads too.
_X86_NAMES: Final = (
    *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi"),
    *("orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs"),
)
_X86: Final = struct.Struct(f"={len(_X86_NAMES)}Q")
X86_BYTES: Final = _X86.size
_CS_32: Final = 0x23  # __USER32_CS: arch/x86/include/asm/segment.h


def x86_fields(registers: bytes) -> dict[str, int]:
    """Return the registers by name."""
    return dict(zip(_X86_NAMES, _X86.unpack(registers), strict=True))


def x86_bytes(fields: Mapping[str, int]) -> bytes:
    """Return named registers as ptrace(2) takes them."""
    return _X86.pack(*(fields[name] & _WORD for name in _X86_NAMES))


def x86_layout(registers: bytes) -> "X86":
    """Return how this thread calls the kernel: as a 32-bit program, or as a 64-bit one."""
    return I386 if x86_fields(registers)["cs"] == _CS_32 else X86_64


@dataclass(frozen=True, slots=True)
class X86:
    """x86-64 and the 32-bit mode of it; orig_rax holds the number, and no number outside of a call."""

    name: str
    numbers: Numbers
    gadget: bytes
    arguments: tuple[str, ...]
    step: int = 1

    def pc(self, registers: bytes) -> int:
        """Return rip."""
        return x86_fields(registers)["rip"]

    def sp(self, registers: bytes) -> int:
        """Return rsp."""
        return x86_fields(registers)["rsp"]

    def moved(self, registers: bytes, pc: int) -> bytes:
        """Return the registers with another rip."""
        return x86_bytes(x86_fields(registers) | {"rip": pc})

    def likely_gadget(self, registers: bytes) -> int | None:
        """Return the instruction before rip, which a thread inside of a call has come by."""
        fields = x86_fields(registers)
        return None if _number(fields) is None else fields["rip"] - len(self.gadget)

    def calling(self, registers: bytes, gadget: int, number: int, arguments: Sequence[int]) -> bytes:
        """Return the registers for a call; orig_rax -1 keeps the kernel from restarting another."""
        fields = x86_fields(registers)
        fields |= {"rip": gadget, "rax": number, "orig_rax": NOT_IN_CALL}
        fields |= dict(zip(self.arguments, arguments, strict=False))
        return x86_bytes(fields)

    def result(self, registers: bytes) -> int:
        """Return rax; of a 32-bit thread its lower half."""
        value = x86_fields(registers)["rax"]
        return _signed(value & 0xFFFFFFFF, 32) if self is I386 else _signed(value, 64)

    def given_up(self, registers: bytes, call: Call | None) -> bool:
        """Tell whether orig_rax is a call that never restarts, and rax -EINTR."""
        del call
        number = _number(x86_fields(registers))
        return number in self.numbers.never_restart and self.result(registers) == _EINTR

    def again(self, registers: bytes, call: Call | None) -> bytes:
        """Return the registers with the instruction before rip as the next, and its number in rax."""
        del call
        fields = x86_fields(registers)
        number = _number(fields)
        assert number is not None, "no call to make again"
        fields |= {"rip": fields["rip"] - len(self.gadget), "rax": number, "orig_rax": NOT_IN_CALL}
        return x86_bytes(fields)


def _number(fields: Mapping[str, int]) -> int | None:
    number = _signed(fields["orig_rax"] & 0xFFFFFFFF, 32)
    return number if number >= 0 else None


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


X86_64: Final = X86(
    name="x86-64",
    gadget=b"\x0f\x05",  # syscall
    arguments=("rdi", "rsi", "rdx", "r10", "r8", "r9"),
    numbers=Numbers(
        wait4=61,
        rt_sigaction=13,
        # read write readv writev (sockets with a timeout) accept connect sendto recvfrom sendmsg recvmsg
        # semop rt_sigtimedwait io_getevents semtimedop epoll_wait epoll_pwait accept4 recvmmsg sendmmsg
        # io_pgetevents io_uring_enter epoll_pwait2
        never_restart=frozenset(
            {0, 1, 19, 20, 42, 43, 44, 45, 46, 47, 65, 128, 208, 220, 232, 281, 288, 299, 307, 333, 426, 441}
        ),
    ),
)
I386: Final = X86(
    name="i386",
    gadget=b"\xcd\x80",  # int $0x80; the vDSO's sysenter returns to behind one too
    arguments=("rbx", "rcx", "rdx", "rsi", "rdi", "rbp"),
    numbers=Numbers(
        wait4=114,
        rt_sigaction=174,
        # the same; socketcall 102 and ipc 117 stand for the sockets' and semaphores' own
        never_restart=frozenset(
            {3, 4, 102, 117, 145, 146, 177, 247, 256, 319, 337, 345, 362, 364, 369, 370, 371, 372, 385}
            | {413, 416, 417, 420, 421, 426, 441}
        ),
    ),
)


# --- aarch64 --------------------------------------------------------------------------------------------

# struct user_pt_regs in <asm/ptrace.h>: x0 to x30, sp, pc, pstate; read and written as NT_PRSTATUS only.
_ARM: Final = struct.Struct("=34Q")
ARM_BYTES: Final = _ARM.size
_ARM_SP: Final = 31
_ARM_PC: Final = 32


@dataclass(frozen=True, slots=True)
class Aarch64:
    """64-bit ARM: x8 holds the number; whether the thread is in a call is a register set of its own.

    At a stop inside of a call that restarts, the kernel has put pc back on the instruction already, and x0 to
    the first argument (do_signal in arch/arm64/kernel/signal.c): restoring these makes the call anew, a sleep
    in full. It takes notice of pc being still there; so our call must come from another instruction.
    """

    name: str = "aarch64"
    gadget: bytes = b"\x01\x00\x00\xd4"  # svc #0
    step: int = 4
    numbers: Numbers = Numbers(
        wait4=260,
        rt_sigaction=134,
        # io_getevents epoll_pwait read write readv writev rt_sigtimedwait semtimedop semop accept connect
        # sendto recvfrom sendmsg recvmsg accept4 recvmmsg sendmmsg io_pgetevents io_uring_enter epoll_pwait2
        never_restart=frozenset(
            {4, 22, 63, 64, 65, 66, 137, 192, 193, 202, 203, 206, 207, 211, 212, 242, 243, 269, 292, 426, 441}
        ),
    )

    def pc(self, registers: bytes) -> int:
        """Return pc."""
        return int(_ARM.unpack(registers)[_ARM_PC])

    def sp(self, registers: bytes) -> int:
        """Return sp."""
        return int(_ARM.unpack(registers)[_ARM_SP])

    def moved(self, registers: bytes, pc: int) -> bytes:
        """Return the registers with another pc."""
        return self._with(registers, {_ARM_PC: pc})

    def likely_gadget(self, registers: bytes) -> int | None:
        """Return None: the one that is near must not be used, see above."""
        del registers
        return None

    def calling(self, registers: bytes, gadget: int, number: int, arguments: Sequence[int]) -> bytes:
        """Return the registers for a call."""
        assert gadget != self.pc(registers), "the kernel would take it for the interrupted call"
        return self._with(registers, {_ARM_PC: gadget, 8: number} | dict(enumerate(arguments[:6])))

    def result(self, registers: bytes) -> int:
        """Return x0."""
        return _signed(int(_ARM.unpack(registers)[0]), 64)

    def given_up(self, registers: bytes, call: Call | None) -> bool:
        """Tell whether `call` never restarts, and x0 is -EINTR."""
        if call is None or call.number not in self.numbers.never_restart:
            return False
        return self.result(registers) == _EINTR

    def again(self, registers: bytes, call: Call | None) -> bytes:
        """Return the registers with the instruction before pc as the next.

        Its result has overwritten the first argument; the kernel's copy (orig_x0) is what /proc shows.
        """
        assert call is not None, "no call to make again"
        pc = self.pc(registers) - len(self.gadget)
        return self._with(registers, {_ARM_PC: pc, 8: call.number, 0: call.arguments[0]})

    @staticmethod
    def _with(registers: bytes, changes: Mapping[int, int]) -> bytes:
        words = list(_ARM.unpack(registers))
        for index, value in changes.items():
            words[index] = value & _WORD
        return _ARM.pack(*words)


AARCH64: Final = Aarch64()
