"""The wrappers of ptrace on real threads: stops, registers, masks, memory, and what is no longer there."""

import errno
import os
import signal
import time
from typing import Any

import pytest

from reaperd.errors import KernelError
from reaperd.kernel import ptrace, signals
from reaperd.kernel.ptrace import AtSignal, Ended, Interrupted
from reaperd.kernel.registers import x86_fields
from tests.support.processes import call_in_process, owned_child, sleep_forever, wait_state

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="registers are x86-64's")


def _soon() -> float:
    return time.monotonic() + 20


def _prepare() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signals.block_all()


def _round() -> dict[str, Any]:
    """Seize, interrupt, look at and change a sleeping child, and let it go."""
    with owned_child(sleep_forever) as child:
        wait_state(child, "S")
        _prepare()
        ptrace.seize(child, ptrace.TRACESYSGOOD)
        nothing = ptrace.next_stop(child, time.monotonic() + 0.05)
        ptrace.interrupt(child)
        stop = ptrace.next_stop(child, _soon())
        before = ptrace.registers(child)
        ptrace.set_registers(child, before)
        ptrace.set_signal_mask(child, 1 << (signal.SIGUSR1 - 1))
        fields = x86_fields(before)
        place = fields["rsp"] - 256
        old = ptrace.read_memory(child, place, 8)
        answer = {
            "nothing": nothing is None,
            "stop": stop == Interrupted(),
            "same": ptrace.registers(child) == before,
            "in pause": fields["orig_rax"],
            "mask": ptrace.signal_mask(child),
            "written": ptrace.write_memory(child, place, b"8 bytes.") and ptrace.read_memory(child, place, 8),
            "restored": old is not None and ptrace.write_memory(child, place, old),
            "unmapped": [ptrace.read_memory(child, 8, 8), ptrace.write_memory(child, 8, b"8 bytes.")],
            "upper half": ptrace.read_memory(child, 2**64 - 4096, 8),
            "rseq": ptrace.rseq_area(child) >= 0,
        }
        answer["written"] = answer["written"] == b"8 bytes."
        ptrace.detach(child)
        wait_state(child, "S")
    return answer


def test_a_thread_is_stopped_read_written_and_let_go() -> None:
    """It sleeps on as before, in the call that it slept in."""
    answer = call_in_process(_round)
    assert answer.pop("in pause") == 34
    assert answer.pop("mask") == 1 << (signal.SIGUSR1 - 1)
    assert answer.pop("unmapped") == [None, False]
    assert answer.pop("upper half") is None
    assert all(answer.values()), answer


def _signalled() -> list[bool]:
    """Let a signal come to a traced child, and kill it."""
    with owned_child(sleep_forever) as child:
        wait_state(child, "S")
        _prepare()
        ptrace.seize(child, 0)
        os.kill(child, signal.SIGWINCH)
        at_signal = ptrace.next_stop(child, _soon()) == AtSignal(signal.SIGWINCH)
        ptrace.go_on(child, signal.SIGWINCH)
        os.kill(child, signal.SIGKILL)
        ended = ptrace.next_stop(child, _soon()) == Ended()
        again = ptrace.next_stop(child, _soon()) == Ended()
    return [at_signal, ended, again]


def test_signals_and_the_end_are_stops_too() -> None:
    """A signal waits to be handed on; of who has ended nothing more comes."""
    assert call_in_process(_signalled) == [True, True, True]


def test_who_is_not_there_or_not_stopped_is_no_such_process() -> None:
    """ESRCH for each: gone, never seized, or running."""
    for request in (ptrace.interrupt, ptrace.detach, ptrace.registers, lambda pid: ptrace.seize(pid, 0)):
        with pytest.raises(KernelError) as caught:
            request(2**22 + 1)  # above every pid
        assert caught.value.errno == errno.ESRCH
