"""Clients as they should not be, and the real daemon: what they cost is bounded, and others are served."""

import json
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from reaperd.control.census import MOST, MOST_OF_ONE, RESERVED
from reaperd.control.client import Client
from tests.support.control_plane import request
from tests.support.daemons import Running, daemon, service
from tests.support.hostile import STATUS, answer_of, ask, become, connect, crowd, memory_kib
from tests.support.processes import call_in_process, wait_until

WAIT = ["sleep", "1000"]
SERVED_S = 5.0  # a generous bound on a shared machine: served at all, and not after the hostile ones
GROWTH_KIB = 24 * 1024
MANY = "".join(service(f"s{number}", WAIT, oneshot=False, requires=["root"]) for number in range(150))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Running]]:
    """A daemon whose status is some 60 kB long."""
    folder = tmp_path_factory.mktemp("hostile")
    held = service("root", "exit 1", restart="never") + MANY
    with daemon(folder, held) as made:
        made.event("service.failed", service="root")
        made.ask("status")
        yield folder / "c.sock", made


def others_are_served(path: Path) -> None:
    """Ask as a good client would, and be answered in good time."""
    began = time.monotonic()
    assert ask(path, request("GET", "/healthz"))[0] == 200
    assert ask(path, request("GET", "/v1/services/s1"))[0] == 200
    assert time.monotonic() - began < SERVED_S


def test_a_hundred_clients_at_once(running: tuple[Path, Running]) -> None:
    """Each gets its whole answer."""
    path, made = running
    before = memory_kib(made.pid)
    with crowd(path, 100, STATUS) as clients:
        for client in clients:
            status, body = answer_of(client)
            assert (status, len(body["items"])) == (200, 151)
    assert memory_kib(made.pid) - before < GROWTH_KIB
    others_are_served(path)


def test_slow_readers(running: tuple[Path, Running]) -> None:
    """Who asks again and again and reads nothing fills its socket, and no more than one answer of memory."""
    path, made = running
    before = memory_kib(made.pid)
    with crowd(path, 50, STATUS * 20):
        others_are_served(path)
        wait_until(lambda: len(made.ask("status")["items"]) == 151, "an answer beside them")
        assert memory_kib(made.pid) - before < GROWTH_KIB
        others_are_served(path)


def test_half_requests(running: tuple[Path, Running]) -> None:
    """They are waited for as long as there is room, then told that they took too long."""
    path, _ = running
    with crowd(path, 60, STATUS[:25]), connect(path, STATUS[:25]) as half:
        others_are_served(path)
        half.settimeout(30)
        status, body = answer_of(half)
        assert (status, body["error"]["code"]) == (408, "timeout")
        assert half.recv(1) == b""


def test_garbage(running: tuple[Path, Running]) -> None:
    """It is refused at once, whatever it is."""
    path, made = running
    before = memory_kib(made.pid)
    for data in (os.urandom(100_000), b"\0" * 100_000, b"GET " + b"x" * 100_000, b"\r\n" * 50_000):
        with crowd(path, 10, b"") as clients:
            for client in clients:
                with suppress(BrokenPipeError, ConnectionResetError):
                    client.sendall(data)
            others_are_served(path)
    assert memory_kib(made.pid) - before < GROWTH_KIB


def test_huge_bodies(running: tuple[Path, Running]) -> None:
    """Neither one that is announced nor one that never ends is taken in."""
    path, made = running
    before = memory_kib(made.pid)
    announced = b"POST /v1/stop HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000000\r\n\r\n"
    chunked = b"POST /v1/stop HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with crowd(path, 20, announced) as clients, crowd(path, 20, chunked) as others:
        assert {answer_of(client)[0] for client in clients} == {413}
        for client in others:
            with suppress(BrokenPipeError, ConnectionResetError):
                for _ in range(64):
                    client.sendall(b"10000\r\n" + b"z" * 65536 + b"\r\n")
        others_are_served(path)
    assert memory_kib(made.pid) - before < GROWTH_KIB


def test_an_abrupt_end_in_the_middle_of_a_stream(running: tuple[Path, Running]) -> None:
    """Of many at once: the daemon drops them and goes on; those who stay are told all."""
    path, made = running
    follow = request("GET", "/v1/events?follow&after=0")
    with connect(path, follow) as stays:
        for _ in range(3):
            with crowd(path, 30, follow) as clients:
                for client in clients:
                    assert client.recv(1000)
        others_are_served(path)
        wait_until(lambda: clients_of(made) <= 2, "the daemon to have parted with those who left")
        body = b'{"names": ["nobody"], "signal": "WINCH"}'
        assert ask(path, request("POST", "/v1/signal", body))[0] == 404
        assert stays.recv(1000)


def test_who_takes_nothing_has_to_make_room(running: tuple[Path, Running]) -> None:
    """Where others are kept out, a client that takes none of its answers is parted with: told and counted."""
    path, made = running
    before = dropped_of(path)
    with connect(path, STATUS * 20), crowd(path, MOST - RESERVED, b""):
        dropped = made.event("control.dropped", nth=len(made.events("control.dropped")) + 1)
        assert dropped["client"] == f"user {os.geteuid()}"
        assert dropped["unsent"] >= 0  # what the kernel holds for it is not counted
    assert dropped_of(path) > before
    others_are_served(path)


def dropped_of(path: Path) -> int:
    """Return how many were parted with for taking nothing, as monitoring sees it."""
    text = Client(path).text("metrics")
    found = re.search(r"^reaperd_control_dropped_clients_total (\d+)$", text, re.MULTILINE)
    assert found
    return int(found[1])


def clients_of(made: Running) -> int:
    """Return how many sockets of clients the daemon has open, besides the one that asks."""
    return sum(each.startswith("socket:") for each in made.fds()) - 2


def test_an_orderly_end_loses_no_answer(tmp_path: Path) -> None:
    """A large answer that is on its way when the daemon ends is sent to who takes it."""
    held = service("root", "exit 1", restart="never") + MANY * 1
    with daemon(tmp_path, held) as made, ExitStack() as stack:
        made.event("service.failed", service="root")
        clients = [stack.enter_context(closing(connect(tmp_path / "c.sock"))) for _ in range(10)]
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.sendall(STATUS * 4)
        assert ask(tmp_path / "c.sock", request("GET", "/healthz"))[0] == 200
        made.process.send_signal(15)
        made.event("daemon.stopping")
        for client in clients:
            status, body = answer_of(client)
            assert (status, len(body["items"])) == (200, 151)


def hold_as(folder: str, uid: int) -> list[object]:
    """Connect as often as one may, as somebody; return how many got in, and what the others were told."""
    become(uid, uid, [])
    path = Path(folder) / "c.sock"
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(path)) for _ in range(MOST_OF_ONE + 10)]
        told = []
        for client in clients:
            with suppress(OSError):
                client.sendall(request("GET", "/healthz"))
            told.append(answer_of(client)[0])
        return [told.count(200), told.count(503), ask_anew(path)]


def ask_anew(path: Path) -> int:
    """Return the status for one client more."""
    with connect(path) as client:
        with suppress(OSError):
            client.sendall(request("GET", "/healthz"))
        return answer_of(client)[0]


def test_nobody_keeps_the_others_out() -> None:
    """One user has so many connections and no more; root still gets in, and the refusals are counted."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    assert MOST_OF_ONE * 3 < MOST - RESERVED
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        folder = Path(name)
        with daemon(folder, 'control = { read = ["61001"] }\n' + service("web", WAIT)) as made:
            assert call_in_process(hold_as, name, 61001) == [MOST_OF_ONE, 10, 503]
            assert ask(folder / "c.sock", request("GET", "/healthz"))[0] == 200
            refused = made.event("control.refused")
            assert (refused["client"], refused["reason"]) == ("user 61001", "full")
            assert json.dumps(ask(folder / "c.sock", STATUS)[1])
