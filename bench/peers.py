# ruff: noqa: INP001, T201 - a program that stands alone and prints what it did
"""Install the supervisors that reaperd is measured beside.

supervisord and circus come by pip into a virtual environment of their own, bench/peers; s6 and runit are
Debian's packages, for s6 knows its parts by absolute paths. Neither of them starts anything. What cannot
be had is named in the tables, with the reason.

Usage: bench/peers.py
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

VENV = Path(__file__).resolve().parent / "peers"
PROGRAMS = {
    "supervisord": VENV / "bin" / "supervisord",
    "circus": VENV / "bin" / "circusd",
    "s6": Path("/usr/bin/s6-svscan"),
    "runit": Path("/usr/bin/runsvdir"),
}
BY_PIP = {"supervisord": "supervisor==4.3.0", "circus": "circus==0.19.0"}  # the others by apt


def missing(names: Iterable[str] = tuple(PROGRAMS)) -> dict[str, str]:
    """Fetch those that are not there yet; return why each of those that cannot be had cannot."""
    found = {}
    for name in PROGRAMS.keys() & set(names):
        program = PROGRAMS[name]
        if not program.exists():
            why = _by_pip(BY_PIP[name]) if name in BY_PIP else _by_apt(name)
            if why or not program.exists():
                found[name] = why or f"{program.name} is not in the package"
    return found


def version(name: str) -> str:
    """Return the version of one that is there."""
    if name in BY_PIP:
        return BY_PIP[name].partition("==")[2]
    query = ["dpkg-query", "-W", "-f=${Version}", name]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout


def _by_pip(package: str) -> str:
    if not VENV.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    return _failure([VENV / "bin" / "python", "-m", "pip", "install", "--quiet", package])


def _by_apt(package: str) -> str:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return "needs root and apt-get"
    return _failure(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package])


def _failure(command: list[str | Path]) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if line.strip()]
    return "" if done.returncode == 0 else (said[-1] if said else f"{command[0]} failed")


if __name__ == "__main__":
    for who, why in missing().items():
        print(f"cannot have {who}: {why}")
    print("here:", ", ".join(name for name, there in PROGRAMS.items() if there.exists()))
