"""Registers taken apart and put together, on recorded and made-up ones of each architecture."""

import struct

import pytest

from reaperd.kernel.proctask import Call
from reaperd.kernel.registers import (
    AARCH64,
    ARM_BYTES,
    I386,
    NOT_IN_CALL,
    X86_64,
    X86_BYTES,
    Layout,
    x86_bytes,
    x86_fields,
    x86_layout,
)
from reaperd.zombies.hold import layout_of

MINUS_516 = 2**64 - 516
MINUS_EINTR = 2**64 - 4
BLANK = x86_fields(bytes(X86_BYTES))
# a 64-bit program in nanosleep, interrupted: the verdict is ERESTART_RESTARTBLOCK
SLEEPING = x86_bytes(
    BLANK | {"cs": 0x33, "rip": 0x7F0000001002, "rsp": 0x7FFF00000128, "rax": MINUS_516, "orig_rax": 35}
)
IN_EPOLL = x86_bytes(x86_fields(SLEEPING) | {"rax": MINUS_EINTR, "orig_rax": 232})
COMPUTING = x86_bytes(x86_fields(SLEEPING) | {"rax": 5, "orig_rax": NOT_IN_CALL})
SLEEPING_32 = x86_bytes(BLANK | {"cs": 0x23, "rip": 0xF7FC0549, "rax": MINUS_516, "orig_rax": 162})


def arm(**registers: int) -> bytes:
    """Return registers of aarch64, all others zero; `x0` to `x30`, `sp`, `pc`, `pstate`."""
    names = [*(f"x{number}" for number in range(31)), "sp", "pc", "pstate"]
    return struct.pack("=34Q", *(registers.get(name, 0) & (2**64 - 1) for name in names))


def test_the_mode_is_told_by_the_code_segment() -> None:
    """A 32-bit program enters the kernel by another instruction, with other numbers."""
    assert x86_layout(SLEEPING) is X86_64
    assert x86_layout(SLEEPING_32) is I386
    assert layout_of(SLEEPING, "x86_64") is X86_64
    assert layout_of(arm(), "aarch64") is AARCH64
    assert layout_of(b"", "riscv64") is None


def test_inside_a_call_the_instruction_before_is_likely_the_one() -> None:
    """Outside of one nothing is known, and aarch64's own must not be used."""
    assert X86_64.likely_gadget(SLEEPING) == 0x7F0000001000
    assert X86_64.likely_gadget(COMPUTING) is None
    assert I386.likely_gadget(SLEEPING_32) == 0xF7FC0547
    assert AARCH64.likely_gadget(arm(pc=0x1000)) is None


def test_a_call_on_x86_64() -> None:
    """Number and arguments are where syscall(2) says, nothing else is touched, and it restarts nothing."""
    before, after = x86_fields(SLEEPING), x86_fields(X86_64.calling(SLEEPING, 0x5000, 61, (7, 0, 1, 0)))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"rip", "rax", "orig_rax", "rdi", "rdx"}
    assert (after["rip"], after["rax"], after["rdi"], after["rsi"]) == (0x5000, 61, 7, 0)
    assert (after["rdx"], after["r10"], after["orig_rax"]) == (1, 0, NOT_IN_CALL)


def test_a_call_on_i386() -> None:
    """Its arguments are in other registers, its wait4 has another number."""
    after = x86_fields(I386.calling(SLEEPING_32, 0x5000, I386.numbers.wait4, (7, 0, 1, 0)))
    assert (after["rax"], after["rbx"], after["rcx"], after["rdx"], after["rsi"]) == (114, 7, 0, 1, 0)


def test_a_call_on_aarch64() -> None:
    """Number in x8, arguments from x0 on; never from the instruction that the kernel looks for."""
    before = arm(x0=5, x8=101, pc=0x1000, sp=0x9000)
    after = struct.unpack("=34Q", AARCH64.calling(before, 0x2000, 260, (7, 0, 1, 0)))
    assert (after[0], after[1], after[2], after[3]) == (7, 0, 1, 0)
    assert (after[8], after[31], after[32]) == (260, 0x9000, 0x2000)
    with pytest.raises(AssertionError):
        AARCH64.calling(before, 0x1000, 260, (7, 0, 1, 0))
    assert len(before) == ARM_BYTES


@pytest.mark.parametrize(
    ("layout", "registers", "result"),
    [
        (X86_64, x86_bytes(BLANK | {"rax": 4711}), 4711),
        (X86_64, x86_bytes(BLANK | {"rax": 2**64 - 10}), -10),
        (I386, x86_bytes(BLANK | {"rax": 2**32 - 10}), -10),
        (I386, x86_bytes(BLANK | {"rax": 2**64 - 10}), -10),
        (AARCH64, arm(x0=4711), 4711),
        (AARCH64, arm(x0=-10), -10),
    ],
)
def test_a_result_is_signed(layout: Layout, registers: bytes, result: int) -> None:
    """An error is negative in every width."""
    assert layout.result(registers) == result


def test_only_calls_that_never_restart_are_given_up() -> None:
    """EINTR from epoll_wait is for us to mend; the kernel's own codes, and EINTR from others, are not."""
    assert X86_64.given_up(IN_EPOLL, None)
    assert not X86_64.given_up(SLEEPING, None)
    assert not X86_64.given_up(x86_bytes(x86_fields(IN_EPOLL) | {"orig_rax": 3}), None)  # close
    assert not X86_64.given_up(x86_bytes(x86_fields(IN_EPOLL) | {"orig_rax": NOT_IN_CALL}), None)
    waiting = arm(x0=MINUS_EINTR, pc=0x1004)
    assert AARCH64.given_up(waiting, Call(22, (3, 0, 0, 0, 0, 0)))
    assert not AARCH64.given_up(waiting, Call(57, (3, 0, 0, 0, 0, 0)))
    assert not AARCH64.given_up(waiting, None)


def test_a_given_up_call_is_made_anew() -> None:
    """From its own instruction, with its number, and on aarch64 with the argument that EINTR overwrote."""
    anew = x86_fields(X86_64.again(IN_EPOLL, None))
    assert (anew["rip"], anew["rax"], anew["orig_rax"]) == (0x7F0000001000, 232, NOT_IN_CALL)
    again = struct.unpack("=34Q", AARCH64.again(arm(x0=MINUS_EINTR, pc=0x1004), Call(22, (3, 9, 9, 9, 9, 9))))
    assert (again[0], again[8], again[32]) == (3, 22, 0x1000)


def test_where_it_stands_and_where_its_stack_is() -> None:
    """Read and moved in every layout."""
    assert (X86_64.pc(SLEEPING), X86_64.sp(SLEEPING)) == (0x7F0000001002, 0x7FFF00000128)
    assert X86_64.pc(X86_64.moved(SLEEPING, 0x42)) == 0x42
    registers = arm(pc=0x1000, sp=0x9000)
    assert (AARCH64.pc(registers), AARCH64.sp(registers)) == (0x1000, 0x9000)
    assert AARCH64.pc(AARCH64.moved(registers, 0x42)) == 0x42
