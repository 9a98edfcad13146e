"""Many services, many restarts, many orphans: nothing grows and nothing is lost."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.support.daemon import REST, UNMEASURED, Daemon, daemon, daemon_as_init, sh, sleeper
from tests.support.processes import need_root, state_of, system_python, wait_until

AT_ONCE: Final = {"initial": "1ms", "max": "1ms", "jitter": 0}


def _memory_kib(pid: int) -> int:
    """Return what is private to a process: shared pages do not grow by what it does."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))


def _descriptors(pid: int) -> int:
    """Return how many a process has, but for sockets: the latest client's may not be closed yet."""
    found = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since they were listed
            found += not str(link.readlink()).startswith("socket:")
    return found


def _await_no_more_descriptors(pid: int, before: int) -> None:
    """Wait until what is held for a moment alone is closed: one more for good would never be."""
    wait_until(lambda: _descriptors(pid) <= before, f"no more descriptors than {before}")


def _running(reaperd: Daemon, name: str) -> int:
    return int(reaperd.wait_for("service.running", service=name, within_s=60)["pid"])


def _restarted(reaperd: Daemon, times: int) -> None:
    for _ in range(times):
        reaperd.wait_for("service.backoff", service="web", within_s=60)


def test_hundreds_of_restarts_leave_no_trace(tmp_path: Path) -> None:
    """A service that leaves two orphans each time it dies costs no descriptor and no memory."""
    web = sh("(setsid sleep 1000 &); sleep 1000 & exit 1", backoff=AT_ONCE)
    with daemon(tmp_path, {"web": web}) as reaperd:
        _restarted(reaperd, 160)  # pools and caches have their size by then, and the ring of events is full
        reaperd.ask("stop", "web")
        before = _memory_kib(reaperd.pid), _descriptors(reaperd.pid)
        reaperd.ask("start", "web", wait=False)
        _restarted(reaperd, 200)
        reaperd.ask("stop", "web")
        after = _memory_kib(reaperd.pid)
        _await_no_more_descriptors(reaperd.pid, before[1])
        assert after - before[0] < 300, f"{before[0]} KiB became {after}"
        assert len(Path(f"/proc/{reaperd.pid}/task/{reaperd.pid}/children").read_text().split()) == 0


# A daemon that tells, whenever it gets SIGUSR1, how many blocks of memory its objects take.
TELLING: Final = """
import gc, os, signal, sys
def tell(_number, _frame):
    gc.collect()
    os.write(1, b"blocks %d\\n" % sys.getallocatedblocks())
signal.signal(signal.SIGUSR1, tell)
from reaperd import daemon
sys.exit(daemon.main())
"""


def _restarted_down(reaperd: Daemon, times: int) -> tuple[int, int, int]:
    """Let "web" be restarted so often in a row, stop it, and return what its daemon holds then."""
    assert reaperd.pid, "it has started"
    reaperd.ask("start", "web", wait=False)
    enough = f"{times} restarts"
    wait_until(lambda: reaperd.status("web")["failures"] >= times, enough, within_s=600)
    reaperd.ask("stop", "web")
    reaperd.send(signal.SIGUSR1)
    return reaperd.hear_pid("blocks"), _descriptors(reaperd.pid), _memory_kib(reaperd.pid)


# What comes and goes is bounded: 1,024 events are kept, and the model remembers 1,024 of those gone.
FULL: Final = 1_100
# One object kept of each restart would be more blocks than this within a thousand of them.
MOST_BLOCKS: Final = 300
# What the allocator holds differs by some hundred KiB; 128 bytes kept of each restart would be more.
MOST_KIB: Final = 1000


@pytest.mark.parametrize("cgroups", [True, False], ids=["cgroups", "walks"])
def test_ten_thousand_restarts_of_one_service_leave_no_trace(tmp_path: Path, cgroups: bool) -> None:  # noqa: FBT001 - a parameter
    """Once what is bounded is full, no table, no timer and no descriptor grows up to the last of them."""
    web = {"command": ["/bin/true"], "restart": "always", "backoff": AT_ONCE}
    program = [sys.executable, "-c", TELLING, "--"]
    times = 10_000 if cgroups else 2_100
    with daemon(tmp_path, {"web": web}, program=program, prefix=UNMEASURED, cgroups=cgroups) as reaperd:
        before = _restarted_down(reaperd, FULL)
        after = _restarted_down(reaperd, times - FULL)
        assert after[0] - before[0] < MOST_BLOCKS, f"blocks, descriptors and KiB: {before} became {after}"
        _await_no_more_descriptors(reaperd.pid, before[1])
        assert after[2] - before[2] < MOST_KIB
        assert reaperd.status("web")["restarts"] >= times


def test_failed_starts_leave_no_trace(tmp_path: Path) -> None:
    """Neither do children that never became their program."""
    with daemon(tmp_path, {"web": {"command": ["/no/such/program"], "backoff": AT_ONCE}}) as reaperd:
        _restarted(reaperd, 10)
        reaperd.ask("stop", "web")
        before = _descriptors(reaperd.pid)
        reaperd.ask("start", "web", wait=False)
        _restarted(reaperd, 100)
        reaperd.ask("stop", "web")
        _await_no_more_descriptors(reaperd.pid, before)


def _up(reaperd: Daemon, names: list[str], restarts: int) -> bool:
    items = reaperd.ask("status")["items"]
    up = {item["name"] for item in items if (item["state"], item["restarts"]) == ("running", restarts)}
    return up == set(names)


def test_a_thousand_services_start_crash_come_back_and_stop(tmp_path: Path) -> None:
    """All at once, each time; and the daemon answers all the while."""
    names = [f"s{number}" for number in range(1000)]
    services = {name: sleeper(backoff={"initial": "10ms", "max": "20ms"}) for name in names}
    with daemon(tmp_path, services, prefix=UNMEASURED) as reaperd:
        assert reaperd.pid, "it has started"
        first = [item["state"] for item in reaperd.ask("status")["items"]]
        assert first.count("running") < 1000, "it answers before all of them are up"
        reaperd.ask("start", "all")
        assert _up(reaperd, names, 0)
        reaperd.ask("stop", "all")
        few = _descriptors(reaperd.pid)
        reaperd.ask("start", "all")
        for item in reaperd.ask("status")["items"]:
            os.kill(item["pid"], signal.SIGKILL)
        wait_until(lambda: _up(reaperd, names, 1), "a thousand to come back", within_s=240)
        assert all(item["state"] == "stopped" for item in reaperd.ask("stop", "all")["items"])
        assert Path(f"/proc/{reaperd.pid}/task/{reaperd.pid}/children").read_text() == ""
        _await_no_more_descriptors(reaperd.pid, few)
        reaperd.ask("start", "all")
        reaperd.end(within_s=120)


def test_a_chain_of_a_thousand_starts_from_one_end_and_stops_from_the_other(tmp_path: Path) -> None:
    """Each requires the one before it: a stop of the first takes all along, the last one first."""
    names = [f"s{number}" for number in range(1000)]
    needs = [{}, *({"requires": [name]} for name in names)]
    services = {name: sleeper(**each) for name, each in zip(names, needs, strict=False)}
    with daemon(tmp_path, services, prefix=UNMEASURED) as reaperd:
        assert reaperd.pid, "it has started"
        reaperd.ask("start", names[-1], within_s=240)
        assert _up(reaperd, names, 0)
        started = [item["since"] for item in reaperd.ask("status")["items"]]
        assert started == sorted(started)
        reaperd.ask("stop", names[0], within_s=240)
        items = reaperd.ask("status")["items"]
        assert {item["state"] for item in items} == {"stopped"}
        since = [item["since"] for item in items]
        assert since == sorted(since, reverse=True)


# --- as PID 1 -------------------------------------------------------------------------------------------

STORM: Final = """
import os, signal
for _ in range(%d):
    pid = os.fork()
    if pid == 0:
        for _ in range(20):
            if os.fork() == 0:
                os.setsid()
                os._exit(0)
        os._exit(0)
    os.waitpid(pid, 0)
os.write(1, b"stormed\\n")
signal.pause()
"""


def _zombies_below(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if state_of(int(child)) == "Z"]


def test_as_pid_1_it_reaps_a_storm_of_orphans(tmp_path: Path) -> None:
    """Two thousand orphans of a service that goes on: all are reaped, and nobody is disturbed."""
    storm = {"command": [system_python(), "-ISc", STORM % 100]}
    with daemon_as_init(tmp_path, {"storm": storm, "calm": sleeper()}) as reaperd:
        reaperd.hear("stormed", within_s=60)
        wait_until(lambda: not _zombies_below(reaperd.pid), "the zombies to be reaped")
        assert reaperd.state("storm") == "running"
        assert sum(event["count"] for event in reaperd.events("orphans.reaped")) == 2000


def test_as_pid_1_it_ends_the_whole_namespace_by_itself(tmp_path: Path) -> None:
    """SIGTERM from outside: services and strangers alike are ended, reaped, and the status is 0."""
    untag = "prlimit --pid $$ --locks=unlimited"
    stray = f"env -i setsid sh -c '{untag}; (setsid sleep 1000 &)'; echo ready $SERVICE; {REST}"
    with daemon_as_init(tmp_path, {"one": sh(stray), "two": sh(stray)}) as reaperd:
        reaperd.hear("ready")
        reaperd.hear("ready")
        reaperd.end()


def test_as_pid_1_it_survives_signals_that_it_has_no_use_for(tmp_path: Path) -> None:
    """From within, the kernel drops what PID 1 does not handle; from outside SIGUSR1 is dropped as well."""
    script = f"kill -USR1 1; kill -KILL 1; kill -STOP 1; echo tried; {REST}"
    with daemon_as_init(tmp_path, {"web": sh(script)}) as reaperd:
        reaperd.hear("tried")
        reaperd.send(signal.SIGUSR1)
        assert reaperd.state("web") == "running"


def test_a_pid_that_is_used_again_at_once_confuses_nobody(tmp_path: Path) -> None:
    """With forty pids to go round, crashes and escapees get those of the dead all the time."""
    _need_own_pid_max()
    crashing = sh("(setsid sleep 1000 &); sleep 1000 & exit 1", backoff=AT_ONCE)
    # The kernel keeps the first 300 pids for the first time round: what comes now has 300 to 339.
    calm = sh(
        "echo 340 > /proc/sys/kernel/pid_max && echo limited $(cat /proc/sys/kernel/pid_max); "
        f"(setsid sh -c 'echo escaped; exec sleep 1000' &); {REST}"
    )
    with daemon_as_init(tmp_path, {"calm": calm, "web": crashing}) as reaperd:
        assert reaperd.hear("limited") == ["340"]
        reaperd.hear("escaped")
        reaperd.wait_for("service.running", service="calm")
        pid = reaperd.main_pid("calm")
        _restarted(reaperd, 150)
        assert len({event["pid"] for event in reaperd.events("service.exited")}) < 150
        reaperd.ask("stop", "web")
        status = reaperd.ask("status")
        assert status["unclaimed"] == []
        assert (status["items"][0]["pid"], status["items"][0]["restarts"]) == (pid, 0)
        below = Path(f"/proc/{reaperd.pid}/task/{reaperd.pid}/children").read_text().split()
        assert len(below) == 2  # the calm one and its escapee
        assert not reaperd.events("daemon.turn_failed")


def _need_own_pid_max() -> None:
    """Skip where pid_max belongs to the whole machine: Linux before 6.14."""
    need_root()
    release = tuple(int(word) for word in os.uname().release.split(".")[:2])
    if release < (6, 14):
        pytest.skip("pid_max of a PID namespace needs Linux 6.14")
