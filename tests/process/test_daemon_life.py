"""The life of services under a real daemon: they die, are stopped, stand still, cannot be started."""

import errno
import os
import signal
from pathlib import Path
from typing import Any, Final

import pytest

from reaperd.control.client import RefusedError
from tests.support.daemon import REST, Daemon, daemon, sh, sleeper
from tests.support.processes import (
    need_program,
    need_root,
    pidfd,
    state_of,
    wait_readable,
    wait_state,
    wait_until,
)

SECOND_NS: Final = 1_000_000_000

SOON: Final = {"initial": "5ms", "max": "10ms", "jitter": 0}
LATE: Final = {"initial": "10m", "max": "10m"}

DEAF: Final = f"trap '' TERM; echo deaf $$; {REST}"
RELUCTANT: Final = f"trap 'exit 0' USR1; trap '' TERM; echo reluctant $$; {REST}"


def _running(reaperd: Daemon, name: str) -> int:
    return int(reaperd.wait_for("service.running", service=name)["pid"])


# --- dying ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_killed_service_runs_again(tmp_path: Path, number: signal.Signals) -> None:
    """Whatever signal ends it from outside, it is running again after its backoff, as another process."""
    with daemon(tmp_path, {"web": sleeper(backoff=SOON)}) as reaperd:
        first = _running(reaperd, "web")
        os.kill(first, number)
        exited = reaperd.wait_for("service.exited", service="web")
        assert (exited["pid"], exited["signal"], exited["code"]) == (first, number, None)
        reaperd.wait_for("service.backoff", service="web", failures=1)
        second = _running(reaperd, "web")
        assert second != first
        status = reaperd.status("web")
        assert (status["pid"], status["restarts"], status["failures"]) == (second, 1, 1)


def test_a_killed_service_waits_for_its_backoff_and_no_longer(tmp_path: Path) -> None:
    """The wait that the log announces is the wait that passes, by the log's own clock."""
    with daemon(tmp_path, {"web": sleeper(backoff={"initial": "300ms", "jitter": 0.1})}) as reaperd:
        os.kill(_running(reaperd, "web"), signal.SIGKILL)
        waited = reaperd.wait_for("service.backoff", service="web")
        reaperd.wait_for("service.starting", service="web")
        again = reaperd.wait_for("service.starting", service="web")
    assert 0.27 <= waited["delay"] <= 0.33
    assert _seconds(again) - _seconds(waited) >= waited["delay"] - 0.01


def _seconds(event: dict[str, Any]) -> float:
    hours, minutes, seconds = event["time"].rpartition("T")[2].removesuffix("Z").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def test_a_crash_loop_backs_off(tmp_path: Path) -> None:
    """A program that fails at once is tried again, each wait longer than the last up to its limit."""
    backoff = {"initial": "5ms", "factor": 2, "max": "40ms", "jitter": 0}
    with daemon(tmp_path, {"web": sh("exit 3", backoff=backoff)}) as reaperd:
        waits = [reaperd.wait_for("service.backoff", service="web") for _ in range(6)]
        assert [each["failures"] for each in waits] == [1, 2, 3, 4, 5, 6]
        assert [each["delay"] for each in waits] == [0.005, 0.01, 0.02, 0.04, 0.04, 0.04]
        why = reaperd.status("web")["why"]
        assert "exited with 3" in why


def test_failures_are_forgotten_once_a_run_was_stable(tmp_path: Path) -> None:
    """After `reset_after` up, the next failure is the first again."""
    backoff = {"initial": "1ms", "max": "1ms", "reset_after": "1ms"}
    with daemon(tmp_path, {"web": sleeper(backoff=backoff)}) as reaperd:
        for _ in range(3):
            pid = _running(reaperd, "web")
            wait_until(lambda: reaperd.status("web")["failures"] == 0, "the failures to be forgotten")
            os.kill(pid, signal.SIGKILL)
            reaperd.wait_for("service.backoff", service="web", failures=1)


@pytest.mark.parametrize(
    ("restart", "code", "state"),
    [
        ("never", 0, "exited"),
        ("never", 7, "failed"),
        ("on-failure", 0, "exited"),
        ("on-failure", 7, "backoff"),
        ("always", 0, "backoff"),
        ("always", 7, "backoff"),
    ],
)
def test_the_restart_policy_decides_what_follows_an_end(
    tmp_path: Path, restart: str, code: int, state: str
) -> None:
    """Policy and exit status together tell whether a program that ended is tried again."""
    with daemon(tmp_path, {"web": sh(f"exit {code}", restart=restart, backoff=LATE)}) as reaperd:
        reaperd.wait_for(f"service.{state}", service="web")
        status = reaperd.status("web")
        assert (status["state"], status["pid"]) == (state, None)


# --- stopping and starting ------------------------------------------------------------------------------


def test_stop_during_a_backoff_ends_the_wait(tmp_path: Path) -> None:
    """A service that waits for its next try is stopped at once, and does not come back."""
    with daemon(tmp_path, {"web": sh("exit 1", backoff=LATE)}) as reaperd:
        reaperd.wait_for("service.backoff", service="web")
        assert reaperd.ask("stop", "web")["items"][0]["ok"]
        assert reaperd.state("web") == "stopped"
        assert len(reaperd.events("service.starting")) == 1


def test_start_during_a_backoff_tries_at_once(tmp_path: Path) -> None:
    """Who asks for a start does not wait for the backoff, and the failures begin anew."""
    with daemon(tmp_path, {"web": sh("exit 1", backoff=LATE)}) as reaperd:
        reaperd.wait_for("service.backoff", service="web")
        answer = reaperd.ask("start", "web")["items"][0]
        assert len(reaperd.events("service.starting")) == 2
        assert (answer["state"] in ("running", "backoff"), answer["name"]) == (True, "web")
        reaperd.wait_for("service.backoff", service="web", failures=1)


def test_a_service_that_ignores_sigterm_is_killed_at_its_deadline(tmp_path: Path) -> None:
    """SIGKILL follows when the stop timeout is over, and not before the log says so."""
    with daemon(tmp_path, {"web": sh(DEAF, stop={"timeout": "50ms"})}) as reaperd:
        pid = reaperd.hear_pid("deaf")
        with pidfd(pid) as fd:
            reaperd.ask("stop", "web")
            wait_readable(fd, 0, "the stopped service")
        reaperd.wait_for("service.killing", service="web")
        assert reaperd.wait_for("service.exited", service="web")["signal"] == signal.SIGKILL
        assert reaperd.state("web") == "stopped"


def test_a_second_stop_hurries_the_first(tmp_path: Path) -> None:
    """Asked again while it stops, the daemon does not wait for the deadline."""
    with daemon(tmp_path, {"web": sh(DEAF, stop={"timeout": "10m"})}) as reaperd:
        reaperd.hear("deaf")
        reaperd.ask("stop", "web", wait=False)
        assert reaperd.state("web") == "stopping"
        reaperd.ask("stop", "web")
        assert reaperd.wait_for("service.exited", service="web")["signal"] == signal.SIGKILL


def test_naming_a_service_twice_stops_it_once(tmp_path: Path) -> None:
    """A name given twice in one request is one wish: the service gets its grace."""
    script = f"trap 'echo told; exit 0' TERM; echo listening; {REST}"
    with daemon(tmp_path, {"web": sh(script)}) as reaperd:
        reaperd.hear("listening")
        reaperd.ask("stop", "web", "web")
        reaperd.hear("told")
        assert reaperd.wait_for("service.exited", service="web")["code"] == 0


def test_the_configured_stop_signal_is_sent(tmp_path: Path) -> None:
    """A service that asks for SIGINT gets SIGINT."""
    script = f"trap 'echo interrupted; exit 0' INT; trap '' TERM; echo listening; {REST}"
    with daemon(tmp_path, {"web": sh(script, stop={"signal": "INT"})}) as reaperd:
        reaperd.hear("listening")
        reaperd.ask("stop", "web")
        reaperd.hear("interrupted")


def test_a_stopped_process_is_stopped_as_a_service(tmp_path: Path) -> None:
    """A service that stands still by SIGSTOP is woken, so that it can end by its stop signal in time."""
    script = f"trap 'echo told; exit 0' TERM; echo listening; {REST}"
    with daemon(tmp_path, {"web": sh(script, stop={"timeout": "10m"})}) as reaperd:
        reaperd.hear("listening")
        pid = _running(reaperd, "web")
        os.kill(pid, signal.SIGSTOP)
        wait_state(pid, "T")
        reaperd.ask("stop", "web")
        reaperd.hear("told")
        assert reaperd.wait_for("service.exited", service="web")["code"] == 0


def test_a_stopped_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """Standing still protects nobody from the deadline."""
    with daemon(tmp_path, {"web": sh(DEAF, stop={"timeout": "20ms"})}) as reaperd:
        pid = reaperd.hear_pid("deaf")
        os.kill(pid, signal.SIGSTOP)
        wait_state(pid, "T")
        reaperd.ask("stop", "web")
        assert reaperd.state("web") == "stopped"
        assert state_of(pid) is None


def test_a_service_that_stops_itself_stays_its_own(tmp_path: Path) -> None:
    """SIGSTOP and SIGCONT are no deaths: the service keeps its process and its state."""
    with daemon(tmp_path, {"web": sleeper()}) as reaperd:
        pid = _running(reaperd, "web")
        os.kill(pid, signal.SIGSTOP)
        wait_state(pid, "T")
        assert reaperd.status("web")["pid"] == pid
        os.kill(pid, signal.SIGCONT)
        wait_state(pid, "SR")
        assert reaperd.state("web") == "running"


def test_restart_gives_a_new_process_and_counts_no_failure(tmp_path: Path) -> None:
    """A restart that was asked for is down, then up, and answered when it is up."""
    with daemon(tmp_path, {"web": sleeper(backoff=LATE)}) as reaperd:
        first = _running(reaperd, "web")
        answer = reaperd.ask("restart", "web")["items"][0]
        assert (answer["ok"], answer["state"]) == (True, "running")
        status = reaperd.status("web")
        assert status["pid"] not in (None, first)
        assert status["failures"] == 0


def test_start_while_it_stops_brings_it_back(tmp_path: Path) -> None:
    """The last wish counts: down first, and up again after."""
    with daemon(tmp_path, {"web": sh(RELUCTANT, stop={"timeout": "10m"})}) as reaperd:
        first = reaperd.hear_pid("reluctant")
        reaperd.ask("stop", "web", wait=False)
        reaperd.ask("start", "web", wait=False)
        assert reaperd.status("web")["pid"] == first
        os.kill(first, signal.SIGUSR1)
        second = reaperd.hear_pid("reluctant")
        assert second != first
        assert reaperd.status("web")["pid"] == second
        reaperd.ask("stop", "web", wait=False)
        os.kill(second, signal.SIGUSR1)


def test_stop_after_restart_leaves_it_down(tmp_path: Path) -> None:
    """A stop that comes while a restart is on its way down is the last wish."""
    with daemon(tmp_path, {"web": sh(RELUCTANT, stop={"timeout": "10m"})}) as reaperd:
        pid = reaperd.hear_pid("reluctant")
        reaperd.ask("restart", "web", wait=False)
        reaperd.ask("stop", "web", wait=False)
        os.kill(pid, signal.SIGUSR1)
        reaperd.wait_for("service.stopped", service="web")
        assert reaperd.state("web") == "stopped"
        assert len(reaperd.events("service.starting", service="web")) == 1


def test_stop_right_after_start_leaves_nobody(tmp_path: Path) -> None:
    """A child that is asked to end before it is its program ends all the same."""
    with daemon(tmp_path, {"web": sleeper(stop={"timeout": "10m"})}) as reaperd:
        _running(reaperd, "web")
        for _ in range(20):
            reaperd.ask("start", "web", wait=False)
            reaperd.ask("stop", "web")
            assert reaperd.status("web")["pid"] is None


def test_an_unknown_service_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    """Nothing is done for a request that names somebody who is not there, and somebody who is."""
    with daemon(tmp_path, {"web": sleeper()}) as reaperd:
        pid = _running(reaperd, "web")
        with pytest.raises(RefusedError, match="webb") as refused:
            reaperd.ask("stop", "web", "webb")
        assert "web" in str(refused.value.hint)
        assert reaperd.main_pid("web") == pid


# --- not starting ---------------------------------------------------------------------------------------


def _script(path: Path, text: str, mode: int = 0o755) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def _failed(reaperd: Daemon, stage: str, number: int) -> dict[str, Any]:
    failed = reaperd.wait_for("service.spawn_failed", service="web")
    assert (failed["stage"], failed["errno"]) == (stage, number), failed
    assert os.strerror(number) in failed["problem"]
    return failed


def _cannot_start(tmp_path: Path, stage: str, number: int, **keys: object) -> dict[str, Any]:
    """Return what is said of a service that fails at `stage` while another one is not disturbed."""
    web = {"backoff": LATE, **keys}
    with daemon(tmp_path, {"web": web, "other": sleeper()}) as reaperd:
        failed = _failed(reaperd, stage, number)
        status = reaperd.status("web")
        assert (status["state"], status["pid"]) == ("backoff", None)
        assert failed["problem"].removeprefix('cannot start "web": ') in status["why"]
        assert not reaperd.events("service.running", service="web")
        _running(reaperd, "other")
    return failed


def test_a_missing_program_fails_at_exec(tmp_path: Path) -> None:
    """ENOENT, with the program's name, and a hint at a name that is there."""
    _script(tmp_path / "server", "#!/bin/sh\n")
    failed = _cannot_start(tmp_path, "exec", errno.ENOENT, command=[str(tmp_path / "sever")])
    assert str(tmp_path / "sever") in failed["problem"]
    assert "server" in failed["hint"]


def test_a_program_that_path_does_not_have_fails_at_exec(tmp_path: Path) -> None:
    """ENOENT, and the hint speaks of PATH."""
    path = {"PATH": "/usr/bin:/bin"}  # ours may hold directories that this user may not search
    keys = {"command": ["no-such-program-anywhere"], "environment": path}
    failed = _cannot_start(tmp_path, "exec", errno.ENOENT, **keys)
    assert "PATH" in failed["hint"]


def test_a_missing_interpreter_fails_at_exec(tmp_path: Path) -> None:
    """ENOENT for a script that is there: the hint shows its first line."""
    script = _script(tmp_path / "job", "#!/no/such/interpreter -x\n")
    failed = _cannot_start(tmp_path, "exec", errno.ENOENT, command=[str(script)])
    assert "/no/such/interpreter" in failed["hint"]


def test_a_program_that_is_not_executable_fails_at_exec(tmp_path: Path) -> None:
    """EACCES, and the hint says which command mends it."""
    script = _script(tmp_path / "job", "echo hello\n", 0o644)
    failed = _cannot_start(tmp_path, "exec", errno.EACCES, command=[str(script)])
    assert "chmod +x" in failed["hint"]


def test_a_directory_as_program_fails_at_exec(tmp_path: Path) -> None:
    """EACCES, and the hint says what it is."""
    failed = _cannot_start(tmp_path, "exec", errno.EACCES, command=[str(tmp_path)])
    assert "directory" in failed["hint"]


def test_a_program_of_no_known_format_fails_at_exec(tmp_path: Path) -> None:
    """ENOEXEC: there is no shell that would run a script without a first line."""
    script = _script(tmp_path / "job", "echo hello\n")
    _cannot_start(tmp_path, "exec", errno.ENOEXEC, command=[str(script)])


def test_a_missing_directory_fails_at_its_stage(tmp_path: Path) -> None:
    """ENOENT, with the directory's name and the key that holds it."""
    directory = str(tmp_path / "nowhere")
    failed = _cannot_start(tmp_path, "directory", errno.ENOENT, command=["true"], directory=directory)
    assert directory in failed["problem"]
    assert "service.web.directory" in failed["hint"]


def test_a_file_as_directory_fails_at_its_stage(tmp_path: Path) -> None:
    """ENOTDIR."""
    file = _script(tmp_path / "file", "")
    _cannot_start(tmp_path, "directory", errno.ENOTDIR, command=["true"], directory=str(file))


def test_a_directory_is_entered_as_the_service_user(tmp_path: Path) -> None:
    """EACCES for a directory that the daemon may enter and the user may not."""
    need_root()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    keys = {"command": ["true"], "directory": str(closed), "user": "nobody"}
    _cannot_start(tmp_path, "directory", errno.EACCES, **keys)


def test_another_user_needs_the_right_to_become_it(tmp_path: Path) -> None:
    """EPERM at stage `user` where the daemon lacks CAP_SETUID or CAP_SETGID, with a hint."""
    dropped = [need_program("setpriv"), "--bounding-set=-setgid,-setuid"] if os.geteuid() == 0 else []
    user = "nobody" if os.geteuid() == 0 else "root"
    web = {"command": ["true"], "user": user, "backoff": LATE}
    with daemon(tmp_path, {"web": web}, prefix=dropped) as reaperd:
        assert _failed(reaperd, "user", errno.EPERM)["hint"]


def test_a_service_that_could_not_start_starts_once_it_can(tmp_path: Path) -> None:
    """What was missing is looked for again at each try."""
    program = tmp_path / "job"
    with daemon(tmp_path, {"web": {"command": [str(program)], "backoff": LATE}}) as reaperd:
        _failed(reaperd, "exec", errno.ENOENT)
        program.symlink_to(need_program("sleep"))
        answer = reaperd.ask("start", "web")["items"][0]
        assert answer["name"] == "web"
        assert not reaperd.events("service.spawn_failed", errno=errno.ENOEXEC)


def test_a_failed_start_with_restart_never_is_final(tmp_path: Path) -> None:
    """It is FAILED, says why, and can be stopped and started by hand."""
    web = {"command": ["/no/such/program"], "restart": "never"}
    with daemon(tmp_path, {"web": web}) as reaperd:
        reaperd.wait_for("service.failed", service="web")
        assert "/no/such/program" in reaperd.status("web")["why"]
        reaperd.ask("stop", "web")
        assert reaperd.state("web") == "stopped"
        assert not reaperd.ask("start", "web")["items"][0]["ok"]
        assert reaperd.state("web") == "failed"
