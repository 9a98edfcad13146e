import os
import signal
import socket
from pathlib import Path
from uuid import uuid4

from tests.support.daemons import alive, daemon, service, sleeper, wait_none
from tests.support.processes import WITHIN_S, wait_until


def test_failures_in_a_row_restart_the_service(tmp_path: Path) -> None:
    """At the threshold the service is stopped with the reason, and its restart policy goes on from there."""
    page = tmp_path / "page"
    page.touch()
    health = {"exec": ["sh", "-c", f"test -e {page} || {{ echo no page; exit 3; }}"]}
    text = service(
        "web",
        ["sleep", "1000"],
        health={**health, "interval": "50ms", "failures": 2},
        backoff={"initial": "1ms"},
    )
    with daemon(tmp_path, text) as running:
        running.event("service.running")
        page.unlink()
        assert running.event("service.unhealthy")["reason"] == "exited with 3: no page"
        running.event("service.backoff")
        page.touch()
        running.event("service.running", nth=2)


def test_a_success_in_between_starts_the_count_anew(tmp_path: Path) -> None:
    """Every other check fails, and never two in a row: nothing follows from that."""
    count = tmp_path / "count"
    script = f"echo >>{count}; test $(($(wc -l <{count}) % 2)) = 0"
    health = {"exec": ["sh", "-c", script], "interval": "10ms", "timeout": "20s", "failures": 2}
    with daemon(tmp_path, service("web", ["sleep", "1000"], health=health)) as running:
        wait_until(lambda: count.exists() and len(count.read_text()) >= 10, "ten checks")
        assert running.row("web")["state"] == "running"
        assert not running.events("service.unhealthy")


def test_who_only_wants_to_know_is_told_once_each_way(tmp_path: Path) -> None:
    """With `action = "report"` the log has one line at the threshold and one at the recovery."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        health = {"tcp": f"127.0.0.1:{port}", "interval": "20ms", "failures": 2, "action": "report"}
        with daemon(tmp_path, service("web", ["sleep", "1000"], health=health)) as running:
            running.event("service.running")
            server.close()
            ailing = running.event("service.ailing")
            assert (ailing["failures"], ailing["reason"]) == (2, "Connection refused")
            with socket.create_server(("127.0.0.1", port)):
                running.event("service.recovered")
            running.event("service.ailing", nth=2)
            assert running.row("web")["restarts"] == 0


def test_a_check_that_hangs_is_a_failure(tmp_path: Path) -> None:
    """It is killed when its time is over, with all that it started, and counts like any other failure."""
    mark = uuid4().hex
    hangs = ["sh", "-c", f"setsid sh -c 'sleep 1000; :' {mark} & sleep 1000; :", mark]
    health = {"exec": hangs, "interval": "50ms", "timeout": "200ms", "failures": 2}
    with daemon(tmp_path, service("web", ["sleep", "1000"], health=health, restart="never")) as running:
        assert running.event("service.unhealthy")["reason"] == "no answer within 200ms"
        running.event("service.failed")
        wait_none(mark)


def test_a_connection_that_hangs_is_a_failure(tmp_path: Path) -> None:
    """A server whose queue is full answers nobody; the time of the check ends the wait."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        health = {"tcp": f"127.0.0.1:{address[1]}", "interval": "50ms", "timeout": "200ms", "failures": 1}
        with daemon(tmp_path, service("web", ["sleep", "1000"], health=health)) as running:
            assert running.event("service.unhealthy")["reason"] == "no answer within 200ms"
        for filler in fillers:
            filler.close()


def test_a_page_is_asked_for(tmp_path: Path) -> None:
    """What does not speak HTTP is unhealthy, in words."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(WITHIN_S)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        health = {"http": url, "interval": "50ms", "timeout": "20s", "failures": 1}
        with daemon(tmp_path, service("web", ["sleep", "1000"], health=health)) as running:
            connection, _address = server.accept()
            with connection:
                assert connection.recv(4096).startswith(b"GET / HTTP/1.1\r\n")
                connection.sendall(b"SSH-2.0-hello\r\n")
            assert running.event("service.unhealthy")["reason"] == "did not answer with HTTP"


def test_no_check_before_the_service_is_ready(tmp_path: Path) -> None:
    """The first check comes after readiness, however long that takes."""
    asked, page = tmp_path / "asked", tmp_path / "page"
    text = service(
        "web",
        ["sleep", "1000"],
        ready={"exec": ["test", "-e", str(page)]},
        health={"exec": ["touch", str(asked)], "interval": "10ms", "timeout": "20s"},
    )
    with daemon(tmp_path, text) as running:
        running.event("service.spawned")
        assert running.row("web")["state"] == "starting"
        assert not asked.exists()
        page.touch()
        wait_until(asked.exists, "the first check")
        running.event("service.running")


def test_checks_end_with_the_run(tmp_path: Path) -> None:
    """A stop, and the end of the main process, end a check that is under way."""
    mark = uuid4().hex
    health = {"exec": sleeper(mark), "interval": "10ms", "timeout": "100s"}
    with daemon(tmp_path, service("web", ["sleep", "1000"], health=health, restart="never")) as running:
        wait_until(lambda: alive(mark) != [], "the check")
        running.ask("stop", "web")
        wait_none(mark)
        running.ask("start", "web")
        wait_until(lambda: alive(mark) != [], "the check")
        os.kill(running.row("web")["pid"], signal.SIGKILL)
        running.event("service.failed")
        wait_none(mark)
