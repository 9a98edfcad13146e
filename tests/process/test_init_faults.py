import os
import shutil
import signal
import struct
import subprocess
from pathlib import Path

import pytest

from tests.support.init_runs import (
    PID1,
    PYTHON,
    ROOT,
    SAYS,
    SYSTEM_PYTHON,
    children_of,
    init_command,
    is_covered,
    namespace_words,
    run,
    says,
    started,
    state_of,
    wait_for,
    wait_until_gone,
)

# Stays in CMD's group, does not heed SIGTERM, and says "ready PID" and then each signal.
STUBBORN = f"{PYTHON} -I -S {SAYS} {int(signal.SIGKILL)} 0 <&- &"


def refusing(folder: Path, *faults: str, follow: bool = False) -> list[str]:
    """Return the words that make the kernel refuse system calls to init, and to what it forks if asked."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace to have system calls refused")
    calls = [f"--inject={fault}" for fault in faults]
    return ["strace", *(["-f"] if follow else []), "-o", str(folder / "trace"), *calls]


def test_without_a_process_to_watch_the_grace_is_waited_out(tmp_path: Path) -> None:
    """Where init cannot fork its watcher it still ends CMD's group after the grace and keeps CMD's status."""
    # The first fork is CMD's; not followed, so that CMD itself may fork.
    refused = refusing(tmp_path, "clone,clone3,fork,vfork:error=EAGAIN:when=2+")
    command = init_command("--grace", "0.3", "--", "sh", "-c", f"{STUBBORN} read line; exit 5")
    with started([*refused, *command], stdin=subprocess.PIPE) as init:
        pid = int(init.line().split()[1])
        init.enter()
        assert [init.line(), init.line(), init.line()] == ["15", "18", ""]
        status, said = init.end()
        assert (status, "cannot end" in said) == (5, False)
        wait_until_gone(pid)


def test_an_error_among_the_leftovers_keeps_cmds_status(tmp_path: Path) -> None:
    """Whatever fails while init ends what CMD left, it says so in one line and leaves with CMD's status."""
    refused = refusing(tmp_path, "kill:error=ENOSYS")
    script = "sleep 1000 >/dev/null 2>&1 & echo $!; exit 5"
    ended = run([*refused, *init_command("-q", "--grace", "1", "--", "sh", "-c", script)])
    left = int(ended.stdout)
    try:
        assert ended.returncode == 5
        assert ended.stderr.startswith("reaperd: cannot end what CMD left: OSError: ")
        assert len(ended.stderr.splitlines()) == 1
    finally:
        os.kill(left, signal.SIGKILL)


def test_without_pidfds_the_wait_for_leftovers_does_not_spin(tmp_path: Path) -> None:
    """Where pidfd_open is refused the watcher looks from time to time: a few forks a second, no more."""
    refused = refusing(tmp_path, "pidfd_open:error=ENOSYS", follow=True)
    command = init_command("-q", "--grace", "1", "--", "sh", "-c", f"{STUBBORN} read line; exit 5")
    with started([*refused, *command], stdin=subprocess.PIPE) as init:
        pid = int(init.line().split()[1])
        init.enter()
        assert [init.line(), init.line(), init.line()] == ["15", "18", ""]
        assert init.end()[0] == 5
        wait_until_gone(pid)
    forks = (tmp_path / "trace").read_text().count("exited with")
    assert forks < 60


def test_without_pidfds_a_subreaper_still_ends_what_cmd_left(tmp_path: Path) -> None:
    """Children, which only init reaps, are signalled by number; those below them once they are children."""
    refused = refusing(tmp_path, "pidfd_open:error=ENOSYS")
    # A daemon with a child of its own, in sessions of their own; neither heeds SIGTERM.
    below = "trap '' TERM; setsid sleep 1000 >/dev/null 2>&1 & echo $! $$; exec sleep 1000 >/dev/null 2>&1"
    daemon = ["setsid", "sh", "-c", below]
    script = '"$@" & read line; exit 5'
    command = init_command("-q", "-s", "--grace", "0.2", "--", "sh", "-c", script, "sh", *daemon)
    with started([*refused, *command], stdin=subprocess.PIPE) as init:
        pids = [int(word) for word in init.line().split()]
        init.enter()
        assert init.end()[0] == 5
        assert [state_of(pid) for pid in pids] == ["", ""]


# Forks a successor at once and lives a moment longer, without end: each look finds somebody new.
CHAINS = (
    "import os, time\n"
    "for _ in range(3):\n"
    "    if os.fork() == 0:\n"
    "        while os.fork() == 0:\n"
    "            pass\n"
    "        time.sleep(0.005)\n"
    "        os._exit(0)\n"
    "time.sleep(0.1)\n"
    "os._exit(5)\n"
)


def test_what_cannot_be_stopped_is_not_looked_for_without_end(tmp_path: Path) -> None:
    """Where leftovers fork on and may not be signalled, init gives up after a while and says so."""
    if os.geteuid() != 0:
        pytest.skip("needs root for a PID namespace that ends the leftovers with it")
    # Each refusal takes its time, in which others are forked.
    refused = refusing(tmp_path, "pidfd_send_signal:error=EPERM:delay_enter=2000")
    init = init_command("-s", "--grace", "0", "--", PYTHON, "-I", "-S", "-c", CHAINS)
    # Not PID 1 itself: that is the shell, whose end takes the chains with it.
    ended = run([*namespace_words(), "sh", "-c", '"$@"; exit $?', "sh", *refused, *init])
    assert ended.returncode == 5
    assert "leaving although some processes have not ended" in ended.stderr


def test_zombies_without_end_do_not_keep_signals_back(tmp_path: Path) -> None:
    """Where each look finds another zombie signals are passed on all the same: a turn has its share."""
    endless = refusing(tmp_path, "wait4:retval=1")  # wait4(2) says "reaped pid 1", whenever it is asked
    with started([*endless, *init_command("-q", *says(signal.SIGUSR1))]) as init:
        init.line()
        (pid,) = children_of(init.pid)
        os.kill(pid, signal.SIGUSR1)
        assert init.line() == str(int(signal.SIGUSR1))


def test_deaths_without_end_do_not_keep_signals_back(tmp_path: Path) -> None:
    """Where a SIGCHLD is always pending, signals that the kernel hands out after it are passed on."""
    endless = refusing(tmp_path, "wait4:signal=SIGCHLD")  # each look for zombies brings the next SIGCHLD
    with started([*endless, *init_command("-q", *says(signal.SIGWINCH, 7))]) as init:
        init.line()
        (pid,) = children_of(init.pid)
        os.kill(pid, signal.SIGWINCH)
        assert init.line() == str(int(signal.SIGWINCH))
        assert init.end()[0] == 7


def test_signals_without_end_do_not_hide_cmds_end(tmp_path: Path) -> None:
    """Where a signal with a number below SIGCHLD's is always pending, init looks for CMD's end as well."""
    endless = refusing(tmp_path, "rt_sigtimedwait:signal=SIGHUP")  # each wait brings a SIGHUP
    for rule in ("HUP:0", "HUP:URG"):  # dropped; passed on, to a CMD that does not care
        command = init_command("-q", "-r", rule, "--", "sh", "-c", "exit 7")
        assert run([*endless, *command]).returncode == 7


# VFS_CAP_REVISION_2 with the effective bit, CAP_NET_BIND_SERVICE permitted: linux/capability.h.
NET_BIND_SERVICE = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
PARENT = (
    "import os, sys\n"
    "pid = os.fork()\n"
    "if pid == 0:\n    os.execv(sys.argv[1], sys.argv[1:])\n"
    "print(pid, flush=True)\n"
    "sys.stdin.readline()\n"
)
BOOT = "import sys; sys.path.insert(0, sys.argv.pop(1)); from reaperd.entry import main; main()"


@pytest.mark.skipif(is_covered(), reason="the interpreter that measures coverage is closed to other users")
def test_an_interpreter_with_capabilities_keeps_the_parent_death_signal(tmp_path: Path) -> None:
    """The exec of a file with capabilities would make the kernel forget -p: init stays in its first stage."""
    if os.geteuid() != 0 or not os.access(SYSTEM_PYTHON, os.X_OK):
        pytest.skip("needs root and /usr/bin/python3")
    for folder in (tmp_path, *tmp_path.parents):
        if folder != folder.parent and folder.owner() == "root" and not folder.stat().st_mode & 1:
            folder.chmod(0o755)
    python = Path(shutil.copy(os.path.realpath(SYSTEM_PYTHON), tmp_path / "python3"))
    (tmp_path / "reaperd").mkdir()
    for name in ("__init__.py", "entry.py"):
        shutil.copy(ROOT / "reaperd" / name, tmp_path / "reaperd")
    shutil.copy(PID1, tmp_path / "reaperd")
    talker = str(shutil.copy(SAYS, tmp_path))
    try:
        os.setxattr(python, "security.capability", NET_BIND_SERVICE)
    except OSError as error:
        pytest.skip(f"no file capabilities in {tmp_path}: {error.strerror}")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    permitted = run([*nobody, str(python), "-S", "-c", "print(open('/proc/self/status').read())"]).stdout
    if "CapPrm:\t0000000000000400" not in permitted:
        pytest.skip("file capabilities are not granted here")
    cmd = [SYSTEM_PYTHON, "-I", "-S", talker, str(int(signal.SIGUSR1)), "0"]
    init = [str(python), "-S", "-c", BOOT, str(tmp_path), "init", "-q", "-p", "USR1", "--", *cmd]
    command = [*nobody, SYSTEM_PYTHON, "-c", PARENT, *init]
    with started(command, stdin=subprocess.PIPE, cwd=tmp_path) as parent:
        lines = {parent.line(), parent.line()}
        (pid,) = [int(line) for line in lines if line.isdigit()]
        # Whichever stage it is in by then, it has come to its loop.
        wait_for(lambda: Path(f"/proc/{pid}/cwd").readlink() == Path("/"))
        assert parent.process.stdin
        parent.process.stdin.close()
        parent.process.stdin = None
        assert parent.line() == str(int(signal.SIGUSR1))
