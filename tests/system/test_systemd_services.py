"""What reaperd does for its services, in a real systemd: by real clients, and by its other units."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.processes import ROOT, need_program, system_python, wait_until
from tests.support.systemd import Machine, Unit, booted, install_units

ACCEPTOR = f'command = ["{sys.executable}", "-I", "-S", "{ROOT}/tests/support/acceptor.py"]\n'


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """Boot one for all of this file; each test has its own unit."""
    with booted() as machine:
        install_units(machine)
        yield machine


def asked(machine: Machine, path: str, word: bytes = b"who\n") -> dict[str, Any]:
    """Connect to a socket file of the machine, and return what the service says."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(str(machine.at(path)))
        sock.sendall(word)
        with sock.makefile() as lines:
            line = lines.readline()
    found: dict[str, Any] = json.loads(line) if line else {}
    return found


def test_systemd_notify_is_understood(machine: Machine) -> None:
    """The real client: ready, a line of status, and a main process by the barrier that it waits for."""
    script = "systemd-notify --ready --status='up and well'; systemd-notify WATCHDOG=1; exec sleep 1000"
    config = f"""
        [service.web]
        command = ["sh", "-c", "{script}"]
        ready = {{ notify = true }}
        watchdog = "1h"
    """
    unit = Unit(machine, "notify", config)
    unit.systemctl("start")
    row = unit.wait_row("web", lambda row: row["state"] == "running", "ready")
    assert row["status"] == "up and well"


def test_a_silent_service_is_restarted_by_its_own_watchdog(machine: Machine) -> None:
    """Reaperd's watchdog of its service, below systemd's watchdog of reaperd."""
    config = """
        [service.web]
        command = ["sh", "-c", "systemd-notify --ready; exec sleep 1000"]
        ready = { notify = true }
        watchdog = "1s"
        backoff = { initial = "10ms" }
    """
    unit = Unit(machine, "silent", config)
    unit.systemctl("start")
    unit.wait_row("web", lambda row: row["restarts"] > 0, "a restart")
    (first, *_more) = unit.entries("REAPERD_SERVICE=web", "REAPERD_EVENT=service.unhealthy")
    assert first["REAPERD_REASON"] == "no WATCHDOG=1 for 1s"
    assert machine.show(unit.name, "NRestarts") == "0"


def test_a_listener_answers_while_its_service_restarts(machine: Machine) -> None:
    """The daemon keeps it open; who connects in between is served by the next run."""
    config = f"""
        [service.web]
        {ACCEPTOR}
        sockets = ["unix:///run/web.sock"]
        backoff = {{ initial = "1s", jitter = 0 }}
    """
    unit = Unit(machine, "listener", config)
    unit.systemctl("start")
    unit.wait_row("web", lambda row: row["state"] == "running", "up")
    first = asked(machine, "/run/web.sock")["pid"]
    assert asked(machine, "/run/web.sock", b"die\n") == {}
    unit.wait_row("web", lambda row: row["state"] == "backoff", "down for a moment")
    told = asked(machine, "/run/web.sock")
    assert told["pid"] != first
    assert told["for_us"]
    unit.systemctl("stop")
    assert not machine.at("/run/web.sock").exists()


def test_systemd_socket_activate_can_start_it(machine: Machine) -> None:
    """The other real client: it listens, and the daemon takes the socket when somebody comes."""
    path = "/run/activated.sock"
    config = (
        f'[daemon]\nsocket = "{path}"\nstate_dir = "/run/activated"\n[service.web]\ncommand = ["sleep", "9"]'
    )
    machine.write("/etc/reaperd/activated.toml", config)
    words = ["systemd-socket-activate", f"--listen={path}", "--fdname=control"]
    run = ["/usr/local/bin/reaperd", "run", "-c", "/etc/reaperd/activated.toml"]
    machine.run("systemd-run", "--unit=activated", "--property=KillMode=mixed", *words, *run)
    wait_until(lambda: machine.at(path).is_socket(), "the socket")
    done = machine.run("/usr/local/bin/reaperd", "status", "--json", "--socket", path)
    assert json.loads(done)["items"][0]["name"] == "web"
    machine.run("systemctl", "stop", "activated")


UNITS = "reaperd.service reaperd.socket reaperd@web.service reaperd-zombies.service reaperd-zombies.timer"


def test_the_units_are_clean(machine: Machine) -> None:
    """Verified by systemd itself, the user's one too: not one complaint."""
    machine.write("/usr/local/lib/systemd/system/reaperd@web.service", _unit("reaperd@.service"))
    paths = [f"/usr/local/lib/systemd/system/{unit}" for unit in UNITS.split()]
    done = machine.ask("systemd-analyze", "verify", "--man=no", *paths)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    machine.write("/run/check/reaperd@web.service", _unit("user/reaperd@.service"))
    words = ["env", "XDG_RUNTIME_DIR=/run", "systemd-analyze", "verify", "--user", "--man=no"]
    done = machine.ask(*words, "/run/check/reaperd@web.service")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", ["reaperd.service", "reaperd@.service", "reaperd-zombies.service"])
def test_the_score_is_what_the_manual_says(unit: str) -> None:
    """As systemd-analyze reckons it, of the version that the manual names; others weigh other lines."""
    analyze = need_program("systemd-analyze")
    told = subprocess.run([analyze, "--version"], capture_output=True, text=True, check=True).stdout
    version = told.split()[1]
    if version != "252":
        pytest.skip(f"the scores in the manual are those of systemd 252, and this is {version}")
    words = [analyze, "security", "--offline=yes", "--no-pager", str(ROOT / "systemd" / unit)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    score = done.stdout.rpartition("exposure level for ")[2].split()[1]
    manual = (ROOT / "docs/how-to/systemd.md").read_text()
    assert f"| `{unit}` | {score} |" in manual


def _unit(name: str) -> str:
    return (ROOT / "systemd" / name).read_text()


# --- a user's own ---------------------------------------------------------------------------------------

_MANAGER = """
[Service]
Type=notify
User=nobody
Delegate=yes
RuntimeDirectory=nobody
StateDirectory=nobody
Environment=XDG_RUNTIME_DIR=/run/nobody HOME=/var/lib/nobody
WorkingDirectory=/
ExecStart=/lib/systemd/systemd --user
"""


@pytest.fixture(scope="module")
def everybody() -> Iterator[Machine]:
    """Boot one where plain users may run the program, too."""
    python = system_python()
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    launcher = f'#!/bin/sh\nPYTHONPATH={ROOT}:{packages} exec {python} -m reaperd "$@"\n'
    with booted() as machine:
        install_units(machine)
        machine.write("/usr/local/bin/reaperd", launcher, 0o755)
        check = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/local/bin/reaperd"]
        if machine.ask(*check, "--version").returncode != 0:
            pytest.skip(f"nobody cannot read {ROOT} and {packages}, or use them with {python}")
        yield machine


def test_a_user_runs_his_own(everybody: Machine) -> None:
    """By his own systemd and without any right: ready, a reload that waits, a stop that leaves nothing."""
    machine = everybody
    machine.write("/run/systemd/system/manager.service", _MANAGER)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "manager.service")
    config = "/var/lib/nobody/.config/reaperd/web.toml"
    machine.write(config, '[service.web]\ncommand = ["sleep", "1000"]\n')
    machine.run("chown", "-R", "65534:65534", "/var/lib/nobody")
    user = ["env", "XDG_RUNTIME_DIR=/run/nobody", "HOME=/var/lib/nobody"]
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *user]
    control = [*user, "systemctl", "--user"]
    machine.run(*control, "start", "reaperd@web")
    shown = machine.run(*control, "show", "--value", "-p", "StatusText", "reaperd@web")
    assert "1 " in shown
    machine.write(config, '[service.other]\ncommand = ["sleep", "1000"]\nready = { delay = "1s" }\n')
    machine.run(*control, "reload", "reaperd@web")
    socket_path = "/run/nobody/reaperd/web/control.sock"
    done = machine.run(*user, "/usr/local/bin/reaperd", "status", "--json", "--socket", socket_path)
    (row,) = json.loads(done)["items"]
    assert (row["name"], row["state"]) == ("other", "running")
    assert machine.run("ps", "-o", "user=", "-p", str(row["pid"])).strip() == "nobody"
    machine.run(*control, "stop", "reaperd@web")
    assert machine.ask("kill", "-0", str(row["pid"])).returncode != 0
    assert not machine.at("/run/nobody/reaperd/web").exists()


def test_the_report_of_zombies_is_written_by_a_user_of_its_own(everybody: Machine) -> None:
    """The service succeeds under all that it is forbidden, and a collector may read what it wrote."""
    machine = everybody
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    # Its own /tmp would hide a checkout that is there.
    drop_in = f"[Service]\nBindReadOnlyPaths={ROOT} {packages}\n"
    machine.write("/run/systemd/system/reaperd-zombies.service.d/checkout.conf", drop_in)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "reaperd-zombies.service")
    assert machine.show("reaperd-zombies.service", "Result") == "success"
    report = machine.at("/var/lib/reaperd-zombies/zombies.prom")
    assert "# TYPE" in report.read_text()
    assert report.stat().st_mode & 0o777 == 0o644
    owner = machine.run("stat", "-c", "%U", "/var/lib/reaperd-zombies/zombies.prom").strip()
    assert owner == "reaperd-zombies"
    machine.run("systemctl", "start", "reaperd-zombies.timer")
    assert machine.show("reaperd-zombies.timer", "ActiveState") == "active"
