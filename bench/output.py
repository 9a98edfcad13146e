# ruff: noqa: INP001, T201 - a program that stands alone and prints its figures
"""Measure what becomes of services' output, beside cat, a C program that does only that, and supervisord.

Writers (output_writer.c) wait at a gate. It is opened, and the time until the last byte is where it belongs
is taken: in files that are rotated at 10 MiB, or, with a name before each line or as JSON, in the daemon's
standard output, which is a file too. Then every line is looked for: one that is lost, cut or not in its place
is counted. Each round measures each contestant once, so that what else the machine does falls on all alike;
the figures are medians. cat takes part as what moves bytes and knows of no lines.

Needs a C compiler, and for supervisord pip.

Usage: bench/output.py [--rounds N] [--megabytes N] [--quick] [--only NAMES] [--json FILE]
"""

import argparse
import json
import os
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import peers

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LINE = 100  # bytes, as in output_writer.c
MAX_SIZE = 10 << 20
WITHIN_S = 60.0


@dataclass(frozen=True)
class Case:
    """What is written, and how.

    Attributes:
        piece: bytes of one write(2).
    """

    title: str
    writers: int
    piece: int

    def names(self) -> list[str]:
        """Return what the writers are called."""
        return [f"w{number:03}" for number in range(self.writers)]


CASES = (
    Case("one writer, 4 KiB writes", 1, 4096),
    Case("one writer, a write per line", 1, LINE),
    Case("100 writers, a write per line", 100, LINE),
)
SINKS = ("file", "prefix", "json")


@dataclass(frozen=True)
class Sample:
    """One contestant's work in one case.

    Attributes:
        rate: megabytes of the writers' output a second.
        cpu: seconds of processor time for 100 MB.
        reads: calls of read(2) and its like for 1,000 lines.
        wrong: lines lost, cut or out of their place.
    """

    rate: float
    cpu: float
    reads: float
    wrong: int


@dataclass(frozen=True)
class Task:
    """What is to be done, and where: the folder has the gate, `out` is for what is written."""

    case: Case
    sink: str
    lines: int  # of each writer
    folder: Path
    writer: str

    @property
    def out(self) -> Path:
        """Where logs go."""
        return self.folder / "out"

    def words(self, name: str) -> list[str]:
        """Return the command of a writer."""
        return [self.writer, str(self.folder), name, str(self.lines), str(self.case.piece)]


Start = Callable[[Task], "subprocess.Popen[bytes]"]


# --- contestants --------------------------------------------------------------------------------------------


def start_cat(task: Task) -> "subprocess.Popen[bytes]":
    """All write to one cat."""
    reading, writing = os.pipe()
    with (task.out / "all.log").open("wb") as target:
        running = subprocess.Popen(["cat"], stdin=reading, stdout=target)
    for name in task.case.names():
        subprocess.Popen(task.words(name), stdout=writing)
    os.close(reading)
    os.close(writing)
    return running


def start_floor(program: str) -> Start:
    """Return what starts output_floor.c."""

    def start(task: Task) -> "subprocess.Popen[bytes]":
        words = [program, task.sink, task.out, MAX_SIZE, task.case.writers, *task.words("%")]
        return _to_file(task, [str(word) for word in words])

    return start


def start_reaperd(task: Task) -> "subprocess.Popen[bytes]":
    """Start the daemon of this tree."""
    text = f'[daemon]\nsocket = "{task.folder}/c.sock"\nstate_dir = "{task.folder}/state"\n'
    for name in task.case.names():
        to = f'{{ file = "{task.out}/{name}.log", max_size = "{MAX_SIZE}B", keep = 1000 }}'
        to = to if task.sink == "file" else f'"{task.sink}"'
        command = json.dumps(task.words(name))
        text += f'[service.{name}]\ncommand = {command}\nrestart = "never"\nstdout = {to}\n'
    config = task.folder / "reaperd.toml"
    config.write_text(text)
    return _to_file(task, [sys.executable, "-m", "reaperd.daemon", "--", str(config)])


def start_supervisord(program: str) -> Start:
    """Return what starts supervisord."""

    def start(task: Task) -> "subprocess.Popen[bytes]":
        text = f"[supervisord]\nnodaemon=true\nlogfile={task.folder}/s.log\npidfile={task.folder}/s.pid\n"
        text += "minfds=4096\n"
        for name in task.case.names():
            text += f"[program:{name}]\ncommand={' '.join(task.words(name))}\n"
            text += f"autorestart=false\nstartsecs=0\nstdout_logfile={task.out}/{name}.log\n"
            text += f"stdout_logfile_maxbytes={MAX_SIZE}\nstdout_logfile_backups=1000\n"
        config = task.folder / "supervisord.conf"
        config.write_text(text)
        return _to_file(task, [program, "-c", str(config)])

    return start


def _to_file(task: Task, words: list[str]) -> "subprocess.Popen[bytes]":
    name = "all.log" if task.sink != "file" else "daemon.stdout"
    folder = task.out if task.sink != "file" else task.folder
    with (folder / name).open("wb") as target, (task.folder / "daemon.stderr").open("wb") as trouble:
        return subprocess.Popen(words, cwd=ROOT, stdout=target, stderr=trouble)


# --- one measurement ----------------------------------------------------------------------------------------


@contextmanager
def running(start: Start, task: Task) -> Iterator[tuple[int, int]]:
    """Start a contestant and its writers; give its pid, and what reads whether they have written."""
    task.out.mkdir(parents=True)
    for name in ("gate", "done"):
        os.mkfifo(task.folder / name)
    done = os.open(task.folder / "done", os.O_RDONLY | os.O_NONBLOCK)
    contestant = start(task)
    try:
        ready = 0
        while ready < task.case.writers:
            _await(done, select.POLLIN, "writers are ready")
            ready += len(os.read(done, task.case.writers))
        yield contestant.pid, done
    finally:
        contestant.send_signal(signal.SIGTERM)
        contestant.wait(WITHIN_S)
        with suppress(OSError):  # writers that still wait at the gate find nobody to write to
            os.close(os.open(task.folder / "gate", os.O_WRONLY | os.O_NONBLOCK))
        os.close(done)


def measure(start: Start, task: Task) -> Sample:
    """Open the gate and wait until everything is where it belongs."""
    with running(start, task) as (pid, done):
        cpu, calls = cpu_ns(pid), read_calls(pid)
        begun = time.monotonic()
        gate = os.open(task.folder / "gate", os.O_WRONLY)
        _await(done, select.POLLHUP, "writers have written", but=select.POLLIN)
        total = task.case.writers * task.lines * marked_line(task)
        while written(task) < total and time.monotonic() < begun + WITHIN_S:
            time.sleep(0.0005)
        took = time.monotonic() - begun
        cpu, calls = cpu_ns(pid) - cpu, read_calls(pid) - calls
        os.close(gate)  # the writers end
    lines = task.case.writers * task.lines
    megabytes = lines * LINE / 1e6
    return Sample(megabytes / took, cpu / 1e9 / megabytes * 100, calls / lines * 1000, wrong_lines(task))


def _await(fd: int, event: int, what: str, but: int = 0) -> None:
    poll = select.poll()
    poll.register(fd, event & ~but)
    if not poll.poll(WITHIN_S * 1000):
        raise TimeoutError(f"not in {WITHIN_S:.0f} s: {what}")


def cpu_ns(pid: int) -> int:
    """Return the processor time that a process has used: the first number of its schedstat."""
    return sum(int(each.read_text().split()[0]) for each in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def read_calls(pid: int) -> int:
    """Return how often a process has read: proc_pid_io(5)."""
    text = Path(f"/proc/{pid}/io").read_text()
    return int(text.partition("syscr: ")[2].split()[0])


def marked_line(task: Task) -> int:
    """Return how long a line is where it was written to; all are equally long."""
    if task.sink == "file":
        return LINE
    with (task.out / "all.log").open("rb") as log:
        deadline = time.monotonic() + WITHIN_S
        while not (line := log.readline()).endswith(b"\n") and time.monotonic() < deadline:
            log.seek(0)
    return len(line)


def written(task: Task) -> int:
    """Return how many bytes have been written to all logs."""
    return sum(entry.stat().st_size for entry in os.scandir(task.out))


# --- what was written ---------------------------------------------------------------------------------------


def wrong_lines(task: Task) -> int:
    """Count the lines that are lost, that a rotation has cut, or that are not where they belong."""
    by_name: dict[str, list[bytes]] = {name: [] for name in task.case.names()}
    wrong = 0
    for path in sorted(task.out.iterdir(), key=_age):
        data = path.read_bytes()
        wrong += bool(data) and not data.endswith(b"\n")
        if path.name != "all.log":
            by_name[path.name[:4]].append(data)
            continue
        for line in _unmarked(data, task.sink):
            if (parts := by_name.get(line[:4].decode(errors="replace"))) is not None:
                parts.append(line)
    for name, parts in by_name.items():
        found, expected = b"".join(parts), text_of(name, task.lines)
        if found != expected:
            wrong += len(set(expected.split(b"\n")).symmetric_difference(found.split(b"\n")))
    return wrong


def _age(path: Path) -> tuple[str, int]:
    """Order the files of one log from the oldest: by their numbers, which grow with supervisord's age."""
    name, _, number = path.name.partition(".log.")
    if not number:
        return name.removesuffix(".log"), 1 << 30
    return name, int(number) if number.startswith("0") else -int(number)


def _unmarked(data: bytes, sink: str) -> Iterator[bytes]:
    """Give the lines as they were written; a name before them, or the JSON around them, is looked at."""
    lines = data.split(b"\n")[:-1]
    if sink == "json":
        objects = map(json.loads, lines)
        return (f"{each['message']}\n".encode() for each in objects if each["message"][:4] == each["service"])
    if sink == "prefix":
        return (line[7:] + b"\n" for line in lines if line[:7] == line[7:11] + b" | ")
    return (line + b"\n" for line in lines)


@cache
def text_of(name: str, lines: int) -> bytes:
    """Return what a writer writes, as output_writer.c does."""
    begin = name.encode()
    return b"".join(b"%b %08d ".ljust(LINE - 7, b"x") % (begin, number) + b"\n" for number in range(lines))


# --- all of them --------------------------------------------------------------------------------------------

Key = tuple[str, Case, str]  # contestant, case, sink


def contestants(folder: Path) -> dict[str, tuple[Start, tuple[str, ...]]]:
    """Return who takes part, and with which sinks."""
    floor = compiled("output_floor", folder)
    found: dict[str, tuple[Start, tuple[str, ...]]] = {
        "cat": (start_cat, ("file",)),
        "floor": (start_floor(floor), SINKS),
        "reaperd": (start_reaperd, SINKS),
    }
    for name, why in peers.missing(PEERS).items():
        print(f"without {name}: {why}")
    if peers.PROGRAMS["supervisord"].exists():
        found["supervisord"] = (start_supervisord(str(peers.PROGRAMS["supervisord"])), ("file",))
    return found


def compiled(name: str, folder: Path) -> str:
    """Compile a C program of this directory; return its path."""
    subprocess.run(["cc", "-O2", "-o", folder / name, HERE / f"{name}.c"], check=True)
    return str(folder / name)


def measure_all(options: argparse.Namespace) -> dict[Key, list[Sample]]:
    """Measure everybody in turns."""
    samples: dict[Key, list[Sample]] = {}
    lines = options.megabytes * 1_000_000 // LINE
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        writer = compiled("output_writer", folder)
        taking_part = contestants(folder)
        if options.only:
            taking_part = {name: taking_part[name] for name in ("floor", *options.only.split(","))}
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            for case in CASES:
                for who, (start, sinks) in taking_part.items():
                    for sink in sinks:
                        task = Task(case, sink, lines // case.writers, folder / "now", writer)
                        samples.setdefault((who, case, sink), []).append(measure(start, task))
                        shutil.rmtree(task.folder)
    return samples


# --- figures ------------------------------------------------------------------------------------------------

PEERS = ("supervisord",)
LEAST_RATE = 0.95  # of the best peer
MOST_CPU = 1.2  # of the floor
COLUMNS = (
    *("what is written", "where to", "by", "MB/s", "of the floor", "CPU s per 100 MB", "of the floor"),
    *("reads per 1,000 lines", "lines lost or cut"),
)


def table(samples: dict[Key, list[Sample]]) -> Iterator[str]:
    """Give the table of medians, in Markdown."""
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "| --- | --- | --- |" + " ---: |" * (len(COLUMNS) - 3)
    for (who, case, sink), taken in sorted(samples.items(), key=lambda item: _order(item[0])):
        floor = samples["floor", case, sink]
        rate, cpu = median(taken, "rate"), median(taken, "cpu")
        yield (
            f"| {case.title} | {sink if who != 'cat' else 'one file'} | {who} | {rate:.0f} "
            f"| {rate / median(floor, 'rate'):.2f} | {cpu:.3f} | {cpu / median(floor, 'cpu'):.2f} "
            f"| {median(taken, 'reads'):.1f} | {sum(each.wrong for each in taken)} |"
        )


def _order(key: Key) -> tuple[int, int, str]:
    who, case, sink = key
    return CASES.index(case), SINKS.index(sink), who


def median(taken: list[Sample], what: str) -> float:
    """Return the median of one figure."""
    return statistics.median(getattr(each, what) for each in taken)


def targets(samples: dict[Key, list[Sample]]) -> Iterator[tuple[str, bool]]:
    """Give each target, in words, and whether it was met."""
    for (who, case, sink), ours in samples.items():
        if who != "reaperd":
            continue
        floor = samples["floor", case, sink]
        where = f"{case.title}, {sink}"
        wrong = sum(each.wrong for each in ours)
        yield f"{where}: {wrong} lines lost or cut; target 0", wrong == 0
        cpu, least = median(ours, "cpu"), median(floor, "cpu")
        yield f"{where}: CPU {cpu / least:.2f} of the floor's; target <= {MOST_CPU}", cpu <= MOST_CPU * least
        rates = {
            peer: median(samples[peer, case, sink], "rate") for peer in PEERS if (peer, case, sink) in samples
        }
        if rates:
            best = max(rates, key=lambda peer: rates[peer])
            share = median(ours, "rate") / rates[best]
            yield f"{where}: {share:.2f} of {best}'s MB/s; target >= {LEAST_RATE}", share >= LEAST_RATE


def as_json(samples: dict[Key, list[Sample]]) -> list[dict[str, object]]:
    """Return all samples, for who puts them into another table."""
    return [
        {"contestant": who, "case": case.title, "sink": sink, "samples": [asdict(each) for each in taken]}
        for (who, case, sink), taken in samples.items()
    ]


def main() -> int:
    """Measure and print; return 0 if every target is met."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--megabytes", type=int, default=200, help="what is written each time")
    options.add_argument("--only", help="contestants, with commas; the floor is always there")
    options.add_argument("--quick", action="store_true", help="two rounds of 40 MB")
    options.add_argument("--folder", type=Path, help="where to write; the temporary directory")
    options.add_argument("--json", type=Path, help="write all samples there")
    chosen = options.parse_args()
    if chosen.quick:
        chosen.rounds, chosen.megabytes = 2, 40
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))  # ending whoever runs
    samples = measure_all(chosen)
    print(f"{chosen.megabytes} MB each time, {chosen.rounds} rounds, medians\n")
    print("\n".join(table(samples)), end="\n\n")
    verdicts = list(targets(samples))
    for text, is_met in verdicts:
        print(f"{'met   ' if is_met else 'MISSED'} {text}")
    if chosen.json:
        chosen.json.write_text(json.dumps(as_json(samples), indent=1))
    return 0 if all(is_met for _, is_met in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
