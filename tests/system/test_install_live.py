"""`make install` on a host that runs systemd: installed, started, upgraded while it runs, and taken away."""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from reaperd import __version__
from tests.support.processes import ROOT, need_program, system_python
from tests.support.systemd import Machine, booted

SOURCE: Final = "/usr/src/reaperd"
CONFIG: Final = '[service.web]\ncommand = ["sleep", "1000"]\n'
_NOT_SOURCE: Final = shutil.ignore_patterns(".venv", ".git", ".*_cache", "__pycache__", "build", "*.egg-info")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fetch what the program needs, and what builds it: in the machine there is no network."""
    folder = tmp_path_factory.mktemp("wheels")
    builds = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "-w", str(folder), str(ROOT), *builds]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be fetched here: {done.stderr.strip().splitlines()[-1]}")
    return folder


@pytest.fixture
def machine(wheels: Path) -> Iterator[Machine]:
    """Boot one that has a checkout of its own, with the virtual environment of ours."""
    need_program("make")
    if not (ROOT / ".venv/bin/python").exists():
        pytest.skip("the checkout has no virtual environment of its own: make dev")
    with booted(directories=(wheels,)) as machine:
        shutil.copytree(ROOT, machine.at(SOURCE), ignore=_NOT_SOURCE)
        machine.at(f"{SOURCE}/.venv").symlink_to(ROOT / ".venv")
        yield machine


def make(machine: Machine, wheels: Path, target: str) -> str:
    """Call make as an administrator does, without DESTDIR; pip finds all in a directory."""
    pip = ["PIP_NO_INDEX=1", f"PIP_FIND_LINKS={wheels}", "PIP_CONFIG_FILE=/dev/null", "HOME=/root"]
    return machine.run("env", *pip, "make", "-s", "-C", SOURCE, target, f"PYTHON={system_python()}")


def everything(machine: Machine) -> set[str]:
    """Return every path that an installation may touch."""
    places = ("/usr/local", "/etc/systemd", "/etc/reaperd", "/run/reaperd")
    found = machine.ask("find", *places, "-not", "-name", "__pycache__", "-not", "-name", "*.pyc").stdout
    return set(found.splitlines())


def test_installed_upgraded_while_it_runs_and_taken_away(machine: Machine, wheels: Path) -> None:
    """The service runs on through an upgrade until its restart; in the end all is as it was before."""
    before = everything(machine)
    make(machine, wheels, "install")
    assert machine.run("getent", "passwd", "reaperd-zombies")
    assert machine.at("/run/reaperd").is_dir()
    machine.write("/etc/reaperd/reaperd.toml", CONFIG)
    machine.run("systemctl", "enable", "--now", "reaperd.socket", "reaperd.service")
    assert machine.show("reaperd.service", "ActiveState") == "active"
    machine.wait_shown("reaperd.service", "StatusText", lambda text: text.startswith("1 running"))
    assert "running" in machine.run("reaperd", "status")
    daemon = machine.show("reaperd.service", "MainPID")

    version = machine.at(f"{SOURCE}/reaperd/__init__.py")
    version.write_text(version.read_text().replace(f'"{__version__}"', '"99.0"'))
    make(machine, wheels, "install")
    assert "99.0" in machine.run("reaperd", "--version")
    assert machine.show("reaperd.service", "MainPID") == daemon
    assert "running" in machine.run("reaperd", "status")
    machine.write("/etc/reaperd/reaperd.toml", CONFIG.replace("web", "other"))
    machine.run("systemctl", "reload", "reaperd")
    assert "other" in machine.run("reaperd", "status")
    machine.run("systemctl", "restart", "reaperd")
    assert machine.show("reaperd.service", "MainPID") != daemon
    assert "other" in machine.run("reaperd", "status")

    machine.run("systemctl", "enable", "--now", "reaperd-zombies.timer")
    make(machine, wheels, "uninstall")
    assert machine.ask("systemctl", "is-active", "reaperd.service").stdout.strip() == "inactive"
    assert machine.ask("pgrep", "-f", "reaperd run").stdout == ""
    machine.run("rm", "-r", "/etc/reaperd")
    assert everything(machine) == before
