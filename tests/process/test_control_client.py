import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from reaperd.control.client import Client, RefusedError
from reaperd.control.listen import listen
from reaperd.errors import Exit, UnavailableError
from tests.support.control_plane import FakeDaemon, Plane, plane


@contextmanager
def serving(folder: Path, daemon: FakeDaemon) -> Iterator[Plane]:
    """Turn a control plane in a thread until its daemon was asked to shut down, then close it."""
    with plane(folder, daemon) as made:

        def turn() -> None:
            made.run()
            made.server.close()

        thread = threading.Thread(target=turn)
        thread.start()
        try:
            yield made
        finally:
            if not daemon.ended:
                Client(made.path).ask("shutdown")
            thread.join()


@contextmanager
def peer(path: Path, behave: Callable[[socket.socket], None]) -> Iterator[None]:
    """Let something else than the daemon take one connection and do with it as it likes."""
    with closing(listen(path)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                behave(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


def failure(path: Path, timeout_s: float = 10.0) -> UnavailableError:
    """Return why the daemon at `path` cannot be reached."""
    with pytest.raises(UnavailableError) as caught:
        Client(path, timeout_s).ask("status")
    assert caught.value.message.startswith(f"cannot reach the daemon at {path}: ")
    return caught.value


def test_every_verb(tmp_path: Path) -> None:
    """Each verb arrives as it was asked, names and all."""
    daemon = FakeDaemon("web", "a/b ?&=%\u00e9", "db")
    with serving(tmp_path, daemon) as made:
        client = Client(made.path)
        assert len(client.ask("status")["items"]) == 3
        odd = client.ask("status", ["a/b ?&=%\u00e9", "db"])
        assert [item["name"] for item in odd["items"]] == ["a/b ?&=%\u00e9", "db"]
        for verb in ("start", "stop", "restart"):
            client.ask(verb, ["web"], wait=True)
            client.ask(verb, ["all"])
        client.ask("reload")
        client.ask("shutdown", wait=True)
    told = [(ask.verb, ask.names, ask.wait) for ask in daemon.asks[2:]]
    assert told == [
        ("start", ("web",), True),
        ("start", ("all",), False),
        ("stop", ("web",), True),
        ("stop", ("all",), False),
        ("restart", ("web",), True),
        ("restart", ("all",), False),
        ("reload", (), False),
        ("shutdown", (), True),
    ]


def test_a_refusal(tmp_path: Path) -> None:
    """A refusal has the daemon's message, hint and code, and an exit status of its own."""
    with serving(tmp_path, FakeDaemon("web")) as made, pytest.raises(RefusedError) as caught:
        Client(made.path).ask("stop", ["wbe"])
    error = caught.value
    assert (error.status, error.code, error.exit_status) == (404, "unknown-service", Exit.UNKNOWN)
    assert error.hint == 'did you mean "web"?'


def test_a_large_answer(tmp_path: Path) -> None:
    """An answer may be larger than any buffer on the way."""
    with serving(tmp_path, FakeDaemon(*(f"service-{number}" for number in range(5000)))) as made:
        assert len(Client(made.path).ask("status")["items"]) == 5000


def test_nobody_there(tmp_path: Path) -> None:
    """No socket, a stale one, something else in its place: each is told apart, with what to do."""
    missing = failure(tmp_path / "none")
    assert missing.message.endswith("there is no such socket")
    assert missing.hint is not None
    assert "reaperd run" in missing.hint
    (tmp_path / "file").write_text("")
    assert failure(tmp_path / "file").message.endswith("that is no socket")
    assert failure(tmp_path / "file" / "below").message.endswith("there is no such socket")
    listen(tmp_path / "stale").close()
    assert failure(tmp_path / "stale").message.endswith("nobody listens there any more")
    assert failure(tmp_path / ("long" * 50)).message.endswith("too long")


def test_permission_denied(tmp_path: Path) -> None:
    """Who may not connect is told whom to be."""
    if os.geteuid() == 0:
        pytest.skip("needs a plain user: root may connect everywhere")
    with closing(listen(tmp_path / "c.sock", mode=0)):
        error = failure(tmp_path / "c.sock")
    assert error.message.endswith("permission denied")


def test_nobody_accepts(tmp_path: Path) -> None:
    """A daemon that hangs with a full backlog is given its time and no more."""
    path = tmp_path / "c.sock"
    with closing(listen(path)) as listener, closing(socket.socket(socket.AF_UNIX)) as first:
        listener.listen(0)
        first.connect(str(path))
        assert failure(path, 0.05).message.endswith("it took no connection within 0.05 s")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "it ended before it answered"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "it ended before it answered"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "speaks otherwise"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "speaks otherwise"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{", "speaks otherwise"),
        (b"HTTP/1.1 502 Bad\r\nContent-Length: 2\r\n\r\n{}", "speaks otherwise"),
    ],
)
def test_somebody_else_answers(tmp_path: Path, said: bytes, why: str) -> None:
    """What ends early or does not speak as the daemon does is told so, and never taken for an answer."""
    path = tmp_path / "c.sock"

    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(said)

    with peer(path, behave):
        assert why in failure(path).message


def test_nobody_answers(tmp_path: Path) -> None:
    """Who takes the request and says nothing is given its time."""
    path = tmp_path / "c.sock"
    done = threading.Event()

    def behave(_: socket.socket) -> None:
        done.wait()

    with peer(path, behave):
        assert failure(path, 0.05).message.endswith("no answer within 0.05 s")
        done.set()


def test_shutdown_waits_for_the_end(tmp_path: Path) -> None:
    """A shutdown that waits returns when the daemon's end of the connection is closed."""
    path = tmp_path / "c.sock"
    order = []

    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        order.append("ended")

    with peer(path, behave):
        assert Client(path).ask("shutdown", wait=True) == {}
        order.append("told")
    assert order == ["ended", "told"]
