# ruff: noqa: INP001, T201 - a program that stands alone and prints its figures
"""Measure the init beside tini, dumb-init, catatonit and the least that CPython allows, all in one run.

Every contestant is PID 1 of a PID namespace of its own; each round measures each of them once, so that what
else the machine does falls on all alike. The table's ratios are medians of rounds; the targets are judged at
its end. Needs root (for PID namespaces) and Linux on x86-64 or aarch64.

Usage: bench/init [--rounds N] [--storms N] [--idle SECONDS]
"""

import argparse
import ctypes
import json
import os
import platform
import py_compile
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tables import Row, Sample, Table, Target, judge, merge, rounds, show

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CLONE_NEWPID = 0x20000000
CLONE_NEWNS = 0x00020000
CLONE_NUMBER = {"x86_64": 56, "aarch64": 220}
STORM = 20_000

# CMD at its barest, so that nothing but the init is measured: write(1, "x", 1); exit(0), as a static program.
# Others can be measured too, with the dynamic loader's time on top.
TINY = {
    "x86_64": "b801000000bf01000000488d3513000000ba010000000f05b83c00000031ff0f0578",
}

_libc = ctypes.CDLL(None, use_errno=True)


def tiny_program(folder: Path) -> str:
    """Write the barest CMD, or name the nearest thing to it."""
    code = TINY.get(platform.machine())
    if code is None:
        return "/bin/echo"
    body = bytes.fromhex(code)
    # ELF header and one loadable segment: elf(5).
    address, headers = 0x400000, 64 + 56
    size = headers + len(body)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    for value, width in (
        (2, 2), (62, 2), (1, 4), (address + headers, 8), (64, 8), (0, 8), (0, 4), (64, 2), (56, 2), (1, 2),
        (0, 2), (0, 2), (0, 2), (1, 4), (5, 4), (0, 8), (address, 8), (address, 8), (size, 8), (size, 8),
        (4096, 8),
    ):  # fmt: skip
        header += value.to_bytes(width, "little")
    path = folder / "tiny"
    path.write_bytes(header + body)
    path.chmod(0o755)
    return str(path)


def spawn(command: list[str], stdout: int, *, proc: bool = False) -> int:
    """Start a command as PID 1 of a new PID namespace; return its pid here.

    The child writes the time of its exec to `stdout`, eight bytes, so that our own fork is not measured.
    """
    flags = CLONE_NEWPID | (CLONE_NEWNS if proc else 0) | signal.SIGCHLD
    pid: int = _libc.syscall(CLONE_NUMBER[platform.machine()], flags, 0, 0, 0, 0)
    if pid < 0:
        raise OSError(ctypes.get_errno(), "cannot make a PID namespace: run as root")
    if pid:
        return pid
    try:
        if proc:
            mount = _libc.mount
            mount(b"none", b"/", None, 0x44000, None)  # MS_REC | MS_PRIVATE
            mount(b"proc", b"/proc", b"proc", 0, None)
        os.dup2(stdout, 1)
        os.write(1, time.monotonic_ns().to_bytes(8, "little"))
        os.execv(command[0], command)
    finally:
        os._exit(126)


class Running:
    """One contestant with its CMD."""

    def __init__(self, command: list[str], *, proc: bool = False) -> None:
        self.output, writing = os.pipe()
        self.pid = spawn(command, writing, proc=proc)
        os.close(writing)
        self.begun_ns = int.from_bytes(os.read(self.output, 8), "little")

    def read(self) -> bytes:
        """Return what CMD says next."""
        return os.read(self.output, 4096)

    def wait(self) -> int:
        """Wait for the end; return the moment of it."""
        os.waitpid(self.pid, 0)
        now = time.monotonic_ns()
        os.close(self.output)
        return now

    def kill(self) -> None:
        """End it."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()


def measure_start(init: list[str], cmd: str) -> Sample:
    """Return start, wall and exit times of one short life."""
    running = Running([*init, cmd])
    running.read()
    first_ns = time.monotonic_ns()
    gone_ns = running.wait()
    return {
        "start": (first_ns - running.begun_ns) / 1e6,
        "exit": (gone_ns - first_ns) / 1e6,
    }


def measure_true(init: list[str]) -> Sample:
    """Return the wall time of `init -- true`."""
    running = Running([*init, "/bin/true"])
    return {"wall": (running.wait() - running.begun_ns) / 1e6}


def measure_memory(init: list[str]) -> Sample:
    """Return PSS and private memory of an idle init."""
    running = Running([*init, "/bin/sh", "-c", "echo; exec sleep 1000"])
    running.read()
    time.sleep(0.05)  # what init does right after the fork
    facts = {}
    for line in Path(f"/proc/{running.pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        facts[name] = int(rest.split()[0]) / 1024
    running.kill()
    return {"pss": facts["Pss"], "private": facts["Private_Dirty"]}


def measure_storm(init: list[str], batch: int, *, watch: bool) -> Sample:
    """Return what one storm of double forks takes."""
    count = STORM // 10 if watch else STORM
    storm = [sys.executable, "-I", "-S", str(HERE / "init_storm.py")]
    storm += [str(count), str(batch), str(int(watch))]
    running = Running([*init, *storm], proc=True)
    took_ms, spent_ns, most = running.read().split()
    running.wait()
    cpu = float(spent_ns) / 1e6 / count * 1000
    if watch:
        return {"most": float(most)}
    return {"storm": float(took_ms)} if batch == 1 else {"cpu": cpu}


ECHO = (
    "import _signal, posix; s = _signal.valid_signals()\n"
    "_signal.pthread_sigmask(0, s); posix.write(1, b'r')\n"
    "while True: _signal.sigwaitinfo(s); posix.write(1, b'x')"
)


def measure_latency(init: list[str], count: int) -> list[float]:
    """Return how long each of many signals takes through the init to CMD's answer, in microseconds."""
    running = Running([*init, sys.executable, "-I", "-S", "-c", ECHO])
    running.read()
    taken = []
    for _ in range(count):
        time.sleep(0.001)  # idle again, as an init is
        begun = time.monotonic_ns()
        os.kill(running.pid, signal.SIGUSR1)
        running.read()
        taken.append((time.monotonic_ns() - begun) / 1e3)
    running.kill()
    return taken


def switches(pid: int) -> int:
    """Return how often a process has given the processor up: each is a wake-up."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("\nvoluntary_ctxt_switches:")[1].split()[0])


def measure_idle(inits: dict[str, list[str]], seconds: float) -> dict[str, Sample]:
    """Return the wake-ups of all contestants while nothing happens to them."""
    running = {name: Running([*init, "/bin/sleep", "1000"]) for name, init in inits.items()}
    time.sleep(1)
    before = {name: switches(one.pid) for name, one in running.items()}
    time.sleep(seconds)
    woken = {name: switches(one.pid) - before[name] for name, one in running.items()}
    for one in running.values():
        one.kill()
    return {name: {"wakes": float(count)} for name, count in woken.items()}


def contestants(folder: Path) -> dict[str, list[str]]:
    """Return each contestant's words before CMD."""
    floor = py_compile.compile(str(HERE / "init_floor.py"), cfile=str(folder / "floor.pyc"), doraise=True)
    pid1 = [sys.executable, "-I", "-S", str(ROOT / "reaperd" / "pid1.py")]
    line = subprocess.run(
        [*pid1, "--install", str(folder / "reaperd-init"), "--print-entrypoint"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    entrypoint = json.loads(line.partition(" ")[2])
    found = {}
    for name in ("tini", "dumb-init", "catatonit"):
        path = shutil.which(name)
        if path:
            found[name] = [path, "--"]
    found["floor"] = [entrypoint[0], "-I", "-S", str(floor)]
    found["reaperd"] = entrypoint
    found["installed"] = [str(folder / "reaperd-init"), "--"]
    script = Path(sys.executable).with_name("reaperd")
    if script.exists():
        found["reaperd init"] = [str(script), "init", "--"]
    return found


ROWS: tuple[Row, ...] = (
    ("start", "start to CMD's first instruction, ms", 2),
    ("wall", "wall time of `init -- true`, ms", 2),
    ("exit", "CMD's end to init's end, ms", 2),
    ("pss", "PSS, idle, MiB", 2),
    ("private", "private memory (dirty), idle, MiB", 2),
    ("storm", "20,000 double forks to zero zombies, ms", 0),
    ("cpu", "the same 100 at once: CPU per 1,000 reaps, ms", 2),
    ("most", "most zombies at once (2,000, 100 at once)", 0),
    ("p50", "signal to CMD's answer, median, us", 0),
    ("p99", "the same, 99th of 100, us", 0),
    ("wakes", "wake-ups while idle", 0),
)

TARGETS = (
    Target("start", "reaperd", ("floor",), 1.15, 0.0),
    Target("wall", "reaperd", ("floor",), 1.15, 0.0),
    Target("private", "reaperd", ("floor",), 1.0, 0.5),
    Target("storm", "reaperd", ("tini",), 1.05, 0.0),
    Target("cpu", "reaperd", ("tini",), 1.5, 0.0),
    Target("p50", "reaperd", ("tini",), 1.5, 0.0),
    Target("p99", "reaperd", ("tini",), 1.0, 0.0),
    Target("exit", "reaperd", ("floor",), 1.2, 0.0),
    Target("wakes", "reaperd", ("floor",), 0.0, 0.0),
    Target("start", "installed", ("floor",), 1.25, 0.0),
    Target("start", "reaperd init", ("floor",), 2.0, 0.0),
    Target("private", "reaperd init", ("floor",), 1.0, 0.5),
    Target("wakes", "reaperd init", ("floor",), 0.0, 0.0),
)


def latencies(inits: dict[str, list[str]], turns: int = 5, each: int = 100) -> Table:
    """Return the latencies of all contestants, each in several turns."""
    taken: dict[str, list[float]] = {name: [] for name in inits}
    for _ in range(turns):
        for name, init in inits.items():
            taken[name] += measure_latency(init, each)
    return {
        name: {"p50": statistics.median(values), "p99": statistics.quantiles(values, n=100)[98]}
        for name, values in taken.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="measure the init beside its peers")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--storms", type=int, default=3)
    parser.add_argument("--idle", type=float, default=20)
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the command's own cache is part of what is measured
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inits = contestants(folder)
        cmd = tiny_program(folder)
        table: Table = {contestant: {} for contestant in inits}
        for init in inits.values():
            measure_start(init, cmd)  # warm: caches of files, and of the command's code
        merge(table, rounds(inits, options.rounds, lambda init: measure_start(init, cmd)))
        merge(table, rounds(inits, options.rounds, measure_true))
        merge(table, rounds(inits, 5, measure_memory))
        few = {name: init for name, init in inits.items() if name != "installed"}
        merge(table, rounds(few, options.storms, lambda init: measure_storm(init, 1, watch=False)))
        merge(table, rounds(few, options.storms, lambda init: measure_storm(init, 100, watch=False)))
        merge(table, rounds(few, 1, lambda init: measure_storm(init, 100, watch=True)))
        merge(table, latencies(few))
        merge(table, measure_idle(few, options.idle))
    show(table, ROWS, "floor")
    print(f"\n{platform.machine()}, Linux {platform.release()}, CPython {platform.python_version()}")
    judge(table, ROWS, TARGETS)


if __name__ == "__main__":
    main()
