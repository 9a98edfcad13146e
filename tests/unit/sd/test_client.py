import socket
from contextlib import closing
from pathlib import Path

import pytest

from reaperd.sd.client import Asked, Manager

PID = 1234


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, None),
        ({"NOTIFY_SOCKET": ""}, None),
        ({"NOTIFY_SOCKET": "relative"}, None),
        ({"NOTIFY_SOCKET": "vsock:2:9999"}, None),
        ({"NOTIFY_SOCKET": "/run/n"}, Asked("/run/n", None)),
        ({"NOTIFY_SOCKET": "@n"}, Asked("@n", None)),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "2000"}, Asked("/run/n", 2_000_000)),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "7", "WATCHDOG_PID": "1234"}, Asked("/run/n", 7000)),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "7", "WATCHDOG_PID": "1"}, Asked("/run/n", None)),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "0"}, Asked("/run/n", None)),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "-3"}, Asked("/run/n", None)),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "9" * 5000}, Asked("/run/n", None)),
    ],
)
def test_what_is_asked_is_read_without_trust(environment: dict[str, str], asked: Asked | None) -> None:
    """A watchdog counts only for the process that it names, if it names one; nonsense is no wish."""
    assert Asked.of(environment, PID) == asked


@pytest.mark.parametrize("abstract", [False, True])
def test_a_message_is_one_datagram(abstract: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter
    """To a path and to an abstract name alike."""
    name = f"@{tmp_path.name}-client" if abstract else str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(name.replace("@", "\0", 1))
        with closing(Manager(name)) as manager:
            assert manager.tell("READY=1\nSTATUS=größer")
        assert receiver.recv(100).decode() == "READY=1\nSTATUS=größer"


def test_a_busy_manager_is_not_waited_for(tmp_path: Path) -> None:
    """Its queue is full: the message is not sent, and whoever says it is told so."""
    name = str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(name)
        with closing(Manager(name)) as manager:
            while manager.tell("STATUS=x"):
                pass
            receiver.recv(100)
            assert manager.tell("STATUS=x")


def test_a_manager_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Unlike one that is busy."""
    with closing(Manager(str(tmp_path / "n"))) as manager, pytest.raises(FileNotFoundError):
        manager.tell("READY=1")
