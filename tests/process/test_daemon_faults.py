"""A machine that refuses: no process, no descriptor, no log, no standard streams; another daemon."""

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support.daemon import UNMEASURED, Daemon, daemon, sh, sleeper, toml
from tests.support.processes import ROOT, need_program, state_of, wait_until

SOON: Final = {"initial": "5ms", "max": "10ms"}


def _running(reaperd: Daemon, name: str) -> int:
    return int(reaperd.wait_for("service.running", service=name)["pid"])


# --- two daemons ----------------------------------------------------------------------------------------


def _second(directory: Path) -> subprocess.CompletedProcess[str]:
    """Start another daemon that keeps to `directory`, and return how it left."""
    config = directory / "second.toml"
    return subprocess.run(
        [sys.executable, "-m", "reaperd.daemon", "--", config],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_second_daemon_on_the_same_lock_is_refused(tmp_path: Path) -> None:
    """It says who holds the lock, leaves with 1 and starts nothing; the first one is not disturbed."""
    other = toml(tmp_path, {"other": sh(f"touch {tmp_path}/started")})
    (tmp_path / "second.toml").write_text(other.replace("c.sock", "d.sock"))
    with daemon(tmp_path, {"web": sleeper()}) as reaperd:
        web = _running(reaperd, "web")
        second = _second(tmp_path)
        assert second.returncode == 1
        assert f"cannot lock {tmp_path}/state/lock: another daemon holds it" in second.stderr
        assert f"pid {reaperd.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        assert not (tmp_path / "started").exists()
        assert not (tmp_path / "d.sock").exists()
        assert reaperd.main_pid("web") == web


def test_a_second_daemon_on_the_same_socket_is_refused(tmp_path: Path) -> None:
    """It says that somebody answers there and leaves the socket to the first one, which goes on serving."""
    other = toml(tmp_path, {"other": sh(f"touch {tmp_path}/started")})
    (tmp_path / "second.toml").write_text(other.replace("/state", "/elsewhere"))
    with daemon(tmp_path, {"web": sleeper()}) as reaperd:
        web = _running(reaperd, "web")
        second = _second(tmp_path)
        assert second.returncode == 1
        assert f"cannot listen on {tmp_path}/c.sock: another daemon answers there" in second.stderr
        assert not (tmp_path / "started").exists()
        assert reaperd.main_pid("web") == web


def test_a_second_daemon_that_was_refused_leaves_its_lock_free(tmp_path: Path) -> None:
    """What it took before it failed is given back."""
    other = toml(tmp_path, {"web": sleeper()}).replace("/state", "/elsewhere")
    (tmp_path / "second.toml").write_text(other)
    with daemon(tmp_path, {"web": sleeper()}) as reaperd:
        _running(reaperd, "web")
        assert _second(tmp_path).returncode == 1
    with socket.socket(socket.AF_UNIX) as squatter:
        squatter.bind(str(tmp_path / "c.sock"))
        squatter.listen()
        assert "another daemon answers" in _second(tmp_path).stderr


def test_something_else_in_the_socket_s_place_is_left_alone(tmp_path: Path) -> None:
    """A file that is no socket is not taken away."""
    (tmp_path / "second.toml").write_text(toml(tmp_path, {"web": sleeper()}))
    (tmp_path / "c.sock").write_text("precious")
    second = _second(tmp_path)
    assert second.returncode == 1
    assert "no socket" in second.stderr
    assert (tmp_path / "c.sock").read_text() == "precious"


def test_a_bad_configuration_starts_nothing(tmp_path: Path) -> None:
    """Status 78, every problem at once, and neither lock nor socket."""
    (tmp_path / "second.toml").write_text('[service.web]\ncommand = 3\nrestrat = "always"\n')
    second = _second(tmp_path)
    assert second.returncode == 78
    assert "2 problems" in second.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["second.toml"]


# --- nothing to fork with -------------------------------------------------------------------------------


# Has decided and performed for the first time, so that its services run, and then meets a fault of its own.
BROKEN: Final = """
import sys
from reaperd import daemon
from reaperd.assembly import Supervisor
settle = Supervisor.settle
def broken(supervisor):
    settle(supervisor)
    raise RuntimeError("a fault\\nof two lines")
Supervisor.settle = broken
sys.exit(daemon.main())
"""


def test_a_fault_outside_the_loop_is_one_sentence_and_leaves_nobody(tmp_path: Path) -> None:
    """No traceback and 70; without its daemon no service goes on, and the next one finds the place free."""
    services = {"web": sh("(setsid sleep 1000 &); exec sleep 1000"), "deaf": sh("trap '' TERM; sleep 1000")}
    with daemon(tmp_path, services, program=(sys.executable, "-c", BROKEN, "--"), ends=False) as reaperd:
        assert (reaperd.wait_end(), reaperd.left) == (70, [])
        assert {each["service"] for each in reaperd.events("service.starting")} == {"web", "deaf"}
        said = [line for line in reaperd.log.all() if not line.startswith("{")]
        assert said == [
            "reaperd: cannot go on: RuntimeError: a fault of two lines (<string>:8)\n",
            "hint: this is a fault of reaperd's own\n",
        ]
        assert not (tmp_path / "c.sock").exists()
    with daemon(tmp_path, {"web": sleeper()}) as reaperd:
        _running(reaperd, "web")


def test_a_fork_that_fails_is_tried_again(tmp_path: Path) -> None:
    """EAGAIN has its own stage and its backoff; the services that run are not disturbed."""
    calls = "clone,clone3,fork,vfork"
    prefix = [need_program("strace"), "-f", "-o", "/dev/null", "-e", f"trace={calls}"]
    prefix += ["-e", f"inject={calls}:error=EAGAIN:when=3..5"]  # the first reads the configuration
    services = {"first": sleeper(), "web": sleeper(backoff=SOON)}
    with daemon(tmp_path, services, prefix=prefix) as reaperd:
        first = _running(reaperd, "first")
        for failures in (1, 2, 3):
            failed = reaperd.wait_for("service.spawn_failed", service="web")
            assert (failed["stage"], failed["errno"]) == ("fork", errno.EAGAIN)
            assert os.strerror(errno.EAGAIN) in failed["problem"]
            reaperd.wait_for("service.backoff", service="web", failures=failures)
        _running(reaperd, "web")
        assert reaperd.main_pid("first") == first


def test_without_a_child_the_daemon_reads_by_itself(tmp_path: Path) -> None:
    """The configuration is there all the same, and nobody hears of it."""
    calls = "clone,clone3,fork,vfork"
    prefix = [need_program("strace"), "-f", "-o", "/dev/null", "-e", f"trace={calls}"]
    prefix += ["-e", f"inject={calls}:error=EAGAIN:when=1"]
    with daemon(tmp_path, {"web": sleeper()}, prefix=prefix) as reaperd:
        _running(reaperd, "web")
        assert not reaperd.events("service.spawn_failed")


def test_a_pidfd_that_cannot_be_had_fails_the_start(tmp_path: Path) -> None:
    """A child that could not be followed is ended at once, and another one is tried later."""
    prefix = [need_program("strace"), "-o", "/dev/null", "-e", "trace=pidfd_open"]
    prefix += ["-e", "inject=pidfd_open:error=EMFILE:when=1..2"]
    web = sh("echo ran; exec sleep 1000", backoff=SOON)
    with daemon(tmp_path, {"web": web}, prefix=prefix) as reaperd:
        for _ in range(2):
            failed = reaperd.wait_for("service.spawn_failed", service="web")
            assert (failed["stage"], failed["errno"]) == ("fork", errno.EMFILE)
        _running(reaperd, "web")
        reaperd.hear("ran")
        assert len(Path(f"/proc/{reaperd.pid}/task/{reaperd.pid}/children").read_text().split()) == 1


def _held_when_idle(directory: Path) -> int:
    """Return how many descriptors a daemon holds of which no service runs."""
    directory.mkdir()
    with daemon(directory, {"done": sh("exit 0", restart="never")}, prefix=UNMEASURED) as reaperd:
        reaperd.wait_for("service.exited")
        wait_until(lambda: reaperd.state("done") == "exited", "its last turn")
        return sum(1 for _ in Path(f"/proc/{reaperd.pid}/fd").iterdir())


# A start takes four for a moment, and keeps one of them.
@pytest.mark.parametrize("spare", range(4, 9))
def test_a_daemon_without_descriptors_still_reaps_restarts_and_stops(tmp_path: Path, spare: int) -> None:
    """With a full table it starts no more, but what dies is reaped, and trees are ended as ever."""
    held = _held_when_idle(tmp_path / "idle")
    assert held <= 24
    limit = held + spare
    prefix = [*UNMEASURED, need_program("prlimit"), f"--nofile={limit}:{limit}", "--"]
    web = sh("(setsid sleep 1000 &); exec sleep 1000", backoff={"initial": "20ms", "max": "20ms"})
    with daemon(tmp_path, {f"s{number}": web for number in range(20)}, prefix=prefix) as reaperd:
        assert reaperd.wait_for("service.spawn_failed")["errno"] == errno.EMFILE
        running = reaperd.wait_for("service.running")
        os.kill(running["pid"], signal.SIGKILL)
        reaperd.wait_for("service.exited", service=running["service"])
        assert state_of(running["pid"]) is None
        reaperd.end()
        for event in ("daemon.turn_failed", "daemon.cannot_reap", "service.killing"):
            assert not reaperd.events(event)


# --- nowhere to log -------------------------------------------------------------------------------------


def test_a_log_that_nobody_reads_any_more_harms_nothing(tmp_path: Path) -> None:
    """Its reader is gone: lines are lost, and services are restarted, stopped and reaped as ever."""
    read, write = os.pipe()
    with _logging_to(write, tmp_path, {"web": sleeper(backoff=SOON)}) as reaperd:
        os.close(read)
        _use(reaperd)
    os.close(write)


def test_a_log_that_is_full_harms_nothing(tmp_path: Path) -> None:
    """Its reader does not read: the daemon never waits for it, and counts what it could not write."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    while True:
        try:
            os.write(write, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(write, True)
    with _logging_to(write, tmp_path, {"web": sleeper(backoff=SOON)}) as reaperd:
        _use(reaperd)
        os.read(read, 65536)  # room again
        reaperd.ask("restart", "web")
        line = os.read(read, 65536)
        assert b'"dropped"' in line, line
    os.close(read)
    os.close(write)


@contextmanager
def _logging_to(fd: int, directory: Path, services: dict[str, dict[str, object]]) -> Iterator[Daemon]:
    """Start a daemon whose standard error is `fd`, held by its own number through the guardian."""
    redirect = f'exec "$@" 2>/proc/{os.getpid()}/fd/{fd}'
    with daemon(directory, services, prefix=["sh", "-c", redirect, "sh"], ends=False) as reaperd:
        wait_until(reaperd.socket.exists, "the socket")
        wait_until(lambda: reaperd.state("web") == "running", "the service to run")
        yield reaperd
        os.kill(reaperd.command_pid, signal.SIGTERM)
        assert (reaperd.wait_end(), reaperd.left) == (0, [])


def _use(reaperd: Daemon) -> None:
    """Let a service die, come back, be restarted and stopped."""
    pid = reaperd.main_pid("web")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: reaperd.status("web")["pid"] not in (None, pid), "the service to come back")
    for _ in range(5):
        assert reaperd.ask("restart", "web")["items"][0]["ok"]
    assert reaperd.ask("stop", "web")["items"][0]["ok"]
    assert reaperd.ask("start", "web")["items"][0]["ok"]


@pytest.mark.parametrize("closed", ["<&-", "<&- >&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_harm_nobody(tmp_path: Path, closed: str) -> None:
    """A daemon started without them uses their numbers for nothing else, and its services find all three."""
    prefix = ["sh", "-c", f'exec "$@" {closed}', "sh"]
    with daemon(tmp_path, {"web": sleeper()}, prefix=prefix, ends=False) as reaperd:
        wait_until(reaperd.socket.exists, "the socket")
        wait_until(lambda: reaperd.state("web") == "running", "the service to run")
        for pid in (reaperd.command_pid, reaperd.main_pid("web")):
            held = [str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in range(3)]
            assert all(target == "/dev/null" or target.startswith("pipe:") for target in held), held
        assert reaperd.ask("restart", "web")["items"][0]["ok"]
        os.kill(reaperd.command_pid, signal.SIGTERM)
        assert (reaperd.wait_end(), reaperd.left) == (0, [])


# --- what outsiders do ----------------------------------------------------------------------------------


def test_a_stopped_daemon_goes_on_where_it_was(tmp_path: Path) -> None:
    """Deaths, signals and requests that came meanwhile are all there when it wakes."""
    with daemon(tmp_path, {"one": sleeper(backoff=SOON), "two": sleeper(backoff=SOON)}) as reaperd:
        pids = [_running(reaperd, name) for name in ("one", "two")]
        reaperd.send(signal.SIGSTOP)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        reaperd.send(signal.SIGHUP)
        reaperd.send(signal.SIGCONT)
        assert _running(reaperd, "one") != _running(reaperd, "two")
        reaperd.wait_for("daemon.reloaded")


def test_signals_that_mean_nothing_change_nothing(tmp_path: Path) -> None:
    """A broken pipe, a resized window, a child that nobody knows of."""
    with daemon(tmp_path, {"web": sleeper()}) as reaperd:
        web = _running(reaperd, "web")
        for number in (signal.SIGPIPE, signal.SIGWINCH, signal.SIGURG, signal.SIGCHLD, signal.SIGCONT):
            reaperd.send(number)
        assert reaperd.main_pid("web") == web


def test_a_storm_of_signals_is_no_harm(tmp_path: Path) -> None:
    """Hundreds of SIGCHLD and SIGHUP from outside: the wakeup pipe may be full, and nothing is lost."""
    with daemon(tmp_path, {"web": sleeper(backoff=SOON)}) as reaperd:
        pid = _running(reaperd, "web")
        for _ in range(2000):
            reaperd.send(signal.SIGCHLD)
        os.kill(pid, signal.SIGKILL)
        for _ in range(2000):
            reaperd.send(signal.SIGCHLD)
        assert _running(reaperd, "web") != pid


def test_a_client_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    """One that connects and says nothing, next to one that asks."""
    with daemon(tmp_path, {"web": sleeper()}) as reaperd:
        _running(reaperd, "web")
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(str(reaperd.socket))
            assert reaperd.ask("restart", "web")["items"][0]["ok"]
            reaperd.end()


def test_a_client_that_leaves_before_its_answer_is_forgotten(tmp_path: Path) -> None:
    """What it asked for is done all the same."""
    web = sh("trap '' TERM; echo deaf; exec sleep 1000", stop={"timeout": "100ms"})
    with daemon(tmp_path, {"web": web}) as reaperd:
        reaperd.hear("deaf")
        with socket.socket(socket.AF_UNIX) as leaver:
            leaver.connect(str(reaperd.socket))
            leaver.sendall(b"POST /v1/services/web/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            reaperd.wait_for("service.stopping", service="web")
        reaperd.wait_for("service.stopped", service="web")
