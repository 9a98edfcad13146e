"""Every specimen is what it says, is understood, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from reaperd.kernel import procfs
from reaperd.zombies.careless import INIT_TRANSIT_S, TRANSIT_S
from reaperd.zombies.scan import scan
from reaperd.zombies.specimens import KINDS, looked_at, specimen
from tests.support.processes import (
    ROOT,
    call_in_pid_namespace,
    call_in_process,
    fork_child,
    need_root,
    owned,
    owned_child,
    state_of,
    system_python,
    unprivileged,
    wait_gone,
    wait_readable,
    wait_until,
)

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="some kinds are made on x86-64 only")

NEEDS_ROOT: Final = frozenset({"frozen", "frozen-v1", "outside", "entered", "held-up"})
SCANS: Final = 1000


def _understood(kind: str) -> Any:
    """Make it, let it grow old enough to be judged, and return what is said of its zombies."""
    try:
        with specimen(kind) as roles:
            zombies = roles.get("zombie", [])
            is_init = KINDS[kind].cause == "init-does-not-reap"
            time.sleep((INIT_TRANSIT_S if is_init else TRANSIT_S) + 0.1)  # nothing happens: that is the point
            if KINDS[kind].is_inside:
                return [_causes_inside(looked_at(kind, roles)), [], []]
            found = {zombie.pid: zombie for zombie in scan().zombies}
            causes = [found[pid].cause.name if pid in found else None for pid in zombies]
            below = {stat.pid for stat in procfs.descendants(os.getpid())}
            leaks = [z.cause.name for z in found.values() if z.cause.is_leak and z.pid in below]
    except (RuntimeError, OSError) as error:
        return str(error)
    return [causes, leaks, procfs.children(os.getpid())]


def _causes_inside(into: tuple[str, ...]) -> list[str]:
    """Return the causes that the command tells within a namespace, where nobody else has a zombie."""
    words = [*into, sys.executable, "-m", "reaperd", "zombies", "--json"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    return [item["cause"]["name"] for item in json.loads(done.stdout)["items"]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_specimen_is_named_by_its_cause(kind: str) -> None:
    """Its zombies get the cause that it is made for, controls leave none that is called a leak."""
    if kind in NEEDS_ROOT and os.geteuid() != 0:
        pytest.skip("needs root")
    seen = call_in_process(_understood, kind)
    if isinstance(seen, str):
        pytest.skip(f"cannot be made here: {seen}")
    causes, leaks, left = seen
    cause = KINDS[kind].cause
    assert set(causes) == ({cause} if cause else set())
    if cause is None:
        assert leaks == []
    assert left == []


COMMAND: Final = [sys.executable, "-m", "reaperd", "specimen"]


def test_the_command_holds_it_until_ctrl_c_and_cleans_up() -> None:
    """It says who is who, and after Ctrl-C neither the zombie nor its parent is there."""
    with owned([*COMMAND, "never-waits"], cwd=ROOT, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        roles = {}
        for _ in range(2):
            wait_readable(process.stdout.fileno())
            role, pid = process.stdout.readline().decode().split()
            roles[role] = int(pid)
        assert state_of(roles["zombie"]) == "Z"
        wait_readable(process.stdout.fileno())
        assert b"parent-never-waits" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert [state_of(pid) for pid in roles.values()] == [None, None]


def test_a_plain_user_may_dump_core_too() -> None:
    """In a user namespace of his own, where such may be made; the zombie is named as root's is."""
    need_root()
    packages = {"PYTHONPATH": f"{ROOT}:{Path(psutil.__file__).parents[1]}"}
    words = unprivileged([system_python(), "-B", "-m", "reaperd", "specimen", "dumps-core"])
    with owned(
        words, cwd="/", env=packages, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as keeper:
        assert keeper.stdout is not None
        assert keeper.stderr is not None
        wait_readable(keeper.stdout.fileno())
        roles = dict(
            line.decode().split() for line in (keeper.stdout.readline(), keeper.stdout.readline()) if line
        )
        if not roles:
            pytest.skip(f"cannot be made here by a plain user: {keeper.stderr.read().decode()}")
        (zombie,) = scan([int(roles["zombie"])]).zombies
        assert (zombie.user, zombie.cause.name) == ("nobody", "parent-dumps-core")
        keeper.send_signal(signal.SIGINT)
        wait_gone(int(roles["parent"]))


def test_a_killed_keeper_leaves_nobody_alive() -> None:
    """What it forked is killed by the kernel, and whoever adopts the rest collects it."""
    assert call_in_pid_namespace(_killed) is True


def _killed() -> bool:
    with owned([*COMMAND, "waits-for-another"], cwd=ROOT, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        word, pid = process.stdout.readline().decode().split()
        assert word == "parent"
        process.kill()
        process.wait()
        wait_until(lambda: state_of(int(pid)) in (None, "Z"), "the parent to end")
    while True:
        try:
            os.waitpid(-1, 0)  # PID 1 of this namespace is who adopts
        except ChildProcessError:
            return True


def test_the_list_and_its_mistakes() -> None:
    """Every kind is listed with its cause; one that is none is met with what was probably meant."""
    done = subprocess.run([*COMMAND, "--list"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(f"{name} " in done.stdout for name in KINDS)
    done = subprocess.run([*COMMAND, "stoped"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert 'did you mean "stopped"?' in done.stderr


def _false_causes() -> dict[str, int]:
    """Scan while well-behaved parents fork and wait as fast as they can, beside one true leak."""

    def storm() -> None:
        while True:
            for pid in [fork_child(lambda: None) for _ in range(4)]:
                os.waitpid(pid, 0)

    blamed: dict[str, int] = {}
    with specimen("never-waits") as roles, owned_child(storm), owned_child(storm):
        true = set(roles["zombie"])
        time.sleep(TRANSIT_S + 0.1)  # the true leak is old enough in every scan
        for _ in range(SCANS):
            found = [zombie for zombie in scan().zombies if zombie.cause.is_leak]
            for zombie in found:
                name = zombie.cause.name
                if zombie.pid not in true or name != "parent-never-waits":
                    blamed[name] = blamed.get(name, 0) + 1
            if not true <= {zombie.pid for zombie in found}:
                blamed["missed"] = blamed.get("missed", 0) + 1
    return blamed


def test_a_thousand_scans_under_a_fork_storm_blame_nobody_falsely() -> None:
    """Zombies in transit are plenty then; only the one that stays is a leak, in every scan."""
    assert call_in_pid_namespace(_false_causes, within_s=240, is_storm=True) == {}
