"""What the daemon tells a service manager, heard by a socket in the manager's place."""

import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.daemon import daemon, sh, sleeper


class Hearing:
    """A manager's socket, and what it heard."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(60)
        self.environment: Mapping[str, str] = {"NOTIFY_SOCKET": str(path)}

    def next(self) -> dict[str, str]:
        """Return the next message, line by line."""
        lines = self._socket.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def until(self, name: str, text: str = "") -> dict[str, str]:
        """Return the next message in which `name` holds `text`."""
        while text not in (message := self.next()).get(name, "\0"):
            pass
        return message

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


@pytest.fixture
def hearing(tmp_path: Path) -> Iterator[Hearing]:
    """Yield a manager's socket."""
    made = Hearing(tmp_path / "notify")
    yield made
    made.close()


def test_it_is_ready_at_once_and_its_status_follows(tmp_path: Path, hearing: Hearing) -> None:
    """One datagram says that it is ready, who it is and how its services are; changes come by themselves."""
    services = {"web": sleeper(), "broken": {**sh("exit 3"), "restart": "never"}}
    with daemon(tmp_path, services, environment=hearing.environment) as reaperd:
        first = hearing.next()
        assert (first["READY"], first["MAINPID"]) == ("1", str(reaperd.pid))
        assert "STATUS" in first
        hearing.until("STATUS", "1 running, 1 failed (broken)")
        reaperd.ask("stop", "web")
        hearing.until("STATUS", "1 failed (broken), 1 stopped")


def test_many_changes_are_few_messages(tmp_path: Path, hearing: Hearing) -> None:
    """A service that fails all the time is no storm of messages: one in a fifth of a second at most."""
    wild = {**sh("exit 1"), "backoff": {"initial": "1ms", "max": "1ms", "jitter": 0}}
    with daemon(tmp_path, {"wild": wild}, environment=hearing.environment) as reaperd:
        hearing.next()
        began = time.monotonic()
        for _ in range(200):
            reaperd.wait_for("service.exited", service="wild")
        reaperd.ask("stop", "wild")
        count = 1
        while "1 stopped" not in hearing.next()["STATUS"]:
            count += 1
        assert count <= (time.monotonic() - began) / 0.2 + 2


def test_a_reload_by_signal_is_told_from_its_beginning_to_its_end(tmp_path: Path, hearing: Hearing) -> None:
    """With the time at which it began; a file that is refused is told as well."""
    with daemon(tmp_path, {"web": sleeper()}, environment=hearing.environment) as reaperd:
        hearing.until("STATUS", "1 running")
        before_usec = time.monotonic_ns() // 1000
        reaperd.config.write_text(reaperd.config.read_text() + '[service.b]\ncommand = ["sleep", "1000"]\n')
        os.kill(reaperd.pid, signal.SIGHUP)
        reloading = hearing.until("RELOADING", "1")
        assert before_usec <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        assert reloading["STATUS"].startswith("reloading: ")
        assert hearing.until("READY", "1")["STATUS"] == "2 running"
        reaperd.config.write_text("[service.b]\n")
        os.kill(reaperd.pid, signal.SIGHUP)
        hearing.until("RELOADING", "1")
        assert "refused" in hearing.until("READY", "1")["STATUS"]


def test_a_long_stop_asks_for_its_time(tmp_path: Path, hearing: Hearing) -> None:
    """As long as its services may take, and what comes after them."""
    services = {"web": sleeper(stop={"timeout": "3m"})}
    with daemon(tmp_path, services, environment=hearing.environment) as reaperd:
        hearing.until("STATUS", "1 running")
        reaperd.end()
        stopping = hearing.until("STOPPING", "1")
        assert int(stopping["EXTEND_TIMEOUT_USEC"]) >= 180_000_000
        assert stopping["STATUS"].startswith("stopping: ")


@pytest.mark.parametrize("mine", [True, False])
def test_the_watchdog_is_for_the_process_that_it_names(
    tmp_path: Path,
    hearing: Hearing,
    mine: bool,  # noqa: FBT001 - a parameter
) -> None:
    """Asked for, a sign of life comes at half the interval; meant for another process, none does."""
    environment = {**hearing.environment, "WATCHDOG_USEC": "200000"}
    if not mine:
        environment["WATCHDOG_PID"] = "1"
    with daemon(tmp_path, {"web": sleeper()}, environment=environment) as reaperd:
        if mine:
            for _ in range(5):
                hearing.until("WATCHDOG", "1")
            return
        hearing.until("STATUS", "1 running")
        reaperd.ask("stop", "web")
        while "WATCHDOG" not in (said := hearing.next()):
            if "1 stopped" in said.get("STATUS", ""):
                return
        pytest.fail("a sign of life that is another's to give")


def test_a_manager_that_is_not_there_is_told_of_once(tmp_path: Path) -> None:
    """And has no other effect."""
    environment = {"NOTIFY_SOCKET": str(tmp_path / "nobody")}
    with daemon(tmp_path, {"web": sleeper()}, environment=environment) as reaperd:
        reaperd.wait_for("daemon.not_told", to=environment["NOTIFY_SOCKET"])
        reaperd.wait_for("service.running", service="web")
        reaperd.ask("restart", "web")
        reaperd.wait_for("service.running", service="web")
        assert len([line for line in reaperd.log.all() if "daemon.not_told" in line]) == 1
