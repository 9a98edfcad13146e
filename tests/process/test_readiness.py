import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.daemons import Running, alive, daemon, service, sleeper, wait_none
from tests.support.processes import ROOT, wait_readable, wait_until

# Answers 503 until the file that it is given exists, then 200.
WEB = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if os.path.exists(sys.argv[1]) else 503)
        self.end_headers()
    def log_message(self, *words):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
"""


def web(script: list[str] | str, ready: dict[str, object], **keys: object) -> str:
    """Return the configuration of a service that is to become ready."""
    return service("web", script, ready=ready, **keys)


def pipes(running: Running) -> list[str]:
    """Return the pipes that the daemon holds."""
    return [fd for fd in running.fds() if fd.startswith("pipe:")]


def free_port() -> int:
    """Return a port that nobody uses at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A pipe with a name: who opens it for reading waits until `open_gate`."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


def open_gate(gate: Path) -> None:
    """Let the service go on."""
    with gate.open("w") as file:
        file.write("\n")


def state(running: Running) -> str:
    """Return the service's state."""
    return str(running.row("web")["state"])


@pytest.mark.parametrize("number", [3, 4, 7, 200])
def test_a_line_in_its_descriptor_makes_it_ready(tmp_path: Path, gate: Path, number: int) -> None:
    """Whatever the number, the end of a line there counts, and nothing before it."""
    # by its path, since dash knows descriptors of one digit only
    script = f"printf x >/dev/fd/{number}; read _ <{gate}; echo >/dev/fd/{number}; exec sleep 1000"
    with daemon(tmp_path, web(script, {"fd": number})) as running:
        running.event("service.spawned")
        assert state(running) == "starting"
        open_gate(gate)
        running.event("service.running")


def test_a_descriptor_closed_without_a_line_says_nothing(tmp_path: Path) -> None:
    """The service stays in STARTING, and the time to become ready decides."""
    script = "printf x >&5; exec 5>&-; exec sleep 1000"
    with daemon(tmp_path, web(script, {"fd": 5}, ready_timeout="500ms")) as running:
        running.event("service.not_ready")
        running.event("service.backoff")
        assert not running.events("service.running")


def test_a_descriptor_above_its_limit_has_a_stage_of_its_own(tmp_path: Path) -> None:
    """A service that cannot be given the number it wants is not started, and the log says at which stage."""
    text = web(["true"], {"fd": 500}, limits={"nofile": 100})
    with daemon(tmp_path, text) as running:
        assert running.event("service.spawn_failed")["stage"] == "descriptors"


def test_a_matching_line_of_its_output_makes_it_ready(tmp_path: Path, gate: Path) -> None:
    """Both outputs are read along with, and every byte is passed on as it was."""
    script = f"printf almost; read _ <{gate}; echo; echo now listening on 80 >&2; echo after; exec sleep 1000"
    text = web(script, {"log": "^now .* [0-9]+$"})
    with daemon(tmp_path, text, stdout=subprocess.PIPE) as running:
        running.event("service.spawned")
        assert state(running) == "starting"
        open_gate(gate)
        running.event("service.running")
        stdout = running.process.stdout
        assert stdout is not None
        assert (stdout.readline(), stdout.readline()) == (b"almost\n", b"after\n")


def test_a_search_that_takes_too_long_is_told_and_ends_nobody(tmp_path: Path) -> None:
    """Which output is looked at no more, and what to write instead; a line in the other one still counts."""
    pattern = "^(a+)+$"
    line = "a" * 60 + "!"
    keys: dict[str, object] = {"restart": "never", "ready_timeout": "1s"}
    texts = [
        service("web", f"echo {line}; exec sleep 1000", ready={"log": pattern}, ready_timeout="1h"),
        service("late", f"echo {line} >&2; exec sleep 1000", ready={"log": pattern}, **keys),
        service("saved", f"echo {line}; echo aaa >&2; exec sleep 1000", ready={"log": pattern}),
    ]
    with daemon(tmp_path, "".join(texts)) as running:
        told = running.event("service.unsearched", service="web")
        assert (told["stream"], told["level"]) == ("stdout", "warning")
        assert told["pid"] == running.row("web")["pid"]
        assert "service.web.ready.log" in told["hint"]
        assert running.event("service.unsearched", service="late")["stream"] == "stderr"
        why = running.row("web")["why"]
        assert why.startswith("not ready: matching lines of its stdout took over 0.1s")
        assert 'write ready.log without repetitions of repetitions, "a+" for "(a+)+"' in why
        late = running.event("service.not_ready", service="late")["reason"]
        assert late.startswith("matching lines of its stderr took over 0.1s")
        running.event("service.failed", service="late")
        words = [sys.executable, "-m", "reaperd", "why", "late", "--socket", str(running._socket)]
        said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout
        assert f"was not ready within 1s: {late}" in said
        running.event("service.running", service="saved")
        assert len(running.events("service.unsearched", service="web")) == 1


def test_an_output_that_nobody_reads_does_not_stop_the_daemon(tmp_path: Path) -> None:
    """While the daemon's output is full the service waits; later every byte arrives."""
    script = "echo up; head -c 1000000 /dev/zero; exec sleep 1000"
    with daemon(tmp_path, web(script, {"log": "up"}), stdout=subprocess.PIPE) as running:
        running.event("service.running")
        assert state(running) == "running"
        assert running.process.stdout is not None
        fd, left = running.process.stdout.fileno(), 1_000_003
        while left:
            wait_readable(fd)
            left -= len(os.read(fd, 65536))
        assert state(running) == "running"


def test_the_last_words_of_a_service_arrive(tmp_path: Path) -> None:
    """What a service wrote just before its end is passed on, and its pipes are closed."""
    with daemon(tmp_path, service("web", ["true"], restart="never")) as running:
        running.event("service.finished")
        before = len(pipes(running))
    text = web("echo up; sleep 0.1; seq 5000", {"log": "up"}, restart="never")
    with daemon(tmp_path, text, stdout=subprocess.PIPE) as running:
        running.event("service.finished")
        assert running.process.stdout is not None
        lines = [running.process.stdout.readline() for _ in range(5001)]
        assert lines[-1] == b"5000\n"
        assert len(pipes(running)) == before + 1  # the standard output itself


def test_a_delay_makes_it_ready(tmp_path: Path) -> None:
    """It is ready once it has lived for so long."""
    with daemon(tmp_path, web(["sleep", "1000"], {"delay": "100ms"})) as running:
        running.event("service.spawned")
        running.event("service.running")


def test_a_port_is_tried_until_it_is_there(tmp_path: Path) -> None:
    """A refused connection is no answer; the next try comes soon."""
    port = free_port()
    with daemon(tmp_path, web(["sleep", "1000"], {"tcp": f"127.0.0.1:{port}"})) as running:
        running.event("service.spawned")
        assert state(running) == "starting"
        with socket.create_server(("127.0.0.1", port)):
            running.event("service.running")


def test_localhost_is_both_of_its_addresses(tmp_path: Path) -> None:
    """What only listens on ::1 is found by the name."""
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with server:
        ready: dict[str, object] = {"tcp": f"localhost:{server.getsockname()[1]}"}
        with daemon(tmp_path, web(["sleep", "1000"], ready)) as running:
            running.event("service.running")


def test_a_name_is_resolved_by_a_helper(tmp_path: Path) -> None:
    """A name that cannot be resolved is the reason that is told, and the daemon never waits for it."""
    text = web(["sleep", "1000"], {"tcp": "no-such-host.invalid:80"}, ready_timeout="3s")
    with daemon(tmp_path, text) as running:
        running.event("service.spawned")
        assert state(running) == "starting"
        reason = running.event("service.not_ready")["reason"]
        assert reason is None or reason.startswith("cannot resolve the name")  # None: the resolver hangs


def test_a_page_that_is_there_makes_it_ready(tmp_path: Path) -> None:
    """A status of 503 is no answer yet; 200 is one."""
    port, page = free_port(), tmp_path / "page"
    command = [sys.executable, "-c", WEB, str(page), str(port)]
    with daemon(tmp_path, web(command, {"http": f"http://127.0.0.1:{port}/?a=b"})) as running:
        running.event("service.spawned")
        assert state(running) == "starting"
        page.touch()
        running.event("service.running")


def test_a_command_that_succeeds_makes_it_ready(tmp_path: Path) -> None:
    """It is run again and again, until it leaves with 0."""
    page = tmp_path / "page"
    with daemon(tmp_path, web(["sleep", "1000"], {"exec": ["test", "-e", str(page)]})) as running:
        running.event("service.spawned")
        assert state(running) == "starting"
        page.touch()
        running.event("service.running")


def test_the_reason_of_the_last_try_is_told(tmp_path: Path) -> None:
    """A service that does not become ready says what its check said last, however much that was."""
    check = ["sh", "-c", "seq 100000; echo the database is missing >&2; exit 4"]
    with daemon(tmp_path, web(["sleep", "1000"], {"exec": check}, ready_timeout="2s")) as running:
        told = running.event("service.not_ready")
        assert told["reason"] == "exited with 4: the database is missing"


def test_a_check_that_cannot_be_run_is_a_reason(tmp_path: Path) -> None:
    """A command that does not exist keeps the service from becoming ready, and says so."""
    text = web(["sleep", "1000"], {"exec": ["no/such/check"]}, ready_timeout="500ms")
    with daemon(tmp_path, text) as running:
        assert "exec of no/such/check" in running.event("service.not_ready")["reason"]


def test_a_check_that_hangs_ends_with_the_wait(tmp_path: Path) -> None:
    """At the end of the time to become ready its whole tree goes, and the restart policy rules."""
    mark = uuid4().hex
    hangs = ["sh", "-c", f"setsid sh -c 'sleep 1000; :' {mark} & sleep 1000; :", mark]
    with daemon(tmp_path, web(["sleep", "1000"], {"exec": hangs}, ready_timeout="500ms")) as running:
        wait_until(lambda: len(alive(mark)) >= 2, "the check and its stray")
        running.event("service.not_ready")
        running.event("service.backoff")
        running.ask("stop", "web")
        wait_none(mark)


def test_a_stop_ends_the_check(tmp_path: Path) -> None:
    """A service that is stopped while it is asked for its readiness leaves nothing behind."""
    mark = uuid4().hex
    with daemon(tmp_path, web(["sleep", "1000"], {"exec": sleeper(mark)})) as running:
        wait_until(lambda: alive(mark) != [], "the check")
        running.ask("stop", "web")
        wait_none(mark)
        stopped = len(running.fds())
        running.ask("stop", "web")
        assert len(running.fds()) == stopped


def test_a_restart_ends_the_check_and_begins_another(tmp_path: Path) -> None:
    """The check that was under way is not the new run's."""
    mark = uuid4().hex
    with daemon(tmp_path, web(["sleep", "1000"], {"exec": sleeper(mark)})) as running:
        wait_until(lambda: alive(mark) != [], "the check")
        first = alive(mark)
        running.ask("restart", "web", wait=False)
        running.event("service.spawned", nth=2)
        wait_until(lambda: set(alive(mark)).isdisjoint(first) and alive(mark) != [], "another check")


def test_the_end_of_the_main_process_ends_the_check(tmp_path: Path) -> None:
    """A service that dies while it is asked is not asked any longer."""
    mark = uuid4().hex
    text = web(["sleep", "1000"], {"exec": sleeper(mark)}, restart="never")
    with daemon(tmp_path, text) as running:
        pid = running.event("service.spawned")["pid"]
        wait_until(lambda: alive(mark) != [], "the check")
        os.kill(pid, signal.SIGKILL)
        running.event("service.failed")
        wait_none(mark)


def test_a_reload_of_the_configuration_ends_a_check_that_is_gone(tmp_path: Path) -> None:
    """A changed check replaces the one that hangs, in a new run."""
    mark = uuid4().hex
    with daemon(tmp_path, web(["sleep", "1000"], {"exec": sleeper(mark)})) as running:
        wait_until(lambda: alive(mark) != [], "the check")
        running.configure(web(["sleep", "1000"], {"delay": "1ms"}))
        running.ask("reload", wait=False)
        running.event("service.running")
        wait_none(mark)


def test_nothing_wakes_a_daemon_whose_services_are_ready(tmp_path: Path) -> None:
    """Once all is ready no timer of a check or a helper is left, so that the poll waits for ever."""
    alone = 'process_connector = "no"\n'  # others' forks would wake it
    text = web(["sleep", "1000"], {"exec": ["true"]}, backoff={"reset_after": "1ms"})
    with daemon(tmp_path, alone + text) as running:
        running.event("service.running")
        wait_until(lambda: is_quiet(running.pid), "a daemon that sleeps")


def is_quiet(pid: int) -> bool:
    """Tell whether a process sleeps for longer than any check would let it: that has no cause to wait for."""
    before = switches(pid)
    time.sleep(1.2)
    return switches(pid) == before


def switches(pid: int) -> int:
    """Return how often a process has gone to sleep: proc_pid_status(5)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("voluntary_ctxt"))
