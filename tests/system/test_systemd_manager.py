"""reaperd as a service of a real systemd: what it tells, what it is told, and what it leaves."""

import json
from collections.abc import Iterator

import pytest

from tests.support.systemd import Machine, Unit, booted, install_units

SLEEPER = 'command = ["sleep", "1000"]\n'


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """Boot one for all of this file; each test has its own unit."""
    with booted() as machine:
        install_units(machine)
        yield machine


def test_it_is_ready_and_its_status_stays_current(machine: Machine) -> None:
    """`systemctl start` returns once it answers; the line follows what the services do."""
    config = f"""
        [service.web]
        {SLEEPER}
        [service.broken]
        command = ["sh", "-c", "test -e /run/mended-status || exit 3; exec sleep 1000"]
        restart = "never"
    """
    unit = Unit(machine, "status", config)
    unit.systemctl("start")
    assert unit.row("web")["state"] in {"starting", "running"}
    assert machine.show(unit.name, "MainPID") != "0"
    unit.wait_status("1 running, 1 failed (broken)")
    machine.write("/run/mended-status", "")
    assert unit.reaperd("start", "broken").returncode == 0
    unit.wait_status("2 running")
    assert unit.reaperd("stop", "web").returncode == 0
    unit.wait_status("1 running, 1 stopped")


def test_a_reload_returns_when_it_is_done(machine: Machine) -> None:
    """What the new configuration adds is ready by then, however long that takes; a bad one is an error."""
    unit = Unit(machine, "reload", f"[service.web]\n{SLEEPER}")
    unit.systemctl("start")
    main = machine.show(unit.name, "MainPID")
    late = '[service.late]\ncommand = ["sleep", "1000"]\nready = { delay = "1500ms" }\n'
    unit.write(f"[service.web]\n{SLEEPER}{late}")
    unit.systemctl("reload")
    assert unit.row("late")["state"] == "running"
    assert machine.show(unit.name, "ActiveState") == "active"
    unit.write("[service.web]\n")
    refused = machine.ask("systemctl", "reload", unit.name)
    assert refused.returncode != 0
    unit.wait_status("refused")
    assert machine.show(unit.name, "ActiveState") == "active"
    unit.write(f"[service.web]\n{SLEEPER}")
    unit.systemctl("reload")
    assert "refused" not in unit.wait_status("1 running")
    assert machine.show(unit.name, "MainPID") == main


def test_a_daemon_that_hangs_is_restarted(machine: Machine) -> None:
    """The watchdog hears from the loop alone: stopped, the daemon is silent, and systemd starts another."""
    unit = Unit(machine, "hang", f"[service.web]\n{SLEEPER}")
    drop_in = f"/run/systemd/system/{unit.name}.d/watchdog.conf"
    machine.write(drop_in, "[Service]\nWatchdogSec=2s\nRestartSec=0\nWatchdogSignal=KILL\n")
    machine.run("systemctl", "daemon-reload")
    unit.systemctl("start")
    first = machine.show(unit.name, "MainPID")
    web = unit.wait_row("web", lambda row: row["state"] == "running", "up")["pid"]
    # It outlives some intervals while it is idle, or there would be nothing to miss later.
    beats = machine.show(unit.name, "WatchdogTimestampMonotonic")
    machine.wait_shown(unit.name, "WatchdogTimestampMonotonic", lambda now: int(now) > int(beats) + 3_000_000)
    assert machine.show(unit.name, "MainPID") == first
    machine.run("kill", "-STOP", first)
    machine.wait_shown(unit.name, "MainPID", lambda pid: pid not in {"0", first})
    assert machine.show(unit.name, "NRestarts") == "1"
    machine.wait_shown(unit.name, "ActiveState", lambda state: state == "active")
    again = unit.wait_row("web", lambda row: row["state"] == "running", "up again")
    assert again["pid"] != web
    assert machine.ask("kill", "-0", str(web)).returncode != 0, "nothing of the first daemon is left"


def test_a_stop_leaves_nothing(machine: Machine) -> None:
    """No process, no control group, no socket; a service that will not go has the time that it was given."""
    stubborn = "trap '' TERM; (setsid sleep 1000 &); while :; do sleep 1; done"
    config = f"""
        [service.stubborn]
        command = ["sh", "-c", "{stubborn}"]
        stop = {{ timeout = "4s" }}
    """
    unit = Unit(machine, "stop", config)
    drop_in = f"/run/systemd/system/{unit.name}.d/timeout.conf"
    machine.write(drop_in, "[Service]\nTimeoutStopSec=2s\n")
    machine.run("systemctl", "daemon-reload")
    unit.systemctl("start")
    unit.wait_row("stubborn", lambda row: row["state"] == "running", "up")
    group = machine.show(unit.name, "ControlGroup")
    unit.systemctl("stop")
    assert machine.show(unit.name, "Result") == "success", "more time than TimeoutStopSec was asked for"
    assert not machine.at(f"/sys/fs/cgroup{group}").exists()
    assert not machine.at(f"/run/reaperd/{unit.instance}").exists()
    assert "stubborn" not in machine.run("ps", "-eo", "args"), "its name is in no command line"
    assert [entry["MESSAGE"] for entry in unit.entries("REAPERD_EVENT=daemon.stopped")]


def test_the_journal_has_fields_and_priorities(machine: Machine) -> None:
    """Each event with its keys, found by them, as bad as it is; what services print is there as well."""
    config = """
        [service.web]
        command = ["sh", "-c", "echo said by the service; exit 3"]
        restart = "never"
    """
    unit = Unit(machine, "journal", config)
    unit.systemctl("start")
    unit.wait_status("1 failed (web)")
    (exited,) = unit.entries("REAPERD_SERVICE=web", "REAPERD_EVENT=service.exited")
    assert (exited["REAPERD_CODE"], exited["PRIORITY"], exited["SYSLOG_IDENTIFIER"]) == ("3", "6", "reaperd")
    assert exited["MESSAGE"].startswith("service.exited ")
    assert "code=3" in exited["MESSAGE"]
    assert exited["_PID"] == machine.show(unit.name, "MainPID")
    (failed,) = unit.entries("-p", "err", "REAPERD_EVENT=service.failed")
    assert failed["PRIORITY"] == "3"
    assert [entry for entry in unit.entries() if entry["MESSAGE"] == "said by the service"]


def test_each_service_has_a_leaf_of_the_delegated_group(machine: Machine) -> None:
    """A service can be killed whole, and its memory and pressure are its own; the daemon sits beside them."""
    config = f"[service.a]\n{SLEEPER}\n[service.b]\n{SLEEPER}"
    unit = Unit(machine, "groups", config)
    unit.systemctl("start")
    unit.wait_status("2 running")
    group = machine.show(unit.name, "ControlGroup")
    daemon = machine.show(unit.name, "MainPID")
    rows = unit.rows()
    groups = {
        pid: machine.run("cat", f"/proc/{pid}/cgroup").splitlines()[-1].removeprefix("0::")
        for pid in (daemon, str(rows["a"]["pid"]), str(rows["b"]["pid"]))
    }
    assert len(set(groups.values())) == 3, groups
    assert all(each.startswith(f"{group}/") for each in list(groups.values())[1:]), groups
    leaf = machine.at(f"/sys/fs/cgroup{groups[str(rows['a']['pid'])]}")
    assert (leaf / "cgroup.kill").exists()
    assert (leaf / "memory.pressure").exists()
    machine.run("systemctl", "daemon-reload")
    assert unit.reaperd("restart", "a").returncode == 0
    assert unit.row("a")["state"] == "running"
    assert not leaf.exists(), "each run has its own"


def test_the_control_socket_is_activated(machine: Machine) -> None:
    """Who asks first starts the daemon, and is answered by it; its end leaves the socket to systemd."""
    machine.write("/etc/reaperd/reaperd.toml", f"[service.web]\n{SLEEPER}")
    machine.run("systemctl", "start", "reaperd.socket")
    try:
        assert machine.show("reaperd.service", "ActiveState") == "inactive"
        done = machine.ask("/usr/local/bin/reaperd", "status", "--json")
        assert json.loads(done.stdout)["items"][0]["name"] == "web", done.stderr
        assert machine.show("reaperd.service", "ActiveState") == "active"
        first = machine.show("reaperd.service", "MainPID")
        machine.run("systemctl", "restart", "reaperd.service")
        assert machine.show("reaperd.service", "MainPID") not in {"0", first}
        assert json.loads(machine.run("/usr/local/bin/reaperd", "status", "--json"))["items"]
        machine.run("systemctl", "stop", "reaperd.service")
        assert machine.at("/run/reaperd/control.sock").is_socket()
        assert machine.show("reaperd.service", "ActiveState") == "inactive", "looking at it started nothing"
    finally:
        machine.run("systemctl", "stop", "reaperd.socket", "reaperd.service")
    assert not machine.at("/run/reaperd/control.sock").exists()
