"""What commands print in one session with a real daemon, as text and as JSON, compared with what they did.

How to write the files anew stands in tests/support/golden.py.
What differs from run to run stands there by name: PID, TIME, DIR and the like. Each JSON object is validated
against its published schema, too: docs/reference/json.md.
"""

import json
import re
from pathlib import Path
from typing import Final

import jsonschema
import pytest

from tests.process.test_control_cli import reaperd
from tests.support.daemons import daemon, service
from tests.support.golden import PUBLISHED, compare, validate
from tests.support.processes import ROOT, wait_until

# DIR is the test's directory.
SESSION: Final = (
    "check DIR/reaperd.toml",
    "check DIR/wrong.toml",
    "import DIR/supervisord.conf",
    "status",
    "why broken",
    "logs web",
    "signal CONT web",
    "stop worker",
    "status front 'work*'",
    "start worker",
    "restart web",
    "start broken",
    "scale worker 1",
    "reload --dry-run",
    "reload",
    "status wbe",
    "stop --no-wait all",
    "shutdown",
    "status",
    "stop web",
)
_CHANGING: Final = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"), "TIME"),
    (re.compile(r'("(?:pid|memory|uptime|messages|lag|look_time|processes|looks)": )[\d.]+'), r'\1"NUMBER"'),
    (re.compile(r"(?<= )\d+(?:\.\d)?[KM](?= )"), "MEMORY"),
    (re.compile(r"(?<= )\d+s(?= )"), "UPTIME"),
    (re.compile(r"(?<=running)  +\d+(?= )"), "  PID"),
    (re.compile(r'("version": )"[^"]+"'), r'\1"VERSION"'),
    (re.compile(r"(?<=\S)   +(?=\S)"), "  "),  # columns are as wide as what is in them
)


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_session(form: str, tmp_path: Path) -> None:
    """Every line is what it was, and every object of its schema."""
    (tmp_path / "wrong.toml").write_text('[service.web]\ncommnd = ["web"]\n')
    (tmp_path / "supervisord.conf").write_text("[program:web]\ncommand=web\nstdout_events_enabled=true\n")
    log = tmp_path / "web.log"
    script = "echo ready; exec sleep 1000"
    services = (
        service("web", script, stdout={"file": str(log)}, groups=["front"])
        + service("worker", ["sleep", "1000"], instances=2)
        + service("broken", ["/nonexistent/program"], restart="never")
    )
    with daemon(tmp_path, services) as running:
        running.event("service.failed", service="broken")
        for name in ("web", "worker:1", "worker:2"):
            running.event("service.running", service=name)
        wait_until(lambda: log.exists() and log.read_text() == "ready\n", "the first line of web")
        said = [_run(line, tmp_path, as_json=form == "json") for line in SESSION]
    compare(f"session.{form}", "\n".join(said))


def _run(line: str, folder: Path, *, as_json: bool) -> str:
    words = [word.strip("'").replace("DIR", str(folder)) for word in line.split()]
    done = reaperd(*words, *(["--json"] if as_json else []), socket=folder / "c.sock")
    if as_json and done.stdout:
        validate(done.stdout)
    shown = f"{_without_more(done.stdout) if as_json else done.stdout}{done.stderr}"
    shown = shown.replace(str(folder), "DIR")
    for pattern, name in _CHANGING:
        shown = pattern.sub(name, shown)
    return f"$ reaperd {line}{' --json' if as_json else ''}\n{shown}[{done.returncode}]\n"


def _without_more(text: str) -> str:
    """Return an object without what has tests of its own: every key of a configuration, how it follows."""
    if not text.startswith("{\n"):
        return text
    document = {
        key: value for key, value in json.loads(text).items() if key not in {"tracking", "zombie_looks"}
    }
    if isinstance(document.get("configuration"), dict):
        del document["configuration"]
    return json.dumps(document, indent=2) + "\n"


@pytest.mark.parametrize(
    "words",
    [
        ("doctor",),
        ("tree", "1"),
        ("zombies",),
        ("zombies", "--by", "parent"),
        ("zombies", "--by", "user"),
        ("reap", "--all", "--dry-run"),
        ("reap", "1"),
    ],
    ids=" ".join,
)
def test_what_looks_at_the_machine_is_of_its_schema(words: tuple[str, ...], tmp_path: Path) -> None:
    """What is found differs from machine to machine; how it is said does not."""
    done = reaperd(*words, "--json", socket=tmp_path / "none")
    assert done.stdout, done.stderr
    validate(done.stdout)


def test_every_schema_is_listed() -> None:
    """The page names each schema that there is a file of, and each that the daemon answers with."""
    page = (ROOT / "docs/reference/json.md").read_text()
    for path in PUBLISHED.glob("*.json"):
        name = f"reaperd.{path.stem.removesuffix('-1')}/1"
        assert f"[`{name}`](schemas/{path.name})" in page
        jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text()))
    for schema in ("status", "why", "action", "reload", "events", "tree"):
        assert f"`reaperd.{schema}/1`" in page
