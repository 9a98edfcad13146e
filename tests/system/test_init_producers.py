"""Real programs that leave zombies under an init that does not reap: none is left under ours."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support.init_runs import PYTHON, in_namespace, run

# Waits until whoever ran as orphan or zombie is gone, in growing pauses, and says what is left.
LOOK = """
pause=0.01
for turn in 1 2 3 4 5 6 7 8 9 10 11; do
  zombies=$(cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //' | grep -c '^Z')
  test "$zombies" = 0 && break
  sleep $pause; pause=$(echo "$pause * 2" | bc 2>/dev/null || echo 0.5)
done
echo "zombies $zombies reaped"
"""


def zombies_after(script: str, *, needs: tuple[str, ...], reaped: int) -> None:
    """Run a producer as CMD, and make sure that no zombie is left and that some were reaped."""
    for name in needs:
        if shutil.which(name) is None:
            pytest.skip(f"needs {name}")
    ended = run(in_namespace("-w", "--", "sh", "-c", script + LOOK), env={**os.environ, "HOME": "/tmp"})
    assert "zombies 0 reaped" in ended.stdout, ended.stdout + ended.stderr
    said = [line for line in ended.stderr.splitlines() if "reaped orphan" in line]
    assert len(said) >= reaped, ended.stderr


def test_ssh_agent() -> None:
    """An agent that daemonizes and is killed later."""
    script = 'eval "$(ssh-agent)" >/dev/null; kill $SSH_AGENT_PID; sleep 0.2;'
    zombies_after(script, needs=("ssh-agent",), reaped=1)


def test_git_gc_auto(tmp_path: Path) -> None:
    """`git gc --auto` puts itself into the background."""
    script = (
        f"cd {tmp_path}; git init -q r; cd r; git config user.email a@b; git config user.name a;"
        "git config gc.auto 1; for i in 1 2 3 4 5; do echo $i >f; git add f; git commit -q -m $i; done;"
        "seq 1 3000 | split -l 1 -a 4 - loose; ls | grep loose | git hash-object -w --stdin-paths >/dev/null;"
        "git gc --auto -q; sleep 0.5;"
    )
    zombies_after(script, needs=("git", "split"), reaped=1)


def test_git_daemon_detached(tmp_path: Path) -> None:
    """`git daemon --detach` forks away from its caller."""
    script = (
        f"git daemon --detach --pid-file={tmp_path}/pid --base-path={tmp_path} --port=0 --listen=127.0.0.1;"
        f"until test -s {tmp_path}/pid; do sleep 0.05; done; kill $(cat {tmp_path}/pid); sleep 0.2;"
    )
    if shutil.which("git") and not Path("/usr/lib/git-core/git-daemon").exists():
        pytest.skip("needs git daemon")
    zombies_after(script, needs=("git",), reaped=1)


def test_node_detached() -> None:
    """Children that node detaches and forgets."""
    program = (
        "const {spawn} = require('child_process');"
        "for (let i = 0; i < 5; i++) spawn('sleep', ['0.2'], {detached: true, stdio: 'ignore'}).unref();"
    )
    zombies_after(f'node -e "{program}"; sleep 0.5;', needs=("node",), reaped=5)


def test_popen_then_exit(tmp_path: Path) -> None:
    """A Python program that leaves by os._exit with children running."""
    file = tmp_path / "leave.py"
    file.write_text(
        "import os, subprocess\nfor _ in range(7): subprocess.Popen(['sleep', '0.2'])\nos._exit(0)\n"
    )
    zombies_after(f"{PYTHON} {file}; sleep 0.5;", needs=(), reaped=7)


def test_forkserver_killed(tmp_path: Path) -> None:
    """A multiprocessing program with a fork server that is killed."""
    file = tmp_path / "server.py"
    file.write_text(
        "import multiprocessing, os, signal, time\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method('forkserver')\n"
        "    for _ in range(3): multiprocessing.Process(target=time.sleep, args=(1000,)).start()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    zombies_after(f"{PYTHON} {file}; kill -KILL -1; sleep 0.5;", needs=(), reaped=1)


def test_tmux_server() -> None:
    """A tmux server and its shells."""
    script = "tmux -L init-test new-session -d 'sleep 1000'; tmux -L init-test kill-server; sleep 0.3;"
    zombies_after(script, needs=("tmux",), reaped=1)


def test_stress_ng_daemons() -> None:
    """Daemons by the thousand, given to PID 1 by stress-ng."""
    zombies_after("stress-ng --daemon 1 --timeout 1s -q;", needs=("stress-ng",), reaped=50)


def test_chromium(tmp_path: Path) -> None:
    """A headless browser that is killed leaves its zygotes and helpers."""
    flags = f"--headless --no-sandbox --disable-gpu --user-data-dir={tmp_path} --remote-debugging-port=0"
    script = f"chromium {flags} about:blank >/dev/null 2>&1 & pid=$!; sleep 3; kill -KILL $pid; sleep 1;"
    zombies_after(script, needs=("chromium",), reaped=1)
