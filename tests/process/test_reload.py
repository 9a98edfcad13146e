import os
import signal
from pathlib import Path
from typing import Any

import pytest

from reaperd.control.client import Client, RefusedError
from tests.support.daemons import Running, daemon, service
from tests.support.processes import wait_gone

WAIT = ["sleep", "1000"]
OTHER = ["sleep", "2000"]
STUBBORN = "trap '' TERM; echo trapped; while :; do sleep 0.05; done"
TRAPPED = {"log": "trapped"}


def ask(folder: Path, verb: str, *names: str, wait: bool = True, **more: Any) -> dict[str, dict[str, Any]]:
    """Return the items of an answer by name."""
    answer = Client(folder / "c.sock").ask(verb, names, wait=wait, **more)
    return {item["name"]: item for item in answer["items"]}


def reload(running: Running, folder: Path, services: str, **more: bool) -> dict[str, dict[str, Any]]:
    """Let the daemon follow other services; return what became of each."""
    running.configure(services)
    return ask(folder, "reload", **more)


def pids(running: Running) -> dict[str, int | None]:
    """Return the main processes by service."""
    return {row["name"]: row["pid"] for row in running.ask("status")["items"]}


def test_only_what_changed_is_touched_and_all_is_told(tmp_path: Path) -> None:
    """Added, changed and removed services are settled when the answer comes; the others have not noticed."""
    first = service("same", WAIT) + service("changed", WAIT) + service("removed", WAIT)
    then = (
        service("added", WAIT, ready={"delay": "100ms"}) + service("changed", OTHER) + service("same", WAIT)
    )
    with daemon(tmp_path, first) as running:
        running.event("service.running", service="removed")
        before = pids(running)
        running.configure(then)
        dry = ask(tmp_path, "reload", wait=False, dry_run=True)
        changes = {"added": "added", "changed": "changed", "removed": "removed", "same": "unchanged"}
        assert {name: item["change"] for name, item in dry.items()} == changes
        assert pids(running) == before
        done = ask(tmp_path, "reload")
        assert {name: item["change"] for name, item in done.items()} == changes
        assert {name: item.get("state") for name, item in done.items()} == {
            "added": "running",
            "changed": "running",
            "removed": None,
            "same": None,
        }
        after = pids(running)
        assert list(after) == ["added", "changed", "same"]
        assert after["same"] == before["same"]
        assert after["changed"] != before["changed"]


def test_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    """Neither does a dry run of it; both say every problem."""
    with daemon(tmp_path, service("web", WAIT)) as running:
        running.event("service.running", service="web")
        before = pids(running)
        running.configure(service("web", OTHER) + "restat = 1\n" + service("more", WAIT))
        for dry in (False, True):
            with pytest.raises(RefusedError, match=r"service\.web\.restat: unknown key"):
                ask(tmp_path, "reload", dry_run=dry)
        assert pids(running) == before


def test_what_is_decided_later_needs_no_restart(tmp_path: Path) -> None:
    """The same process runs on under the new rules."""
    with daemon(tmp_path, service("web", STUBBORN, ready=TRAPPED)) as running:
        running.event("service.running", service="web")
        before = pids(running)
        changed = service(
            "web", STUBBORN, ready=TRAPPED, stop={"timeout": "10ms"}, restart="never", on_exit="true"
        )
        assert reload(running, tmp_path, changed)["web"]["change"] == "changed"
        assert pids(running) == before
        os.kill(before["web"] or 0, signal.SIGKILL)
        running.event("service.failed", service="web")


def test_new_health_checks_begin_at_once(tmp_path: Path) -> None:
    """A service that runs is asked by the rules of the new file."""
    with daemon(tmp_path, service("web", WAIT)) as running:
        running.event("service.running", service="web")
        health = {"exec": ["false"], "interval": "50ms", "failures": 1}
        reload(running, tmp_path, service("web", WAIT, health=health, backoff={"initial": "1h", "max": "1h"}))
        running.event("service.unhealthy", service="web")


def test_a_reload_during_a_stop_waits_for_it(tmp_path: Path) -> None:
    """What a user wants down stays down, and follows the new file at its next start."""
    services = service("web", STUBBORN, ready=TRAPPED, stop={"timeout": "300ms"})
    with daemon(tmp_path, services) as running:
        running.event("service.running", service="web")
        running.ask("stop", "web", wait=False)
        done = reload(running, tmp_path, service("web", OTHER))
        assert (done["web"]["state"], done["web"]["ok"]) == ("stopped", True)
        running.ask("start", "web")
        words = Path(f"/proc/{pids(running)['web']}/cmdline").read_bytes().split(b"\0")
        assert words[1] == b"2000"


def test_a_service_that_dies_during_a_reload_comes_back_as_the_new_one(tmp_path: Path) -> None:
    """Whichever of the two the daemon hears of first."""
    with daemon(tmp_path, service("web", WAIT, backoff={"initial": "1h", "max": "1h"})) as running:
        running.event("service.running", service="web")
        for number in range(10):
            pid = pids(running)["web"]
            running.configure(service("web", ["sleep", str(2000 + number)]))
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            assert ask(tmp_path, "reload")["web"]["state"] == "running"
            wait_gone(pid)


def test_a_change_ends_a_backoff_and_mends_a_failure(tmp_path: Path) -> None:
    """Who mends the file need not also ask for a start."""
    services = service("waits", "exit 1", backoff={"initial": "1h", "max": "1h"})
    services += service("failed", "exit 1", restart="never")
    with daemon(tmp_path, services) as running:
        running.event("service.backoff", service="waits")
        running.event("service.failed", service="failed")
        done = reload(running, tmp_path, service("waits", WAIT) + service("failed", WAIT))
        assert [item["state"] for item in done.values()] == ["running", "running"]


def test_a_removed_service_does_not_take_along_who_required_it(tmp_path: Path) -> None:
    """The new file says that nobody requires it any more."""
    services = service("db", WAIT) + service("web", WAIT, requires=["db"])
    with daemon(tmp_path, services) as running:
        running.event("service.running", service="web")
        before = pids(running)
        done = reload(running, tmp_path, service("web", WAIT))
        assert (done["db"]["change"], done["web"]["change"]) == ("removed", "changed")
        assert pids(running) == {"web": before["web"]}
        running.ask("stop", "web")
        running.ask("start", "all")


def test_a_service_that_returns_while_it_leaves_runs_again(tmp_path: Path) -> None:
    """Its stop goes on, and then it starts as the new file says."""
    services = service("web", STUBBORN, ready=TRAPPED, stop={"timeout": "500ms"}) + service("x", WAIT)
    with daemon(tmp_path, services) as running:
        running.event("service.running", service="web")
        reload(running, tmp_path, service("x", WAIT), wait=False)
        assert running.row("web")["state"] == "stopping"
        done = reload(running, tmp_path, service("web", OTHER) + service("x", WAIT))
        assert (done["web"]["change"], done["web"]["state"]) == ("added", "running")


def test_a_service_gets_and_loses_its_schedule(tmp_path: Path) -> None:
    """With one it stops and waits for its time; without one it runs."""
    timed = service("web", WAIT, schedule={"every": "1h"})
    with daemon(tmp_path, service("web", WAIT)) as running:
        running.event("service.running", service="web")
        assert reload(running, tmp_path, timed)["web"]["state"] == "waiting"
        assert running.row("web")["next"] is not None
        assert reload(running, tmp_path, service("web", WAIT))["web"]["state"] == "running"
        assert running.row("web")["next"] is None


def test_scaling_touches_the_others_not_and_lasts_until_the_file_changes(tmp_path: Path) -> None:
    """Through reloads that say nothing new of it; the last word has whoever spoke last."""

    def worker(count: int) -> str:
        return service("worker", WAIT, instances=count)

    with daemon(tmp_path, worker(2)) as running:
        running.event("service.running", service="worker:2")
        before = pids(running)
        more = ask(tmp_path, "scale", "worker", instances=4)
        assert {name: item["state"] for name, item in more.items()} == {
            "worker:3": "running",
            "worker:4": "running",
        }
        assert pids(running).items() >= before.items()
        reload(running, tmp_path, worker(2) + service("x", WAIT))
        assert len(pids(running)) == 5
        reload(running, tmp_path, worker(3))
        assert list(pids(running)) == ["worker:1", "worker:2", "worker:3"]
        assert pids(running).items() >= before.items()
        none = ask(tmp_path, "scale", "worker", instances=0)
        assert {item["change"] for item in none.values()} == {"removed"}
        assert ask(tmp_path, "status", "worker", wait=False) == {}
        with pytest.raises(RefusedError, match="cannot find"):
            ask(tmp_path, "scale", "x", instances=2)


def test_services_reload_themselves_as_they_say(tmp_path: Path) -> None:
    """By a signal or a command; who says nothing is refused."""
    told = tmp_path / "told"
    os.mkfifo(told)
    services = service(
        "signal",
        f"trap 'echo hup > {told}' HUP; echo trapped; while :; do sleep 0.05; done",
        ready=TRAPPED,
        reload={"signal": "HUP"},
    )
    services += service("command", WAIT, reload={"command": ["sh", "-c", f"echo command > {told}"]})
    services += service("neither", WAIT)
    with daemon(tmp_path, services) as running:
        for name in ("signal", "command", "neither"):
            running.event("service.running", service=name)
        for name, word in (("signal", "hup"), ("command", "command")):
            assert ask(tmp_path, "reload-services", name)[name]["ok"]
            assert told.read_text() == f"{word}\n"
        with pytest.raises(RefusedError, match='cannot reload "neither": it does not say how'):
            ask(tmp_path, "reload-services", "neither")


def test_the_end_of_the_daemon_is_the_end_of_a_service_that_was_to_return(tmp_path: Path) -> None:
    """One that a reload stops only to start it once more stays down when the daemon leaves meanwhile."""
    services = service("web", STUBBORN, ready=TRAPPED, stop={"timeout": "1s"}) + service("x", WAIT)
    with daemon(tmp_path, services) as running:
        running.event("service.running", service="web")
        reload(running, tmp_path, service("x", WAIT), wait=False)
        reload(running, tmp_path, services, wait=False)
        assert running.row("web")["state"] == "stopping"
        assert running.end() == 0
        assert len(running.events("service.starting", service="web")) == 1
        assert not running.events("daemon.hurried")
