# ruff: noqa: INP001, T201 - a program that stands alone and prints what it does
"""Run the benchmarks, and write docs/explanation/performance.md with what they printed.

Each section is a program of its own; what it printed is kept in bench/results, so that one section can be
measured again without the others. The document is made of all that is there.

Usage: bench/report.py [--quick] [SECTION ...]      without names: all; --quick prints, and writes no document
"""

import argparse
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
DOCUMENT = HERE.parent / "docs" / "explanation" / "performance.md"
PLOT = DOCUMENT.with_name("performance.svg")
COUNTS = (1, 100, 1000)
_HEAD = """\
Measured on {machine}. All contestants of a section take turns within one run, so that what else the machine
does falls on all alike; figures are medians. `make bench` measures all of it anew on any Debian machine, and
installs the peers; `make bench-quick` takes a few minutes."""


@dataclass(frozen=True)
class Section:
    """One program and what it is about.

    Attributes:
        quick: its arguments where minutes are too long; None to leave it out then.
    """

    title: str
    about: str
    words: tuple[str, ...]
    quick: tuple[str, ...] | None


def _supervisors(count: int, rounds: int) -> Section:
    words = ("supervisors.py", "--services", str(count))
    table = str(RESULTS / f"supervisors-{count}.json")
    quick = (*words, "--rounds", "1", "--idle", "3", "--answers", "8") if count == 100 else None
    return Section(
        f"Supervisors, {count} service{'s' if count > 1 else ''}",
        "A tiny C program is run so many times, by each supervisor and by floors that do nothing else, in "
        "turns. Under each figure stands its ratio to the fork floor: fifty lines of Python that fork as"
        " reaperd must. Times are those that the services take at their first instruction.",
        (*words, "--rounds", str(rounds), "--json", table),
        quick,
    )


SECTIONS = {
    **{
        f"supervisors-{count}": _supervisors(count, rounds)
        for count, rounds in zip(COUNTS, (3, 2, 1), strict=True)
    },
    "growth": Section(
        "Growth",
        "What one more service costs must not depend on how many there are.",
        ("growth.py", str(PLOT), *(str(RESULTS / f"supervisors-{count}.json") for count in COUNTS)),
        None,
    ),
    "init": Section(
        "The init",
        "`reaperd init` beside tini, dumb-init and catatonit, each as PID 1 of a PID namespace of its own.",
        ("init.py",),
        ("init.py", "--rounds", "5", "--storms", "1", "--idle", "3"),
    ),
    "output": Section(
        "Output",
        "What becomes of what services write, beside cat, a C program that does only that, and supervisord.",
        ("output.py",),
        ("output.py", "--quick"),
    ),
    "zombies": Section(
        "Zombies",
        "`reaperd zombies` beside ps, where there are thousands of processes.",
        ("zombies.py",),
        ("zombies.py", "--processes", "2000", "--rounds", "3"),
    ),
    "model": Section(
        "The model of processes",
        "What it costs the daemon to keep its picture of the machine's processes.",
        ("model.py",),
        ("model.py", "--processes", "2000", "--seconds", "1"),
    ),
}


def run(name: str, words: tuple[str, ...]) -> str:
    """Run a program of ours; return what it printed, which is printed here too."""
    print(f"--- {name}", flush=True)
    command = [sys.executable, str(HERE / words[0]), *words[1:]]
    done = subprocess.run(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, check=False)
    load = f"\nload average over the last five minutes: {os.getloadavg()[1]:.1f}\n"
    print(done.stdout, load, flush=True)
    if done.returncode not in (0, 1):
        print(f"cannot measure {name}: {words[0]} left with {done.returncode}", file=sys.stderr)
    return done.stdout + load


def machine() -> str:
    """Say what kind of machine this is."""
    memory = int(Path("/proc/meminfo").read_text().split()[1]) >> 20
    release = ".".join(platform.release().split(".")[:2])
    cores = len(os.sched_getaffinity(0))
    return (
        f"{cores} cores of {platform.machine()}, {memory} GiB of memory, Linux {release}, "
        f"CPython {platform.python_version()}"
    )


def document(results: dict[str, str]) -> str:
    """Return the document."""
    verdicts = [
        (SECTIONS[name].title, *found)
        for name, text in results.items()
        for line in text.splitlines()
        if (found := _verdict(line))
    ]
    met = sum(verdict == "met" for _, verdict, _ in verdicts)
    parts = [
        "# Performance",
        "",
        "<!-- written by bench/report.py (`make bench`); the text around the tables stands there -->",
        "",
        _HEAD.format(machine=machine()),
        "",
        "## Targets",
        "",
        f"{met} of {len(verdicts)} are met. Each is a ratio to others in the same run, or a fixed amount.",
        "",
        "| section | whose, what, how much | |",
        "| --- | --- | --- |",
        *(f"| {title} | {what} | {verdict} |" for title, verdict, what in verdicts),
    ]
    for name, text in results.items():
        section = SECTIONS[name]
        parts += ["", f"## {section.title}", "", section.about, ""]
        if name == "growth":
            parts += [f"![Time until all run, over the number of services]({PLOT.name})", ""]
        parts += ["```", text.strip("\n"), "```"]
    return "\n".join([*parts, ""])


def _verdict(line: str) -> tuple[str, str] | None:
    """Return what a line says was met or missed, in its first word or its last, and the rest of it."""
    words = line.replace("|", "/").split()
    for at in (0, -1):
        if words and words[at].lower() in ("met", "missed"):
            return words.pop(at).lower(), " ".join(words)
    return None


def main() -> int:
    """Measure, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("section", nargs="*", help=f"one of {', '.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help="less of everything, and no document")
    parser.add_argument("--write", action="store_true", help="measure nothing, write the document alone")
    options = parser.parse_args()
    if unknown := set(options.section) - SECTIONS.keys():
        parser.error(f"unknown section: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    names = [] if options.write else options.section or list(SECTIONS)
    if options.quick:
        for name in names:
            if (words := SECTIONS[name].quick) is not None:
                run(name, words)
        return 0
    RESULTS.mkdir(exist_ok=True)
    for name in names:
        (RESULTS / f"{name}.txt").write_text(run(name, SECTIONS[name].words))
    there = {name: RESULTS / f"{name}.txt" for name in SECTIONS}
    DOCUMENT.write_text(document({name: path.read_text() for name, path in there.items() if path.exists()}))
    print(f"wrote {DOCUMENT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
