"""`reaperd run` as a user starts it: in the foreground, as PID 1, on a terminal, as nobody in particular."""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.daemon import REST, Daemon, daemon, daemon_as_init, sh, sleeper, toml
from tests.support.processes import (
    ROOT,
    need_root,
    owned,
    state_of,
    system_python,
    unprivileged,
    wait_readable,
    wait_until,
)

REAPERD: Final = (sys.executable, "-m", "reaperd")
RUN: Final = (*REAPERD, "run", "-c")


def _cli(reaperd: Daemon, *words: str) -> subprocess.CompletedProcess[str]:
    """Ask the daemon as a person would."""
    command = [*REAPERD, words[0], "--socket", str(reaperd.socket), *words[1:]]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def _items(reaperd: Daemon) -> dict[str, dict[str, Any]]:
    done = _cli(reaperd, "status", "--json")
    return {item["name"]: item for item in json.loads(done.stdout)["items"]}


def test_run_becomes_the_daemon(tmp_path: Path) -> None:
    """It keeps its pid, so that whoever started it has the daemon itself to signal and to wait for."""
    with daemon(tmp_path, {"web": sleeper()}, program=RUN) as reaperd:
        assert reaperd.pid == reaperd.command_pid
        assert b"reaperd.daemon" in Path(f"/proc/{reaperd.pid}/cmdline").read_bytes()
        reaperd.end()


def test_the_commands_do_what_they_say(tmp_path: Path) -> None:
    """Status, stop, start, restart and shutdown, with the exit statuses that scripts rely on."""
    with daemon(tmp_path, {"web": sleeper(), "db": sleeper()}, program=RUN) as reaperd:
        reaperd.wait_for("service.running", service="web")
        reaperd.wait_for("service.running", service="db")
        first = _items(reaperd)
        assert {name: item["state"] for name, item in first.items()} == {"web": "running", "db": "running"}
        assert _cli(reaperd, "stop", "web").returncode == 0
        assert state_of(first["web"]["pid"]) is None
        assert _cli(reaperd, "start", "web").returncode == 0
        assert _cli(reaperd, "restart", "db").returncode == 0
        second = _items(reaperd)
        assert second["db"]["pid"] not in (None, first["db"]["pid"])
        assert second["web"]["state"] == "running"
        assert _cli(reaperd, "stop", "wbe").returncode == 4
        assert _cli(reaperd, "shutdown").returncode == 0
        assert (reaperd.wait_end(), reaperd.left) == (0, [])
        assert _cli(reaperd, "status").returncode != 0


@pytest.mark.parametrize(
    "text", ["", "[service.web]\n", "not toml", '[service.web]\ncommand = "x"\nstop = 3\n']
)
def test_a_bad_file_is_refused_with_78(tmp_path: Path, text: str) -> None:
    """In one message that names the file, without a traceback, and nothing is made."""
    config = tmp_path / "reaperd.toml"
    config.write_text(text)
    done = subprocess.run([*RUN, config], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 78
    assert str(config) in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["reaperd.toml"]


def test_as_pid_1_it_serves_the_outside(tmp_path: Path) -> None:
    """The socket is in the file system that both share; the pids are those of the namespace."""
    services = {"web": sh(f"(setsid sleep 1000 &); {REST}"), "once": sh("exit 0")}
    with daemon_as_init(tmp_path, services, RUN) as reaperd:
        reaperd.wait_for("service.running", service="web")
        reaperd.wait_for("service.exited", service="once", code=0)
        items = _items(reaperd)
        assert items["web"]["pid"] < 100
        assert items["once"]["state"] == "exited"
        assert _cli(reaperd, "stop", "web").returncode == 0
        wait_until(lambda: not _children(reaperd.pid), "the daemon to be alone")


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_on_a_terminal_it_prints_lines_for_people_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    """The first line says what to try in another terminal; Ctrl-C reaches the daemon and not its services."""
    script = (
        f"trap 'echo interrupted' INT; trap 'echo told; exit 0' TERM; echo here; read _ <> {tmp_path}/fifo"
    )
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "reaperd.toml").write_text(toml(tmp_path, {"web": sh(script)}))
    ours, theirs = pty.openpty()
    with owned(
        [*RUN, tmp_path / "reaperd.toml"],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"},
    ) as process:
        os.close(theirs)
        shown = _read_until(ours, "here")
        assert "status -s" in shown.splitlines()[0], shown
        assert "{" not in shown.splitlines()[0], shown
        os.kill(process.pid, signal.SIGINT)
        shown += _read_until(ours, "daemon.stopped")
        assert process.wait(20) == 0
    os.close(ours)
    assert "told" in shown
    assert "interrupted" not in shown


def _read_until(fd: int, word: str) -> str:
    shown = ""
    while word not in shown:
        wait_readable(fd, what=f"terminal that shows so far {shown!r}")
        shown += os.read(fd, 65536).decode(errors="replace")
    return shown


# --- as a plain user ------------------------------------------------------------------------------------


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Give a directory that a plain user may enter, which those of root's pytest are not."""
    directory = Path(tempfile.mkdtemp(prefix="reaperd-"))
    directory.chmod(0o755)
    below = directory / "below"  # right below /tmp it would have to be closed to others
    below.mkdir(mode=0o755)
    yield below
    shutil.rmtree(directory)


def _plain_program() -> tuple[str, ...]:
    """Return the words that run the daemon as nobody, with an interpreter that everybody may read."""
    need_root()
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    python = system_python()
    check = unprivileged(["env", f"PYTHONPATH={ROOT}:{packages}", python, "-c", "import reaperd.daemon"])
    if subprocess.run(check, capture_output=True, check=False, cwd="/").returncode != 0:
        pytest.skip(f"nobody cannot read {packages} or use it with {python}")
    words = unprivileged(["env", "-u", "XDG_RUNTIME_DIR", f"PYTHONPATH={ROOT}:{packages}", python])
    return (*words, "-m", "reaperd", "run", "-c")


def test_a_plain_user_may_run_it(open_directory: Path) -> None:
    """Everything but other users' services works without any right: escapees are ended all the same."""
    services: dict[str, dict[str, object]] = {
        "web": sh("(setsid sh -c 'echo escaped $$; exec sleep 1000' &); exec sleep 1000"),
        "root": {"command": ["true"], "user": "root", "restart": "never"},
    }
    program = _plain_program()
    os.chown(open_directory, 65534, 65534)
    with daemon(open_directory, services, program=program) as reaperd:
        escaped = reaperd.hear_pid("escaped")
        assert Path(f"/proc/{reaperd.pid}").stat().st_uid == 65534
        assert reaperd.wait_for("service.spawn_failed", service="root")["stage"] == "user"
        assert _cli(reaperd, "stop", "web").returncode == 0
        assert state_of(escaped) is None


def test_a_daemon_cannot_be_asked_by_other_users(open_directory: Path) -> None:
    """Root's daemon, its socket in a directory that everybody may enter: a plain user is refused."""
    program = _plain_program()
    words = [*program[:-2], "status", "--socket", str(open_directory / "c.sock")]
    with daemon(open_directory, {"web": sleeper()}, program=RUN) as reaperd:
        reaperd.wait_for("service.running", service="web")
        done = subprocess.run(words, cwd="/", capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 4  # of `status`: there is no daemon to ask
        assert "permission denied" in done.stderr
        assert not done.stdout
