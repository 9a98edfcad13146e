"""What an idle daemon does: nothing, until something happens."""

import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support.daemon import Daemon, daemon, sh, sleeper
from tests.support.processes import need_program, owned, wait_until

# Others on this machine fork all the time, and the kernel would tell the daemon.
ALONE: Final = {"process_connector": "no"}
QUIET_S: Final = 1.2  # how long nothing may happen; a tick would be shorter

# A poll that has returned, and its timeout; which of the two calls it is depends on the machine.
_POLL: Final = re.compile(r"epoll_p?wait\(.*, (-?\d+)(, NULL, \d+)?\)\s+= ")


@contextmanager
def _traced(pid: int, trace: Path) -> Iterator[None]:
    """Trace the daemon, and let it go again unharmed."""
    command = [need_program("strace"), "-f", "-p", str(pid), "-o", str(trace)]
    with owned(command, stderr=subprocess.PIPE) as strace:
        assert strace.stderr is not None
        line = strace.stderr.readline()
        if b"attached" not in line:
            pytest.skip(f"strace may not attach here: {line.decode().strip()}")
        yield
        strace.send_signal(signal.SIGINT)
        strace.wait()


def _between_two_requests(reaperd: Daemon, trace: Path) -> list[str]:
    """Return the calls between the end of one request and the beginning of the next, a while later."""
    with _traced(reaperd.pid, trace):
        reaperd.ask("status")
        wait_until(lambda: _calls(trace)[-1].endswith("epoll_wait("), "the daemon to be done with it")
        time.sleep(QUIET_S)  # there is no cause to wait for: nothing is to happen
        reaperd.ask("status")
        wait_until(lambda: len(_accepts(_calls(trace))) >= 4, "the daemon to serve the second request")
    calls = _calls(trace)
    second = _accepts(calls)[2]  # each request has two: one that takes it, one that finds no other
    last_close = max(index for index in range(second) if calls[index].startswith("epoll_ctl("))
    rest = calls[last_close + 1 : second]
    return rest[1:] if rest[0].startswith("close(") else rest  # of the first request's connection


def _calls(trace: Path) -> list[str]:
    """Return the lines so far; a call that has not returned is its name alone."""
    lines = (line.partition(" ")[2].strip() for line in trace.read_text().splitlines())
    calls = [line for line in lines if line and not line.startswith(("---", "+++"))]
    return [call if ") " in call else re.sub(r"epoll_p?wait\(.*", "epoll_wait(", call) for call in calls] or [
        ""
    ]


def _accepts(calls: list[str]) -> list[int]:
    return [index for index, call in enumerate(calls) if call.startswith("accept4(")]


def test_an_idle_daemon_polls_without_a_timeout_and_makes_no_other_call(tmp_path: Path) -> None:
    """With services that run, leak, failed, were stopped, and an orphan: one poll between two requests."""
    soon = {"reset_after": "1ms"}
    services = {
        "running": sleeper(backoff=soon),
        "orphaned": sh("(setsid sleep 1000 &); echo here; exec sleep 1000", backoff=soon),
        "leaking": sh("true & exec sleep 1000", backoff=soon),
        "failed": sh("exit 1", restart="never"),
        "stopped": sleeper(),
    }
    with daemon(tmp_path, services, settings=ALONE) as reaperd:
        reaperd.hear("here")
        reaperd.wait_for("service.running", service="running")
        reaperd.wait_for("service.failed", service="failed")
        reaperd.ask("stop", "stopped")
        wait_until(lambda: reaperd.status("orphaned")["uptime"] > 0.1, "the timers to be over")
        wait_until(lambda: reaperd.status("leaking")["zombies"] == 1, "a zombie that nobody is waked by")
        calls = _between_two_requests(reaperd, tmp_path / "trace")
    names = [call.partition("(")[0] for call in calls]
    assert names in (["rt_sigprocmask", poll, "rt_sigprocmask"] for poll in ("epoll_wait", "epoll_pwait")), (
        calls
    )
    found = _POLL.match(calls[1])
    assert found is not None, calls
    assert found[1] == "-1", calls


def test_a_backoff_is_the_only_thing_that_is_waited_for(tmp_path: Path) -> None:
    """The poll has what is left of it as its timeout, and nothing wakes the daemon before."""
    late = {"initial": "10m", "max": "10m", "jitter": 0}
    with daemon(tmp_path, {"web": sh("exit 1", backoff=late)}, settings=ALONE) as reaperd:
        reaperd.wait_for("service.backoff", service="web")
        calls = _between_two_requests(reaperd, tmp_path / "trace")
    polls = [found for call in calls if (found := _POLL.match(call))]
    assert len(polls) == 1, calls
    assert 500_000 < int(polls[0][1]) <= 600_000, calls


def test_a_daemon_that_hears_of_processes_sets_a_timer_only_once_it_has_heard(tmp_path: Path) -> None:
    """A poll with a timeout comes only after a message: on a machine where nothing happens there is none."""
    with daemon(tmp_path, {"web": sleeper(backoff={"reset_after": "1ms"})}) as reaperd:
        reaperd.wait_for("service.running", service="web")
        if reaperd.ask("status")["tracking"]["source"] != "connector":
            pytest.skip("no process connector here")
        wait_until(lambda: reaperd.status("web")["uptime"] > 0.1, "the timers to be over")
        calls = _between_two_requests(reaperd, tmp_path / "trace")
    has_heard = True  # before the first of these calls there may have been a message
    for call in calls:
        if (found := _POLL.match(call)) is not None:
            assert found[1] == "-1" or has_heard, calls
            has_heard = False
        has_heard = has_heard or re.match(r"recvmmsg\(.*\) = [1-9]", call) is not None


def test_looks_for_zombies_are_the_only_thing_that_is_waited_for(tmp_path: Path) -> None:
    """Switched on they arm one timer for all services, and nothing wakes the daemon before."""
    soon = {"reset_after": "1ms"}
    services = {
        "often": sleeper(backoff=soon, zombies={"age": "10m"}),
        "rarely": sleeper(backoff=soon, zombies={"age": "20m"}),
    }
    with daemon(tmp_path, services, settings=ALONE) as reaperd:
        reaperd.wait_for("service.running", service="rarely")
        wait_until(lambda: (reaperd.status("rarely")["uptime"] or 0) > 0.1, "the timers to be over")
        calls = _between_two_requests(reaperd, tmp_path / "trace")
    polls = [found for call in calls if (found := _POLL.match(call))]
    assert len(polls) == 1, calls
    assert 500_000 < int(polls[0][1]) <= 600_000, calls


def test_a_manager_that_wants_no_watchdog_wakes_nobody(tmp_path: Path) -> None:
    """The line of status is told when it changes, and nothing is timed for it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        services = {"web": sleeper(backoff={"reset_after": "1ms"})}
        with daemon(tmp_path, services, environment=environment, settings=ALONE) as reaperd:
            reaperd.wait_for("service.running", service="web")
            while b"1 running" not in manager.recv(4096):
                pass
            wait_until(lambda: reaperd.status("web")["uptime"] > 0.1, "the timers to be over")
            calls = _between_two_requests(reaperd, tmp_path / "trace")
    polls = [found[1] for call in calls if (found := _POLL.match(call))]
    assert polls == ["-1"], calls
