"""What a daemon does about zombies that stay under its services."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

from reaperd.control.client import Client
from reaperd.kernel import procfs
from tests.support.cgroups import own_cgroup
from tests.support.daemons import IMPATIENT, Running, daemon, service
from tests.support.processes import ROOT, need_program, need_root, owned, state_of, wait_until

LEAKY: Final = str(ROOT / "tests/support/leaky.py")
LOOKED_AT: Final = {"age": "1s"}

needs_injection: Final = pytest.mark.skipif(os.uname().machine != "x86_64", reason="proven on x86-64 only")


def _leak(kind: str, count: int) -> list[str]:
    return [sys.executable, "-I", "-S", LEAKY, kind, str(count)]


def _zombies_of(parent: int) -> list[int]:
    return [pid for pid in procfs.children(parent) if state_of(pid) == "Z"]


def _remedy(remedy: str, services: str) -> str:
    return f'zombies = "{remedy}"\n{services}'  # [daemon] is the table before


def _shown(running: Running, command: str = "status") -> str:
    words = [sys.executable, "-m", "reaperd", command, "--socket", str(running._socket)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def test_zombies_that_stay_are_an_event_and_a_column(tmp_path: Path) -> None:
    """Told with parent, cause and what would help; `status` counts them and says that looks are made."""
    leak = service("leak", _leak("never", 3), zombies=LOOKED_AT)
    with daemon(tmp_path, leak + service("clean", ["sleep", "1000"])) as running:
        told = running.event("service.zombies", service="leak")
        parent = running.event("service.running", service="leak")["pid"]
        assert (told["parent"], told["cause"]) == (parent, "parent-never-waits")
        assert told["count"] in {1, 2, 3}  # who was old enough at that look
        assert told["oldest"] >= 1
        assert f"reap --parent {parent}" in told["helps"]
        wait_until(lambda: running.row("leak")["zombies"] == 3, "a status that counts them")
        answer = running.ask("status")
        assert {item["name"]: item["zombies"] for item in answer["items"]} == {"leak": 3, "clean": 0}
        assert answer["zombie_looks"] == {"every": 1.0, "remedy": "report"}
        labels = f'{{service="leak",parent="{told["name"]}"}}'
        assert f"reaperd_service_zombies{labels} 3\n" in Client(running._socket).text("metrics")
        shown = _shown(running)
        assert "ZOMBIES" in shown
        assert "zombies are looked for every 1s: report" in shown
        assert "wakes up every 1s to look for zombies: report" in _shown(running, "doctor")
        running.ask("stop", "leak")
        assert running.row("leak")["zombies"] is None
        assert running.ask("status")["zombie_looks"] is None  # nobody is left to look at
        assert len(running.events("service.zombies")) <= 2


def test_a_nudge_clears_what_a_handler_missed(tmp_path: Path) -> None:
    """A parent that waits once per signal is reminded until none is left, and lives on."""
    with daemon(tmp_path, _remedy("nudge", service("web", _leak("once", 4), zombies=LOOKED_AT))) as running:
        assert running.event("service.zombies_gone", service="web")["by"] == "nudge"
        parent = running.event("service.running", service="web")["pid"]
        assert _zombies_of(parent) == []
        wait_until(lambda: running.row("web")["zombies"] == 0, "a status without any")
        assert running.row("web")["restarts"] == 0


def test_a_nudge_is_no_injection(tmp_path: Path) -> None:
    """A parent that never waits keeps its zombies, and it is said why they stay, once."""
    with daemon(tmp_path, _remedy("nudge", service("web", _leak("never", 2), zombies=LOOKED_AT))) as running:
        stay = running.event("service.zombies_stay", service="web")
        assert "inject" in f"{stay['problem']} {stay['hint']}", stay
        assert len(_zombies_of(stay["parent"])) == 2


@needs_injection
def test_an_injection_clears_who_never_waits_and_touches_no_stranger(tmp_path: Path) -> None:
    """A grandchild's zombies go and it lives on; the same leak outside of any service keeps its own."""
    script = f"{' '.join(_leak('never', 3))} & exec sleep 1000"
    with owned(_leak("never", 2), stdout=subprocess.PIPE) as stranger:
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == b"ready\n"
        with daemon(tmp_path, _remedy("inject", service("web", script, zombies=LOOKED_AT))) as running:
            gone = running.event("service.zombies_gone", service="web")
            assert gone["by"] == "inject"
            assert _zombies_of(gone["parent"]) == []
            assert state_of(gone["parent"]) == "S"
        assert len(_zombies_of(stranger.pid)) == 2
        assert stranger.poll() is None


def test_a_limit_restarts_the_service(tmp_path: Path) -> None:
    """More than may stay is a failure with that reason, and the restart policy goes on from there."""
    leak = service("web", _leak("never", 3), zombies={"age": "1s", "limit": 2}, backoff={"initial": "1ms"})
    with daemon(tmp_path, leak) as running:
        first = running.event("service.running")["pid"]
        assert running.event("service.unhealthy")["reason"] == "3 zombies stay, 2 may"
        second = running.event("service.running", nth=2)["pid"]
        assert state_of(first) is None
        assert second != first


def test_a_limit_may_only_be_reported(tmp_path: Path) -> None:
    """With `action = "report"` the log has one line, and the service goes on."""
    limit = {"age": "1s", "limit": 0, "action": "report"}
    with daemon(tmp_path, service("web", _leak("never", 1), zombies=limit)) as running:
        over = running.event("service.too_many_zombies")
        assert (over["count"], over["limit"]) == (1, 0)
        assert running.row("web")["restarts"] == 0


def test_a_reload_begins_and_ends_the_looks(tmp_path: Path) -> None:
    """The keys need no new process: the same parent is looked at, and then no longer."""
    plain = service("web", _leak("never", 1))
    with daemon(tmp_path, plain) as running:
        pid = running.event("service.running")["pid"]
        running.configure(service("web", _leak("never", 1), zombies=LOOKED_AT))
        running.ask("reload")
        running.event("service.zombies")
        running.configure(plain)
        running.ask("reload")
        assert running.ask("status")["zombie_looks"] is None
        assert running.row("web")["pid"] == pid


def test_where_nobody_looks_a_status_counts(tmp_path: Path) -> None:
    """Without the keys grandchildren's zombies are seen at a request."""

    def counted() -> Any:  # Any: JSON
        return running.row("web")["zombies"]

    with daemon(tmp_path, service("web", _leak("never", 2))) as running:
        wait_until(lambda: counted() == 2, "a status that counts them")
        assert running.ask("status")["zombie_looks"] is None
        assert not running.events("service.zombies")


def _stopped_helper(running: Running) -> int:
    """Stop a helper that looks, before it has answered, and return its pid."""

    def helpers() -> list[int]:
        found = []
        for pid in procfs.children(running.pid):
            with suppress(FileNotFoundError, ProcessLookupError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                found += [pid] if b"reaperd.zombies.tend" in words else []
        return found

    def stopped(helper: int) -> bool:
        with suppress(ProcessLookupError):
            os.kill(helper, signal.SIGSTOP)
        return state_of(helper) == "T"

    wait_until(lambda: any(map(stopped, helpers())), "a look, and to stop it in time")
    return helpers()[0]


def test_a_look_that_hangs_holds_up_nobody(tmp_path: Path) -> None:
    """While the helper is stopped the daemon answers, and when it goes on its answer counts."""
    with daemon(tmp_path, service("web", _leak("never", 1), zombies=LOOKED_AT)) as running:
        helper = _stopped_helper(running)
        assert running.row("web")["state"] == "running"
        os.kill(helper, signal.SIGCONT)
        running.event("service.zombies")


def test_a_look_that_is_killed_is_told_and_made_again(tmp_path: Path) -> None:
    """As at its deadline: the log says that nobody looked, and the next look finds what there is."""
    with daemon(tmp_path, service("web", _leak("never", 1), zombies=LOOKED_AT)) as running:
        os.kill(_stopped_helper(running), signal.SIGKILL)
        assert "SIGKILL" in running.event("daemon.cannot_tend_zombies")["problem"]
        running.event("service.zombies")


def test_a_look_that_hangs_is_ended_at_its_deadline(tmp_path: Path) -> None:
    """The log says so, the helper is gone, and the next look finds what there is."""
    leak = service("web", _leak("never", 1), zombies=LOOKED_AT)
    with daemon(tmp_path, leak, program=IMPATIENT) as running:
        helper = _stopped_helper(running)
        assert running.event("daemon.cannot_tend_zombies")["problem"] == "no answer within 5s"
        wait_until(lambda: state_of(helper) is None, "the helper to be gone")
        running.event("service.zombies")


def _where_no_cgroup_is_seen() -> tuple[str, ...]:
    """Return the program of a daemon that cannot see that somebody is frozen, so that it tries."""
    hide = 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"'
    return (need_program("unshare"), "--mount", "sh", "-c", hide, "sh", *IMPATIENT)


def _is_traced(pid: int) -> bool:
    return (procfs.read_status(pid) or {}).get("TracerPid", "0") != "0"


@needs_injection
def test_who_hangs_in_a_parent_that_does_not_stop_is_ended_at_the_deadline(tmp_path: Path) -> None:
    """Four frozen parents are waited for: too long in all. They are let go of, and go on when thawed."""
    need_root()
    names = [f"leak{number}" for number in range(4)]
    plain = "".join(service(name, _leak("never", 1)) for name in names)
    asked = _remedy("inject", "".join(service(name, _leak("never", 1), zombies=LOOKED_AT) for name in names))
    program = _where_no_cgroup_is_seen()
    with own_cgroup() as folder, daemon(tmp_path, plain, program=program) as running:
        parents = [running.event("service.running", service=name)["pid"] for name in names]
        wait_until(lambda: all(len(_zombies_of(parent)) == 1 for parent in parents), "the leaks")
        for parent in parents:
            Path(folder, "cgroup.procs").write_text(str(parent))
        freeze = Path(folder, "cgroup.freeze")
        freeze.write_text("1")
        try:
            running.configure(asked)
            running.ask("reload")
            wait_until(lambda: any(map(_is_traced, parents)), "one to be traced")
            assert running.event("daemon.cannot_tend_zombies")["problem"] == "no answer within 5s"
            wait_until(lambda: not any(map(_is_traced, parents)), "all to be let go of")
        finally:
            freeze.write_text("0")
        wait_until(lambda: all(state_of(parent) == "S" for parent in parents), "all to go on")
        assert [running.row(name)["restarts"] for name in names] == [0] * 4
