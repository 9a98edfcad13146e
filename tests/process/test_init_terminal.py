import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.init_runs import (
    children_of,
    in_namespace,
    init_command,
    says,
    started,
    state_of,
    wait_for,
    wait_until_gone,
)
from tests.support.init_terminal import Terminal, terminal

CTRL_C, CTRL_Z = "\x03", "\x1a"
BASH = ["bash", "--norc", "--noprofile", "-i"]
PROMPT = r"\$ |# "


@pytest.mark.parametrize(
    "words", [[], ["-g"], ["--no-setsid"], ["--no-setsid", "-g"], ["--no-setsid", "--single"]]
)
@pytest.mark.parametrize("inside", [True, False])
def test_ctrl_c_arrives_once(words: list[str], *, inside: bool) -> None:
    """At a terminal that init leads, Ctrl-C reaches CMD exactly once, and nothing came before it."""
    given = ["-q", *words, "--", *says(signal.SIGTERM)]
    # In a namespace init leads no session by itself: a container engine sees to that, here setsid does.
    command = [*in_namespace("true")[:-5], "setsid", "--ctty", *init_command(*given)]
    with terminal(command if inside else init_command(*given)) as user:
        user.expect(r"ready (\d+)\r\n")
        user.type(CTRL_C)
        user.expect(r"\^C")
        assert user.expect(r"(\d+)\r\n")[1] == "2"
        pid = children_of(user.process.pid)[0] if inside else user.process.pid
        os.kill(pid, signal.SIGUSR1)
        # Had SIGINT, SIGHUP or SIGCONT come twice or unasked, it would stand before this.
        assert user.expect(r"(\d+)\r\n")[1] == str(int(signal.SIGUSR1))
        os.kill(pid, signal.SIGTERM)
        assert user.end() == 0


def session_of(pid: int) -> int:
    """Return a process's session, from outside of it."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3])


def foreground_of(pid: int) -> int:
    """Return the foreground process group of a process's terminal, -1 without one."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[5])


def group_of(pid: int) -> int:
    """Return a process's process group."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[2])


def test_cmd_leads_its_own_session_and_terminal() -> None:
    """By default CMD leads a session with the terminal and its foreground, and init has no terminal."""
    with terminal(init_command("-q", *says())) as user:
        cmd = int(user.expect(r"ready (\d+)")[1])
        init = user.process.pid
        assert (session_of(cmd), group_of(cmd), foreground_of(cmd)) == (cmd, cmd, cmd)
        assert (session_of(init), foreground_of(init)) == (init, -1)


def test_no_setsid_with_group_has_the_foreground() -> None:
    """--no-setsid -g puts CMD into a group of its own, in front, in init's session."""
    with terminal(init_command("-q", "--no-setsid", "-g", *says())) as user:
        cmd = int(user.expect(r"ready (\d+)")[1])
        init = user.process.pid
        assert (session_of(cmd), group_of(cmd), foreground_of(cmd)) == (init, cmd, cmd)


def test_the_foreground_is_given_back() -> None:
    """After CMD's group has had it the terminal is the caller's again, also of one without job control."""
    command = shlex.join(init_command("-q", "--no-setsid", "-g", "true"))
    with terminal(["sh", "-c", f"{command}; echo read''y; read line; echo got $line; exit 3"]) as user:
        user.expect("ready")
        user.type("this\n")
        user.expect("got this")
        assert user.end() == 3


def test_no_setsid_single_stays_where_it_is() -> None:
    """--no-setsid leaves CMD in init's group and session."""
    with terminal(init_command("-q", "--no-setsid", *says())) as user:
        cmd = int(user.expect(r"ready (\d+)")[1])
        init = user.process.pid
        assert (session_of(cmd), group_of(cmd), foreground_of(cmd)) == (init, init, init)


@pytest.mark.parametrize(("words", "own"), [([], False), (["--setsid"], True)])
def test_setsid_gives_a_session_also_under_a_shell(words: list[str], *, own: bool) -> None:
    """Where somebody else leads the terminal's session CMD stays in it, unless --setsid asks otherwise."""
    command = shlex.join(init_command("-q", *words, *says(signal.SIGTERM)))
    with terminal(["sh", "-c", f"{command}; exit 3"]) as user:
        cmd = int(user.expect(r"ready (\d+)\r\n")[1])
        assert (session_of(cmd) == cmd) is own
        os.kill(cmd, signal.SIGTERM)
        assert user.end() == 3


def test_without_a_terminal_cmd_has_a_session_all_the_same() -> None:
    """Where stdin is no terminal CMD still leads its own session."""
    with started(init_command("-q", *says())) as init:
        cmd = int(init.line().split()[1])
        assert session_of(cmd) == cmd != session_of(init.pid)


@pytest.mark.parametrize("words", [[], ["--no-setsid"], ["--no-setsid", "-g"]])
def test_a_hangup_ends_cmd(words: list[str]) -> None:
    """A terminal that hangs up ends CMD, and init leaves with 128 and SIGHUP."""
    with terminal(init_command("-q", *words, "sh", "-c", "echo ready; exec sleep 1000")) as user:
        user.expect("ready")
        user.hang_up()
        assert user.end() == 129


def shell_line(user: Terminal, line: str) -> None:
    """Type a line at a prompt."""
    user.expect(PROMPT)
    user.type(line + "\n")


@pytest.mark.parametrize("words", [[], ["-g"], ["--no-setsid"]])
def test_a_shell_can_suspend_and_resume(words: list[str]) -> None:
    """Under an interactive shell Ctrl-Z stops CMD and init, fg wakes both, Ctrl-C ends CMD."""
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    init = shlex.join(init_command("-q", *words, "sh", "-c", "echo rea''dy; exec sleep 1000"))
    with terminal(BASH) as user:
        shell_line(user, init)
        user.expect("ready")
        (pid,) = children_of(user.process.pid)
        (cmd,) = children_of(pid)
        user.type(CTRL_Z)
        user.expect("Stopped")
        assert (state_of(pid), state_of(cmd)) == ("T", "T")
        shell_line(user, "fg")
        user.expect("sleep 1000")
        # The shell says what it resumes before it does: the terminal is CMD's a little later.
        wait_for(lambda: foreground_of(cmd) == group_of(cmd) and state_of(cmd) == "S")
        user.type(CTRL_C)
        wait_until_gone(pid)
        shell_line(user, "echo status''=$?")
        assert user.expect(r"status=(\d+)")[1] == "130"


def test_an_inner_shell_has_job_control() -> None:
    """A shell run by init, under a shell or leading a terminal, has job control: Ctrl-Z and fg work."""
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    for command in (init_command("-q", *BASH), BASH):
        with terminal(command) as user:
            if command is BASH:
                shell_line(user, "PS1='$ '; " + shlex.join(init_command("-q", *BASH)))
            shell_line(user, "sleep 1000")
            user.expect("sleep 1000")
            wait_for(lambda shell=user.process.pid: sleeps_in_front(shell))  # type: ignore[misc]
            user.type(CTRL_Z)
            user.expect("Stopped")
            shell_line(user, "kill %1; fg; echo d''one")
            user.expect("done")
            assert "no job control" not in user.seen
            assert "cannot set terminal" not in user.seen


def name_of(pid: int) -> str:
    """Return a process's name, "" where it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def sleeps_in_front(shell: int) -> bool:
    """Tell whether a sleep below this shell has the terminal."""
    return any(name_of(pid) == "sleep" and foreground_of(pid) == group_of(pid) for pid in all_below(shell))


def all_below(pid: int) -> list[int]:
    """Return all descendants."""
    return [below for child in children_of(pid) for below in (child, *all_below(child))]


@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU])
def test_stop_signals_stop_cmd_and_then_init(number: int) -> None:
    """A stop signal stops CMD, also where its session would ignore it, and then init; SIGCONT wakes both."""
    with started(init_command("-q", "sh", "-c", "echo ready; exec sleep 1000")) as init:
        init.line()
        (cmd,) = children_of(init.pid)
        init.signal(number)
        # WNOWAIT: the end of the test is still Popen's to reap.
        os.waitid(os.P_PID, init.pid, os.WSTOPPED | os.WNOWAIT)
        wait_for(lambda: state_of(cmd) == "T")
        init.signal(signal.SIGCONT)
        os.waitid(os.P_PID, init.pid, os.WCONTINUED | os.WNOWAIT)
        init.signal(signal.SIGTERM)
        assert init.end()[0] == 143


def test_pid_1_is_never_stopped() -> None:
    """As PID 1 a stop signal stops CMD alone: init goes on reaping and passing signals on."""
    with started(in_namespace("-q", "--", "sh", "-c", "echo ready; exec sleep 1000")) as init:
        init.line()
        pid = init.pid
        (cmd,) = children_of(pid)
        for number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT, signal.SIGTERM):
            os.kill(pid, number)
            assert state_of(pid) != "T"
        assert init.end()[0] == 143
        assert cmd


def test_init_opens_no_controlling_terminal(tmp_path: Path) -> None:
    """A session leader without terminal does not get one by init opening its standard error."""
    master, slave = os.openpty()
    try:
        # Leaving the working directory is the last that init does before it only waits.
        settled = 'until test "$(readlink /proc/$PPID/cwd)" = /; do :; done; cat /proc/$PPID/stat'
        script = "exec " + shlex.join(init_command("-w", "-v", "-v", "sh", "-c", settled))
        with (tmp_path / "out").open("wb") as out:
            subprocess.run(
                ["setsid", "--wait", "sh", "-c", script], stdin=subprocess.DEVNULL, stdout=out, stderr=slave,
                timeout=60, check=True,
            )  # fmt: skip
        fields = re.split(r"\s+", (tmp_path / "out").read_text().rpartition(")")[2].strip())
        assert fields[4] == "0"
    finally:
        os.close(master)
        os.close(slave)
