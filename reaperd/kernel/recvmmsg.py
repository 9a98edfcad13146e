"""Many datagrams by one system call: recvmmsg(2), which Python's socket module lacks.

A call that gets one datagram each costs more than what is in a small one; the rooms for all of them are laid
out once.
"""

import ctypes
import os
from typing import Final

from reaperd.kernel.libc import declare, last_errno

_NETLINK_ADDRESS_WORDS: Final = 3  # struct sockaddr_nl, of which the second word is the sender's port
_WORD: Final = 4


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iov_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("header", _Msghdr), ("length", ctypes.c_uint32))


class Rooms:
    """Room for `count` netlink datagrams of `size` bytes each; longer ones are cut."""

    __slots__ = (
        "_addresses",
        "_data",
        "_headers",
        "_iovecs",
        "_lengths",
        "_ports",
        "_receive",
        "_size",
        "count",
    )

    def __init__(self, count: int, size: int) -> None:
        """Lay out the rooms.

        Raises:
            AttributeError: the C library has no recvmmsg.
        """
        self.count = count
        self._size = size
        self._data = ctypes.create_string_buffer(count * size)
        self._addresses = (ctypes.c_uint32 * (_NETLINK_ADDRESS_WORDS * count))()
        self._iovecs = (_Iovec * count)()
        self._headers = (_Mmsghdr * count)()
        address_bytes = _NETLINK_ADDRESS_WORDS * _WORD
        for place, (iovec, each) in enumerate(zip(self._iovecs, self._headers, strict=True)):
            iovec.base, iovec.length = ctypes.addressof(self._data) + place * size, size
            each.header.name = ctypes.addressof(self._addresses) + place * address_bytes
            each.header.name_length = address_bytes  # the kernel leaves it so: all its addresses are as long
            each.header.iov, each.header.iov_length = ctypes.addressof(iovec), 1
        words = memoryview(self._headers).cast("B").cast("I")
        self._lengths = words[_Mmsghdr.length.offset // _WORD :: ctypes.sizeof(_Mmsghdr) // _WORD]
        self._ports = memoryview(self._addresses).cast("B").cast("I")[1::_NETLINK_ADDRESS_WORDS]
        self._receive = declare(
            "recvmmsg", ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p
        )

    def receive(self, fd: int, begin: int = 0) -> int:
        """Fill the rooms from `begin` on with what waits, and return how many; the socket does not block.

        Fewer than there are rooms means that the socket is empty, or that the next call tells an error.

        Raises:
            OSError: as recvmsg(2), EAGAIN included.
        """
        first = ctypes.addressof(self._headers) + begin * ctypes.sizeof(_Mmsghdr)
        got = self._receive(fd, first, self.count - begin, 0, None)
        if got < 0:
            code = last_errno()
            raise OSError(code, os.strerror(code))
        return got

    def of_the_kernel(self, count: int) -> memoryview | bytes:
        """Return the first `count` datagrams, one after the other, but for those that are short or forged.

        Only the kernel itself has port 0.
        """
        data, size = memoryview(self._data)[: count * self._size], self._size
        lengths, ports = self._lengths[:count].tolist(), self._ports[:count].tolist()
        if lengths.count(size) == count and not any(ports):
            return data
        return b"".join(
            data[place * size : (place + 1) * size]
            for place in range(count)
            if lengths[place] == size and not ports[place]
        )
