import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from uuid import uuid4

import pytest

from reaperd.errors import KernelError
from reaperd.kernel import datagrams, pidfd


@pytest.fixture
def name() -> bytes:
    """An abstract name of this test's own."""
    return f"reaperd-test/{uuid4().hex}".encode()


@pytest.fixture
def receiver(name: bytes) -> Iterator[socket.socket]:
    """A receiver of that name."""
    with datagrams.open_receiver(name) as made:
        yield made


def send(name: bytes, data: bytes, fds: list[int] | None = None) -> None:
    """Send a message, with descriptors, as this process."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendmsg([data], rights, 0, b"\0" + name)


def test_the_kernel_says_who_sent_a_message(receiver: socket.socket, name: bytes) -> None:
    """Process and user are the sender's, whatever it says; with a pidfd where the kernel gives one."""
    send(name, b"hello")
    message = datagrams.receive(receiver)
    assert message is not None
    try:
        assert (message.data, message.cut, message.fds) == (b"hello", False, ())
        assert (message.pid, message.uid) == (os.getpid(), os.getuid())
        assert message.pidfd is None or pidfd.send(message.pidfd, 0)
    finally:
        message.close()


def test_an_empty_socket_is_an_answer(receiver: socket.socket) -> None:
    """Where there is no message there is None, at once."""
    assert datagrams.receive(receiver) is None


def test_a_long_message_is_cut_and_marked(receiver: socket.socket, name: bytes) -> None:
    """What is longer than we read is known to be incomplete; what just fits is whole."""
    for length, cut in ((datagrams.LONGEST, False), (datagrams.LONGEST + 1, True)):
        send(name, b"x" * length)
        message = datagrams.receive(receiver)
        assert message is not None
        message.close()
        assert (len(message.data), message.cut) == (datagrams.LONGEST, cut)


@pytest.mark.parametrize("count", [1, 40, 253])
def test_every_passed_descriptor_can_be_closed(receiver: socket.socket, name: bytes, count: int) -> None:
    """As many as can be sent at once arrive, close-on-exec, and `close` closes each."""
    ours, theirs = os.pipe()
    send(name, b"", [theirs] * count)
    os.close(theirs)
    message = datagrams.receive(receiver)
    assert message is not None
    assert len(message.fds) == count
    assert not any(map(os.get_inheritable, message.fds))
    message.close()
    assert os.read(ours, 1) == b""
    os.close(ours)


def test_a_sender_that_is_gone_still_has_its_name(receiver: socket.socket, name: bytes) -> None:
    """The credentials of a message outlive its sender; its pidfd, if any, says that it is gone."""
    address = b"\0" + name
    program = f"import socket; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', {address!r})"
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", program])
    assert process.wait() == 0
    message = datagrams.receive(receiver)
    assert message is not None
    try:
        assert message.pid == process.pid
        assert message.pidfd is None or not pidfd.send(message.pidfd, 0)
    finally:
        message.close()


def test_a_name_is_taken_once(receiver: socket.socket, name: bytes) -> None:
    """A second receiver of the same name is an error, and leaves nothing open."""
    assert receiver.fileno() >= 0
    with pytest.raises(KernelError, match="Address already in use"):
        datagrams.open_receiver(name)
