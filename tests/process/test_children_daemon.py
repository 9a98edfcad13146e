"""The daemon as a whole gives runs their cgroups, and takes them away again."""

import signal
import subprocess
from pathlib import Path

import pytest

from reaperd.children.leaves import find_place
from reaperd.errors import ReaperdError
from reaperd.kernel import cgroup
from tests.support.cgroups import own_v1_cgroup, write
from tests.support.daemons import daemon
from tests.support.processes import need_root, owned, wait_readable, wait_state, wait_until


def _place() -> str:
    try:
        return find_place()
    except ReaperdError as error:
        pytest.skip(error.message)


def _leaves_of(pid: int) -> list[str]:
    return [str(each) for each in Path(_place()).glob(f"reaperd-*-{pid}-*/*") if each.is_dir()]


ESCAPEE = """
[service.web]
command = ["sh", "-c", "(setsid env -i prlimit --locks=unlimited sleep 1000 &); exec sleep 1001"]
"""


def test_a_stop_ends_all_and_the_cgroups_go(tmp_path: Path) -> None:
    """An escapee without session, parent, tag or environment is gone when the stop is answered."""
    _place()
    with daemon(tmp_path, ESCAPEE) as running:
        running.event("service.running", service="web")
        (leaf,) = _leaves_of(running.pid)
        wait_until(lambda: len(cgroup.pids(leaf)) == 2, "the escapee")
        escapee = max(cgroup.pids(leaf))
        running.ask("stop", "web")
        assert not Path(f"/proc/{escapee}").exists()
        assert not Path(leaf).exists()
        assert running.end() == 0
        assert not list(Path(_place()).glob(f"reaperd-*-{running.pid}-*"))


def test_a_stranger_in_the_cgroup_is_stopped_with_it(tmp_path: Path) -> None:
    """Who was moved there is another's child: his end is told by the cgroup, and the stop is answered."""
    _place()
    text = '[service.web]\ncommand = ["sleep", "1000"]\n'
    deaf = ["sh", "-c", "trap '' TERM; echo; read never"]
    with (
        owned(deaf, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stranger,
        daemon(tmp_path, text) as running,
    ):
        wait_readable(stranger.stdout.fileno())  # type: ignore[union-attr] # a pipe was asked for
        running.event("service.running", service="web")
        (leaf,) = _leaves_of(running.pid)
        write(f"{leaf}/cgroup.procs", str(stranger.pid))
        running.process.send_signal(signal.SIGTERM)
        running.event("service.exited", service="web")
        assert not running.events("service.stopped")
        stranger.kill()
        running.event("service.stopped", service="web")


def test_one_that_cannot_be_killed_holds_up_nobody(tmp_path: Path) -> None:
    """While it is in state D another service is stopped and started, and the daemon answers."""
    need_root()
    text = """
[service.stuck]
command = ["sleep", "1000"]
stop = { timeout = "10ms" }
[service.other]
command = ["sleep", "1001"]
"""
    with own_v1_cgroup("freezer") as freezer, daemon(tmp_path, text) as running:
        stuck = running.event("service.running", service="stuck")["pid"]
        running.event("service.running", service="other")
        write(f"{freezer}/cgroup.procs", str(stuck))
        write(f"{freezer}/freezer.state", "FROZEN")
        wait_state(stuck, "D")
        try:
            running._client.ask("stop", ("stuck",), wait=False)
            running.event("service.killing", service="stuck")
            running.ask("stop", "other")
            running.ask("start", "other")
            row = running.row("stuck")
            assert row["state"] == "stopping"
            assert row["why"].startswith(
                f"SIGKILL sent, and pid {stuck} (sleep) cannot end: it is in state D"
            )
            (why,) = running.ask("why", "stuck")["items"]
            assert why["why"] == row["why"]
            assert running.row("other")["why"] == "before that: stopped as asked (ended by SIGTERM)"
        finally:
            write(f"{freezer}/freezer.state", "THAWED")
        running.event("service.stopped", service="stuck")
