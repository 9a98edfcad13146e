import os
import socket
import sys
from pathlib import Path

import pytest

from tests.support.daemons import Running, daemon
from tests.support.processes import ROOT, need_root, system_python, wait_readable, wait_until
from tests.support.sayer import send_fds

SAYER = f'"{sys.executable}", "-I", "-S", "{ROOT}/tests/support/sayer.py"'


def service(*words: str, more: str = "") -> str:
    """Return the configuration of a service that says `words`."""
    said = ", ".join(f"'{word}'" for word in words)
    return f"[service.web]\ncommand = [{SAYER}, {said}]\nready = {{ notify = true }}\n{more}"


def address_of(running: Running) -> str:
    """Return where the running service was told to send its notifications."""
    pid = running.row("web")["pid"]
    environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    (value,) = (each for each in environ if each.startswith(b"NOTIFY_SOCKET="))
    return os.fsdecode(value).partition("=")[2].replace("@", "\0", 1)


def kinds(running: Running) -> list[str]:
    """Return what kinds of descriptors the daemon has."""
    return [each.partition(":")[0] for each in running.fds()]


def send(address: str, data: bytes) -> None:
    """Send a notification as this process, a stranger to every service."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(data, address)


@pytest.mark.parametrize("who", ["", "--fork", "--double-fork"])
def test_any_process_of_the_service_may_say_that_it_is_ready(tmp_path: Path, who: str) -> None:
    """The main process, its child and an orphan in a session of its own all count as the service."""
    words = [who, "READY=1"] if who else ["READY=1"]
    with daemon(tmp_path, service(*words)) as running:
        running.event("service.running", service="web")


def test_with_access_for_main_a_child_is_a_stranger(tmp_path: Path) -> None:
    """What a child says is ignored, and told with the key that makes it so."""
    with daemon(tmp_path, service("--fork", "READY=1", more='notify_access = "main"')) as running:
        ignored = running.event("notify.ignored", service="web")
        assert "notify_access" in ignored["reason"]
        assert running.row("web")["state"] == "starting"


def test_with_access_for_main_the_main_process_counts(tmp_path: Path) -> None:
    """The main process may speak under the narrower rule too."""
    with daemon(tmp_path, service("READY=1", more='notify_access = "main"')) as running:
        running.event("service.running", service="web")


def test_a_stranger_is_ignored(tmp_path: Path) -> None:
    """A process outside of the service cannot make it ready, and the log says who tried."""
    with daemon(tmp_path, service("STATUS=waiting")) as running:
        wait_until(lambda: running.row("web")["status"] == "waiting", "its own message")
        send(address_of(running), b"READY=1\nSTATUS=mine")
        ignored = running.event("notify.ignored", service="web")
        assert (ignored["pid"], ignored["uid"]) == (os.getpid(), os.getuid())
        row = running.row("web")
        assert (row["state"], row["status"]) == ("starting", "waiting")


def test_a_storm_of_strangers_is_no_storm_of_lines(tmp_path: Path) -> None:
    """A thousand messages of a stranger make a dozen lines."""
    with daemon(tmp_path, service("STATUS=waiting")) as running:
        running.event("service.spawned", service="web")
        address = address_of(running)
        for _ in range(1000):
            send(address, b"READY=1")
        running.event("notify.ignored", count=512)
        assert len(running.events("notify.ignored")) <= 10


def test_what_a_service_says_of_its_state_is_shown(tmp_path: Path) -> None:
    """The latest STATUS stands in the answer of `status`, and goes with the run."""
    with daemon(tmp_path, service("STATUS=warming up", "READY=1\\nSTATUS=serving")) as running:
        running.event("service.running", service="web")
        assert running.row("web")["status"] == "serving"
        running.ask("stop", "web")
        running.ask("start", "web")
        assert running.row("web")["status"] == "serving"


def test_what_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    """Messages that are too long, binary or unknown neither count nor hurt."""
    too_long = "READY=1\\n" + "x" * 5000
    with daemon(
        tmp_path, service(r"\x01\xff=\x00", r"STATUS=\xff", "FUTURE=1", too_long, "STATUS=ok")
    ) as running:
        ignored = running.event("notify.ignored", service="web")
        assert "longer than 4096 bytes" in ignored["reason"]
        wait_until(lambda: running.row("web")["status"] == "ok", "the last message")
        assert running.row("web")["state"] == "starting"


def test_passed_descriptors_are_closed(tmp_path: Path) -> None:
    """A barrier is answered by closing its descriptor, and others are closed as well, whoever sent them."""
    with daemon(tmp_path, service("READY=1")) as running:
        running.event("service.running", service="web")
        address = address_of(running)
        before = kinds(running)
        for message in (b"BARRIER=1", b"FDSTORE=1", b"READY=1"):
            ours, theirs = os.pipe()
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                send_fds(sock, message, [theirs] * 40, address)
            os.close(theirs)
            wait_readable(ours, what="the end of file")
            assert os.read(ours, 1) == b""
            os.close(ours)
        assert kinds(running) == before


def test_an_old_run_is_not_heard(tmp_path: Path) -> None:
    """With a run goes its socket: what it would still say reaches nobody."""
    with daemon(tmp_path, service("READY=1")) as running:
        running.event("service.running", service="web")
        old = address_of(running)
        running.ask("restart", "web")
        running.event("service.running", nth=2, service="web")
        assert address_of(running) != old
        with pytest.raises(ConnectionRefusedError):
            send(old, b"READY=1")


def test_only_who_is_to_notify_has_a_socket(tmp_path: Path) -> None:
    """A service that is ready otherwise is given no NOTIFY_SOCKET, not even the daemon's own."""
    text = """
        [service.web]
        command = ["sh", "-c", "test -z \\"${{NOTIFY_SOCKET-}}\\" && exec sleep 1000"]
        ready = { delay = "1ms" }
    """
    os.environ["NOTIFY_SOCKET"] = "@nobody"
    try:
        with daemon(tmp_path, text.replace("${{NOTIFY_SOCKET-}}", "$$NOTIFY_SOCKET")) as running:
            running.event("service.running", service="web")
            assert running.row("web")["pid"] is not None
    finally:
        del os.environ["NOTIFY_SOCKET"]


def test_a_service_of_another_user_can_notify(tmp_path: Path) -> None:
    """No directory stands between a service and its socket, whoever it runs as."""
    need_root()
    python = system_python()
    program = (
        "import os, socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
        'a = os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1); '
        's.sendto(b"READY=1", a); time.sleep(1000)'
    )
    text = (
        f"[service.web]\ncommand = ['{python}', '-I', '-S', '-c', '{program}']\n"
        f"user = 'nobody'\nready = {{ notify = true }}"
    )
    with daemon(tmp_path, text) as running:
        running.event("service.running", service="web")


def test_a_thousand_restarts_leave_no_descriptor(tmp_path: Path) -> None:
    """Each run's socket is closed with the run, though none of them ever became ready."""
    text = """
        [service.web]
        command = ["true"]
        ready = { notify = true }
        restart = "always"
        backoff = { initial = "1ms", max = "1ms" }
        [service.late]
        command = ["no/such/program"]
        ready = { fd = 5 }
        backoff = { initial = "1ms", max = "1ms" }
    """
    with daemon(tmp_path, text) as running:
        running.event("service.exited", nth=20, service="web")
        few = _once_stopped(running)
        running.ask("start", "web", "late")
        running.event("service.exited", nth=1000, within_s=600, service="web")
        assert len(running.events("service.spawn_failed", service="late")) > 20
        assert _once_stopped(running) == few


def _once_stopped(running: Running) -> list[str]:
    running.ask("stop", "web", "late")
    return kinds(running)
