"""`reaperd run` as the main process of a real container: the runtime's signals in, its own status out."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.init_container import Container, container
from tests.support.processes import ROOT, wait_until

CONFIG: Final = "/etc/reaperd-test.toml"
RUN: Final = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "reaperd", "run", "-c", CONFIG)
LOOP: Final = "while :; do sleep 0.05; done"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Container]:
    """A container that can be run, and in which the daemon can be."""
    with container(tmp_path) as made:
        tried = made.run("env", f"PYTHONPATH={ROOT}", sys.executable, "-c", "import reaperd.daemon")
        if tried.returncode:
            pytest.skip(f"the container does not see this program: {tried.stderr.strip()[-200:]}")
        yield made


def _write(box: Container, script: str, keys: str = "") -> None:
    text = (
        '[daemon]\nforward_signals = { USR1 = ["web"], USR2 = ["web"] }\n'
        '[service.calm]\ncommand = "sleep 1000"\n'
        f'[service.web]\ncommand = ["sh", "-c", """{script}"""]\n{keys}\n'
    )
    (box.bundle / "root").joinpath(CONFIG.lstrip("/")).write_text(text)


def _hear(process: "subprocess.Popen[str]", word: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == f"{word}\n"


def test_the_runtime_sees_what_ended_it(box: Container) -> None:
    """The status of the essential service, and of a signal the number beside 128."""
    for end, status in (("exit 7", 7), ("kill -KILL $$$$", 137)):
        _write(box, end, 'essential = "exit"\nrestart = "never"')
        assert box.run(*RUN).returncode == status


def test_the_runtimes_signals_arrive(box: Container) -> None:
    """Those that are handed on reach the service; TERM ends all, reaps what exec left, and leaves with 0."""
    _write(box, f"trap 'echo one' USR1; trap 'echo two' USR2; echo up; {LOOP}")
    with box.running(*RUN) as process:
        _hear(process, "up")
        for number, word in ((signal.SIGUSR1, "one"), (signal.SIGUSR2, "two")):
            sent = box.runc("kill", box.name, str(int(number)))
            assert sent.returncode == 0, sent.stderr
            _hear(process, word)
        assert box.runc("exec", box.name, "sh", "-c", "(setsid sleep 0.05 &); exit 3").returncode == 3

        def no_zombie() -> bool:
            shown = box.runc("exec", box.name, "sh", "-c", "grep -h ^State /proc/[0-9]*/status").stdout
            return "Z (zombie)" not in shown

        wait_until(no_zombie, "what exec left to be reaped")
        assert box.runc("kill", box.name, "TERM").returncode == 0
        assert process.wait(60) == 0
