# ruff: noqa: INP001, T201 - a program that stands alone and prints its figures
"""Measure the supervisor beside supervisord, circus, s6, runit, and floors in C and Python, all in one run.

Each round, each contestant lives one life (lives.py), so that what else the machine does falls on all alike;
figures are medians of rounds, and targets are ratios within the run. Who cannot be had is named. Needs a C
compiler, and for the peers pip and apt-get.

Usage: bench/supervisors.py [--services N] [--rounds N] [--idle SECONDS] [--only NAMES] [--json FILE]
"""

import argparse
import json
import os
import py_compile
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import lives
import peers
from contestants import ALL, NAMES, PEERS, Contestant, Reaperd
from tables import Row, Sample, Table, Target, judge, merge, rounds, show

from reaperd.kernel import prctl

HERE = Path(__file__).resolve().parent
ROWS: tuple[Row, ...] = (
    ("start", "exec of the daemon until all run, ms", 1),
    ("start_cpu", "the same, its processor time, ms", 1),
    ("crash", "crash to restart, median, ms", 2),
    ("crash99", "the same, 99th of 100, ms", 2),
    ("mass", "mass crash of all until all run again, ms", 1),
    ("mass_cpu", "the same, its processor time, ms", 1),
    ("stop", "stop of all, ms", 1),
    ("gone", "the same, until the daemon is gone, ms", 1),
    ("raw", "status of all, raw socket, ms", 2),
    ("whole", "status of all, whole command, ms", 1),
    ("rss", "memory of the daemon, RSS, MiB", 1),
    ("pss", "the same, PSS, MiB", 1),
    ("processes", "processes of the supervisor", 0),
    ("idle_cpu", "CPU while idle, ms", 2),
    ("idle_switches", "context switches while idle", 0),
)
_PEERS = tuple(each.name for each in PEERS)
_IN_PYTHON = ("supervisord", "circus")
_WHO = Reaperd.name


def targets(count: int) -> list[Target]:
    """Return what is asked for at so many services."""
    idle = [Target("idle_cpu", _WHO), Target("idle_switches", _WHO)]
    memory = [Target("rss", _WHO, ("supervisord",))]
    if count == 1:
        return [Target("start", _WHO, _IN_PYTHON), *memory, Target("rss", _WHO, plus=16.0), *idle]
    if count == 100:
        command = [Target("whole", _WHO, _IN_PYTHON), Target("whole", _WHO, plus=50.0)]
        return [*_ahead("crash"), Target("crash99", _WHO, _PEERS), *command, *memory, *idle]
    stop, raw = Target("stop", _WHO, _PEERS), Target("raw", _WHO, _PEERS)
    return [*_ahead("start"), *_ahead("mass"), stop, raw, *memory, *idle]


def _ahead(key: str) -> list[Target]:
    """Ahead of every peer, and near the least that can be."""
    return [Target(key, _WHO, _PEERS), Target(key, _WHO, ("fork floor",), 1.5)]


def build(folder: Path) -> Path:
    """Make the programs; return the one that is the service."""
    for name in ("service", "floor"):
        flags = ["-static"] if name == "service" else []
        subprocess.run(["cc", "-O2", *flags, "-o", folder / name, HERE / f"{name}.c"], check=True)
    py_compile.compile(str(HERE / "floor.py"), cfile=str(folder / "floor.pyc"), doraise=True)
    return folder / "service"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="measure the supervisor beside its peers")
    parser.add_argument("--services", type=int, default=100, metavar="N")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--crashes", type=int, default=100, help="how many services are killed one by one")
    parser.add_argument("--answers", type=int, default=20, help="how often status is asked for")
    parser.add_argument("--idle", type=float, default=30.0, metavar="SECONDS", help="0 to leave it out")
    parser.add_argument("--only", help="contestants, with commas; without it all that can be had")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there, too")
    options = parser.parse_args()
    only = options.only.split(",") if options.only else NAMES
    missing = peers.missing(only)
    chosen = [kind for kind in ALL if kind.name in only and kind.name not in missing]
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))  # ending whoever runs
    prctl.set_child_subreaper(True)  # whoever outlives its supervisor comes to us
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = build(folder)

        def new(kind: type[Contestant]) -> Contestant:
            return kind(Path(tempfile.mkdtemp(dir=folder)), options.services, program)

        def live(kind: type[Contestant]) -> Sample:
            print(".", end="", file=sys.stderr, flush=True)
            return lives.measure(new(kind), options.crashes, options.answers)

        who = {kind.name: kind for kind in chosen}
        table = rounds(who, options.rounds, live)
        if options.idle:
            merge(table, lives.idle([new(kind) for kind in chosen], 12, options.idle))
    report(options, table, missing)
    return 0


def report(options: argparse.Namespace, table: Table, missing: dict[str, str]) -> None:
    """Print what was found."""
    print(f"N = {options.services} services, {options.rounds} rounds, idle for {options.idle:.0f} s\n")
    rows = [row for row in ROWS if any(row[0] in sample for sample in table.values())]
    show(table, rows, "fork floor")
    kinds: tuple[type[Contestant], ...] = (Reaperd, *PEERS)
    for kind in kinds:
        if kind.name in table and kind.said:
            print(f"{kind.name} {'' if kind is Reaperd else peers.version(kind.name)}: {kind.said}")
    for name, why in missing.items():
        print(f"{name} could not be had: {why}")
    judge(table, rows, targets(options.services))
    if options.json:
        options.json.write_text(json.dumps({"services": options.services, "table": table}))


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # caches of code are part of what is measured
    sys.exit(main())
