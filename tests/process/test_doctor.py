import json
import os
import shutil
import site
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reaperd import __version__
from tests.support.daemons import daemon, service
from tests.support.processes import ROOT

DOCTOR = ["-c", "from reaperd.cli.main import main; main()", "doctor"]
NOBODY = 65534


def doctor(*words: str, before: tuple[str, ...] = (), **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end."""
    return subprocess.run(
        [*before, sys.executable, *DOCTOR, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=120,
        **options,
    )


def items(done: "subprocess.CompletedProcess[str]") -> dict[str, dict[str, Any]]:
    """Return what was found, by name."""
    assert done.stderr == ""
    body = json.loads(done.stdout)
    assert body["schema"] == "reaperd.doctor/1"
    return {item["name"]: item for item in body["items"]}


def test_it_says_what_it_found_and_how(tmp_path: Path) -> None:
    """Each thing with a verdict; what the rest of these tests relies on is there."""
    done = doctor("--json", "--socket", str(tmp_path / "none"))
    found = items(done)
    assert done.returncode == 0
    for name in ("subreaper", "pidfd"):
        assert (found[name]["verdict"], found[name]["instead"]) == ("yes", None)
    assert found["daemon"]["verdict"] == "no"
    assert "there is no such socket" in found["daemon"]["detail"]
    assert "no daemon runs" in found["socket"]["detail"]
    text = doctor("--socket", str(tmp_path / "none")).stdout
    assert all(f"{item['verdict']:6}  {name}: " in text for name, item in found.items())


def test_it_leaves_nothing_behind() -> None:
    """No control group of its own is there afterwards."""
    assert doctor().returncode == 0
    left = list(Path("/sys/fs/cgroup").rglob("reaperd-doctor-*"))
    assert left == []


def test_what_the_kernel_refuses_is_said() -> None:
    """Where it has no subreapers reaperd cannot do its work, and the exit status says so."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    calls = (
        "prctl:error=EINVAL",
        "unshare:error=EPERM",
        "pidfd_open:error=ENOSYS",
        "inotify_init1:error=EMFILE",
    )
    inject = [word for call in calls for word in ("-e", f"inject={call}")]
    done = doctor("--json", before=("strace", "-f", "-qqq", "-o", "/dev/null", *inject))
    found = items(done)
    assert done.returncode == 1
    assert found["subreaper"]["detail"] == "cannot prctl: Invalid argument"
    assert found["pidfd"]["detail"].endswith("pidfd_open: Function not implemented")
    assert found["namespaces"]["detail"].count("Operation not permitted") == 2
    assert found["namespaces"]["instead"] == "those specimens cannot be made"
    assert "Too many open files" in found["inotify"]["detail"]


def test_a_plain_user_can_ask(tmp_path: Path) -> None:
    """It ends well, and says what is not for that user."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    python = "/usr/bin/python3"
    packages = site.getsitepackages()[0]
    env = {"PYTHONPATH": f"{ROOT}:{packages}", "PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path)}
    tried = [python, "-c", "import sys, click, h11; sys.exit(sys.version_info < (3, 11))"]
    as_nobody: Any = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "env": env, "cwd": "/"}
    if (
        not Path(python).exists()
        or subprocess.run(tried, check=False, capture_output=True, **as_nobody).returncode
    ):
        pytest.skip("needs a Python 3.11 outside of /root that nobody may run with these packages")
    done = subprocess.run(
        [python, *DOCTOR, "--json"], capture_output=True, text=True, check=False, timeout=120, **as_nobody
    )
    found = items(done)
    assert done.returncode == 0
    assert (found["subreaper"]["verdict"], found["pidfd"]["verdict"]) == ("yes", "yes")
    assert found["ptrace"]["verdict"] in {"yes", "partly", "no"}


def test_a_running_daemon_is_found(tmp_path: Path) -> None:
    """Its socket, who listens there, and what it answers."""
    with daemon(tmp_path, service("web", ["sleep", "1000"])) as running:
        running.event("service.running", service="web")
        found = items(doctor("--json", "--socket", str(tmp_path / "c.sock")))
        assert found["daemon"]["verdict"] == "yes"
        assert found["daemon"]["detail"].startswith(f"version {__version__}, 1 service")
        assert found["daemon"]["detail"].endswith("nothing wakes it up to look for zombies")
        assert f"process {running.pid} of user {os.geteuid()} listens" in found["socket"]["detail"]
        told = running.ask("status")["tracking"]
        hears = told["source"] == "connector"
        how = "by the process connector" if hears else f"by looks alone: {told['why_not']}"
        assert found["tracking"]["detail"].startswith(f"{how}; of descendants: ")


def test_a_daemon_without_the_connector_says_so(tmp_path: Path) -> None:
    """It is told why, and that the model follows by looks."""
    services = 'process_connector = "no"\n' + service("web", ["sleep", "1000"])
    with daemon(tmp_path, services) as running:
        running.event("service.running", service="web")
        found = items(doctor("--json", "--socket", str(tmp_path / "c.sock")))["tracking"]
    assert found["verdict"] == "partly"
    assert found["detail"].startswith("by looks alone: it is switched off; of descendants: 2 processes")


def test_without_a_daemon_nobody_tracks(tmp_path: Path) -> None:
    """And what is done instead is said."""
    found = items(doctor("--json", "--socket", str(tmp_path / "none")))["tracking"]
    assert (found["verdict"], found["instead"]) == ("no", "reaperd tree looks for itself")


def test_a_socket_that_nobody_listens_on_is_told(tmp_path: Path) -> None:
    """So is what is no socket at all."""
    import socket  # noqa: PLC0415 - only here

    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    found = items(doctor("--json", "--socket", str(tmp_path / "s")))
    assert (found["socket"]["verdict"], found["daemon"]["verdict"]) == ("partly", "no")
    (tmp_path / "f").touch()
    assert items(doctor("--json", "--socket", str(tmp_path / "f")))["socket"]["verdict"] == "no"
