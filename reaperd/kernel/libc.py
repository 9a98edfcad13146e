"""The C library, loaded once and only when a call needs it: Python's os module lacks prctl(2) and friends."""

import ctypes
from collections.abc import Callable
from functools import cache


@cache
def _library() -> ctypes.CDLL:
    # The C library this interpreter already runs on: no name to guess, glibc and musl alike.
    return ctypes.CDLL(None, use_errno=True)


def declare(name: str, *arguments: type) -> Callable[..., int]:
    """Return the C function `name` that takes `arguments` (ctypes types) and gives an int.

    Raises:
        AttributeError: the C library has no such function.
    """
    function = _library()[name]
    function.argtypes = arguments
    function.restype = ctypes.c_int
    return function


def last_errno() -> int:
    """Return the error number that this thread's latest declared call left: errno(3)."""
    return ctypes.get_errno()
