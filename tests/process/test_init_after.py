import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.init_runs import (
    PYTHON,
    SAYS,
    children_of,
    descendants_of,
    in_namespace,
    init_command,
    run,
    says,
    started,
    state_of,
    wait_for,
    wait_until_gone,
)

LONG = "1000"
# A daemon by the book: a session of its own, forked twice. It says "ready PID", then each signal it gets.
DAEMON = f"setsid {PYTHON} -I -S {SAYS} {int(signal.SIGTERM)} 0 <&- &"
STUBBORN = f"setsid {PYTHON} -I -S {SAYS} {int(signal.SIGKILL)} 0 <&- &"


def test_a_daemon_that_cmd_leaves_gets_sigterm_and_sigcont() -> None:
    """As PID 1, what is alive when CMD has ended gets SIGTERM; CMD's status is kept meanwhile."""
    script = f"({DAEMON}); read line; exit 6"
    with started(in_namespace("-q", "--", "sh", "-c", script), stdin=subprocess.PIPE) as init:
        assert init.line().startswith("ready")
        init.enter()
        assert init.line() == str(int(signal.SIGTERM))
        assert init.end()[0] == 6


def test_a_stopped_leftover_is_woken_to_end() -> None:
    """SIGCONT goes with the SIGTERM: a stopped process cannot act on any."""
    script = "(sleep 1000 & kill -STOP $!); exit 3"
    begun = time.monotonic()
    assert run(in_namespace("-q", "--grace", "50", "--", "sh", "-c", script)).returncode == 3
    assert time.monotonic() - begun < 40


@pytest.mark.parametrize("words", [["--grace", "0.2"], ["--grace=0"]])
@pytest.mark.parametrize("inside", [True, False])
def test_sigkill_after_the_grace(words: list[str], *, inside: bool) -> None:
    """What does not end by SIGTERM is killed after --grace, setsid daemons too; 0 kills at once."""
    command = ["sh", "-c", f"({STUBBORN}); read line; exit 5"]
    start = in_namespace if inside else init_command
    with started(start("-q", "-s", *words, "--", *command), stdin=subprocess.PIPE) as init:
        init.line()
        below = [pid for child in children_of(init.pid) for pid in (child, *children_of(child))]
        init.enter()
        lines = list(iter(init.line, ""))
        assert lines == ([] if "--grace=0" in words else [str(int(signal.SIGTERM)), str(int(signal.SIGCONT))])
        assert init.end()[0] == 5
        for pid in below:
            wait_until_gone(pid)


def test_by_default_the_grace_is_five_seconds() -> None:
    """Neither sooner nor never: the stubborn daemon is given about five seconds."""
    begun = time.monotonic()
    ended = run(in_namespace("-q", "--", "sh", "-c", f"({STUBBORN}); sleep 0.2; exit 5"))
    assert ended.returncode == 5
    assert time.monotonic() - begun >= 5


def test_nothing_is_waited_out_that_has_gone() -> None:
    """The wait ends with the last leftover, not with the grace."""
    begun = time.monotonic()
    for start in (in_namespace, init_command):
        ended = run(start("-q", "-s", "--grace", LONG, "--", "sh", "-c", "(setsid sleep 1000 &); exit 5"))
        assert ended.returncode == 5
    assert time.monotonic() - begun < 50


def test_grace_none_leaves_at_once() -> None:
    """--grace none leaves the leftovers alone: outside a namespace they live on."""
    script = "(setsid sleep 1000 >/dev/null 2>&1 & echo $!); exit 5"
    ended = run(init_command("-q", "-s", "--grace", "none", "--", "sh", "-c", script))
    pid = int(ended.stdout)
    try:
        assert ended.returncode == 5
        assert state_of(pid) in ("S", "R", "D")
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("inside", [True, False])
def test_another_request_while_waiting_escalates(number: int, *, inside: bool) -> None:
    """A SIGTERM or SIGINT while init waits for leftovers kills them at once."""
    start = in_namespace if inside else init_command
    command = start("-q", "-s", "--grace", LONG, "--", "sh", "-c", f"({STUBBORN}); read line; exit 5")
    with started(command, stdin=subprocess.PIPE) as init:
        init.line()
        init.enter()
        assert [init.line(), init.line()] == [str(int(signal.SIGTERM)), str(int(signal.SIGCONT))]
        init.signal(number)
        assert init.end()[0] == 5


def test_grace_bounds_cmd_after_sigterm() -> None:
    """Where --grace is given, CMD is killed that long after a SIGTERM that does not end it."""
    with started(init_command("-q", "--grace", "0.3", *says(signal.SIGKILL))) as init:
        init.line()
        init.signal(signal.SIGUSR1)
        init.signal(signal.SIGTERM)
        assert [init.line(), init.line()] == [str(int(signal.SIGUSR1)), str(int(signal.SIGTERM))]
        assert init.end()[0] == 137


def test_without_grace_cmd_is_not_bounded() -> None:
    """By default SIGTERM is CMD's to handle for as long as it likes."""
    with started(in_namespace("-q", "--", *says(signal.SIGUSR1, 4))) as init:
        init.line()
        init.signal(signal.SIGTERM)
        assert init.line() == str(int(signal.SIGTERM))
        time.sleep(0.5)  # nothing may happen, and nothing tells of that
        init.signal(signal.SIGUSR1)
        assert init.end()[0] == 4


def test_sigint_alone_starts_no_grace() -> None:
    """It is SIGTERM that asks a container to end; a CMD that handles SIGINT may go on."""
    with started(init_command("-q", "--grace", "0", *says(signal.SIGUSR1, 4))) as init:
        init.line()
        for number in (signal.SIGINT, signal.SIGUSR1):
            init.signal(number)
            assert init.line() == str(int(number))
        assert init.end()[0] == 4


def test_a_second_sigterm_does_not_wait_for_cmds_grace() -> None:
    """Another SIGTERM, when it is clearly another, kills CMD at once; the same request twice does not."""
    with started(init_command("-q", "--grace", LONG, *says(signal.SIGKILL))) as init:
        init.line()
        init.signal(signal.SIGTERM)
        init.line()
        init.signal(signal.SIGTERM)
        init.line()
        time.sleep(0.3)  # the span within which two are one request
        init.signal(signal.SIGTERM)
        assert init.end()[0] == 137


def test_outside_only_its_own_group_is_signalled() -> None:
    """Neither PID 1 nor subreaper: with --grace CMD's group is ended; a setsid daemon is left alone."""
    stranger_first = "setsid sh -c 'sleep 1000 >/dev/null 2>&1 & echo $!'"
    script = f"{stranger_first}; sleep 1000 >/dev/null 2>&1 & echo $!; exit 5"
    begun = time.monotonic()
    ended = run(init_command("-q", "--grace", LONG, "--", "sh", "-c", script))
    stranger, member = (int(word) for word in ended.stdout.split())
    try:
        assert ended.returncode == 5
        wait_until_gone(member)
        assert state_of(stranger) in ("S", "R", "D")
        assert time.monotonic() - begun < 50
    finally:
        os.kill(stranger, signal.SIGKILL)


@pytest.mark.parametrize("words", [[], ["--no-setsid"]])
def test_children_of_an_earlier_program_are_left_alone(words: list[str]) -> None:
    """What the program that became init had started is not what CMD left: without -s nobody touches it."""
    script = 'setsid sleep 1000 >/dev/null 2>&1 & echo $!; exec "$@"'
    init = init_command("-q", "--grace", "0", *words, "--", "sh", "-c", "exit 5")
    ended = run(["sh", "-c", script, "sh", *init])
    inherited = int(ended.stdout)
    try:
        assert ended.returncode == 5
        assert state_of(inherited) in ("S", "R", "D")
    finally:
        os.kill(inherited, signal.SIGKILL)


def test_the_group_is_killed_after_the_grace() -> None:
    """A member of CMD's group that does not heed SIGTERM is killed, while CMD's zombie keeps the number."""
    script = f"{STUBBORN.replace('setsid ', '')} sleep 0.3; exit 5"
    with started(init_command("-q", "--grace", "0.3", "--", "sh", "-c", script)) as init:
        lines = [line for line in iter(init.line, "") if not line.startswith("ready")]
        assert lines == [str(int(signal.SIGTERM)), str(int(signal.SIGCONT))]
        assert init.end()[0] == 5


def test_without_subreaper_and_grace_nothing_is_signalled() -> None:
    """Neither PID 1 nor subreaper and no --grace: init leaves at once, like the others."""
    ended = run(init_command("-q", "--", "sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!; exit 5"))
    member = int(ended.stdout)
    assert ended.returncode == 5
    assert state_of(member) in ("S", "R", "D")
    os.kill(member, signal.SIGKILL)


def test_processes_put_into_the_namespace_have_the_grace_too() -> None:
    """What a container engine's exec has put beside CMD is no child of init, and is waited for."""
    if os.geteuid() != 0 or shutil.which("nsenter") is None:
        pytest.skip("needs root and nsenter")
    # Ready is said once the sleep is itself: it would miss a signal that came before, and outlast its shell.
    asleep = "sleep 1000 & until grep -qx sleep /proc/$!/comm; do :; done"
    slow = f"trap 'sleep 0.4; echo ended' TERM; {asleep}; echo ready; wait; wait"
    with started(in_namespace("-q", "--grace", LONG, "--", *says(signal.SIGUSR1, 7))) as init:
        init.line()
        beside = subprocess.Popen(
            ["nsenter", f"--target={init.pid}", "--pid", "--mount", "sh", "-c", slow], stdout=subprocess.PIPE
        )
        with beside:
            assert beside.stdout
            assert beside.stdout.readline() == b"ready\n"
            begun = time.monotonic()
            init.signal(signal.SIGUSR1)
            assert init.end()[0] == 7
            assert beside.stdout.readline() == b"ended\n"
            assert time.monotonic() - begun < 50


def test_wait_all_outlives_cmd() -> None:
    """--wait-all stays until the daemon that CMD left has ended too, and passes CMD's status on."""
    for start in (in_namespace, init_command):
        with started(start("-q", "-s", "--wait-all", "--", "sh", "-c", f"({DAEMON}); exit 6")) as init:
            init.line()
            pid = init.pid
            # While CMD lives, signals are CMD's: wait until the daemon is the only child.
            wait_for(lambda pid=pid: names_below(pid) == [Path(PYTHON).name])  # type: ignore[misc]
            init.signal(signal.SIGUSR1)
            assert init.line() == str(int(signal.SIGUSR1))
            init.signal(signal.SIGTERM)
            assert init.line() == str(int(signal.SIGTERM))
            assert init.end()[0] == 6


def test_wait_all_passes_no_sigpipe_of_its_own_on() -> None:
    """Where nobody reads what init says, the SIGPIPE of that is not the daemon's."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = init_command("-vv", "-s", "--wait-all", "--", "sh", "-c", f"({DAEMON}); exit 6")
        with started(command, stderr=writing) as init:
            init.line()
            pid = init.pid
            wait_for(lambda: names_below(pid) == [Path(PYTHON).name])
            init.signal(signal.SIGUSR1)
            assert init.line() == str(int(signal.SIGUSR1))
            init.signal(signal.SIGTERM)
            assert init.line() == str(int(signal.SIGTERM))
            assert init.end()[0] == 6
    finally:
        os.close(writing)


def names_below(pid: int) -> list[str]:
    """Return the names of a process's children."""
    try:
        return [Path(f"/proc/{child}/comm").read_text().strip() for child in children_of(pid)]
    except OSError:
        return []


def test_without_wait_all_the_daemon_is_ended() -> None:
    """The same CMD without --wait-all ends the container."""
    assert run(in_namespace("-q", "--", "sh", "-c", f"({DAEMON}); exit 6")).returncode == 6


def test_kill_orphans_ends_an_adopted_orphan() -> None:
    """--kill-orphans ends an orphan while CMD lives on; CMD and its own children are spared."""
    script = "sleep 1000 & own=$!; (setsid sleep 1000 & echo $!); read line; kill -0 $own && exit 3"
    command = in_namespace("-q", "--kill-orphans=0.1", "--grace", "0", "--", "sh", "-c", script)
    with started(command, stdin=subprocess.PIPE) as init:
        inner = int(init.line())
        pid = init.pid
        # Among all descendants: it is not a child of init until the subshell that started it has ended.
        wait_for(lambda: not any(inner == nspid(child) for child in descendants_of(pid)))
        init.enter()
        assert init.end()[0] == 3


def test_kill_orphans_spares_children_of_an_earlier_program() -> None:
    """What the program that became init had started was not given to init, and lives on."""
    script = 'setsid sleep 1000 >/dev/null 2>&1 & echo $!; exec "$@"'
    words = ["-q", "-s", "--kill-orphans=0.05", "--grace", "none", "--", "sleep", "0.5"]
    ended = run(["sh", "-c", script, "sh", *init_command(*words)])
    inherited = int(ended.stdout)
    try:
        assert state_of(inherited) in ("S", "R", "D")
    finally:
        os.kill(inherited, signal.SIGKILL)


def nspid(pid: int) -> int:
    """Return a process's pid in its innermost namespace, 0 where it is gone."""
    try:
        (line,) = [
            line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line[:6] == "NSpid:"
        ]
    except (OSError, ValueError):
        return 0
    return int(line.split()[-1])


def test_warn_on_reap_names_each_orphan() -> None:
    """-w says pid, command and status of each orphan with the word reaped, and does not name CMD."""
    script = (
        "(sh -c 'sleep 0.2; exit 4' & echo $! >&2)\n"
        "(sleep 1000 & echo $! >&2; until grep -q sleep /proc/$!/comm; do :; done; kill -9 $!)\n"
        "sleep 0.5"
    )
    ended = run(in_namespace("-w", "--", "sh", "-c", script))
    first, second, *said = sorted(ended.stderr.splitlines())
    assert said == [
        f"reaperd: reaped orphan pid {first} (sh): exit status 4",
        f"reaperd: reaped orphan pid {second} (sleep): killed by SIGKILL",
    ]
    assert "reaped" not in run(in_namespace("--", "sh", "-c", script)).stderr


def test_a_probe_leaves_nothing_behind() -> None:
    """`init -s -g -- PROBE` clears what the probe started, when it ends and when it is killed."""
    script = "(setsid sleep 1000 >/dev/null & echo $!); sleep 1000 >/dev/null & echo $!; %s"
    ended = run(init_command("-q", "-s", "-g", "--", "sh", "-c", script % "exit 1"))
    assert ended.returncode == 1
    assert [state_of(int(word)) for word in ended.stdout.split()] == ["", ""]
    with started(init_command("-q", "-s", "-g", "--", "sh", "-c", script % "wait")) as init:
        below = [int(init.line()), int(init.line())]
        init.signal(signal.SIGTERM)
        assert init.end()[0] == 143
        assert [state_of(pid) for pid in below] == ["", ""]


def test_a_killed_subreaper_takes_cmd_with_it() -> None:
    """SIGKILL cannot be passed on; the kernel ends CMD when a subreaper init is killed."""
    with started(init_command("-q", "-s", *says())) as init:
        cmd = int(init.line().split()[1])
        init.process.kill()
        wait_until_gone(cmd)


def test_a_container_that_kills_orphans_ends_what_a_killed_probe_had_left() -> None:
    """An engine kills a probe's init by SIGKILL: PID 1 with --kill-orphans ends the probe's background."""
    script = (
        'mkfifo $0/said; "$@" >$0/said & probe=$!; read left <$0/said; kill -KILL $probe; wait $probe;'
        "while kill -0 $left 2>/dev/null; do sleep 0.05; done; echo ended"
    )
    probe = init_command("-q", "-s", "-g", "--", "sh", "-c", "setsid sleep 1000 & echo $!; wait")
    with tempfile.TemporaryDirectory() as folder:
        outer = in_namespace("-q", "--kill-orphans=0.1", "--", "sh", "-c", script, folder, *probe)
        assert run(outer).stdout == "ended\n"


PARENT = (
    "import os, sys\n"
    "pid = os.fork()\n"
    "if pid == 0:\n    os.execv(sys.argv[1], sys.argv[1:])\n"
    "print(pid, flush=True)\n"
    "sys.stdin.readline()\n"
)


def test_parent_death_signal() -> None:
    """-p SIG sends init SIG when its parent ends, and init passes it on; without, nothing comes."""
    command = [PYTHON, "-c", PARENT, *init_command("-q", "-p", "USR1", *says(signal.SIGUSR1))]
    with started(command, stdin=subprocess.PIPE) as parent:
        lines = {parent.line(), parent.line()}
        assert any(line.startswith("ready") for line in lines)
        assert parent.process.stdin
        parent.process.stdin.close()
        parent.process.stdin = None
        assert parent.line() == str(int(signal.SIGUSR1))
        assert parent.line() == ""


def test_parent_death_by_sigkill_ends_cmd_too() -> None:
    """-p SIGKILL ends init with its parent, and CMD with init."""
    command = [PYTHON, "-c", PARENT, *init_command("-q", "-p", "SIGKILL", *says())]
    with started(command, stdin=subprocess.PIPE) as parent:
        lines = {parent.line(), parent.line()}
        (cmd,) = [int(line.split()[1]) for line in lines if line.startswith("ready")]
        parent.process.kill()
        wait_until_gone(cmd)


def test_a_parent_that_is_already_dead_is_noticed(tmp_path: Path) -> None:
    """If the parent ends between init's first look and prctl, -p SIGKILL ends init all the same."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace to place the parent's end")
    # The second getppid says somebody else: so it is when the parent has ended in between.
    traced = ["strace", "-o", str(tmp_path / "trace"), "-e", "inject=getppid:retval=1:when=2"]
    ended = run([*traced, *init_command("-q", "-p", "SIGKILL", "--", "echo", "started")])
    assert (ended.returncode, ended.stdout) == (137 if ended.returncode > 0 else -9, "")


def test_a_dead_parents_signal_is_passed_on(tmp_path: Path) -> None:
    """The same for any other signal: CMD gets it although the kernel will not tell any more."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace to place the parent's end")
    traced = ["strace", "-o", str(tmp_path / "trace"), "-e", "inject=getppid:retval=1:when=2"]
    assert run([*traced, *init_command("-q", "-p", "USR1", "sleep", "1000")]).returncode == 138


def test_a_cmd_whose_init_is_already_dead_does_not_start(tmp_path: Path) -> None:
    """If init is killed between the fork and the child's prctl, no CMD without init begins."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace to place the init's end")
    # Each process counts for itself: the child's first getppid says somebody else.
    traced = ["strace", "-f", "-o", str(tmp_path / "trace"), "-e", "inject=getppid:retval=1:when=1"]
    ended = run([*traced, *init_command("-q", "-s", "--", "echo", "started")])
    assert (ended.returncode, ended.stdout) == (137, "")
