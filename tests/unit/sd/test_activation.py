import os
import socket
from pathlib import Path

import pytest

from reaperd.errors import ReaperdError
from reaperd.sd.activation import Passed, control_socket, passed


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, ()),
        ({"LISTEN_FDS": "1"}, ()),
        ({"LISTEN_PID": "8", "LISTEN_FDS": "1"}, ()),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "0"}, ()),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "x"}, ()),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "9" * 5000}, ()),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "1"}, (Passed(3, ""),)),
        (
            {"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a"},
            (Passed(3, "a"), Passed(4, "")),
        ),
    ],
)
def test_what_was_passed_is_read_without_trust(
    environment: dict[str, str], found: tuple[Passed, ...]
) -> None:
    """Only what is meant for this process; a name for each, or none."""
    assert passed(environment, 7) == found


def _listener(path: Path) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.bind(str(path))
        made.listen()
        return made.detach()


def test_the_one_that_is_named_is_taken_and_the_rest_closed(tmp_path: Path) -> None:
    """Nobody would ever serve the others."""
    other, ours = _listener(tmp_path / "other"), _listener(tmp_path / "c")
    found = control_socket((Passed(other, "web"), Passed(ours, "control")), tmp_path / "c")
    assert found is not None
    with found:
        assert found.fileno() == ours
        assert not found.getblocking()
        assert not found.get_inheritable()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(other)


def test_another_path_than_the_configured_one_is_refused(tmp_path: Path) -> None:
    """Clients would look for the daemon where it is not."""
    with pytest.raises(ReaperdError, match=r"the configuration says .*/elsewhere"):
        control_socket((Passed(_listener(tmp_path / "c"), ""),), tmp_path / "elsewhere")


def test_a_path_by_another_name_is_the_same(tmp_path: Path) -> None:
    """As /var/run is a link to /run."""
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    found = control_socket((Passed(_listener(tmp_path / "run/c"), ""),), tmp_path / "link/c")
    assert found is not None
    found.close()


@pytest.mark.parametrize("kind", ["pipe", "datagrams", "tcp", "closed"])
def test_what_is_no_listening_unix_socket_is_refused(kind: str, tmp_path: Path) -> None:
    """With what to write in the socket unit."""
    match kind:
        case "pipe":
            fd, other = os.pipe()
            os.close(other)
        case "datagrams":
            fd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).detach()
        case "tcp":
            fd = socket.create_server(("127.0.0.1", 0)).detach()
        case _:
            fd = os.dup(2)
            os.close(fd)
    with pytest.raises(ReaperdError, match="no listening stream socket") as caught:
        control_socket((Passed(fd, "control"),), tmp_path / "c")
    assert "ListenStream=" in (caught.value.hint or "")
    if kind != "closed":
        os.close(fd)
