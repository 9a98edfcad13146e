import errno
from ctypes import c_int

import pytest

from reaperd.kernel import libc
from reaperd.kernel.failure import failure


def test_a_declared_function_is_called() -> None:
    """The C library of this interpreter answers."""
    assert libc.declare("abs", c_int)(-5) == 5


def test_an_unknown_function_is_refused_when_it_is_declared() -> None:
    """Not only when it is called."""
    with pytest.raises(AttributeError, match="no_such_function"):
        libc.declare("no_such_function")


def test_the_error_number_of_a_call_is_kept() -> None:
    """A failed call's errno is there to be asked for."""
    assert libc.declare("close", c_int)(-1) == -1
    assert libc.last_errno() == errno.EBADF


def test_a_failure_names_the_call_and_what_was_tried() -> None:
    """The message begins with cannot; where a hint is known it is given."""
    error = failure("pipe2", OSError(errno.EMFILE, ""), what="start web")
    assert error.message == "cannot start web: pipe2: Too many open files"
    assert error.hint is not None
    assert "limit" in error.hint
    assert failure("pipe2", OSError(errno.EBADF, "")).hint is None
