"""What commands print that need no daemon, or one with a single service, compared with what they did.

How to write the files anew stands in tests/support/golden.py. `cure`, `specimen`, `metrics` and
`completion` have no `--json`.
"""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import pytest
from click.testing import CliRunner

from reaperd.cli.main import COMMANDS
from reaperd.cli.main import reaperd as group
from tests.process.test_control_cli import COMMAND, environment, reaperd
from tests.support.daemons import daemon, service
from tests.support.golden import compare, normal, validate
from tests.support.processes import ROOT, owned, wait_until

FORMS: Final = ("text", "json")
_HEAD: Final = "PID  NAME  USER  ZOMBIE FOR  ENDED BY  PARENT"
_ROW: Final = "ZOMBIE  NAME  USER  AGE  exit 0  PARENT"
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+Z)?")


def _help_of(command: str) -> str:
    """Return the help at a width of 80."""
    if command == "init":  # which has no click, and a width of its own
        return reaperd("init", "--help", socket=Path("/nonexistent")).stdout
    done = CliRunner().invoke(group, [command, "--help"], prog_name="reaperd", terminal_width=80)
    assert done.exit_code == 0
    return done.output


def test_the_help_of_every_command() -> None:
    """Every word of it is what it was."""
    compare("help.text", "\n".join(f"$ reaperd {name} --help\n{_help_of(name)}" for name in COMMANDS))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_ends_with_an_example(command: str) -> None:
    """At least one, which begins as whoever reads it would type it."""
    examples = re.split(r"^examples:\n", _help_of(command), flags=re.MULTILINE | re.IGNORECASE)
    assert len(examples) == 2
    shown = [line for line in examples[1].splitlines() if line.strip()]
    assert shown
    assert all(re.search(rf"\breaperd {command}\b", line) for line in shown)


@pytest.mark.parametrize("form", FORMS)
def test_doctor(form: str, tmp_path: Path) -> None:
    """What is looked at, what for and how is the same everywhere; what is found is not."""
    done = reaperd("doctor", *_flags(form), socket=tmp_path / "none")
    if form == "json":
        validate(done.stdout)
        text = _json(done.stdout, "version", "verdict", "detail", "instead")
    else:
        lines = [line for line in done.stdout.splitlines() if not line.startswith("        instead: ")]
        text = "".join(
            re.sub(r"^(?:yes   |partly|no    )  ([^:]+): .+$", r"VERDICT  \1: DETAIL", line) + "\n"
            for line in lines
        )
    compare(f"doctor.{form}", text)


@pytest.mark.parametrize("form", FORMS)
def test_tree(form: str, tmp_path: Path) -> None:
    """One process in a session of its own."""
    with owned(["sleep", "1000"], start_new_session=True) as process:
        name = Path(f"/proc/{process.pid}/comm")
        wait_until(lambda: name.read_text() == "sleep\n", "an exec of sleep")
        done = reaperd("tree", "--scan", *_flags(form), str(process.pid), socket=tmp_path / "none")
    assert done.returncode == 0, done.stderr
    if form == "json":
        validate(done.stdout)
        changing = ("pid", "ppid", "pgid", "sid", "tids", "start_time", "state", "age", "cpu", "memory")
        compare("tree.json", _json(done.stdout, *changing))
        return
    text = re.sub(rf"\b(?:{process.pid}|{os.getpid()})\b", "PID", done.stdout)
    text = re.sub(r" [RSDT] \S+(?: \S+)? cpu \S+ \S+ sleep", " STATE AGE cpu TIME MEMORY sleep", text)
    compare("tree.text", text)


@contextmanager
def _zombie() -> Iterator[tuple[int, int, str]]:
    """Make a parent that never waits; yield it, its zombie and what the command had printed by then."""
    if os.uname().machine != "x86_64":
        pytest.skip("this specimen is made on x86-64 only")
    words = [*COMMAND, "specimen", "never-waits"]
    with owned(words, cwd=ROOT, env=environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().decode() for _ in range(3)]
        roles = dict(line.split() for line in lines[:2])
        parent, zombie = int(roles["parent"]), int(roles["zombie"])
        wait_until(lambda: _is_leak(zombie), "a zombie that is no longer in transit")
        yield parent, zombie, "".join(lines)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def _is_leak(zombie: int) -> bool:
    done = reaperd("zombies", "--json", str(zombie), socket=Path("/nonexistent"))
    return any(item["cause"]["leak"] for item in json.loads(done.stdout)["items"])


def test_a_specimen_and_what_is_done_about_it() -> None:
    """It is listed, explained, and the remedies say beforehand what they would do."""
    with _zombie() as (parent, zombie, said):
        lines = (
            "specimen --list",
            "zombies ZOMBIE",
            "reap --dry-run ZOMBIE",
            "reap --dry-run --parent PARENT",
            "cure PARENT",
        )
        shown = [f"$ reaperd specimen never-waits\n{said}"]
        shown += [_run(line.replace("ZOMBIE", str(zombie)).replace("PARENT", str(parent))) for line in lines]
        as_json = [_run(f"{line} --json") for line in (f"zombies {zombie}", f"reap --dry-run {zombie}")]
    for form, texts in (("text", shown), ("json", as_json)):
        named = re.sub(rf"(?<!\d){parent}(?!\d)", "PARENT", "\n".join(texts))
        named = re.sub(rf"(?<!\d){zombie}(?!\d)", "ZOMBIE", named)
        # Names and commands in the table are those of whoever runs the tests, and so are the widths.
        named = re.sub(r"^ +PID  NAME .*$", _HEAD, named, flags=re.MULTILINE)
        named = re.sub(r"^ *ZOMBIE +\S+ +\S+ .+ exit 0 +PARENT .*$", _ROW, named, flags=re.MULTILINE)
        compare(f"zombie.{form}", named)


def test_a_cure() -> None:
    """It says that it is done, and that it is undone."""
    with _zombie() as (parent, _, _):
        shown = _run(f"cure --yes {parent}") + _run(f"cure --undo {parent}")
    if "ptrace" in shown:
        pytest.skip(f"this user may not trace here: {shown}")
    compare("cure.text", shown.replace(str(parent), "PARENT"))


def _run(line: str) -> str:
    done = reaperd(*line.split(), socket=Path("/nonexistent"))
    shown = done.stdout
    if "--json" in line:
        validate(shown)
        changing = ("name", "user", "started", "zombie_for_at_least", "zombie_for_at_most", "evidence")
        document = json.loads(shown)
        causes = [item["cause"]["name"] for item in document["items"] if "cause" in item]
        assert set(causes) <= {"parent-never-waits"}
        document = normal(
            document, (*changing, "cgroup", "container", "pod", "command", "status", "inner_pid")
        )
        shown = json.dumps(document, indent=2) + "\n"
    return f"$ reaperd {line}\n{shown}{done.stderr}[{done.returncode}]\n"


@pytest.mark.parametrize("form", FORMS)
def test_events(form: str, tmp_path: Path) -> None:
    """What became of one service."""
    with daemon(tmp_path, service("web", ["sleep", "1000"])) as running:
        running.event("service.running", service="web")
        running.ask("stop", "web")
        done = reaperd("events", "web", *_flags(form), socket=tmp_path / "c.sock")
    assert done.returncode == 0, done.stderr
    if form == "json":
        validate(done.stdout)
        lines = [
            normal(json.loads(line), ("time", "pid", "seq", "next")) for line in done.stdout.splitlines()
        ]
        compare("events.json", "".join(json.dumps(line) + "\n" for line in lines))
    else:
        compare("events.text", re.sub(r"(?<=pid=)\d+", "PID", _TIME.sub("TIME", done.stdout)))


def test_the_stream_of_events_is_of_its_schema(tmp_path: Path) -> None:
    """Its first line names it, and what comes while it goes on is of it, too."""
    with daemon(tmp_path, service("web", ["sleep", "1000"])) as running:
        running.event("service.running", service="web")
        with _stream("events", "-f", socket=tmp_path / "c.sock") as output:
            first = output.readline()
            running.ask("restart", "web")
            _validate_stream([first, *(output.readline() for _ in range(5))])


def test_the_stream_of_looks_is_of_its_schema(tmp_path: Path) -> None:
    """With a parent that leaks, at the first look, which can tell no trend, and at later ones."""
    with _zombie() as (parent, _, _), _stream("zombies", "--watch", "50ms", socket=tmp_path) as output:
        lines = [output.readline() for _ in range(4)]
    _validate_stream(lines)
    assert all(f"{parent} " in line.decode() for line in lines[1:])


@contextmanager
def _stream(*words: str, socket: Path) -> Iterator[IO[bytes]]:
    given = environment(socket)
    with owned([*COMMAND, *words, "--json"], cwd=ROOT, env=given, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout


def _validate_stream(lines: Sequence[bytes]) -> None:
    assert "schema" in json.loads(lines[0])
    assert all(lines), "the stream has ended"
    validate(b"".join(lines).decode())


def test_metrics(tmp_path: Path) -> None:
    """Every metric with its kind and its help, and those of a service with their labels."""
    with daemon(tmp_path, service("web", ["sleep", "1000"])) as running:
        running.event("service.running", service="web")
        done = reaperd("metrics", socket=tmp_path / "c.sock")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith("reaperd_tracking_")]
    shown = [line if line.startswith("#") else f"{line.rpartition(' ')[0]} VALUE" for line in lines]
    compare("metrics.text", re.sub(r'version="[^"]+"', 'version="VERSION"', "\n".join(shown) + "\n"))


def test_completion() -> None:
    """The three scripts."""
    shown = [_run(f"completion {shell}") for shell in ("bash", "zsh", "fish", "tcsh")]
    compare("completion.text", "\n".join(shown))


def _flags(form: str) -> tuple[str, ...]:
    return ("--json",) if form == "json" else ()


def _json(text: str, *changing: str) -> str:
    return json.dumps(normal(json.loads(text), changing), indent=2) + "\n"
