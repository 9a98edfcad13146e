"""The first configuration, which a child reads."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reaperd.aside import Reading
from reaperd.config.parse import load
from reaperd.errors import ConfigError
from tests.support.processes import ROOT

TEXT = '[service.web]\ncommand = ["sleep", "1"]\nenvironment = { A = "${HOME}" }\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a small configuration's path."""
    path = tmp_path / "x.toml"
    path.write_text(TEXT)
    return path


def test_what_the_child_reads_is_what_is_there(file: Path) -> None:
    """The environment that it expands from included; and no child is left."""
    reading = Reading(str(file))
    assert reading.result() == load(file)
    with pytest.raises(ProcessLookupError):
        os.kill(reading.pid, 0)


def test_what_is_wrong_is_told_as_if_read_here(file: Path) -> None:
    """Every problem, with its place."""
    file.write_text('[service.web]\ncommand = 3\nrestrat = "always"\n')
    with pytest.raises(ConfigError) as here:
        load(file)
    with pytest.raises(ConfigError) as aside:
        Reading(str(file)).result()
    assert (aside.value.problems, aside.value.message) == (here.value.problems, here.value.message)


def test_without_its_child_it_is_read_here(file: Path) -> None:
    """Killed while it reads, before it reads or when it is done: the configuration is the same."""
    for _ in range(5):
        reading = Reading(str(file))
        os.kill(reading.pid, signal.SIGKILL)
        assert reading.result() == load(file)


def test_a_large_one_passes_the_pipe(tmp_path: Path) -> None:
    """More than a pipe holds at once."""
    path = tmp_path / "x.toml"
    path.write_text("".join(f'[service.s{n}]\ncommand = ["sleep", "{"9" * 200}{n}"]\n' for n in range(500)))
    assert Reading(str(path)).result() == load(path)


def test_what_reading_needs_is_not_in_the_daemon(file: Path) -> None:
    """Neither the parser nor the table of keys, once the configuration is there."""
    program = f"""
import sys
from reaperd import lean
from reaperd.aside import Reading
reading = Reading({str(file)!r})
import reaperd.assembly
print(reading.result().services[0].name, sorted(
    {{"tomllib", "reaperd.config.parse", "reaperd.config.keys"}} & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "web []\n"
