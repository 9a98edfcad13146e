"""What services write to the daemon's own output, to the journal and to syslog."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from tests.support.daemons import DAEMON, Running, daemon, service
from tests.support.processes import wait_readable, wait_until


def out(running: Running) -> BinaryIO:
    """Return the daemon's standard output."""
    assert running.process.stdout is not None
    return cast("BinaryIO", running.process.stdout)


def once(name: str, script: str, to: str, **keys: object) -> str:
    """Return a service that writes and ends by itself."""
    return service(name, script, oneshot=True, stdout=to, stderr=to, **keys)


def test_lines_of_many_are_told_by_their_names(tmp_path: Path) -> None:
    """Each line is whole and has the name of its service; none is missing."""
    tables = [once(f"s{n}", "seq 20000; printf no-end", "prefix") for n in range(5)]
    with daemon(tmp_path, "\n".join(tables), stdout=subprocess.PIPE) as running:
        lines = [out(running).readline() for _ in range(5 * 20001)]
    for number in range(5):
        head = f"s{number} | ".encode()
        own = [line.removeprefix(head) for line in lines if line.startswith(head)]
        assert own == [*(b"%d\n" % each for each in range(1, 20001)), b"no-end\n"]


def test_lines_as_json(tmp_path: Path) -> None:
    """With their service and stream, on the standard output alone."""
    text = once("web", "echo out; echo err >&2", "json")
    with daemon(tmp_path, text, stdout=subprocess.PIPE) as running:
        found = [json.loads(out(running).readline()) for _ in range(2)]
    told = {(each["service"], each["stream"], each["message"]) for each in found}
    assert told == {("web", "stdout", "out"), ("web", "stderr", "err")}


def test_a_line_is_waited_for_wherever_it_goes(tmp_path: Path) -> None:
    """Readiness by a line reads the same stream that is passed on."""
    text = service("web", "echo up now; exec sleep 1000", ready={"log": "^up"}, stdout="prefix")
    with daemon(tmp_path, text, stdout=subprocess.PIPE) as running:
        running.event("service.running")
        assert out(running).readline() == b"web | up now\n"


def test_a_slow_reader_loses_nothing_and_does_not_stop_the_daemon(tmp_path: Path) -> None:
    """The service waits for him; the daemon answers meanwhile."""
    text = service("web", "seq 300000; exec sleep 1000", stdout="prefix")
    with daemon(tmp_path, text, stdout=subprocess.PIPE) as running:
        running.event("service.running")
        wait_readable(out(running).fileno())
        assert running.row("web")["state"] == "running"
        for number in range(1, 300_001):
            assert out(running).readline() == b"web | %d\n" % number
        assert running.row("web")["dropped"] == 0


def test_a_slow_reader_gets_the_last_words(tmp_path: Path) -> None:
    """What the daemon still holds when it is told to end is read to its end, within a bounded time."""
    text = once("web", "seq 40000", "prefix")
    with daemon(tmp_path, text, stdout=subprocess.PIPE) as running:
        running.event("service.running")
        for number in range(1, 10_001):
            assert out(running).readline() == b"web | %d\n" % number
        running.process.send_signal(signal.SIGTERM)
        rest = out(running).read().splitlines()
        assert rest == [b"web | %d" % number for number in range(10_001, 10_001 + len(rest))]
        assert running.end() == 0
        assert not running.events("output.lost")


def test_a_reader_who_has_gone_stops_nobody(tmp_path: Path) -> None:
    """Lines are counted, the service goes on, and nobody wakes for it."""
    text = service("web", "seq 1000000; exec sleep 1000", stdout="json")
    with daemon(tmp_path, text, stdout=subprocess.PIPE) as running:
        out(running).close()
        assert running.event("output.failing")["problem"] == "Broken pipe"
        running.event("service.running")
        wait_until(lambda: running.row("web")["dropped"] > 900_000, "the service to have written all", 60)
        running.ask("stop", "web")
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(20)


# The journal's and syslog's sockets, as a test's own, in a mount namespace.
NAMESPACE = """
mount -t tmpfs run /run && mkdir -p /run/systemd/journal && ln -s "$0/journal" /run/systemd/journal/socket &&
mkdir -p "$0/dev" && mount -t tmpfs dev "$0/dev" && for each in null urandom random zero; do
: >"$0/dev/$each" && mount --bind "/dev/$each" "$0/dev/$each" || exit; done &&
ln -s "$0/syslog" "$0/dev/log" && mount --rbind "$0/dev" /dev && exec "$@"
"""


@pytest.mark.parametrize(("stream", "number"), [("stdout", 1), ("stderr", 2)])
@pytest.mark.parametrize("to", ["journal", "syslog"])
def test_lines_reach_the_journal_and_syslog(tmp_path: Path, to: str, stream: str, number: int) -> None:
    """One that begins late gets what was held for it, in order."""
    words = ("unshare", "-m" if os.geteuid() == 0 else "-Urm", "sh", "-c", NAMESPACE, str(tmp_path))
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no mount namespace with a /dev of its own")
    script = f"exec >&{number}; echo '<4>one'; echo two; exec sleep 1000"
    text = service("web", script, **{stream: to})
    with (
        daemon(tmp_path, text, program=(*words, *DAEMON)) as running,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
    ):
        running.event("output.failing", to=f"{to}:web:{stream}")
        sock.settimeout(20)
        sock.bind(str(tmp_path / to))
        first, second = sock.recv(65536), sock.recv(65536)
        assert running.event("output.recovered")["dropped_lines"] == 0
    if to == "journal":
        assert first.startswith(b"MESSAGE=one\nPRIORITY=4\nSYSLOG_IDENTIFIER=web\n")
        assert second.startswith(b"MESSAGE=two\nPRIORITY=6\n")
    else:
        assert (first.split()[0][:4], first.split(b": ")[-1]) == (b"<28>", b"one")
        assert second.endswith(b" web: two")
