# ruff: noqa: INP001, T201 - a program that stands alone and prints its figures
"""Measure `reaperd zombies` beside ps on a machine of thousands of processes, some hundred of them zombies.

The machine is a PID namespace with its own /proc, so that it holds exactly who was put there: processes that
sleep, and parents that do not collect their children (crowd.c). Each round measures each contestant once, so
that what else the computer does falls on all alike; the figures are medians. Needs root and a C compiler.

Usage: bench/zombies.py [--processes N] [--zombies N] [--rounds N] [--users]
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PARENTS = 5
PS = ["ps", "-eo", "stat,pid,ppid,comm"]
MOST = 0.5  # of the time that ps takes
SCAN = """
import time
from reaperd.zombies.scan import scan
scan()
begun = time.perf_counter()
found = scan().zombies
print(len(found), time.perf_counter() - begun)
"""


def main() -> int:
    """Make the machine, or, inside of it, measure."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--processes", type=int, default=9500, help="how many there are in all")
    options.add_argument("--zombies", type=int, default=500, help="how many of them are zombies")
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--inside", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.inside:
        return measure(chosen.inside, chosen.processes, chosen.zombies, chosen.rounds)
    if os.geteuid() != 0 or not all(map(shutil.which, ("gcc", "unshare", "ps"))):
        print("cannot measure: needs root, gcc, unshare and ps")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/crowd"
        subprocess.run(["gcc", "-O1", "-static", "-o", program, HERE / "crowd.c"], check=True)
        words = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL", sys.executable, __file__]
        counts = ["--processes", chosen.processes, "--zombies", chosen.zombies, "--rounds", chosen.rounds]
        return subprocess.run([*words, *map(str, counts), "--inside", program], check=False).returncode


def measure(program: str, processes: int, zombies: int, rounds: int) -> int:
    """Fill this PID namespace and measure in it; return 0 if every target is met."""
    each = zombies // PARENTS
    living = processes - PARENTS - each * PARENTS - 3  # this one, the crowd's first, and who measures
    with subprocess.Popen([program, str(living), str(PARENTS), str(each)], stdout=subprocess.PIPE) as crowd:
        assert crowd.stdout is not None
        if crowd.stdout.readline() != b"ready\n":
            print("cannot measure: the crowd could not be made; see ulimit -u and pid_max")
            return 2
        try:
            return judge(each * PARENTS, rounds)
        finally:
            crowd.kill()


def judge(zombies: int, rounds: int) -> int:
    """Take the medians of all rounds and print them beside their targets."""
    contestants: dict[str, Callable[[], float]] = {
        "ps": lambda: whole(PS),
        "command": lambda: whole([sys.executable, "-m", "reaperd", "zombies"]),
        "json": lambda: whole([sys.executable, "-m", "reaperd", "zombies", "--json"]),
        "scan": lambda: scan(zombies),
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, take in contestants.items():
            times[name].append(take())
    medians = {name: statistics.median(found) for name, found in times.items()}
    there = sum(name.isdecimal() for name in os.listdir("/proc"))  # noqa: PTH208 - names alone
    print(f"{there} processes, {zombies} of them zombies of {PARENTS} parents; {rounds} rounds, medians\n")
    print(f"{'':42}{'ms':>7}{'of ps':>8}{'target':>9}")
    print(f"{' '.join(PS):42}{medians['ps'] * 1000:7.0f}{1:8.2f}{'':>9}")
    missed = 0
    for name, title in (
        ("scan", "scan, in a process that runs"),
        ("command", "reaperd zombies"),
        ("json", "reaperd zombies --json"),
    ):
        share = medians[name] / medians["ps"]
        missed += share > MOST
        verdict = "met" if share <= MOST else "missed"
        print(f"{title:42}{medians[name] * 1000:7.0f}{share:8.2f}{f'<= {MOST}':>9}  {verdict}")
    return 1 if missed else 0


def whole(command: list[str]) -> float:
    """Return how long a command takes from its start to its end, in seconds."""
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    took = time.perf_counter() - begun
    assert done.returncode in (0, 1), done.stderr
    return took


def scan(zombies: int) -> float:
    """Return how long a scan takes within a process that has made one before, in seconds."""
    done = subprocess.run([sys.executable, "-c", SCAN], cwd=ROOT, capture_output=True, text=True, check=True)
    found, took = done.stdout.split()
    assert int(found) == zombies, found
    return float(took)


if __name__ == "__main__":
    sys.exit(main())
