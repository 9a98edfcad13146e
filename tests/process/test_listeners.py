"""Sockets that services are given open: who gets which, how long they last, what is said where one fails."""

import json
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemons import daemon, service
from tests.support.processes import ROOT, need_root, system_python, wait_until

ACCEPTOR = f'command = ["{sys.executable}", "-I", "-S", "{ROOT}/tests/support/acceptor.py"]\n'


def free_port() -> int:
    """Return a port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        return int(made.getsockname()[1])


@contextmanager
def connected(path: Path | int) -> Iterator[socket.socket]:
    """Yield a connection to a socket file, or to a port."""
    with socket.socket(socket.AF_UNIX if isinstance(path, Path) else socket.AF_INET) as sock:
        sock.settimeout(60)
        sock.connect(str(path) if isinstance(path, Path) else ("127.0.0.1", path))
        yield sock


def answer(sock: socket.socket) -> dict[str, Any]:
    """Return what the service says to a connection."""
    sock.sendall(b"who\n")
    with sock.makefile() as lines:
        found: dict[str, Any] = json.loads(lines.readline())
    return found


def asked(path: Path | int) -> dict[str, Any]:
    """Connect, and return what the service says."""
    with connected(path) as sock:
        return answer(sock)


def test_a_service_finds_its_sockets_in_order(tmp_path: Path) -> None:
    """From descriptor 3 on, with names, and for the very process that was started."""
    port = free_port()
    text = f"""[service.web]
        {ACCEPTOR}
        sockets = [
          {{ listen = "tcp://127.0.0.1:{port}", name = "http" }},
          "udp://127.0.0.1:{port}",
          {{ listen = "unix://{tmp_path}/s", name = "api" }},
          "unix://@{tmp_path}",
        ]"""
    with daemon(tmp_path, text) as running:
        running.event("service.running", service="web")
        told = asked(port)
        assert told["for_us"]
        assert told["names"] == ["http", "socket", "api", "socket"]
        assert told["pid"] == running.row("web")["pid"]
        assert [told["name"], asked(tmp_path / "s")["name"]] == ["http", "api"]
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(f"\0{tmp_path}")
            assert answer(sock)["count"] == 4
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
            sock.settimeout(60)
            sock.sendto(b"who", ("127.0.0.1", port))
            assert json.loads(sock.recv(1000))["pid"] == told["pid"]


def test_the_listener_answers_while_its_service_restarts(tmp_path: Path) -> None:
    """Who connects meanwhile waits, and is answered by the next run: nobody is refused."""
    text = f"""[service.web]
        {ACCEPTOR}
        sockets = ["unix://{tmp_path}/s"]
        backoff = {{ initial = "1s", jitter = 0 }}"""
    with daemon(tmp_path, text) as running:
        running.event("service.running", service="web")
        first = asked(tmp_path / "s")["pid"]
        with connected(tmp_path / "s") as sock:
            sock.sendall(b"die\n")
        running.event("service.backoff", service="web")
        with connected(tmp_path / "s") as sock:  # nobody is there to accept it
            assert running.row("web")["state"] == "backoff"
            second = answer(sock)["pid"]
        assert second == running.row("web")["pid"] != first
        with connected(tmp_path / "s") as sock:
            running.ask("restart", "web")
            running.event("service.running", nth=3, service="web")
            sock.close()
        assert asked(tmp_path / "s")["pid"] == running.row("web")["pid"] != second


def test_instances_share_a_socket(tmp_path: Path) -> None:
    """One bind for all; while one of them restarts the other one answers."""
    text = f"""[service.web]
        {ACCEPTOR}
        instances = 2
        sockets = ["unix://{tmp_path}/s"]"""
    with daemon(tmp_path, text) as running:
        running.event("service.running", service="web:1")
        running.event("service.running", service="web:2")
        running.ask("stop", "web:1")
        assert asked(tmp_path / "s")["pid"] == running.row("web:2")["pid"]
        running.ask("start", "web:1")
        running.ask("stop", "web:2")
        assert asked(tmp_path / "s")["pid"] == running.row("web:1")["pid"]
        running.ask("stop", "web:1")
        assert not (tmp_path / "s").exists()


def test_what_nobody_uses_is_closed(tmp_path: Path) -> None:
    """At a stop, with its file, and opened again at the next start; the daemon leaves none."""
    text = f'[service.web]\n{ACCEPTOR}sockets = ["unix://{tmp_path}/s"]'
    with daemon(tmp_path, text) as running:
        running.event("service.running", service="web")
        running.ask("stop", "web")
        assert not (tmp_path / "s").exists()
        idle = len(running.fds())
        running.ask("start", "web")
        assert asked(tmp_path / "s")["for_us"]
        running.ask("stop", "web")
        assert len(running.fds()) == idle
        running.ask("start", "web")
        assert running.end() == 0
        assert not (tmp_path / "s").exists()


def test_a_reload_keeps_what_is_unchanged(tmp_path: Path) -> None:
    """A socket of both configurations stays as it is, also for who is in its queue; others come and go."""

    def text(*names: str, more: str = "") -> str:
        sockets = ", ".join(f'"unix://{tmp_path}/{name}"' for name in names)
        return f"[service.web]\n{ACCEPTOR}sockets = [{sockets}]\n{more}"

    with daemon(tmp_path, text("kept", "old")) as running:
        running.event("service.running", service="web")
        inode = (tmp_path / "kept").stat().st_ino
        running.configure(text("new", "kept"))
        running.ask("reload")
        running.event("service.running", nth=2, service="web")
        assert asked(tmp_path / "new")["count"] == 2
        assert (tmp_path / "kept").stat().st_ino == inode
        assert not (tmp_path / "old").exists()
        running.configure('[service.other]\ncommand = ["sleep", "1000"]')
        running.ask("reload")
        running.event("service.stopped", service="web")
        wait_until(lambda: not (tmp_path / "kept").exists(), "the socket of a removed service to go")


def test_a_file_has_the_mode_and_the_owner_that_are_asked_for(tmp_path: Path) -> None:
    """Those of the service's user unless others are named; a reload that changes them keeps the socket."""
    need_root()

    def text(more: str) -> str:
        return f"""[service.web]
            command = ["sleep", "1000"]
            user = "nobody"
            sockets = [{{ listen = "unix://{tmp_path}/s"{more} }}]"""

    with daemon(tmp_path, text("")) as running:
        running.event("service.running", service="web")
        found = (tmp_path / "s").stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o660, 65534, 65534)
        running.configure(text(', mode = "0600", user = "root", group = "7"'))
        running.ask("reload")
        running.event("service.running", nth=2, service="web")
        changed = (tmp_path / "s").stat()
        assert (stat.S_IMODE(changed.st_mode), changed.st_uid, changed.st_gid) == (0o600, 0, 7)
        assert changed.st_ino == found.st_ino


def test_as_many_may_wait_as_are_allowed(tmp_path: Path) -> None:
    """The kernel tells the longest queue of a socket that listens: tcp_get_info in net/ipv4/tcp.c."""
    told = tmp_path / "told"
    tell = (
        "import socket, struct, sys; info = socket.socket(fileno=3).getsockopt(socket.IPPROTO_TCP, 11, 32); "
        "print(struct.unpack_from('I', info, 28)[0], file=open(sys.argv[1], 'w'))"
    )
    text = service(
        "web",
        [system_python(), "-I", "-S", "-c", tell, str(told)],
        oneshot=True,
        sockets=[{"listen": f"tcp://127.0.0.1:{free_port()}", "backlog": 17}],
    )
    with daemon(tmp_path, text) as running:
        running.event("service.finished", service="web")
        assert told.read_text() == "17\n"


def test_a_stale_file_is_taken_away_and_a_living_one_is_not(tmp_path: Path) -> None:
    """Whether somebody listens decides; what is no socket stays in any case."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "stale"))
    (tmp_path / "file").write_text("precious")
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(tmp_path / "living"))
        living.listen()
        text = "".join(
            f'[service.{name}]\n{ACCEPTOR}sockets = ["unix://{tmp_path}/{name}"]\nrestart = "never"\n'
            for name in ("stale", "file", "living")
        )
        with daemon(tmp_path, text) as running:
            running.event("service.running", service="stale")
            assert asked(tmp_path / "stale")["for_us"]
            for name in ("file", "living"):
                failed = running.event("service.spawn_failed", service=name)
                assert failed["stage"] == "sockets"
                assert f"listening on unix://{tmp_path}/{name}: Address already in use" in failed["problem"]
                assert "ss -xlp" in failed["hint"]
                assert running.row(name)["state"] == "failed"
    assert (tmp_path / "file").read_text() == "precious"
    assert (tmp_path / "living").exists()


def test_a_port_that_another_has_is_tried_again(tmp_path: Path) -> None:
    """It is a failed start like any other: the restart policy brings the service up once the port is free."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = f"""[service.web]
            {ACCEPTOR}
            sockets = ["tcp://127.0.0.1:{port}"]
            backoff = {{ initial = "50ms", max = "50ms" }}"""
        with daemon(tmp_path, text) as running:
            failed = running.event("service.spawn_failed", service="web")
            assert f"tcp://127.0.0.1:{port}" in failed["problem"]
            assert "ss -tulpn" in failed["hint"]
            running.event("service.backoff", service="web")
            taken.close()
            running.event("service.running", service="web")
            assert asked(port)["for_us"]


@pytest.mark.parametrize(
    ("address", "hint"),
    [("unix:///no/such/place/s", "directory is missing"), ("tcp://192.0.2.1:8080", "ip addr")],
)
def test_what_cannot_be_had_is_explained(address: str, hint: str, tmp_path: Path) -> None:
    """With the address and with what to do; a descriptor that was opened before it is not lost."""
    first = tmp_path / "first"
    text = f"""[service.web]
        command = ["sleep", "1000"]
        sockets = ["unix://{first}", "{address}"]
        restart = "never" """
    with daemon(tmp_path, text) as running:
        failed = running.event("service.spawn_failed", service="web")
        assert address in failed["problem"]
        assert hint in failed["hint"]
        assert "service.web.sockets" in failed["hint"]
        assert running.row("web")["state"] == "failed"
        assert not first.exists()


def test_no_other_service_gets_them(tmp_path: Path) -> None:
    """Nor does it hear of them, whatever the daemon itself was told."""
    text = f"""[service.web]
        {ACCEPTOR}
        sockets = ["unix://{tmp_path}/s"]
        [service.other]
        command = ["sh", "-c", "env > {tmp_path}/env; exec sleep 1000"]
        after = ["web"]"""
    with daemon(tmp_path, text) as running:
        running.event("service.running", service="web")
        running.event("service.running", service="other")
        wait_until(
            lambda: (tmp_path / "env").exists() and "PATH" in (tmp_path / "env").read_text(), "its list"
        )
        assert "LISTEN_" not in (tmp_path / "env").read_text()
        wait_until(lambda: _program(running.row("other")["pid"]) == "sleep", "the shell to be gone")
        folder = Path(f"/proc/{running.row('other')['pid']}/fd")
        assert sorted(each.name for each in folder.iterdir()) == ["0", "1", "2"]


def _program(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_status_and_why_list_them(tmp_path: Path) -> None:
    """With the addresses as one would write them and their names; a service without any has an empty list."""
    port, path = free_port(), tmp_path / "web.sock"
    sockets = f'["tcp://127.0.0.1:{port}", {{ listen = "unix://{path}", name = "api" }}]'
    text = f"[service.web]\n{ACCEPTOR}sockets = {sockets}\n[service.other]\ncommand = 'sleep 1000'\n"
    wanted = [
        {"listen": f"tcp://127.0.0.1:{port}", "name": "socket"},
        {"listen": f"unix://{path}", "name": "api"},
    ]
    with daemon(tmp_path, text) as running:
        assert running.row("web")["sockets"] == wanted
        assert running.row("other")["sockets"] == []
        (why,) = running.ask("why", "web")["items"]
        assert why["sockets"] == wanted
