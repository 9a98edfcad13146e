"""The daemon's model in step with what its services do, live: by the process connector, or by the clock."""

import json
import os
import signal
from pathlib import Path
from typing import Any, Final

from reaperd.control.client import Client
from tests.support.daemon import Daemon, daemon, sh, sleeper
from tests.support.processes import need_connector, state_of, wait_until

# Leaves an orphan, which nothing announces: whoever was its parent is reaped by its own.
ESCAPING: Final = "sh -c '(sleep 1000 & echo $! >escaped) & wait'; exec sleep 1000"


def tracking(reaperd: Daemon) -> dict[str, Any]:
    """Return what the daemon says of how well it knows the real tree."""
    return dict(reaperd.ask("status")["tracking"])


def escaping(directory: Path) -> dict[str, object]:
    """Return a service that leaves an orphan."""
    return sh(ESCAPING, directory=str(directory))


def test_an_adoption_is_heard_of_at_once(tmp_path: Path) -> None:
    """Nobody that is ours dies and nobody asks: the connector tells."""
    need_connector()
    with daemon(tmp_path, {"web": escaping(tmp_path)}) as reaperd:
        adopted = reaperd.wait_for("orphan.adopted", service="web")
        assert adopted["pid"] == int((tmp_path / "escaped").read_text())
        told = tracking(reaperd)
    assert told["source"] == "connector"
    assert told["why_not"] is None
    assert told["messages"] > 0
    assert told["lag"] is not None


def test_without_the_connector_the_clock_finds_an_adoption(tmp_path: Path) -> None:
    """Where heal_interval is set: it is off by default, and then a request or a death does."""
    settings = {"process_connector": "no", "heal_interval": "1s"}
    with daemon(tmp_path, {"web": escaping(tmp_path)}, settings=settings) as reaperd:
        reaperd.wait_for("orphan.adopted", service="web")
        told = tracking(reaperd)
    assert told["source"] == "looks"
    assert told["why_not"] == "it is switched off"
    assert told["heal_interval"] == 1.0


def test_a_daemon_can_follow_the_whole_machine(tmp_path: Path) -> None:
    """Strangers are in its model too, with the scope that says so."""
    with daemon(tmp_path, {"web": sleeper()}, settings={"track": "all"}) as reaperd:
        reaperd.wait_for("service.running", service="web")
        told = tracking(reaperd)
        assert told["scope"] == "all"
        assert told["processes"] > 3
        reaperd.ask("stop", "web")
        wait_until(lambda: reaperd.status("web")["state"] == "stopped", "the service to be stopped")


def test_an_orphan_without_any_mark_is_known_by_its_birth(tmp_path: Path) -> None:
    """No cgroup, tag or marker, a session of its own, its parents gone: it was heard of at its fork."""
    need_connector()
    below = 'setsid sh -c "echo nameless \\$\\$; exec sleep 1000" & wait'
    middle = f"setsid env -i sh -c 'prlimit --pid $$ --locks=unlimited; echo middle $$; {below}'"
    with daemon(tmp_path, {"web": sh(f"{middle} & wait; exec sleep 1000")}, cgroups=False) as reaperd:
        reaperd.hear("nameless")
        reaperd.ask("stop", "web")
        reaperd.hear("middle")
        lines = map(json.loads, Client(tmp_path / "c.sock").lines("events", follow=True, kernel=True))
        next(lines)  # what the stream is
        reaperd.ask("start", "web")
        above_it, nameless = reaperd.hear_pid("middle"), reaperd.hear_pid("nameless")
        next(line for line in lines if line["event"] == "process.forked" and line["pid"] == nameless)
        os.kill(above_it, signal.SIGKILL)
        assert reaperd.wait_for("orphan.adopted", pid=nameless)["service"] == "web"
        reaperd.ask("stop", "web")
        assert state_of(nameless) is None


def test_changes_of_processes_can_be_followed(tmp_path: Path) -> None:
    """From the moment of the question on: a service's fork, exec, exit with its status, and reap."""
    need_connector()
    with daemon(tmp_path, {"web": sh("exit 7", restart="never"), "other": sleeper()}) as reaperd:
        reaperd.wait_for("service.failed", service="web")
        lines = Client(tmp_path / "c.sock").lines("events", follow=True, kernel=True)
        assert json.loads(next(lines))["kind"] == "kernel"
        Client(tmp_path / "c.sock").ask("start", ["web"])
        told: dict[str, dict[str, Any]] = {}
        while "process.reaped" not in told:
            event = json.loads(next(lines))
            if event["event"] == "process.forked" and event["parent"] == reaperd.pid:
                told = {"process.forked": event}
            elif told and event["pid"] == told["process.forked"]["pid"]:
                told[event["event"]] = event
    assert told["process.reaped"]["status"] == 7 << 8
    assert told["process.reaped"]["by"] == reaperd.pid
    assert "process.exited" in told
