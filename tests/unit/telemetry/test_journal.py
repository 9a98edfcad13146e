import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from reaperd.telemetry.journal import MOST, Journal, entry
from reaperd.telemetry.logs import Format, open_log


def fields(data: bytes) -> dict[str, str]:
    """Return what the journal would read: systemd's native protocol, written anew from its description."""
    found = {}
    while data:
        line, _, rest = data.partition(b"\n")
        if b"=" in line:
            name, _, value = line.partition(b"=")
        else:
            size = int.from_bytes(rest[:8], "little")
            name, value, rest = line, rest[8 : 8 + size], rest[9 + size :]
        found[name.decode()] = value.decode()
        data = rest
    return found


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[socket.socket]:
    """Yield a socket in the journal's place."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "journal"))
        made.settimeout(60)
        yield made


def test_an_entry_has_a_field_for_each_key() -> None:
    """What is absent has none; the message is for people."""
    found = fields(
        entry(3, "service.spawn_failed", {"service": "web", "errno": 2, "hint": None, "stage": ""})
    )
    assert found == {
        "MESSAGE": "service.spawn_failed service=web errno=2 stage=''",
        "PRIORITY": "3",
        "SYSLOG_IDENTIFIER": "reaperd",
        "REAPERD_EVENT": "service.spawn_failed",
        "REAPERD_SERVICE": "web",
        "REAPERD_ERRNO": "2",
        "REAPERD_STAGE": "",
        "ERRNO": "2",
    }


def test_a_hostile_value_makes_no_field_of_its_own() -> None:
    """What processes call themselves may hold lines, and things that a terminal obeys."""
    found = fields(entry(6, "orphan.adopted", {"name": "x\nPRIORITY=0\n\x1b[2J", "pid": 7}))
    assert found["PRIORITY"] == "6"
    assert found["REAPERD_NAME"] == "x\nPRIORITY=0\n\x1b[2J"
    assert found["MESSAGE"].isprintable()


def test_a_long_value_is_cut() -> None:
    """A datagram has an end."""
    assert (
        len(fields(entry(3, "daemon.turn_failed", {"traceback": "x" * 10**6}))["REAPERD_TRACEBACK"]) == MOST
    )


def test_the_log_goes_there_where_the_journal_reads_it(
    receiver: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By JOURNAL_STREAM and a journal that is there; nothing is written to the descriptor then."""
    path = tmp_path / "log"
    with path.open("w") as file:
        found = path.stat()
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        log = open_log(Format.AUTO, "warning", file.fileno(), address=str(tmp_path / "journal"))
        log("service.stopped", service="web")
        log("service.killing", service="web", pid=7)
    sent = fields(receiver.recv(65536))
    assert (sent["REAPERD_EVENT"], sent["PRIORITY"], sent["REAPERD_PID"]) == ("service.killing", "4", "7")
    assert path.read_text() == ""


def test_a_journal_that_is_full_or_gone_costs_entries_and_nothing_else(
    receiver: socket.socket, tmp_path: Path
) -> None:
    """They are counted until one gets through."""
    journal = Journal(str(tmp_path / "journal"))
    while not journal.dropped:
        journal.write(b"MESSAGE=x\n")
    journal.write(b"MESSAGE=y\n")
    assert journal.dropped == 2
    receiver.recv(100)
    journal.write(b"MESSAGE=z\n")
    assert journal.dropped == 0
    receiver.close()
    journal.write(b"MESSAGE=z\n")
    assert journal.dropped == 1
