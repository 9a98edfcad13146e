"""Events and metrics of the real daemon, by the command line and by followers, slow ones among them."""

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.process.test_cli_verbs import reaperd
from tests.support.control_plane import request
from tests.support.daemons import daemon, service
from tests.support.hostile import connect
from tests.support.processes import ROOT, owned, wait_until

WAIT = ["sleep", "1000"]


def test_events_tell_what_the_daemon_did(tmp_path: Path) -> None:
    """Of all services or of some, the last ones or since a time, as text or as JSON."""
    with daemon(
        tmp_path, service("web", WAIT, groups=["front"]) + service("job", "exit 3", restart="never")
    ) as running:
        running.event("service.running", service="web")
        running.event("service.failed", service="job")
        first, *events = map(json.loads, reaperd(tmp_path, "events", "--json").stdout.splitlines())
        assert first["schema"] == "reaperd.events/1"
        assert [event["seq"] for event in events] == list(range(1, first["next"]))
        names = [event["event"] for event in events]
        assert "daemon.started" in names
        exited = next(event for event in events if event["event"] == "service.exited")
        assert (exited["service"], exited["code"]) == ("job", 3)
        told = reaperd(tmp_path, "events", "front")
        assert (told.returncode, told.stderr) == (0, "")
        assert all(" web" in line for line in told.stdout.splitlines())
        assert "service.running web pid=" in told.stdout
        assert len(reaperd(tmp_path, "events", "-n", "2").stdout.splitlines()) == 2
        assert reaperd(tmp_path, "events", "--since", "2000-01-01", "-n", "1", "job").stdout.count("\n") == 1
        assert reaperd(tmp_path, "events", "--since", "2999-01-01").stdout == ""
        unknown = reaperd(tmp_path, "events", "wbe")
        assert unknown.returncode == 4
        assert 'did you mean "web"?' in unknown.stderr
        assert reaperd(tmp_path, "events", "--since", "nonsense").returncode == 2


def test_events_are_followed_to_the_end(tmp_path: Path) -> None:
    """Each as it happens, those of services that come later, too; the end of the daemon ends the stream."""
    with daemon(tmp_path, service("web", WAIT, instances=1)) as running:
        running.event("service.running", service="web:1")
        command = [
            sys.executable,
            "-c",
            "from reaperd.cli.main import main; main()",
            "events",
            "-f",
            "--json",
            "web",
        ]
        with owned([*command, "-s", tmp_path / "c.sock"], cwd=ROOT, stdout=subprocess.PIPE) as follower:
            assert follower.stdout is not None
            lines = map(json.loads, iter(follower.stdout.readline, b""))
            assert next(line for line in lines if line.get("event") == "service.running")
            assert reaperd(tmp_path, "scale", "web", "2").returncode == 0
            assert (
                next(line for line in lines if line.get("event") == "service.running")["service"] == "web:2"
            )
            assert running.end() == 0
            rest = [line["event"] for line in lines]
            assert rest.count("service.stopped") == 2
            assert follower.wait(20) == 0


def test_a_follower_that_takes_nothing_costs_nothing(tmp_path: Path) -> None:
    """It holds up nobody, loses what is not kept any more, and is told how much that was."""
    with daemon(tmp_path, service("web", WAIT)) as running:
        running.event("service.running", service="web")
        with closing(connect(tmp_path / "c.sock")) as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            slow.sendall(request("GET", "/v1/events?follow&after=0"))
            with closing(connect(tmp_path / "c.sock")) as busy:
                body = b'{"names": ["web"], "signal": "WINCH"}'
                for _ in range(4000):
                    busy.sendall(request("POST", "/v1/signal", body))
                    assert busy.recv(65536).startswith(b"HTTP/1.1 200")
            data = b""
            while b"events.lost" not in data:
                chunk = slow.recv(65536)
                assert chunk, data[-500:]
                data += chunk
            assert data.startswith(b"HTTP/1.1 200 OK\r\n")
            assert running.ask("status")["items"][0]["state"] == "running"


@pytest.mark.parametrize("cgroup", ["auto", "no"])
def test_processor_time_is_a_counter(tmp_path: Path, cgroup: str) -> None:
    """It never falls when a process that used some ends; with a cgroup what that one used stays in it."""
    gate, done = tmp_path / "gate", tmp_path / "done"
    os.mkfifo(gate)
    burn = f'import time\nwhile time.process_time() < 0.5: pass\nopen("{gate}").read()'
    script = f"{sys.executable} -ISc '{burn}'; touch {done}; exec sleep 1000"
    with daemon(tmp_path, f'cgroup = "{cgroup}"\n' + service("web", script)) as running:
        running.event("service.running")

        def used() -> float:
            found = re.search(
                r'^reaperd_service_cpu_seconds_total\{service="web"\} (.*)$',
                reaperd(tmp_path, "metrics").stdout,
                re.MULTILINE,
            )
            assert found is not None
            return float(found[1])

        wait_until(lambda: used() >= 0.4, "the child's time to be told")
        before = used()
        gate.write_text("go on")
        wait_until(done.exists, "the child to have ended")
        assert used() >= before


def test_metrics_of_a_real_daemon(tmp_path: Path) -> None:
    """Read by the parser of OpenMetrics itself: states, exits, memory, zombies and orphans."""
    parser = pytest.importorskip(
        "prometheus_client.openmetrics.parser", reason="needs prometheus-client: make dev"
    )
    orphaner = service("orphaner", "(sleep 0.01 &); exec sleep 1000")
    services = service("web", WAIT) + service("job", "exit 3", restart="never") + orphaner
    with daemon(tmp_path, services) as running:
        running.event("service.running", service="web")
        running.event("service.failed", service="job")
        running.event("service.running", service="orphaner")

        def value(family: str, **labels: str) -> float | None:
            text = reaperd(tmp_path, "metrics").stdout
            for each in parser.text_string_to_metric_families(text):
                for sample in each.samples:
                    if each.name == family and labels.items() <= sample.labels.items():
                        return float(sample.value)
            return None

        assert value("reaperd_services", state="running") == 2
        assert value("reaperd_service_exits", service="job", cause="exit", status="3") == 1
        assert (value("reaperd_service_memory_bytes", service="web") or 0) > 100_000
        assert value("reaperd_service_processes", service="web") == 1
        assert value("reaperd_zombies_reaped", was="main") == 1
        wait_until(lambda: (value("reaperd_orphans_adopted") or 0) >= 1, "the orphan to be counted")
        assert value("reaperd_service_restarts", service="web") == 0
        assert value("reaperd_unmeasured_services") == 0
        old = reaperd(tmp_path, "metrics", "--prometheus").stdout
        assert "# TYPE reaperd_service_restarts_total counter" in old
