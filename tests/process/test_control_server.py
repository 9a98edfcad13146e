import os
import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reaperd.control.census import MOST as MAX_CLIENTS
from reaperd.control.openapi import document
from reaperd.control.server import ACCEPTS, PATIENCE_NS, PAUSE_NS, PRESSED_NS, TURN_NS
from reaperd.control.words import Answer, Ask
from reaperd.errors import ReaperdError
from reaperd.kernel.credentials import Peer
from tests.support.control_plane import FakeDaemon, Plane, answers, plane, read_available, request, unmeasured
from tests.support.processes import ROOT, call_in_process, owned_child


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now_ns = 5

    def __call__(self) -> int:
        """Return the time."""
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until it is turned."""
    return Clock()


@pytest.fixture
def daemon() -> FakeDaemon:
    """A daemon that answers at once."""
    return FakeDaemon("web", "db")


@pytest.fixture
def control(tmp_path: Path, daemon: FakeDaemon, clock: Clock) -> Iterator[Plane]:
    """A control plane on a real socket."""
    with plane(tmp_path, daemon, clock) as made:
        yield made


@pytest.fixture
def client(control: Plane) -> Iterator[socket.socket]:
    """A client that is connected."""
    with control.connect() as made:
        yield made


def talk(control: Plane, client: socket.socket, data: bytes) -> list[tuple[int, object]]:
    """Send `data` and return the (status, body) pairs that come back."""
    client.sendall(data)
    control.settle()
    return answers(read_available(client))


def is_closed(client: socket.socket) -> bool:
    """Return whether the server has closed this connection, with nothing left to read."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


STATUS = request("GET", "/v1/services")


# --- the good ---


def test_status(control: Plane, client: socket.socket, daemon: FakeDaemon) -> None:
    """A request is answered by the daemon, which is told who asks."""
    [(status, body)] = talk(control, client, STATUS)
    assert status == 200
    assert isinstance(body, dict)
    assert [item["name"] for item in body["items"]] == ["web", "db"]
    peer = daemon.asks[0].peer
    assert isinstance(peer, Peer)
    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())


def test_keep_alive(control: Plane, client: socket.socket) -> None:
    """One connection serves one request after the other."""
    for _ in range(3):
        assert talk(control, client, STATUS)[0][0] == 200


def test_pipelined_requests_are_answered_in_order(control: Plane, client: socket.socket) -> None:
    """Requests sent ahead are answered one in a turn, in order."""
    names = [f"/v1/services/{name}" for name in ("web", "nope", "db", "web")]
    got = talk(control, client, b"".join(request("GET", name) for name in names) + request("GET", "/healthz"))
    assert [status for status, _ in got] == [200, 404, 200, 200, 200]


def test_a_request_in_single_bytes(control: Plane, client: socket.socket) -> None:
    """A request may arrive in any pieces."""
    data = request("POST", "/v1/stop", b'{"names": ["web"]}')
    for index in range(len(data) - 1):
        assert talk(control, client, data[index : index + 1]) == []
    assert talk(control, client, data[-1:])[0][0] == 200


def test_a_chunked_body(control: Plane, client: socket.socket, daemon: FakeDaemon) -> None:
    """A body may come in chunks."""
    head = request("POST", "/v1/stop", b"", "Transfer-Encoding: chunked")
    assert talk(control, client, head + b'5\r\n{"nam\r\nd\r\nes": ["web"]}\r\n0\r\n\r\n')[0][0] == 200
    assert daemon.states["web"] == "stopped"


def test_head_and_http_1_0(control: Plane, client: socket.socket) -> None:
    """HEAD gets no body, and HTTP/1.0 is answered and closed."""
    client.sendall(request("HEAD", "/v1/services"))
    control.settle()
    data = read_available(client)
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert data.endswith(b"\r\n\r\n")
    client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
    control.settle()
    assert b"reaperd.health/1" in read_available(client)
    assert is_closed(client)


def test_expect_continue(control: Plane, client: socket.socket) -> None:
    """A client that asks first whether it may send its body is told to."""
    body = b'{"names": ["web"]}'
    head = request("POST", "/v1/stop", body, "Expect: 100-continue").removesuffix(body)
    assert talk(control, client, head) == [(100, None)]
    assert talk(control, client, body)[0][0] == 200


def test_a_client_that_stops_sending_is_still_answered(control: Plane, client: socket.socket) -> None:
    """A client may close its sending side right after its request."""
    client.sendall(STATUS)
    client.shutdown(socket.SHUT_WR)
    control.settle()
    assert answers(read_available(client))[0][0] == 200
    assert is_closed(client)


def test_a_large_answer_to_a_slow_reader(control: Plane, client: socket.socket, daemon: FakeDaemon) -> None:
    """An answer that does not fit the socket is sent as it is read; others are served meanwhile."""
    daemon.states = {f"service-{number}": "running" for number in range(10_000)}
    client.sendall(STATUS)
    control.settle()
    with control.connect() as other:
        assert talk(control, other, request("GET", "/healthz"))[0][0] == 200
    data = b""
    while chunk := read_available(client):
        data += chunk
        control.settle()
    [(status, body)] = answers(data)
    assert status == 200
    assert isinstance(body, dict)
    assert len(body["items"]) == 10_000


# --- waiting for the daemon ---


def test_an_answer_that_comes_later(control: Plane, client: socket.socket, daemon: FakeDaemon) -> None:
    """The daemon may answer later; until then there is no deadline, and requests sent ahead wait."""
    daemon.slow = True
    assert talk(control, client, request("POST", "/v1/services/web/stop") + STATUS) == []
    assert control.server.next_deadline_ns() is None
    [(ticket, ask)] = daemon.pending.items()
    control.server.answer(ticket, daemon.do(ask))
    control.settle()
    assert [status for status, _ in answers(read_available(client))] == [200, 200]
    control.server.answer(ticket, daemon.do(ask))  # a second answer has nowhere to go
    control.settle()
    assert read_available(client) == b""


def test_a_client_that_leaves_while_it_waits(control: Plane, daemon: FakeDaemon) -> None:
    """The daemon is told when nobody waits for its answer any more, and may answer all the same."""
    daemon.slow = True
    with control.connect() as leaving:
        talk(control, leaving, request("POST", "/v1/services/web/stop"))
        [ticket] = daemon.pending
    control.settle()
    assert daemon.gone == [ticket]
    control.server.answer(ticket, Answer(200, {}))
    assert control.server.next_deadline_ns() is None


def test_sending_on_while_waiting_costs_nothing(
    control: Plane, client: socket.socket, daemon: FakeDaemon
) -> None:
    """What a waiting client sends stays in its socket: it does not even end a poll."""
    daemon.slow = True
    talk(control, client, request("POST", "/v1/services/web/stop"))
    client.sendall(b"x" * 1000)
    assert control.turn() == 0


def test_who_waits_at_the_end_is_told(control: Plane, client: socket.socket, daemon: FakeDaemon) -> None:
    """A daemon that ends tells those who still wait, and closes every connection last."""
    daemon.slow = True
    talk(control, client, request("POST", "/v1/services/web/stop"))
    control.server.stop_listening()
    with pytest.raises(ConnectionRefusedError):
        control.connect()
    assert read_available(client) == b""
    control.server.close()
    assert answers(read_available(client))[0][0] == 503


def test_a_daemon_that_fails(control: Plane, client: socket.socket, daemon: FakeDaemon) -> None:
    """A failure of the daemon's is an answer; a bug of its is one too, and reaches the loop's log.

    Both have the form that the document gives to refusals.
    """
    jsonschema = pytest.importorskip("jsonschema", reason="needs openapi-spec-validator: make dev")
    components: Any = document()["components"]
    form = {"$ref": "#/components/schemas/error", "components": components}
    daemon.raising = ReaperdError("cannot do that", hint="do this")
    [(status, body)] = talk(control, client, STATUS)
    assert (status, body) == (
        500,
        {"error": {"code": "failed", "message": "cannot do that", "hint": "do this"}},
    )
    daemon.raising = ZeroDivisionError()
    client.sendall(STATUS)
    with pytest.raises(ZeroDivisionError):
        control.settle()
    [(status, bug)] = answers(read_available(client))
    assert status == 500
    for each in (body, bug):
        jsonschema.Draft202012Validator(form).validate(each)
    daemon.raising = None
    assert talk(control, client, STATUS)[0][0] == 200


# --- the bad ---


@pytest.mark.parametrize(
    "garbage",
    [
        b"\r\n\r\n\r\n\r\nx\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n",
    ],
)
def test_garbage_is_refused(control: Plane, client: socket.socket, garbage: bytes) -> None:
    """What is no HTTP is answered as such, and the connection ends."""
    [(status, body)] = talk(control, client, garbage)
    assert status in {400, 501}
    assert isinstance(body, dict)
    assert body["error"]["message"].startswith("cannot read this as HTTP: ")
    client.shutdown(socket.SHUT_WR)
    control.settle()
    assert is_closed(client)
    assert control.server.next_deadline_ns() is None


def test_too_large_a_head(control: Plane, client: socket.socket) -> None:
    """A head that does not end is refused once it is larger than one may be."""
    got = talk(control, client, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20_000)
    assert got[0][0] == 431


@pytest.mark.parametrize("size", [65 * 1024, 10**18])
def test_a_body_announced_too_large(control: Plane, client: socket.socket, size: int) -> None:
    """A body that is announced as too large is refused before it is sent."""
    head = f"POST /v1/stop HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"
    assert talk(control, client, head.encode())[0][0] == 413


def test_a_body_that_never_ends(control: Plane, client: socket.socket) -> None:
    """A chunked body is cut off at the limit, some more of it is swallowed, and then the connection ends."""
    client.sendall(request("POST", "/v1/stop", b"", "Transfer-Encoding: chunked"))
    client.setblocking(False)
    sent = 0
    while (taken := send_some(client, b"1000\r\n" + b"z" * 4096 + b"\r\n")) is not None:
        sent += taken
        control.turn()
        assert sent < 4 * 2**20
    assert b" 413 " in client.recv(4096)


def send_some(client: socket.socket, data: bytes) -> int | None:
    """Send what the socket takes; None once nobody is there."""
    try:
        return client.send(data)
    except BlockingIOError:
        return 0
    except (BrokenPipeError, ConnectionResetError):
        return None


def test_half_requests_are_parted_with(control: Plane, client: socket.socket, clock: Clock) -> None:
    """Half a request gets its time and no more, however often another byte of it comes."""
    started_ns = clock.now_ns
    control.settle()
    for _ in range(9):
        clock.now_ns += PATIENCE_NS // 10
        talk(control, client, b"G")
    assert control.server.next_deadline_ns() == started_ns + PATIENCE_NS
    clock.now_ns = started_ns + PATIENCE_NS
    control.turn()
    [(status, _)] = answers(read_available(client))
    assert status == 408
    assert is_closed(client)
    assert control.server.next_deadline_ns() is None
    assert control.server.census.refusals["timeout"] == 1


def test_an_idle_server_has_no_deadline(control: Plane) -> None:
    """With nobody connected nothing is due, and so it is after somebody was."""
    assert control.server.next_deadline_ns() is None
    with control.connect() as passing:
        talk(control, passing, STATUS)
        assert control.server.next_deadline_ns() is not None
    control.settle()
    assert control.server.next_deadline_ns() is None


@pytest.mark.parametrize(
    "data", [b"", b"GET /v1/serv", request("POST", "/v1/stop", b"{}" * 90)[:-3], STATUS, STATUS * 50]
)
def test_an_abrupt_end(control: Plane, data: bytes) -> None:
    """A client may vanish at any point, before or after it was accepted."""
    for turn_first in (False, True):
        with control.connect() as leaving:
            if turn_first:
                control.settle()
            leaving.sendall(data)
        control.settle()
        assert control.server.next_deadline_ns() is None


def test_a_hundred_clients_at_once(control: Plane) -> None:
    """Of a hundred clients at once, half with half a request, the others are served."""
    with ExitStack() as stack:
        clients = [stack.enter_context(control.connect()) for _ in range(100)]
        for index, each in enumerate(clients):
            each.sendall(STATUS if index % 2 else STATUS[:20])
        control.settle()
        for index, each in enumerate(clients):
            assert [status for status, _ in answers(read_available(each))] == ([200] if index % 2 else [])


def test_a_turn_takes_a_bounded_number_of_clients(control: Plane, clock: Clock) -> None:
    """However many knock at once, a turn lets in a few; and no more than fit at all."""
    with ExitStack() as stack:
        clients = [stack.enter_context(control.connect()) for _ in range(MAX_CLIENTS)]
        control.turn()
        assert len(control.server._clients) == ACCEPTS
        control.settle()
        clients += [stack.enter_context(control.connect()) for _ in range(10)]
        control.settle()
        assert len(control.server._clients) == MAX_CLIENTS
        clients[-1].sendall(STATUS)
        clock.now_ns += PRESSED_NS  # the idle ones make room for those at the door
        control.turn()
        control.settle()
        assert answers(read_available(clients[-1]))[0][0] == 200
        assert is_closed(clients[0])


class Heavy(FakeDaemon):
    """A daemon to which each answer is a quarter of what a turn may take."""

    def __init__(self, clock: Clock) -> None:
        super().__init__("web")
        self._clock = clock

    def do(self, ask: Ask) -> Answer:
        """Take time, and answer."""
        self._clock.now_ns += TURN_NS // 4
        return super().do(ask)


def test_a_turn_serves_for_a_bounded_time(tmp_path: Path, clock: Clock) -> None:
    """However many ask at once: who is left over is served in the next turns, and nobody is forgotten."""
    heavy = Heavy(clock)
    with plane(tmp_path, heavy, clock) as control, ExitStack() as stack:
        clients = [stack.enter_context(control.connect()) for _ in range(100)]
        control.settle()
        for each in clients:
            each.sendall(STATUS)
        served = []
        while len(heavy.asks) < len(clients):
            before = len(heavy.asks)
            control.turn()
            served.append(len(heavy.asks) - before)
        assert max(served) <= 5  # the one that goes beyond the time is served to its end
        assert min(served) >= 1
        control.settle()
        assert all(answers(read_available(each))[0][0] == 200 for each in clients)


def let_no_descriptor_be_left() -> list[object]:
    """Knock where no descriptor is left; return later events, the deadline, and the answer at last."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, plane(Path(folder), FakeDaemon("web"), clock) as made:
        with made.connect() as late:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            made.turn()
            seen: list[object] = [made.turn(), made.server.next_deadline_ns()]
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            clock.now_ns += PAUSE_NS
            made.turn()
            seen.append(talk(made, late, STATUS)[0][0])
        return seen


def test_no_descriptor_left() -> None:
    """Where no descriptor is left the listener rests, instead of ending every poll, and tries again."""
    assert call_in_process(let_no_descriptor_be_left) == [0, Clock().now_ns + PAUSE_NS, 200]


def test_a_source_that_failed(control: Plane, client: socket.socket, clock: Clock) -> None:
    """A client that the loop gives up is closed; the listener only rests."""
    control.settle()
    [fd] = control.server._clients
    control.server.failed(fd)
    assert is_closed(client)
    [listener] = control.server._listeners
    control.server.failed(listener)
    assert control.poller.source_of(listener) is None
    clock.now_ns += PAUSE_NS
    control.turn()
    assert control.poller.source_of(listener) is control.server


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=80),
            st.sampled_from([STATUS, STATUS[:30], b"\r\n", b"\r\n\r\n", b"Content-Length: 5\r\n", b"POST "]),
        ),
        max_size=6,
    )
)
def test_any_bytes(pieces: list[bytes]) -> None:
    """Whatever is sent, in whatever pieces, nothing is raised and the next client is served."""
    with tempfile.TemporaryDirectory() as folder, plane(Path(folder), FakeDaemon("web")) as made:
        with made.connect() as hostile:
            for piece in pieces:
                try:
                    hostile.sendall(piece)
                except (BrokenPipeError, ConnectionResetError):
                    break
                made.settle()
        with made.connect() as friend:
            assert talk(made, friend, STATUS)[0][0] == 200


def ask_as_another_user() -> list[object]:
    """Let user 65534 ask for a shutdown, through a file that anybody may use."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, plane(Path(folder), FakeDaemon("web")) as made:
        made.path.chmod(0o666)
        made.path.parent.chmod(0o755)
        reading, writing = os.pipe()

        def ask() -> None:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            with made.connect() as client:
                client.sendall(request("POST", "/v1/shutdown"))
                os.write(writing, client.recv(4096))

        with owned_child(ask):
            while not made.server._clients:
                made.turn(20_000_000_000)
            while made.server._clients:
                made.turn(20_000_000_000)
            return [len(made.daemon.asks), answers(os.read(reading, 4096))]


def test_another_user_is_refused() -> None:
    """A peer of another user may connect where the file's mode lets it, and is refused every verb."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    asks, [[status, body]] = call_in_process(ask_as_another_user)
    assert (asks, status) == (0, 403)
    assert "user 65534 has none" in body["error"]["message"]


def test_an_idle_server_holds_no_http() -> None:
    """Until the first client comes, neither h11 nor json is in memory."""
    program = (
        "import sys, tempfile, pathlib, time\n"
        "from reaperd.control.server import Server\n"
        "from reaperd.control.listen import listen\n"
        "from reaperd.loop.poller import Poller\n"
        "path = pathlib.Path(tempfile.mkdtemp()) / 's'\n"
        "Server(listen(path), Poller(), object(), time.monotonic_ns)\n"
        "path.unlink(); path.parent.rmdir()\n"
        "print(sorted({'h11', 'json', 'reaperd.control.requests'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, check=True, cwd=ROOT, env=unmeasured(os.environ))
    assert done.stdout == b"[]\n"
