import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.init_runs import children_of, in_namespace, init_command, run, says, started, wait_for

NOT_FORWARDED = {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}
STOPPING = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
ENDING = signal.SIGTERM
PLAIN = sorted(signal.valid_signals() - NOT_FORWARDED - STOPPING - {ENDING})


@pytest.mark.parametrize("single", ["--single", "-g"])
def test_every_catchable_signal_is_forwarded(single: str) -> None:
    """Each signal arrives once at CMD, faults sent by kill and real-time ones included."""
    with started(in_namespace(single, "--", *says(ENDING, 3))) as init:
        assert init.line() == "ready 2"
        for number in PLAIN:
            init.signal(number)
            assert init.line() == str(int(number))
        init.signal(ENDING)
        assert init.line() == str(int(ENDING))
        assert init.end()[0] == 3


def test_real_time_signals_keep_their_count() -> None:
    """A hundred SIGRTMIN+1 sent are a hundred received."""
    with started(init_command("-q", *says(ENDING))) as init:
        init.line()
        for _ in range(100):
            init.signal(signal.SIGRTMIN + 1)
        init.signal(signal.SIGRTMIN + 2)
        got = [init.line() for _ in range(101)]
        init.signal(ENDING)
        assert got == [str(signal.SIGRTMIN + 1)] * 100 + [str(signal.SIGRTMIN + 2)]


def test_sigchld_is_not_forwarded() -> None:
    """A SIGCHLD that somebody sends stays with the init."""
    with started(init_command("-q", *says(ENDING))) as init:
        init.line()
        init.signal(signal.SIGCHLD)
        init.signal(signal.SIGUSR1)
        assert init.line() == str(int(signal.SIGUSR1))
        init.signal(ENDING)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2])
def test_a_signal_before_the_exec_is_not_lost(number: int) -> None:
    """A signal that is pending when init starts acts on CMD: nothing between start and exec swallows it."""
    # The shell blocks nothing, so Python does: block, signal itself, then become the init with both.
    become = (
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [int(sys.argv[1])]);"
        "os.kill(os.getpid(), int(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"
    )
    command = init_command("-q", *says(number, 5))
    ended = run([command[0], "-c", become, str(int(number)), *command])
    # The one that init got is passed on; CMD's own mask blocks it, so it is never too early there.
    assert ended.stdout.splitlines()[1:] == [str(int(number))]
    assert ended.returncode == 5


def test_a_group_signal_before_there_is_a_group(tmp_path: Path) -> None:
    """With -g a signal that comes before the child has made its group reaches CMD all the same."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace to hold the child back")
    log = tmp_path / "trace"
    slow = ["strace", "-f", "-o", str(log), "-e", "trace=setsid,rt_sigtimedwait,kill"]
    command = init_command("-q", "-g", "--", "sleep", "1000")
    with started([*slow, "-e", "inject=setsid:delay_enter=700000", *command]) as traced:
        # The init waits for signals while its child has not yet done what makes the group.
        wait_for(lambda: log.exists() and "rt_sigtimedwait" in log.read_text())
        (init,) = children_of(traced.process.pid)
        os.kill(init, signal.SIGTERM)
        assert traced.end()[0] == 143
    assert "ESRCH" in log.read_text()


def test_group_mode_reaches_the_group_and_single_mode_does_not() -> None:
    """-g signals CMD's whole process group; without it a worker in the group is left alone."""
    worker = f"{' '.join(says(signal.SIGTERM))} & wait; wait"
    for mode, expected in (("-g", str(int(signal.SIGUSR1))), ("--single", "")):
        script = f"trap '' USR1; trap 'kill $!' HUP; {worker}"
        with started(in_namespace("-q", mode, "--grace", "0", "--", "sh", "-c", script)) as init:
            init.line()
            init.signal(signal.SIGUSR1)
            if expected:
                assert init.line() == expected
            init.signal(signal.SIGHUP)
            lines = [line for line in iter(init.line, "") if line != str(int(signal.SIGHUP))]
            assert lines == [str(int(signal.SIGTERM))], mode
