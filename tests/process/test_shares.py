"""What runs may have of the machine: limits that are set, changed, given up, and said to have no effect."""

import os
from pathlib import Path

import pytest

from reaperd.children.leaves import Leaves
from reaperd.children.shares import Setting
from reaperd.kernel import cgroup, cgroup_control
from tests.support.cgroups import divisible_cgroup, write
from tests.support.daemons import Running, daemon, service
from tests.support.processes import call_in_process, owned

MIB = 1 << 20
KEYS = {"memory_max": "64MiB", "cpu_weight": 300, "pids_max": 50}


# --- the daemon's place, by whichever controller there is -----------------------------------------------


def _divided(place: str, name: str, file: str) -> list[object]:
    write(f"{place}/cgroup.procs", "0")
    leaves = Leaves(place)
    for run_id in ("one", "two"):
        os.close(leaves.make(run_id, "web"))
    wanted = tuple(Setting("key", name, file, value) for value in ("8388608", "4194304"))
    refused = [leaves.put("one", wanted[:1]), leaves.put("two", wanted[1:])]
    values = [Path(str(leaves.path(run_id)), file).read_text() for run_id in ("one", "two")]
    away = cgroup.path_of(os.getpid()) or ""
    given = cgroup_control.given(place) == {name}
    cgroup.remove(str(leaves.path("one")))
    cgroup.remove(str(leaves.path("two")))
    cgroup.remove(leaves.directory)  # somebody takes ours away; it is made again with what it had
    os.close(leaves.make("three", "web"))
    again = leaves.put("three", wanted[:1])
    for run_id in ("one", "two", "three"):
        leaves.ended(run_id)
    leaves.close()
    back = cgroup.path_of(os.getpid()) or ""
    left = [each.name for each in os.scandir(place) if each.is_dir()]
    after = sorted(cgroup_control.given(place))
    return [refused, values, away.endswith(".daemon"), given, again, Path(place).name in back, left, after]


def test_the_daemon_leaves_its_place_to_divide_it_and_comes_back() -> None:
    """Each run has its own value; at the end the place is as it was, and the daemon in it."""
    with divisible_cgroup() as (place, name, file):
        found = call_in_process(_divided, place, name, file)
    assert found == [[{}, {}], ["8388608\n", "4194304\n"], True, True, {}, True, [], []]


def _shared(place: str, name: str, file: str) -> list[object]:
    write(f"{place}/cgroup.procs", "0")
    before = cgroup.path_of(os.getpid())
    leaves = Leaves(place)
    os.close(leaves.make("one", "web"))
    refused = [leaves.put("one", (Setting("key", name, file, "0"),)) for _ in range(2)]
    stayed = cgroup.path_of(os.getpid()) == before
    leaves.ended("one")
    leaves.close()
    left = [each.name for each in os.scandir(place) if each.is_dir()]
    return [refused, stayed, left, sorted(cgroup_control.given(place))]


def test_where_others_are_in_the_place_it_stays_whole() -> None:
    """The daemon moves nobody else; it stays, and says why there is no limit."""
    with divisible_cgroup() as (place, name, file), owned(["sleep", "1000"]) as other:
        write(f"{place}/cgroup.procs", str(other.pid))
        refused, stayed, left, given = call_in_process(_shared, place, name, file)
    assert all("other processes than the daemon" in each["key"] for each in refused)
    assert (stayed, left, given) == (True, [], [])


# --- services -------------------------------------------------------------------------------------------


def _values(running: Running, name: str) -> list[str]:
    """Return what the kernel holds of a service's limits; skip where it lacks a controller."""
    row = running.row(name)
    if row["unlimited"]:
        pytest.skip(row["unlimited"])
    (why,) = running.ask("why", name)["items"]
    return [
        Path(why["cgroup"]["path"], f).read_text().strip() for f in ("memory.max", "cpu.weight", "pids.max")
    ]


def test_each_instance_has_its_limits_and_a_reload_changes_them(tmp_path: Path) -> None:
    """The processes stay; what is no longer said is as it was without."""
    text = service("web", "exec sleep 1000", instances=2, **KEYS)
    with daemon(tmp_path, text) as running:
        pids = [running.event("service.running", service=f"web:{number}")["pid"] for number in (1, 2)]
        for number in (1, 2):
            assert _values(running, f"web:{number}") == [str(64 * MIB), "300", "50"]
        running.configure(service("web", "exec sleep 1000", instances=2, memory_max="32MiB", pids_max=60))
        running.ask("reload")
        for number in (1, 2):
            assert _values(running, f"web:{number}") == [str(32 * MIB), "100", "60"]
        assert [running.row(f"web:{number}")["pid"] for number in (1, 2)] == pids


def test_no_more_processes_than_allowed(tmp_path: Path) -> None:
    """A fork beyond it fails."""
    script = "for each in 1 2 3 4 5 6; do sleep 1000 & done; wait"
    with daemon(tmp_path, service("web", script, pids_max=3, restart="never")) as running:
        running.event("service.running")
        if unlimited := running.row("web")["unlimited"]:
            pytest.skip(unlimited)
        assert running.event("service.exited")["code"] != 0


def test_limits_without_effect_are_said_once_and_the_service_runs(tmp_path: Path) -> None:
    """In the log once for all of its runs, and in `status` and `why` as long as it is so."""
    text = service("web", "exec sleep 1000", restart="always", backoff={"initial": "1ms"}, **KEYS)
    with daemon(tmp_path, f'cgroup = "no"\n{text}') as running:
        pid = running.event("service.running")["pid"]
        said = running.event("service.not_limited", service="web")
        assert said["problem"].startswith("memory_max, cpu_weight, pids_max have no effect: ")
        assert 'cgroup = "no"' in said["problem"]
        row = running.row("web")
        assert (row["state"], row["unlimited"], row["why"]) == ("running", said["problem"], said["problem"])
        running.ask("restart", "web")
        assert "no effect" in running.row("web")["why"]
        assert len(running.events("service.not_limited")) == 1
        pid = running.row("web")["pid"]
        running.configure(text.replace("pids_max = 50\n", "").replace("cpu_weight = 300\n", ""))
        running.ask("reload")
        assert running.row("web")["unlimited"].startswith("memory_max has no effect: ")
        assert running.row("web")["pid"] == pid


def test_a_missing_controller_is_named(tmp_path: Path) -> None:
    """The service runs, in a cgroup of its own where those can be had, and `why` tells of that."""
    with daemon(tmp_path, service("web", "exec sleep 1000", **KEYS)) as running:
        running.event("service.running")
        row = running.row("web")
        if row["unlimited"] is None:
            pytest.skip("memory, cpu and pids are all there")
        (why,) = running.ask("why", "web")["items"]
        if why["cgroup"] is None:
            assert "cannot give runs a cgroup" in row["unlimited"]
        else:
            assert "cgroup v2 has no controller for it here" in row["unlimited"]
            assert set(why["cgroup"]["pressure"]) == {"cpu", "io", "memory"}
            assert "/web." in why["cgroup"]["path"]
        assert row["unlimited"] in row["why"]
