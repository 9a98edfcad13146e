"""SIGHUP: another configuration is followed, and only what changed is touched."""

import os
import signal
from pathlib import Path
from typing import Final

import pytest

from reaperd.control.client import RefusedError
from tests.support.daemon import REST, Daemon, Event, daemon, sh, sleeper
from tests.support.processes import state_of

RELUCTANT: Final = f"trap 'exit 0' USR1; trap '' TERM; echo reluctant $$; {REST}"
SLOW: Final = {"timeout": "10m"}
LATE: Final = {"initial": "10m", "max": "10m"}


def _running(reaperd: Daemon, name: str) -> int:
    return int(reaperd.wait_for("service.running", service=name)["pid"])


def test_only_what_changed_is_touched(tmp_path: Path) -> None:
    """Unchanged services keep their pid; changed ones get a new one, added ones come, removed ones go."""
    before = {"same": sleeper(), "other": sleeper(), "gone": sleeper()}
    after = {"same": sleeper(), "new": sleeper(), "other": sleeper(environment={"A": "1"})}
    with daemon(tmp_path, before) as reaperd:
        pids = {name: _running(reaperd, name) for name in before}
        told = reaperd.reload(after)
        assert [told[key] for key in ("changed", "added", "removed")] == [["other"], ["new"], ["gone"]]
        new, other = _running(reaperd, "new"), _running(reaperd, "other")
        reaperd.wait_for("service.stopped", service="gone")
        status = {item["name"]: item["pid"] for item in reaperd.ask("status")["items"]}
        assert status == {"same": pids["same"], "new": new, "other": other}
        assert other != pids["other"]
        assert state_of(pids["gone"]) is None
        assert b"A=1" in Path(f"/proc/{other}/environ").read_bytes().split(b"\0")


def _assert_nothing_changed(told: Event) -> None:
    assert [told[key] for key in ("changed", "added", "removed", "needs_restart")] == [[], [], [], []]


def test_reloading_the_same_file_touches_nothing(tmp_path: Path) -> None:
    """However often it is asked for."""
    services = {"web": sleeper(), "done": sh("exit 0"), "down": sleeper()}
    with daemon(tmp_path, services) as reaperd:
        web = _running(reaperd, "web")
        reaperd.wait_for("service.exited", service="done")
        reaperd.ask("stop", "down")
        for _ in range(3):
            _assert_nothing_changed(reaperd.reload(services))
        states = {item["name"]: item["state"] for item in reaperd.ask("status")["items"]}
        assert states == {"web": "running", "done": "exited", "down": "stopped"}
        assert reaperd.main_pid("web") == web


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("[service.web]\ncommand = [\n", "not valid TOML"),
        ('[service.web]\ncommand = "true"\nrestrat = "always"\n', "restrat"),
        ('[service.web]\ndirectory = "/"\n', "command"),
        ("[daemon]\n", "no service"),
    ],
)
def test_a_bad_file_keeps_everything(tmp_path: Path, text: str, said: str) -> None:
    """The problem is in the log, and every service keeps its process and its configuration."""
    with daemon(tmp_path, {"web": sleeper()}) as reaperd:
        web = _running(reaperd, "web")
        reaperd.config.write_text(text)
        reaperd.send(signal.SIGHUP)
        assert said in reaperd.wait_for("daemon.reload_refused")["problem"]
        with pytest.raises(RefusedError, match="cannot use this configuration"):
            reaperd.ask("reload")
        assert reaperd.main_pid("web") == web
        _assert_nothing_changed(reaperd.reload({"web": sleeper()}))


def test_a_missing_file_keeps_everything(tmp_path: Path) -> None:
    """A file that was taken away is a problem like any other."""
    with daemon(tmp_path, {"web": sleeper()}) as reaperd:
        web = _running(reaperd, "web")
        reaperd.config.unlink()
        reaperd.send(signal.SIGHUP)
        assert "No such file" in reaperd.wait_for("daemon.reload_refused")["problem"]
        assert reaperd.main_pid("web") == web


def test_a_reload_during_a_stop_keeps_the_stop(tmp_path: Path) -> None:
    """A service that changes while it goes down by a wish stays down, and follows its new spec later."""
    with daemon(tmp_path, {"web": sh(RELUCTANT, stop=SLOW)}) as reaperd:
        pid = reaperd.hear_pid("reluctant")
        reaperd.ask("stop", "web", wait=False)
        reaperd.reload({"web": sleeper()})
        assert reaperd.status("web")["state"] == "stopping"
        os.kill(pid, signal.SIGUSR1)
        reaperd.wait_for("service.stopped", service="web")
        assert reaperd.ask("start", "web")["items"][0]["ok"]
        assert _command(reaperd.main_pid("web")) == "sleep 1000"


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()


def test_a_service_that_dies_during_a_reload_comes_back_once(tmp_path: Path) -> None:
    """Death and change in one turn: one new process, with the new configuration."""
    with daemon(tmp_path, {"web": sleeper(backoff=LATE)}) as reaperd:
        pid = _running(reaperd, "web")
        reaperd.send(signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
        reaperd.configure({"web": sleeper(backoff=LATE, environment={"A": "1"})})
        reaperd.send(signal.SIGHUP)
        reaperd.send(signal.SIGCONT)
        again = _running(reaperd, "web")
        assert b"A=1" in Path(f"/proc/{again}/environ").read_bytes().split(b"\0")
        assert len(reaperd.events("service.starting", service="web")) == 2


def test_a_changed_service_in_backoff_is_tried_at_once(tmp_path: Path) -> None:
    """The change may be what it was waiting for."""
    with daemon(tmp_path, {"web": sh("exit 1", backoff=LATE)}) as reaperd:
        _running(reaperd, "web")
        reaperd.wait_for("service.backoff", service="web")
        reaperd.reload({"web": sleeper(backoff=LATE)})
        assert _command(_running(reaperd, "web")) == "sleep 1000"


def test_a_service_removed_in_backoff_is_gone(tmp_path: Path) -> None:
    """There is nothing to stop, so it goes at once."""
    with daemon(tmp_path, {"web": sh("exit 1", backoff=LATE), "calm": sleeper()}) as reaperd:
        reaperd.wait_for("service.backoff", service="web")
        reaperd.reload({"calm": sleeper()})
        assert [item["name"] for item in reaperd.ask("status")["items"]] == ["calm"]


def test_a_service_on_its_way_out_cannot_be_started(tmp_path: Path) -> None:
    """What is no longer configured ends, whoever asks for it meanwhile."""
    with daemon(tmp_path, {"web": sh(RELUCTANT, stop=SLOW), "calm": sleeper()}) as reaperd:
        pid = reaperd.hear_pid("reluctant")
        reaperd.reload({"calm": sleeper()})
        reaperd.ask("start", "web", wait=False)
        os.kill(pid, signal.SIGUSR1)
        reaperd.wait_for("service.stopped", service="web")
        assert [item["name"] for item in reaperd.ask("status")["items"]] == ["calm"]


def test_a_service_that_is_removed_and_comes_back_is_started_again(tmp_path: Path) -> None:
    """Added anew while its old self is still going down: the old ends first, then the new one starts."""
    slow = sh(RELUCTANT, stop=SLOW)
    with daemon(tmp_path, {"web": slow, "calm": sleeper()}) as reaperd:
        first = reaperd.hear_pid("reluctant")
        reaperd.reload({"calm": sleeper()})
        reaperd.reload({"web": sleeper(), "calm": sleeper()})
        assert reaperd.status("web")["pid"] == first
        os.kill(first, signal.SIGUSR1)
        reaperd.wait_for("service.exited", service="web")
        reaperd.wait_for("service.starting", service="web")
        reaperd.wait_for("service.starting", service="web")
        assert state_of(first) is None


def test_the_order_of_the_file_is_the_order_of_the_status(tmp_path: Path) -> None:
    """Also after a reload that only moved services: none of them is touched."""
    with daemon(tmp_path, {"a": sleeper(), "b": sleeper(), "c": sleeper()}) as reaperd:
        pids = {name: _running(reaperd, name) for name in "abc"}
        told = reaperd.reload({"c": sleeper(), "a": sleeper(), "b": sleeper()})
        assert told["changed"] == []
        items = reaperd.ask("status")["items"]
        assert [(item["name"], item["pid"]) for item in items] == [(name, pids[name]) for name in "cab"]


def test_a_storm_of_reloads_ends_in_the_last_file(tmp_path: Path) -> None:
    """Signals may fall together; the last content counts, and nobody is left over."""
    with daemon(tmp_path, {"web": sleeper()}) as reaperd:
        _running(reaperd, "web")
        for number in range(30):
            reaperd.configure({"web": sleeper(environment={"N": str(number)}), f"s{number % 3}": sleeper()})
            reaperd.send(signal.SIGHUP)
        answer = reaperd.ask("reload")
        assert answer["schema"] == "reaperd.reload/1"
        names = [item["name"] for item in reaperd.ask("status")["items"]]
        assert names[:2] == ["web", "s2"]


def test_a_reload_after_the_end_has_begun_changes_nothing(tmp_path: Path) -> None:
    """The daemon is on its way out: what is added now would never be wanted."""
    with daemon(tmp_path, {"web": sh(RELUCTANT, stop=SLOW)}) as reaperd:
        pid = reaperd.hear_pid("reluctant")
        reaperd.send(signal.SIGTERM)
        reaperd.wait_for("daemon.stopping")
        reaperd.configure({"web": sleeper(), "new": sleeper()})
        reaperd.send(signal.SIGHUP)
        with pytest.raises(RefusedError, match="shutting down"):
            reaperd.ask("reload")
        os.kill(pid, signal.SIGUSR1)
        assert reaperd.wait_end() == 0
        assert not reaperd.events("service.starting", service="new")
