"""The console script: it starts CMD, and then becomes a bare interpreter that goes on as CMD's init."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.init_runs import (
    COVERED,
    PYTHON,
    init_command,
    is_covered,
    namespace_words,
    run,
    says,
    started,
    wait_for,
    wait_until_gone,
)
from tests.support.init_terminal import terminal

SCRIPT = str(Path(sys.executable).with_name("reaperd"))
INIT = [sys.executable, str(COVERED), SCRIPT, "init"] if is_covered() else [SCRIPT, "init"]
# A parent that starts a child, says its pid, and ends when its standard input does.
PARENT = (
    "import os, sys\n"
    "pid = os.fork()\n"
    "if pid == 0:\n    os.execv(sys.argv[1], sys.argv[1:])\n"
    "print(pid, flush=True)\n"
    "sys.stdin.readline()\n"
)


def is_lean(pid: int) -> bool:
    """Tell whether the second stage has begun."""
    return b"--adopt=" in Path(f"/proc/{pid}/cmdline").read_bytes()


def traced(folder: Path, fault: str) -> list[str]:
    """Return the words that inject a fault into both stages, not into CMD; the first exec is not counted."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace to place the fault")
    return ["strace", "-o", str(folder / "trace"), "-e", f"inject={fault}", *INIT]


def test_signals_that_come_between_the_stages_are_not_lost() -> None:
    """What is sent while the second interpreter starts is there when it begins: each single one."""
    number = int(signal.SIGRTMIN) + 1
    with started([*INIT, "-q", "--", *says(signal.SIGTERM)]) as init:
        init.line()
        init.signal(signal.SIGUSR1)
        for _ in range(100):
            init.signal(number)
        wait_for(lambda: is_lean(init.pid))
        got = [int(init.line()) for _ in range(101)]
        assert sorted(got) == [int(signal.SIGUSR1)] + [number] * 100
        init.signal(signal.SIGTERM)
        assert init.end()[0] == 0


def test_a_cmd_that_ends_before_the_second_stage_is_not_missed(tmp_path: Path) -> None:
    """Its zombie waits, and its status is passed on."""
    late = traced(tmp_path, "execve:delay_enter=500000:when=1")
    assert run([*late, "-q", "--", "sh", "-c", "exit 5"]).returncode == 5


@pytest.mark.skipif(is_covered(), reason="measuring execs otherwise")
def test_where_the_second_stage_cannot_start_the_first_goes_on(tmp_path: Path) -> None:
    """It says so where it is asked to say much; signals and status are passed on as ever."""
    failing = traced(tmp_path, "execve:error=ENOMEM:when=1")
    with started([*failing, "-v", "--", *says(signal.SIGTERM, 6)]) as tracer:
        tracer.line()
        (init,) = Path(f"/proc/{tracer.pid}/task/{tracer.pid}/children").read_text().split()
        os.kill(int(init), signal.SIGTERM)
        assert tracer.line() == str(int(signal.SIGTERM))
        status, said = tracer.end()
    assert status == 6
    assert "reaperd: staying in a larger interpreter: cannot start" in said
    assert "--adopt=" not in said


@pytest.mark.skipif(is_covered(), reason="measuring takes memory")
def test_the_second_stage_is_as_small_as_the_lean_one() -> None:
    """What the first stage had loaded is gone: private memory is that of the bare interpreter's init."""

    def private_kib(pid: int) -> int:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Private_Dirty:"):
                return int(line.split()[1])
        return 0

    with started([*INIT, "-qs", *says()]) as init, started(init_command("-qs", *says())) as lean:
        init.line()
        lean.line()
        wait_for(lambda: is_lean(init.pid))
        wait_for(lambda: "sigtimedwait" in Path(f"/proc/{init.pid}/wchan").read_text())
        assert private_kib(init.pid) < private_kib(lean.pid) + 512


def test_the_parent_death_signal_outlives_the_second_exec() -> None:
    """-p through the console script: the parent's end is told after both stages."""
    command = [PYTHON, "-c", PARENT, *INIT, "-q", "-p", "USR1", *says(signal.SIGUSR1)]
    with started(command, stdin=subprocess.PIPE) as parent:
        lines = {parent.line(), parent.line()}
        (pid,) = [int(line) for line in lines if line.isdigit()]
        if not is_covered():
            wait_for(lambda: is_lean(pid))
        assert parent.process.stdin
        parent.process.stdin.close()
        parent.process.stdin = None
        assert parent.line() == str(int(signal.SIGUSR1))


def test_sigkill_as_parent_death_signal_ends_both() -> None:
    """-p SIGKILL through the console script ends init with its parent, and CMD with init."""
    command = [PYTHON, "-c", PARENT, *INIT, "-q", "-p", "SIGKILL", *says()]
    with started(command, stdin=subprocess.PIPE) as parent:
        lines = {parent.line(), parent.line()}
        (cmd,) = [int(line.split()[1]) for line in lines if line.startswith("ready")]
        parent.process.kill()
        wait_until_gone(cmd)


@pytest.mark.skipif(is_covered(), reason="measuring looks at its parent too")
def test_a_parent_that_ends_while_the_first_stage_starts_is_noticed(tmp_path: Path) -> None:
    """The parent is remembered by the first statement of the package; whoever is it later is another."""
    # The first getppid is that of the first statement; from the second on it is as if the parent had ended.
    ended = run([*traced(tmp_path, "getppid:retval=1:when=2+"), "-q", "-p", "SIGKILL", "echo", "started"])
    assert (ended.returncode, ended.stdout) == (137 if ended.returncode > 0 else -9, "")


def test_the_terminal_is_cmds_through_both_stages() -> None:
    """Ctrl-C reaches a CMD of the console script once; the terminal changes hands only at the start."""
    with terminal([*INIT, "-q", "--", *says(signal.SIGTERM)]) as user:
        user.expect(r"ready (\d+)\r\n")
        user.type("\x03")
        assert user.expect(r"(?<!\d)(\d+)\r\n")[1] == "2"
        os.kill(user.process.pid, signal.SIGUSR1)
        assert user.expect(r"(\d+)\r\n")[1] == str(int(signal.SIGUSR1))
        os.kill(user.process.pid, signal.SIGTERM)
        assert user.end() == 0


def test_as_pid_1_it_ends_what_cmd_leaves_with_the_grace_of_pid_1() -> None:
    """The second stage knows what init is: a daemon of CMD's has its SIGTERM and SIGCONT."""
    daemon = " ".join(says(signal.SIGCONT))
    script = f"setsid {daemon} <&- & read line; exit 4"
    command = [*namespace_words(), *INIT, "--", "sh", "-c", script]
    with started(command, stdin=subprocess.PIPE) as init:
        assert init.line().startswith("ready")
        init.enter()
        assert [init.line(), init.line()] == ["15", "18"]
        assert init.end()[0] == 4


@pytest.mark.parametrize(
    "word", ["", "x", "1,0,0:::init", "99999999999999999999,0,0:::init", "2,0:::", "0,0,0"]
)
def test_the_word_between_the_stages_is_no_option(word: str) -> None:
    """Given by hand it is an error like any other, and nothing is adopted."""
    ended = run(init_command(f"--adopt={word}", "echo", "started"))
    assert (ended.returncode, ended.stdout) == (125, "")
    assert "no option" in ended.stderr


def test_the_command_line_finds_the_same_init() -> None:
    """`reaperd -- init` comes through the command line's own door to the very same."""
    ended = run([*INIT[:-1], "--", "init", "-q", "sh", "-c", "exit 3"])
    assert (ended.returncode, ended.stderr) == (3, "")
    assert "usage: reaperd init" in run([*INIT[:-1], "--", "init", "--help"]).stdout


# Forks CMD, and becomes an init that is told of it as the first stage would tell.
ADOPTING = (
    "import os, sys\n"
    "pid = os.fork()\n"
    "if pid == 0:\n    os.execvp('sh', ['sh', '-c', sys.argv[1]])\n"
    "words = [word.replace('PID', str(pid)) for word in sys.argv[2:]]\n"
    "os.execv(words[0], words)\n"
)


@pytest.mark.parametrize(
    ("cmd", "word", "status"),
    [
        ("exit 5", "PID,0,4:::/usr/bin/reaperd", 5),
        ("read line; exit 5", "PID,2,0::10,0,1:reaperd", 138),  # a SIGUSR1 that the first stage had fetched
        ("exit 3", "PID,1,0:17,18::/sbin/tini", 3),
    ],
)
def test_the_second_stage_goes_on_with_what_it_is_told(cmd: str, word: str, status: int) -> None:
    """CMD is its child already; signals that were fetched before go to it, and its status is told."""
    adopting = [PYTHON, "-c", ADOPTING, cmd, *init_command(f"--adopt={word}", "sh")]
    with started(adopting, stdin=subprocess.PIPE) as init:
        assert init.process.wait(60) == status
