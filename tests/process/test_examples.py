import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from reaperd.control.client import Client
from tests.support.daemons import DAEMON, Running
from tests.support.processes import ROOT, WITHIN_S, owned, pid_namespace, wait_gone, wait_until

EXAMPLES: Final = ROOT / "examples"
TESTED: Final = ("container-supervisor", "demo", "scheduled", "webapp", "workers")
PORT: Final = re.compile(r"\b1808\d\b")


class Example:
    """A copy of an example, with ports that nobody else uses."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder / "x"  # short, since the socket lies in it: unix(7)
        shutil.copytree(EXAMPLES / name, self.folder, ignore=shutil.ignore_patterns("run", "__pycache__"))
        self.folder.chmod(0o775)  # as a checkout is where the umask is 002
        self.source = self.folder / "reaperd.toml"
        self.socket = self.folder / "run/control.sock"
        self.text = self.source.read_text()
        self.ports = {port: _free_port() for port in set(PORT.findall(self.text))}
        self.write(PORT.sub(lambda found: self.ports[found[0]], self.text))

    def write(self, text: str) -> None:
        """Change the configuration."""
        self.text = text
        self.source.write_text(text)

    @contextmanager
    def run(self, *prefix: str) -> Iterator[Running]:
        """Run the daemon on it, and end it on the way out; afterwards nobody may be left of it."""
        with owned(
            [*prefix, *DAEMON, "--", self.source],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            running = Running(process, self.source, self.socket)
            try:
                running.event("daemon.started")
                yield running
            finally:
                self._end(running)
        wait_until(lambda: not self.left(), "nobody left of the example")

    def left(self) -> list[int]:
        """Return the pids of processes that work in the example's folder."""
        return [pid for pid in _pids() if str(_cwd(pid)).startswith(str(self.folder))]

    def get(self, port: str, path: str = "/") -> str:
        """Return what the example answers to a GET."""
        url = f"http://127.0.0.1:{self.ports[port]}{path}"
        with urllib.request.urlopen(url, timeout=WITHIN_S) as answer:
            return str(answer.read().decode().strip())

    def _end(self, running: Running) -> None:
        if running.process.poll() is None:
            for pid in _daemons(running.process.pid):
                os.kill(pid, signal.SIGTERM)
            running.process.communicate(timeout=WITHIN_S)


def _free_port() -> str:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return str(made.getsockname()[1])


def _pids() -> list[int]:
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal()]


def _cwd(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None


def _daemons(pid: int) -> list[int]:
    """Return the daemon that `pid` is, or has as its only child in a PID namespace."""
    if (Path(f"/proc/{pid}/comm")).read_text().strip() != "unshare":
        return [pid]
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_every_example_has_a_test() -> None:
    """Whoever adds an example adds a test of it here."""
    found = {path.relative_to(EXAMPLES).parts[0] for path in EXAMPLES.rglob("*.toml")}
    assert found == set(TESTED)


@pytest.mark.parametrize("name", TESTED)
def test_an_example_says_what_it_is(name: str) -> None:
    """Each configuration begins with a comment for its reader that says how to run it."""
    comment = re.match(r"(#.*\n)+", (EXAMPLES / name / "reaperd.toml").read_text())
    assert comment is not None
    assert f"reaperd run -c examples/{name}/reaperd.toml" in comment[0] or "make run" in comment[0]


# --- a web application with database and migration -------------------------------------------------------


def test_a_web_application_starts_in_order_and_counts_its_visits(tmp_path: Path) -> None:
    """The database is ready, then the migration runs, then the pages are there; the end goes backwards."""
    example = Example("webapp", tmp_path)
    with example.run() as running:
        web = running.event("service.running", service="web")
        order = [running.event("service.running", service="db"), running.event("service.finished"), web]
        assert [running.log.index(each) for each in order] == sorted(
            running.log.index(each) for each in order
        )
        assert example.get("18081") == "Hello, visitor 1"
        assert example.get("18081") == "Hello, visitor 2"
        assert example.get("18081", "/healthz") == "well"
        assert running.row("migrate")["state"] == "exited"
        assert running.row("web")["status"] == f"serving on port {example.ports['18081']}"
        assert running.end() == 0
        stopped = [each["service"] for each in running.events("service.stopped")]
        assert stopped.index("web") < stopped.index("db")


def test_a_web_application_outlives_its_database(tmp_path: Path) -> None:
    """A database that is killed is started again, and the pages count on from what it had saved."""
    example = Example("webapp", tmp_path)
    with example.run() as running:
        web = running.event("service.running", service="web")["pid"]
        assert example.get("18081") == "Hello, visitor 1"
        os.kill(running.event("service.running", service="db")["pid"], signal.SIGKILL)
        running.event("service.running", nth=2, service="db")
        assert example.get("18081") == "Hello, visitor 2"
        assert running.row("web")["pid"] == web


def test_a_failing_migration_holds_the_application(tmp_path: Path) -> None:
    """While the migration has not ended well the web application waits, and says what for."""
    example = Example("webapp", tmp_path)
    (example.folder / "migrate.py").write_text("raise SystemExit(1)\n")
    with example.run() as running:
        running.event("service.failed", service="migrate")
        assert running.row("web")["state"] == "waiting"
        assert "migrate" in running.event("service.waiting", service="web")["waits_for"]
        with pytest.raises(urllib.error.URLError):
            example.get("18081")


# --- the main process of a container ---------------------------------------------------------------------


def test_a_container_reaps_what_its_application_leaves(tmp_path: Path) -> None:
    """As PID 1 the daemon reaps the application's orphans, and leaves with 0 when the container stops."""
    example = Example("container-supervisor", tmp_path)
    with example.run(*pid_namespace()) as running:
        running.event("service.running", service="janitor")
        assert example.get("18083").endswith("child of 1")
        orphan = example.get("18083", "/work")
        reaped = running.event("orphans.reaped")
        assert any(f"[{orphan}]" in each for each in reaped["orphans"])
        (daemon,) = _daemons(running.process.pid)
        os.kill(daemon, signal.SIGTERM)
        wait_gone(running.process.pid)
        assert running.process.wait(WITHIN_S) == 0


def test_a_container_leaves_with_its_application_s_status(tmp_path: Path) -> None:
    """When the essential application ends, everything else ends too, and its exit status is the daemon's."""
    example = Example("container-supervisor", tmp_path)
    with example.run() as running:
        janitor = running.event("service.running", service="janitor")["pid"]
        assert example.get("18083", "/quit/3") == "bye"
        assert running.process.wait(WITHIN_S) == 3
        wait_gone(janitor)


# --- scheduled jobs ---------------------------------------------------------------------------------------


def test_jobs_run_by_themselves_and_by_hand(tmp_path: Path) -> None:
    """A job runs time and again by its schedule, says when it is next, and runs at once when asked to."""
    example = Example("scheduled", tmp_path)
    journal = example.folder / "run/journal.txt"
    with example.run() as running:
        running.event("service.finished", nth=2, service="heartbeat")
        backup = running.row("backup")
        assert backup["state"] == "waiting"
        assert re.fullmatch(r"next run at \d+-\d+-\d+ 02:30:00", backup["why"])
        assert backup["next"].endswith("Z")
        running.ask("start", "backup")
        running.event("service.finished", service="backup")
        running.ask("start", "report")
        running.event("service.finished", service="report")
        names = [line.split()[1] for line in journal.read_text().splitlines()]
        assert names.count("heartbeat") >= 2
        assert {"backup", "report"} <= set(names)
        assert names.index("prepare") < names.index("report")
        assert running.row("backup")["next"] == backup["next"]


# --- a pool of workers ------------------------------------------------------------------------------------


def _workers(running: Running) -> dict[str, int]:
    rows = running.ask("status")["items"]
    return {row["name"]: row["pid"] for row in rows if row["name"].startswith("worker:") and row["pid"]}


def _hand_in(example: Example, names: list[str]) -> None:
    for name in names:
        new = example.folder / f"run/{name}"
        new.write_text(f"job {name}\n")
        new.rename(example.folder / f"run/queue/{name}")


def test_workers_share_the_work(tmp_path: Path) -> None:
    """Every job is done once, whichever worker takes it, and one that is killed is replaced."""
    example = Example("workers", tmp_path)
    done = example.folder / "run/done"
    names = [str(number) for number in range(20)]
    with example.run() as running:
        for number in (1, 2, 3):
            running.event("service.running", service=f"worker:{number}")
        os.kill(_workers(running)["worker:2"], signal.SIGKILL)
        running.event("service.running", nth=2, service="worker:2")
        _hand_in(example, names)
        wait_until(lambda: all((done / name).exists() for name in names), "all jobs done")
        for name in names:
            assert re.fullmatch(rf"job {name} done by worker [123]\n", (done / name).read_text())


def test_a_pool_grows_and_shrinks_without_touching_the_others(tmp_path: Path) -> None:
    """More or fewer instances are the difference only: the others keep their processes."""
    example = Example("workers", tmp_path)
    with example.run() as running:
        for number in (1, 2, 3):
            running.event("service.running", service=f"worker:{number}")
        before = _workers(running)
        Client(example.socket).ask("scale", ("worker",), instances=5)
        running.event("service.running", service="worker:5")
        grown = _workers(running)
        assert {name: grown[name] for name in before} == before
        assert set(grown) == {f"worker:{number}" for number in range(1, 6)}
        example.write(example.text.replace("instances = 3", "instances = 1"))
        running.ask("reload")
        for number in range(2, 6):
            running.event("service.stopped", service=f"worker:{number}")
        assert _workers(running) == {"worker:1": before["worker:1"]}


# --- the demo ---------------------------------------------------------------------------------------------


def test_the_demo_shows_a_server_a_crash_and_a_litter(tmp_path: Path) -> None:
    """The server answers, the program that crashes is tried again, and nothing of what litters is left."""
    example = Example("demo", tmp_path)
    with example.run() as running:
        running.event("service.running", service="litterer")
        running.event("service.backoff", service="crasher")
        wait_until(lambda: _answers(example), "the page")
        assert running.end() == 0


def _answers(example: Example) -> bool:
    try:
        return "<" in example.get("18080")
    except urllib.error.URLError:
        return False
