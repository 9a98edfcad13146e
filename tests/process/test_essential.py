import signal
from pathlib import Path

import pytest

from tests.support.daemons import Running, daemon, service
from tests.support.processes import wait_gone

WAIT = ["sleep", "1000"]


def leaving(running: Running) -> int:
    """Return the exit status of a daemon that ends by itself."""
    running.event("daemon.stopped")
    return running.process.wait(20)


@pytest.mark.parametrize(
    ("script", "essential", "status"),
    [
        ("exit 0", "exit", 0),
        ("exit 7", "exit", 7),
        ("exit 7", "failure", 7),
        ("kill -9 $$", "failure", 137),
        ("exec /nowhere/at/all", "failure", 127),
    ],
)
def test_its_end_ends_the_daemon_with_its_status(
    script: str, essential: str, status: int, tmp_path: Path
) -> None:
    """The others are stopped first, in order, and the log says whose end it was."""
    services = service("other", WAIT) + service(
        "main", f"sleep 0.1; {script}", essential=essential, restart="never", requires=["other"]
    )
    with daemon(tmp_path, services) as running:
        pid = running.row("other")["pid"]
        assert leaving(running) == status
        wait_gone(pid)
        assert running.event("service.stopped", service="other")
        assert running.event("daemon.stopping")["cause"].startswith('essential service "main": ')


def test_a_program_that_never_ran_is_a_failure(tmp_path: Path) -> None:
    """There is no status to hand on."""
    with daemon(tmp_path, service("main", ["/nowhere"], essential="failure", restart="never")) as running:
        assert leaving(running) == 1


def test_a_clean_end_is_none_where_only_failures_count(tmp_path: Path) -> None:
    """Nor is a stop that somebody asked for."""
    services = service("main", "exit 0", essential="failure") + service("stopped", WAIT, essential="exit")
    with daemon(tmp_path, services) as running:
        running.event("service.finished", service="main")
        running.ask("stop", "stopped")
        assert running.row("stopped")["state"] == "stopped"
        assert running.end() == 0


def test_it_is_tried_again_as_long_as_its_policy_says(tmp_path: Path) -> None:
    """Only giving up ends the daemon."""
    keys = {"start_limit": {"count": 2, "interval": "1m"}, "backoff": {"initial": "1ms"}}
    with daemon(tmp_path, service("main", "exit 9", essential="exit", **keys)) as running:
        assert leaving(running) == 9
        assert len(running.events("service.starting", service="main")) == 2


def test_services_that_do_not_end_in_time_are_killed(tmp_path: Path) -> None:
    """`shutdown_timeout` is for all of them together, however long each of them may take."""
    stubborn = service(
        "web",
        "trap '' TERM; echo up; while :; do sleep 0.05; done",
        ready={"log": "up"},
        stop={"timeout": "1h"},
    )
    with daemon(tmp_path, f'shutdown_timeout = "200ms"\n{stubborn}') as running:
        running.event("service.running", service="web")
        assert running.end() == 0
        assert running.event("daemon.hurried")["cause"] == "shutdown_timeout is over"


def test_signals_are_handed_on_to_the_services_named(tmp_path: Path) -> None:
    """To their main processes, all instances of them, and to nobody else."""
    hears = "trap 'echo heard >&2' USR1; echo up; while :; do sleep 0.05; done"
    services = 'forward_signals = { USR1 = ["web"] }\n'
    services += service("web", hears, instances=2, ready={"log": "up"})
    services += service("other", "sleep 1000")
    with daemon(tmp_path, services) as running:
        for name in ("web:1", "web:2", "other"):
            running.event("service.running", service=name)
        pid = running.row("other")["pid"]
        running.process.send_signal(signal.SIGUSR1)
        while len([line for line in running._other if line == "heard"]) < 2:
            assert running._read(20), running._shown()
        assert running.row("other")["pid"] == pid


def test_outputs_go_where_they_are_sent(tmp_path: Path) -> None:
    """Nowhere, or the standard error with the standard output."""
    null, merged = tmp_path / "null", tmp_path / "merged"
    said = "out=$(readlink /proc/$$/fd/1); err=$(readlink /proc/$$/fd/2); echo $out $err > "
    services = service("null", said + str(null), stdout="null", stderr="null", oneshot=True)
    services += service("merged", said + str(merged), stdout="null", stderr="stdout", oneshot=True)
    with daemon(tmp_path, services) as running:
        for name in ("null", "merged"):
            running.event("service.finished", service=name)
    assert null.read_text() == merged.read_text() == "/dev/null /dev/null\n"
