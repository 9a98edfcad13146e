import os
import signal
import subprocess
import sys

import pytest

from reaperd.kernel import signals
from tests.support.masks import signal_mask
from tests.support.processes import call_in_process, fork_child, wait_gone


def test_kill_and_stop_cannot_be_caught() -> None:
    """Every other valid signal can, real-time ones included, but not those of the C library."""
    assert {signal.SIGCHLD, signal.SIGPIPE, signal.SIGRTMIN, signal.SIGRTMAX} <= signals.catchable()
    assert not {0, signal.SIGKILL, signal.SIGSTOP, 32, 33} & signals.catchable()


def _block_and_restore() -> list[bool]:
    got: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, _frame: got.append(number))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    before = signals.block_all()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    os.kill(os.getpid(), signal.SIGUSR1)
    held_back = list(got)
    signals.restore(before)
    return [
        before == {signal.SIGHUP},
        mask == signals.catchable(),
        held_back == [],
        got == [signal.SIGUSR1],
        signal.pthread_sigmask(signal.SIG_BLOCK, ()) == {signal.SIGHUP},
    ]


def test_blocked_signals_arrive_when_the_mask_is_restored() -> None:
    """All are held back in between, none is lost, and the former mask is exactly back."""
    assert all(call_in_process(_block_and_restore))


def _nested_blocks() -> bool:
    outer = signals.block_all()
    inner = signals.block_all()
    signals.restore(inner)
    still = signal.pthread_sigmask(signal.SIG_BLOCK, ()) == signals.catchable()
    signals.restore(outer)
    return still


def test_a_block_within_a_block_opens_nothing() -> None:
    """Each restores what it found."""
    assert call_in_process(_nested_blocks)


def ignored_and_caught_after_exec() -> str:
    """Return the SigIgn and SigCgt lines of a program started by a child that reset its handlers."""
    for number in signals.catchable() - {signal.SIGCHLD}:
        signal.signal(number, signal.SIG_IGN if number % 2 else lambda *_: None)
    read, write = os.pipe()

    def body() -> None:
        signals.block_all()
        signals.reset(signals.changed())
        os.dup2(write, 1)
        os.execv("/bin/grep", ["grep", "-E", "Sig(Ign|Cgt)", "/proc/self/status"])

    mask = signals.block_all()  # a handler of ours must not run in the child
    child = fork_child(body)
    signals.restore(mask)
    os.close(write)
    with os.fdopen(read) as lines:
        text = lines.read()
    wait_gone(child)
    os.waitpid(child, 0)
    return text


def test_a_child_starts_with_default_actions() -> None:
    """Nothing that the parent ignored or caught is ignored after exec, SIGPIPE and SIGXFSZ included."""
    lines = call_in_process(ignored_and_caught_after_exec).split("\n")
    assert signal_mask(lines[0].removeprefix("SigIgn:")) == 0


def test_without_the_reset_sigpipe_stays_ignored() -> None:
    """The interpreter ignores SIGPIPE for itself and exec keeps that: why the reset is needed."""
    done = subprocess.run(
        [sys.executable, "-c", "import os; os.execvp('grep', ['grep', 'SigIgn', '/proc/self/status'])"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout.split()[1], 16) & 1 << (signal.SIGPIPE - 1)


def test_a_mask_is_made_of_signals() -> None:
    """A number that is no signal is refused by the interpreter before the kernel sees it."""
    with pytest.raises(ValueError, match="out of range"):
        signals.restore([4711])
