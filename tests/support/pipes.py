"""Descriptors for the length of a test."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def owned_pipe() -> Iterator[tuple[int, int]]:
    """Yield the read and the write end of a pipe, and close what the test has left open of it."""
    read_fd, write_fd = os.pipe()
    files = {fd: os.fstat(fd) for fd in (read_fd, write_fd)}
    try:
        yield read_fd, write_fd
    finally:
        for fd, was in files.items():
            with suppress(OSError):
                if os.path.samestat(os.fstat(fd), was):
                    os.close(fd)


def fill(write_fd: int) -> None:
    """Fill a pipe until it does not poll writable; its O_NONBLOCK is as before afterwards."""
    os.set_blocking(write_fd, False)
    try:
        while True:
            os.write(write_fd, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(write_fd, True)


def drain(read_fd: int) -> bytes:
    """Return all that a pipe holds now."""
    os.set_blocking(read_fd, False)
    parts = []
    with suppress(BlockingIOError):
        while part := os.read(read_fd, 65536):
            parts.append(part)
    return b"".join(parts)
