"""Many datagrams by one call, against real netlink sockets."""

import os
import socket
from errno import EAGAIN, EBADF

import pytest

from reaperd.kernel.recvmmsg import Rooms

USERSOCK = 2  # NETLINK_USERSOCK: between programs, as far as the kernel goes
SIZE = 64


def pair() -> tuple[socket.socket, socket.socket, tuple[int, int]]:
    """Return two netlink sockets, and the address of the first."""
    reading = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, USERSOCK)
    writing = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, USERSOCK)
    reading.bind((0, 0))
    writing.bind((0, 0))
    return reading, writing, reading.getsockname()


def test_what_another_program_sends_is_left_out() -> None:
    """It fills a room and does not pass for the kernel's, which alone has port 0: netlink(7)."""
    reading, writing, there = pair()
    with reading, writing:
        rooms = Rooms(4, SIZE)
        for _ in range(3):
            writing.sendto(bytes(SIZE), there)
        assert rooms.receive(reading.fileno()) == 3
        assert bytes(rooms.of_the_kernel(3)) == b""


def test_no_more_come_than_there_is_room_for() -> None:
    """The rest stays for the next call, which may begin anywhere."""
    reading, writing, there = pair()
    with reading, writing:
        rooms = Rooms(4, SIZE)
        for _ in range(6):
            writing.sendto(bytes(SIZE), there)
        assert rooms.receive(reading.fileno()) == 4
        assert rooms.receive(reading.fileno(), begin=1) == 2
        with pytest.raises(BlockingIOError) as caught:
            rooms.receive(reading.fileno())
        assert caught.value.errno == EAGAIN


def test_a_refusal_is_an_error_of_the_system() -> None:
    """With its number and text, as from the socket module."""
    with pytest.raises(OSError, match=os.strerror(EBADF)) as caught:
        Rooms(1, SIZE).receive(-1)
    assert caught.value.errno == EBADF


def answered(*sizes: int) -> bytes:
    """Return what the kernel itself answers to requests of nothing, cut to rooms of so many bytes."""
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK  # the answer is there when the request has been sent
    with socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE) as asking:
        asking.bind((0, 0))
        found = []
        for size in sizes:
            # struct nlmsghdr: its length, RTM_GETLINK, NLM_F_REQUEST | NLM_F_ACK, a number, a port; no body
            request = (16).to_bytes(4, "little") + b"\xff\x7f" + b"\x05\x00" + bytes(8)
            asking.send(request)
            rooms = Rooms(2, size)
            assert rooms.receive(asking.fileno()) == 1
            found.append(bytes(rooms.of_the_kernel(1)))
        return b"".join(found)


def test_what_the_kernel_sends_is_taken_where_it_fills_a_room() -> None:
    """Its answer of 36 bytes: an error, and the request again. A room that is larger was not filled."""
    assert len(answered(36)) == 36
    assert answered(64) == b""
