"""The end of the daemon: what it does with its services, with whoever is left, and in which order."""

import os
import signal
from pathlib import Path
from typing import Final

import pytest

from tests.support.daemon import REST, daemon, sh, sleeper
from tests.support.processes import pidfd, state_of, wait_readable, wait_state, wait_until

DEAF: Final = f"trap '' TERM; echo deaf $$; {REST}"
POLITE: Final = f"trap 'echo bye $SERVICE; exit 0' TERM; echo here $SERVICE; {REST}"
# Without the kernel's word, by which the daemon knows every descendant from its birth.
UNHEARD: Final = {"process_connector": "no"}
NAMELESS: Final = (
    "setsid env -i sh -c 'prlimit --pid $$ --locks=unlimited; "
    '(trap "" TERM; setsid sh -c "echo nameless \\$\\$; exec sleep 1000" &)\'\n'
    "exec sleep 1000"
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_services_and_the_daemon_leaves_with_0(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Every service gets its stop signal, all are reaped, nobody is left, and the socket is gone."""
    services = {name: sh(POLITE) for name in ("one", "two", "three")}
    with daemon(tmp_path, services) as reaperd:
        for _ in services:
            reaperd.hear("here")
        reaperd.end(number)
        assert reaperd.wait_for("daemon.stopping")["cause"] == number.name
        assert reaperd.wait_for("daemon.stopped")["status"] == 0
        assert {reaperd.hear("bye")[0] for _ in services} == set(services)
        assert not reaperd.socket.exists()
        for name in services:
            assert reaperd.wait_for("service.exited", service=name)["code"] == 0


def test_services_are_told_in_reverse_order(tmp_path: Path) -> None:
    """The last of the file is the first to go down."""
    names = ("one", "two", "three")
    with daemon(tmp_path, {name: sleeper() for name in names}) as reaperd:
        for name in names:
            reaperd.wait_for("service.running", service=name)
        reaperd.end()
        told = [event["service"] for event in reaperd.events("service.stopping")]
        assert told == ["three", "two", "one"]


def test_the_lock_and_the_socket_are_free_after_the_end(tmp_path: Path) -> None:
    """The next daemon starts on the same paths at once."""
    for _ in range(2):
        with daemon(tmp_path, {"web": sleeper()}) as reaperd:
            reaperd.wait_for("service.running", service="web")


def test_a_daemon_that_was_killed_leaves_paths_that_the_next_one_takes(tmp_path: Path) -> None:
    """SIGKILL leaves a socket and a lock file behind; neither keeps a new daemon out."""
    with daemon(tmp_path, {"web": sleeper()}, ends=False) as reaperd:
        reaperd.wait_for("service.running", service="web")
        reaperd.send(signal.SIGKILL)
        assert reaperd.wait_end() == -signal.SIGKILL
        assert reaperd.socket.exists()
    with daemon(tmp_path, {"web": sleeper()}) as reaperd:
        reaperd.wait_for("service.running", service="web")
        assert reaperd.state("web") == "running"


def test_a_deaf_service_is_killed_at_its_deadline(tmp_path: Path) -> None:
    """The daemon ends with all the others at the grace of the slowest."""
    web = sh(DEAF, stop={"timeout": "50ms"})
    with daemon(tmp_path, {"web": web, "polite": sh(POLITE)}) as reaperd:
        deaf = reaperd.hear_pid("deaf")
        reaperd.hear("here")
        with pidfd(deaf) as fd:
            reaperd.end()
            wait_readable(fd, 0, "the deaf service")
        assert reaperd.wait_for("service.exited", service="web")["signal"] == signal.SIGKILL
        assert reaperd.wait_for("service.exited", service="polite")["code"] == 0


def test_a_second_signal_hurries(tmp_path: Path) -> None:
    """Asked twice, the daemon does not wait for graces that are not over."""
    with daemon(tmp_path, {"web": sh(DEAF, stop={"timeout": "10m"})}) as reaperd:
        reaperd.hear("deaf")
        reaperd.send(signal.SIGTERM)
        reaperd.wait_for("service.stopping")
        reaperd.end(signal.SIGTERM)
        reaperd.wait_for("daemon.hurried")
        assert reaperd.wait_for("service.exited", service="web")["signal"] == signal.SIGKILL


def test_a_service_that_crashes_takes_no_second_life_during_the_end(tmp_path: Path) -> None:
    """Neither a backoff nor `restart = "always"` brings anything back once the end has begun."""
    quick = {"initial": "1ms", "max": "1ms"}
    services = {
        "looping": sh("exit 1", restart="always", backoff=quick),
        "deaf": sh(DEAF, restart="always", backoff=quick, stop={"timeout": "100ms"}),
        "waiting": sh("exit 1", backoff={"initial": "10m", "max": "10m"}),
    }
    with daemon(tmp_path, services) as reaperd:
        deaf = reaperd.hear_pid("deaf")
        reaperd.wait_for("service.backoff", service="waiting")
        reaperd.wait_for("service.backoff", service="looping", failures=5)
        reaperd.send(signal.SIGTERM)
        reaperd.wait_for("daemon.stopping")
        os.kill(deaf, signal.SIGKILL)
        assert reaperd.wait_end() == 0
        assert reaperd.left == []
        lines = [event["event"] for event in reaperd.events()]
        assert "service.starting" not in lines[lines.index("service.stopping") :]


def test_a_stop_in_progress_is_not_hurried_by_the_end_of_the_daemon(tmp_path: Path) -> None:
    """Whoever is going down already keeps the grace that it has."""
    script = f"trap 'echo bye; exit 0' USR1; trap '' TERM; echo here $$; {REST}"
    with daemon(tmp_path, {"web": sh(script, stop={"timeout": "10m"})}) as reaperd:
        pid = reaperd.hear_pid("here")
        reaperd.ask("stop", "web", wait=False)
        reaperd.send(signal.SIGTERM)
        reaperd.wait_for("daemon.stopping")
        os.kill(pid, signal.SIGUSR1)
        assert reaperd.wait_end() == 0
        assert reaperd.wait_for("service.exited", service="web")["code"] == 0
        assert not reaperd.events("service.killing")


def test_orphans_that_nobody_claims_are_ended_and_reaped(tmp_path: Path) -> None:
    """One that ignores SIGTERM too; the second signal is the one that does not wait for it."""
    with daemon(tmp_path, {"web": sh(NAMELESS)}, cgroups=False, settings=UNHEARD) as reaperd:
        nameless = reaperd.hear_pid("nameless")
        wait_until(lambda: reaperd.ask("status")["unclaimed"] == [nameless], "it to be listed")
        reaperd.send(signal.SIGTERM)
        reaperd.wait_for("service.stopped", service="web")
        assert state_of(nameless) == "S"
        reaperd.end(signal.SIGTERM)


def test_a_stopped_service_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """A tree that stands still by SIGSTOP is woken to end."""
    with daemon(tmp_path, {"web": sh(POLITE, stop={"timeout": "10m"})}) as reaperd:
        reaperd.hear("here")
        pid = reaperd.main_pid("web")
        os.kill(pid, signal.SIGSTOP)
        wait_state(pid, "T")
        reaperd.end()
        reaperd.hear("bye")


def test_shutdown_over_the_socket_is_answered_at_the_end(tmp_path: Path) -> None:
    """Who waits is told when the daemon is gone; the daemon leaves with 0 and nobody behind."""
    with daemon(tmp_path, {"web": sleeper()}) as reaperd:
        pid = int(reaperd.wait_for("service.running", service="web")["pid"])
        reaperd.ask("shutdown")
        assert state_of(pid) is None
        assert (reaperd.wait_end(), reaperd.left) == (0, [])


def test_who_waits_for_a_stop_while_the_daemon_ends_gets_an_answer(tmp_path: Path) -> None:
    """A client is never left hanging: its service did stop."""
    with daemon(tmp_path, {"web": sh(DEAF, stop={"timeout": "300ms"})}) as reaperd:
        reaperd.hear("deaf")
        reaperd.ask("stop", "web", wait=False)
        reaperd.send(signal.SIGTERM)
        assert reaperd.wait_end() == 0


def test_a_signal_right_after_the_start_ends_it_cleanly(tmp_path: Path) -> None:
    """Services on their way to their programs are no exception."""
    for _ in range(5):
        with daemon(tmp_path, {f"s{number}": sleeper() for number in range(8)}) as reaperd:
            reaperd.end()
