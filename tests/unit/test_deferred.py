"""Modules that wait for their first use."""

import subprocess
import sys

import pytest


def printed(program: str) -> str:
    """Return what a fresh interpreter prints."""
    return subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.strip()


UNUSED = {
    *("asyncio", "ssl", "logging", "structlog", "threading"),
    *("inspect", "ast", "dis", "tokenize", "linecache", "traceback"),
    *("ipaddress", "datetime", "tomllib", "difflib", "shutil", "gzip", "lzma", "uuid", "pickle"),
}


def test_the_daemon_holds_nothing_that_it_does_not_use() -> None:
    """What the standard library's modules import for functions that nobody calls here is not in memory."""
    program = f"""
import sys
before = set(sys.modules)  # what this machine's own .pth files bring
import reaperd.daemon, reaperd.assembly
print(sorted(({UNUSED!r} & sys.modules.keys()) - before), "reaperd.verbs" in sys.modules)
"""
    assert printed(program) == "[] True"


def test_it_is_the_real_module_once_asked() -> None:
    """What imported it within the block finds every attribute, and others get the module itself."""
    program = """
import sys
from reaperd.deferred import deferred
with deferred("wave"):
    import wave as early
print("wave" in sys.modules, end=" ")
print(early.open is __import__("wave").open, "wave" in sys.modules)
"""
    assert printed(program) == "False True True"


def test_a_module_in_use_stays() -> None:
    """What is loaded already is neither hidden nor forgotten."""
    program = """
import sys, wave
from reaperd.deferred import deferred
with deferred("wave"):
    import wave as early
print(early is wave, sys.modules["wave"] is wave)
"""
    assert printed(program) == "True True"


def test_what_is_given_does_not_wait_for_the_module() -> None:
    """The module is loaded by the first attribute that was not given."""
    program = """
import sys
from reaperd.deferred import deferred
with deferred("wave", open=len):
    import wave as early
print(early.open("abc"), "wave" in sys.modules, end=" ")
print(early.Error is __import__("wave").Error, "wave" in sys.modules, early.open("abc"))
"""
    assert printed(program) == "3 False True True 3"


@pytest.mark.parametrize("within", ["early.opne", "early.path.opne"])
def test_what_is_not_there_is_an_attribute_error(within: str) -> None:
    """A wrong name is refused as by the module itself."""
    program = f"""
from reaperd.deferred import deferred
with deferred("wave"):
    import wave as early
try:
    {within}
except AttributeError as error:
    print(type(error).__name__)
"""
    assert printed(program) == "AttributeError"
