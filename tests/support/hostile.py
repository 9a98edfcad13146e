"""Clients of the control socket as they should not be, and a look at what they cost the daemon."""

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from tests.support.control_plane import request
from tests.support.processes import WITHIN_S

STATUS: Final = request("GET", "/v1/services")


def connect(path: Path, data: bytes = b"") -> socket.socket:
    """Return a client that has sent `data`."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(WITHIN_S)
    try:
        client.connect(str(path))
        client.sendall(data)
    except BaseException:
        client.close()
        raise
    return client


@contextmanager
def crowd(path: Path, count: int, data: bytes) -> Iterator[list[socket.socket]]:
    """Yield so many clients, each of which has sent `data`."""
    with ExitStack() as stack:
        yield [stack.enter_context(connect(path, data)) for _ in range(count)]


def answer_of(client: socket.socket) -> tuple[int, Any]:
    """Return status and body of the one answer that comes and says its length; text where it is no JSON."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = client.recv(65536)
        assert chunk, data
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    assert length, head
    while len(body) < int(length[1]):
        chunk = client.recv(65536)
        assert chunk, "it ended within its answer"
        body += chunk
    text = body[: int(length[1])].decode()
    is_json = b"application/json" in head.lower()
    return int(head.split()[1]), json.loads(text) if is_json else text


def ask(path: Path, data: bytes) -> tuple[int, Any]:
    """Return status and body of the answer to one request."""
    with connect(path, data) as client:
        return answer_of(client)


def memory_kib(pid: int) -> int:
    """Return the memory that is a process's own: VmData and the like would count what is not there."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"Private_Dirty:\s+(\d+)", text)
    assert found
    return int(found[1])


def longest_answer_s(path: Path, for_s: float) -> float:
    """Return how long the slowest of many requests took, asked for so long one after the other."""
    slowest, until = 0.0, time.monotonic() + for_s
    while time.monotonic() < until:
        began = time.monotonic()
        status, _ = ask(path, request("GET", "/healthz"))
        assert status == 200
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def become(uid: int, gid: int, groups: list[int]) -> None:
    """Become a user, for good."""
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
