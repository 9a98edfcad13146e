import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.daemons import daemon, service
from tests.support.processes import ROOT

WAIT = ["sleep", "1000"]


def reaperd(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line to its end, against the daemon in `folder`."""
    return subprocess.run(
        [sys.executable, "-c", "from reaperd.cli.main import main; main()", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
        env={**os.environ, "REAPERD_SOCKET": str(folder / "c.sock")},
    )


def test_why_says_what_holds_a_service_and_what_helps(tmp_path: Path) -> None:
    """For people in lines, for programs as one object; a service that is not there exits with 4."""
    services = service("db", "exit 3", restart="never", ready={"delay": "1h"}, ready_timeout="2h")
    services += service("web", WAIT, requires=["db"])
    with daemon(tmp_path, services) as running:
        running.event("service.failed", service="db")
        told = reaperd(tmp_path, "why", "web")
        assert (told.returncode, told.stderr) == (0, "")
        assert told.stdout.splitlines() == [
            "web is waiting: waits for db (failed)",
            "  needs db, which is failed: exited with 3; restart = never",
            "  next: nothing by itself; start what it needs, too: reaperd start db",
        ]
        body = json.loads(reaperd(tmp_path, "why", "--json", "web").stdout)
        assert body["schema"] == "reaperd.why/1"
        assert body["items"][0]["held_by"][0]["needed"] is True
        unknown = reaperd(tmp_path, "why", "wbe")
        assert (unknown.returncode, unknown.stdout) == (4, "")
        assert 'did you mean "web"?' in unknown.stderr


def test_scale_says_what_came_and_went(tmp_path: Path) -> None:
    """Each instance with its state; who has no instances is refused with what would help."""
    with daemon(tmp_path, service("worker", WAIT, instances=1) + service("web", WAIT)) as running:
        running.event("service.running", service="web")
        more = reaperd(tmp_path, "scale", "worker", "3")
        assert (more.returncode, more.stdout) == (0, "added worker:2: running\nadded worker:3: running\n")
        less = reaperd(tmp_path, "scale", "worker", "2")
        assert (less.returncode, less.stdout) == (0, "removed worker:3\n")
        assert reaperd(tmp_path, "scale", "worker", "2").stdout == "nothing changed\n"
        refused = reaperd(tmp_path, "scale", "web", "2")
        assert refused.returncode == 1
        assert refused.stderr == (
            'reaperd: cannot scale "web": it has no instances\n'
            "hint: give it service.web.instances, and reload\n"
        )
        assert reaperd(tmp_path, "scale", "nobody", "2").returncode == 4
        assert reaperd(tmp_path, "scale", "worker", "1001").returncode == 2


def test_reload_says_what_it_would_do_and_what_it_did(tmp_path: Path) -> None:
    """A changed service that does not run is a failure; keys for a new daemon are named."""
    with daemon(tmp_path, service("web", WAIT) + service("old", WAIT)) as running:
        running.event("service.running", service="old")
        running.configure(
            'log = { level = "error" }\n'
            + service("web", "exit 1", restart="never", ready={"delay": "1h"}, ready_timeout="2h")
        )
        dry = reaperd(tmp_path, "reload", "--dry-run")
        needs = "needs a restart of the daemon: log\n"
        assert (dry.returncode, dry.stdout) == (0, f"changed web\nremoved old\n{needs}")
        done = reaperd(tmp_path, "reload")
        told = f"changed web: failed (exited with 1; restart = never)\nremoved old\n{needs}"
        assert (done.returncode, done.stdout) == (1, told)
        running.configure("nonsense")
        assert reaperd(tmp_path, "reload").returncode == 78
        assert reaperd(tmp_path, "reload", "--dry-run", "web").returncode == 2
        assert reaperd(tmp_path, "reload", "web").returncode == 1


def test_check_prints_what_it_understood_and_the_schema(tmp_path: Path) -> None:
    """Without a daemon; with problems they are the items, and nothing is resolved."""
    path = tmp_path / "reaperd.toml"
    path.write_text('[daemon]\nsocket = "/s"\nstate_dir = "/d"\n[service.web]\ncommand = "web"\n')
    good = reaperd(tmp_path, "check", "--json", str(path))
    body = json.loads(good.stdout)
    assert (good.returncode, body["items"]) == (0, [])
    assert [each["name"] for each in body["configuration"]["services"]] == ["web"]
    path.write_text(
        '[daemon]\nsocket = "/s"\nstate_dir = "/d"\ncontrl = {}\n[service.web]\ncommand = "web"\n'
    )
    bad = reaperd(tmp_path, "check", "--json", str(path))
    body = json.loads(bad.stdout)
    assert (bad.returncode, body["items"][0]["path"], "configuration" in body) == (
        78,
        "daemon.contrl",
        False,
    )
    schema = reaperd(tmp_path, "check", "--schema")
    assert json.loads(schema.stdout)["title"] == "reaperd.toml"
    assert reaperd(tmp_path, "check").returncode == 2
