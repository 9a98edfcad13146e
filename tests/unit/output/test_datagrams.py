"""Lines as datagrams, to real sockets that come and go."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reaperd.output.datagrams import JournalOutlet, SyslogOutlet
from reaperd.output.outlet import Outlet


class Deaf:
    """Listens to no outlet. Implements `output.outlet.Desk`."""

    def failing(self, outlet: Outlet, problem: str) -> None:
        """Do nothing."""

    def recovered(self, outlet: Outlet, dropped: int) -> None:
        """Do nothing."""

    def retry(self, outlet: Outlet, after_ns: int) -> None:
        """Do nothing."""


@contextmanager
def server(path: Path) -> Iterator[socket.socket]:
    """Listen for datagrams."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        path.unlink(missing_ok=True)
        sock.bind(str(path))
        sock.settimeout(10)
        yield sock


def entry(datagram: bytes) -> dict[str, bytes]:
    """Read an entry as the journal does, where no field holds a line break."""
    assert datagram.endswith(b"\n")
    pairs = [line.split(b"=", 1) for line in datagram[:-1].split(b"\n")]
    return {name.decode(): value for name, value in pairs}


def test_a_line_is_an_entry_of_the_journal(tmp_path: Path) -> None:
    """With its service, its stream and the priority that it begins with."""
    path = tmp_path / "s"
    with server(path) as journal:
        outlet = JournalOutlet("web:1", "stderr", Deaf(), str(path))
        assert outlet.put(b"<3>bad = \xff\r\nfine\n") == 0
        first, second = entry(journal.recv(65536)), entry(journal.recv(65536))
        outlet.close()
    assert first == {
        "MESSAGE": b"bad = \xff\r",
        "PRIORITY": b"3",
        "SYSLOG_IDENTIFIER": b"web:1",
        "SYSLOG_FACILITY": b"3",
        "REAPERD_SERVICE": b"web:1",
        "REAPERD_STREAM": b"stderr",
    }
    assert (second["MESSAGE"], second["PRIORITY"]) == (b"fine", b"6")


def test_a_line_is_a_message_to_syslog(tmp_path: Path) -> None:
    """As RFC 3164 has it, with the service as tag."""
    path = tmp_path / "s"
    with server(path) as syslog:
        outlet = SyslogOutlet("web:1", "stdout", Deaf(), str(path))
        outlet.put(b"<4>careful\0\n")
        assert re.fullmatch(rb"<28>\w{3} [ \d]\d \d\d:\d\d:\d\d web-1: careful ", syslog.recv(65536))
        outlet.close()


def test_lines_wait_for_a_journal_that_is_not_there(tmp_path: Path) -> None:
    """Nor is one that was restarted taken for the old one."""
    path = tmp_path / "s"
    outlet = JournalOutlet("web", "stdout", Deaf(), str(path))
    outlet.put(b"one\n")
    problems = [outlet.problem]
    for expected in (b"one", b"two"):
        with server(path) as journal:
            outlet.flush()
            problems.append(outlet.problem)
            assert entry(journal.recv(65536))["MESSAGE"] == expected
        outlet.put(b"two\n")
        problems.append(outlet.problem)
    assert problems == ["No such file or directory", *[None, "Connection refused"] * 2]
    assert outlet.close() == 1


def test_a_journal_that_is_slow_loses_nothing(tmp_path: Path) -> None:
    """The outlet is full until the journal has read."""
    path = tmp_path / "s"
    with server(path) as journal:
        outlet = JournalOutlet("web", "stdout", Deaf(), str(path))
        lines = [b"%d" % number for number in range(5000)]
        assert outlet.put(b"".join(line + b"\n" for line in lines)) == 0
        found: list[bytes] = []
        while len(found) < len(lines):
            found.append(entry(journal.recv(65536))["MESSAGE"])
            if outlet.full and len(found) % 5 == 0:
                outlet.flush()
        outlet.close()
    assert found == lines


def test_a_line_for_which_the_socket_has_no_room_is_cut_and_marked(tmp_path: Path) -> None:
    """It is one line still."""
    path = tmp_path / "s"
    with server(path) as journal:
        outlet = JournalOutlet("web", "stdout", Deaf(), str(path))
        outlet.put(b"x" * 1_000_000 + b"\nnext\n")
        assert entry(journal.recv(65536))["MESSAGE"] == b"x" * 2048 + b" [reaperd: 997952 bytes cut]"
        assert entry(journal.recv(65536))["MESSAGE"] == b"next"
        outlet.close()
