"""What systemd 253 and newer can do besides, such as `Type=notify-reload`: in a root built for the test."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.processes import ROOT, need_program, need_root
from tests.support.systemd import Machine, Unit, booted, install_units

_PACKAGES: Final = "systemd,util-linux,mount,procps,libffi8"
_ENOUGH_S: Final = 300  # it takes ten seconds where the mirror is near


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Boot the next systemd; skip where its root cannot be built."""
    need_root()
    mmdebstrap = need_program("mmdebstrap")
    root = tmp_path_factory.mktemp("trixie") / "root"
    words = [mmdebstrap, "--mode=root", "--quiet", "--variant=essential", f"--include={_PACKAGES}"]
    try:
        done = subprocess.run(
            [*words, "trixie", str(root), f"deb {_mirror()} trixie main"],
            capture_output=True, text=True, timeout=_ENOUGH_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        pytest.skip(f"a root of Debian 13 is not built within {_ENOUGH_S} s here")
    if done.returncode:
        pytest.skip(f"no root of Debian 13 can be built here: {(done.stderr.splitlines() or ['?'])[-1]}")
    with booted(root) as machine:
        assert machine.version >= 253
        install_units(machine)
        yield machine


def _mirror() -> str:
    """Return where this machine's own packages come from; skip where they are not Debian's."""
    words = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    found = [line.rstrip("/") for line in done.stdout.splitlines() if line.rstrip("/").endswith("/debian")]
    if not found:
        pytest.skip("this machine has no sources of Debian's packages")
    return found[0]


def test_a_reload_by_signal_is_waited_for(machine: Machine) -> None:
    """With the drop-in systemd sends SIGHUP itself, and returns once the daemon says that it is over."""
    unit = Unit(machine, "signal", '[service.web]\ncommand = ["sleep", "1000"]\n')
    drop_in = Path(ROOT / "systemd/notify-reload.conf").read_text()
    machine.write(f"/run/systemd/system/{unit.name}.d/notify-reload.conf", drop_in)
    machine.run("systemctl", "daemon-reload")
    unit.systemctl("start")
    assert machine.show(unit.name, "Type") == "notify-reload"
    late = '[service.late]\ncommand = ["sleep", "1000"]\nready = { delay = "1500ms" }\n'
    unit.write(late)
    unit.systemctl("reload")
    (row,) = unit.rows().values()
    assert (row["name"], row["state"]) == ("late", "running")
    assert machine.show(unit.name, "ActiveState") == "active"
    unit.write("[service.late]\n")
    unit.systemctl("reload")
    unit.wait_status("refused")
    assert machine.show(unit.name, "ActiveState") == "active"
    unit.systemctl("stop")
    assert machine.show(unit.name, "Result") == "success"


def test_the_units_are_clean_there_too(machine: Machine) -> None:
    """With the drop-in for it."""
    drop_in = (ROOT / "systemd/notify-reload.conf").read_text()
    machine.write("/run/systemd/system/reaperd.service.d/notify-reload.conf", drop_in)
    unit = "/usr/local/lib/systemd/system/reaperd.service"
    done = machine.ask("systemd-analyze", "verify", "--man=no", unit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_first_start_is_told_and_stays_current(machine: Machine) -> None:
    """The same protocol, spoken to a newer systemd."""
    unit = Unit(machine, "status", '[service.web]\ncommand = ["sleep", "1000"]\n')
    unit.systemctl("start")
    unit.wait_status("1 running")
    assert unit.reaperd("stop", "web").returncode == 0
    unit.wait_status("1 stopped")
    (entry, *_more) = unit.entries("REAPERD_SERVICE=web", "REAPERD_EVENT=service.stopped")
    assert entry["PRIORITY"] == "6"
