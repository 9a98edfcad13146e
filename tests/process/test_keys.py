"""Keys that shape a process or its fate, each seen to have its effect. test_proofs.py names all proofs."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.daemons import daemon, service
from tests.support.processes import (
    ROOT,
    WITHIN_S,
    need_root,
    owned,
    system_python,
    wait_readable,
    wait_until,
)
from tests.support.written import parts

# Writes what a program finds itself to be, into the file that it is given.
MIRROR: Final = """
import json, os, resource, sys
names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
umask = os.umask(0)
found = {
    "directory": os.getcwd(),
    "ids": [os.getuid(), os.getgid(), sorted(os.getgroups())],
    "umask": umask,
    "nice": os.nice(0),
    "score": int(open("/proc/self/oom_score_adj").read()),
    "environment": dict(os.environ),
    "limits": {name[7:].lower(): resource.getrlimit(getattr(resource, name)) for name in names},
}
with open(sys.argv[1] + ".part", "w") as file:
    json.dump(found, file)
os.rename(sys.argv[1] + ".part", sys.argv[1])
"""
CAP_SYS_RESOURCE: Final = 24  # linux/capability.h

STREAMS: Final = {"stdout": 1, "stderr": 2}

# Says who of a family got SIGTERM: the main process, its child, and a descendant in a session of its own.
# Once as many as are to get it have said so, the main process sends the others SIGWINCH, which ends them;
# who has both pending gets SIGTERM first, for its number is lower: signal(7).
FAMILY: Final = """
import os, signal, sys, time
said, wanted = sys.argv[1], int(sys.argv[2])
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGWINCH})

def follow(name):
    while signal.sigwait({signal.SIGTERM, signal.SIGWINCH}) == signal.SIGTERM:
        with open(said, "a") as file:
            print(name, file=file)
        if name == "main":
            return

others = []
for name in ("child", "stray"):
    pid = os.fork()
    if pid == 0:
        if name == "stray":
            os.setsid()
        follow(name)
        os._exit(0)
    others.append(pid)
while os.getsid(others[1]) != others[1]:
    time.sleep(0.01)
print("ready", file=open(3, "w"), flush=True)
follow("main")
while len(open(said).read().split()) < wanted:
    time.sleep(0.01)
for pid in others:
    os.kill(pid, signal.SIGWINCH)
    os.waitpid(pid, 0)
"""
# Soft and hard. Below what a daemon has, so that no right is needed; but some machines give none of a kind.
LIMITS: Final[dict[str, tuple[int, int]]] = {
    "as": (1 << 38, 1 << 39),
    "core": (0, 4096),
    "cpu": (1000, 2000),
    "data": (1 << 38, 1 << 39),
    "fsize": (1 << 30, 1 << 31),
    "memlock": (4096, 8192),
    "msgqueue": (4096, 8192),
    "nice": (3, 7),
    "nofile": (50, 60),
    "nproc": (400, 500),
    "rss": (1 << 38, 1 << 39),
    "rtprio": (3, 7),
    "rttime": (5000, 6000),
    "sigpending": (40, 50),
    "stack": (1 << 20, 1 << 21),
}


def _seen(tmp_path: Path, out: Path | None = None, **keys: object) -> dict[str, Any]:  # Any: as JSON has it
    """Return what a program of a service with these keys finds itself to be."""
    out = out or tmp_path / "out"
    command = [system_python(), "-I", "-S", "-c", MIRROR, str(out)]
    with daemon(tmp_path, service("web", command, oneshot=True, **keys)) as running:
        ended = running.event("service.exited")
        assert ended["code"] == 0, running.row("web")["why"]
        found: dict[str, Any] = json.loads(out.read_text())
        return found


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_each_limit_is_set(tmp_path: Path, name: str) -> None:
    """Soft and hard, by its own name."""
    soft, hard = LIMITS[name]
    limits = {name: {"soft": soft, "hard": hard}}
    ours = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))
    assert ours != (soft, hard), "it would be so without"
    if ours[1] != resource.RLIM_INFINITY and ours[1] < hard and not _may_raise_limits():
        _is_refused(tmp_path, name, limits)
    else:
        assert _seen(tmp_path, limits=limits)["limits"][name] == [soft, hard]


def _may_raise_limits() -> bool:
    effective = next(line for line in Path("/proc/self/status").read_text().splitlines() if "CapEff" in line)
    return bool(int(effective.split()[1], 16) >> CAP_SYS_RESOURCE & 1)


def _is_refused(tmp_path: Path, name: str, limits: dict[str, dict[str, int]]) -> None:
    """Assert that the kernel was asked for just this limit, and said no: setrlimit(2)."""
    with daemon(tmp_path, service("web", "exec sleep 1000", limits=limits, restart="never")) as running:
        failed = running.event("service.spawn_failed")
        assert (failed["stage"], failed["errno"]) == ("limits", errno.EPERM)
        assert f"setting its limit {name} to {limits[name]['hard']}" in failed["problem"]


def test_a_process_is_what_its_keys_say(tmp_path: Path) -> None:
    """Directory, umask, nice value, score, and an environment of files and keys without the daemon's."""
    (tmp_path / "one.env").write_text("A=file\nB=file\n")
    nicer = min(os.nice(0) + 3, 19)
    seen = _seen(
        tmp_path,
        directory=str(tmp_path),
        umask="037",
        nice=nicer,
        oom_score_adj=600,
        environment_files=[str(tmp_path / "one.env")],
        environment={"B": "key"},
        clear_environment=True,
    )
    assert (seen["directory"], seen["umask"], seen["nice"], seen["score"]) == (
        str(tmp_path),
        0o37,
        nicer,
        600,
    )
    assert (seen["environment"]["A"], seen["environment"]["B"]) == ("file", "key")
    assert set(seen["environment"]) <= {"A", "B", "SERVICE", "REAPERD_RUN", "LC_CTYPE"}


def test_user_and_groups_are_taken_from_the_keys(tmp_path: Path) -> None:
    """By numbers, which need no entry."""
    need_root()
    folder = Path(tempfile.mkdtemp())  # pytest's own cannot be entered by others
    try:
        folder.chmod(0o777)
        out = folder / "out"
        seen = _seen(tmp_path, out=out, user="65534", group="7", supplementary_groups=["8", "9"])
    finally:
        shutil.rmtree(folder)
    assert seen["ids"] == [65534, 7, [8, 9]]


@pytest.mark.parametrize(
    ("script", "keys"),
    [("exit 3", {"success_exit_codes": [0, 3]}), ("kill -USR1 $$", {"success_signals": ["USR1"]})],
)
def test_what_counts_as_success_does(tmp_path: Path, script: str, keys: dict[str, object]) -> None:
    """It is no failure, and so not started again; without the key it is."""
    backoff = {"initial": "1h", "max": "1h"}
    text = service("web", script, backoff=backoff, **keys) + service("other", script, backoff=backoff)
    with daemon(tmp_path, text) as running:
        running.event("service.finished", service="web")
        running.event("service.backoff", service="other")
        assert running.row("web")["state"] == "exited"


@pytest.mark.parametrize(("late", "early"), [({"after": ["early"]}, {}), ({}, {"before": ["late"]})])
def test_order_alone_holds_until_the_other_is_ready(
    tmp_path: Path, late: dict[str, object], early: dict[str, object]
) -> None:
    """Whichever of the two says so; in the file the late one comes first."""
    text = service("late", "exec sleep 1000", **late)
    text += service("early", "exec sleep 1000", ready={"delay": "300ms"}, **early)
    with daemon(tmp_path, text) as running:
        running.event("service.running", service="late")
        told = [(each["event"], each.get("service")) for each in running.log]
        assert told.index(("service.running", "early")) < told.index(("service.starting", "late"))


def test_each_wait_is_so_much_longer_than_the_last(tmp_path: Path) -> None:
    """By the factor, from the initial one on."""
    backoff = {"initial": "10ms", "factor": 3, "max": "1h", "jitter": 0}
    with daemon(tmp_path, service("web", "exit 1", backoff=backoff)) as running:
        delays = [running.event("service.backoff", nth)["delay"] for nth in (1, 2, 3)]
        assert delays == [0.01, 0.03, 0.09]


def test_a_run_that_proved_stable_ends_the_count(tmp_path: Path) -> None:
    """After so long; the next failure is the first one again."""
    backoff = {"initial": "10ms", "max": "10ms", "reset_after": "50ms"}
    with daemon(tmp_path, service("web", "sleep 0.5; exit 1", backoff=backoff)) as running:
        assert [running.event("service.backoff", nth)["failures"] for nth in (1, 2)] == [1, 1]


def test_starts_of_long_ago_do_not_count_for_the_limit(tmp_path: Path) -> None:
    """Long ago is longer than the interval."""
    keys = {"start_limit": {"count": 2, "interval": "10ms"}, "backoff": {"initial": "50ms", "max": "50ms"}}
    with daemon(tmp_path, service("web", "exit 1", **keys)) as running:
        running.event("service.backoff", failures=4)
        assert running.events("service.failed") == []


def test_a_stop_takes_as_long_as_it_may(tmp_path: Path) -> None:
    """And no longer, where the service is deaf."""
    deaf = "trap '' TERM; echo up; while :; do sleep 0.05; done"
    text = service("web", deaf, ready={"log": "up"}, stop={"timeout": "50ms"})
    with daemon(tmp_path, text) as running:
        running.event("service.running")
        running.ask("stop", "web")
        moments = [running.event(f"service.{each}")["time"] for each in ("stopping", "killing")]
        asked, killed = map(datetime.fromisoformat, moments)
        assert (killed - asked).total_seconds() < 5


@pytest.mark.parametrize(
    ("scope", "hit"),
    [("main", ["main"]), ("group", ["child", "main"]), ("tree", ["child", "main", "stray"])],
)
def test_a_stop_signals_as_far_as_its_scope(tmp_path: Path, scope: str, hit: list[str]) -> None:
    """The main process, its group, or a descendant in a session of its own too; nobody beyond."""
    said = tmp_path / "said"
    command = [system_python(), "-I", "-S", "-c", FAMILY, str(said), str(len(hit))]
    stop = {"scope": scope, "timeout": "60s"}
    with daemon(tmp_path, service("web", command, ready={"fd": 3}, stop=stop)) as running:
        running.event("service.running")
        running.ask("stop", "web")
        assert sorted(said.read_text().split()) == hit


@pytest.mark.parametrize(
    ("stream", "to", "line"),
    [
        ("stdout", "inherit", "said"),
        ("stdout", "prefix", "web | said"),
        ("stdout", "json", '"stream": "stdout", "message": "said"}'),
        ("stderr", "stdout", "said"),
        ("stderr", "prefix", "web ! said"),
        ("stderr", "json", '"stream": "stderr", "message": "said"}'),
    ],
)
def test_an_output_alone_goes_to_the_daemons_as_is_said(
    tmp_path: Path, stream: str, to: str, line: str
) -> None:
    """To its standard output, each line by itself; the other output of the service stays where it is."""
    script = f"echo said >&{STREAMS[stream]}"
    text = service("web", script, oneshot=True, **{stream: to})
    with daemon(tmp_path, text, stdout=subprocess.PIPE) as running:
        stdout = running.process.stdout
        assert stdout is not None
        wait_readable(stdout.fileno())
        assert stdout.readline().decode().endswith(f"{line}\n")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_an_output_alone_goes_nowhere_where_that_is_said(tmp_path: Path, stream: str) -> None:
    """The program has the null device there, and a place of its own for the other one."""
    told = tmp_path / "told"
    script = f"out=$(readlink /proc/$$/fd/1); err=$(readlink /proc/$$/fd/2); echo $out $err >{told}"
    other = {"stdout": "stderr", "stderr": "stdout"}[stream]
    keys = {stream: "null", other: {"file": str(tmp_path / "log")}}
    text = service("web", script, oneshot=True, **keys)
    with daemon(tmp_path, text, stdout=subprocess.PIPE) as running:  # its own is no null device
        running.event("service.finished")
        places = dict(zip(("stdout", "stderr"), told.read_text().split(), strict=True))
        assert (places[stream], places[other].partition(":")[0]) == ("/dev/null", "pipe")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_line_is_cut_where_that_is_said(tmp_path: Path, stream: str) -> None:
    """After so many bytes, in the file."""
    log = tmp_path / "log"
    script = f"echo {'x' * 200} >&{STREAMS[stream]}"
    with daemon(
        tmp_path, service("web", script, oneshot=True, **{stream: {"file": str(log), "max_line": "80B"}})
    ) as running:
        running.event("service.finished")
        wait_until(lambda: "x" * 70 in log.read_text(), "the line to be written")
        assert "x" * 81 not in log.read_text()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_old_files_are_compressed_where_that_is_said(tmp_path: Path, stream: str) -> None:
    """And as many kept as are to be."""
    log = tmp_path / "log"
    to = {"file": str(log), "max_size": "1KiB", "keep": 3, "compress": True}
    script = f"seq 2000 >&{STREAMS[stream]}; exec sleep 1000"
    with daemon(tmp_path, service("web", script, **{stream: to})):
        wait_until(
            lambda: [part.suffix for part in parts(log)] == [".gz", ".gz", ".gz", ""],
            "three compressed files and the log",
        )


def test_no_run_has_a_cgroup_of_its_own_where_that_is_said(tmp_path: Path) -> None:
    """It stays in the daemon's, while by default it has one wherever the machine allows it."""
    places = []
    for setting in ("auto", "no"):
        folder = tmp_path / setting
        folder.mkdir()
        with daemon(folder, f'cgroup = "{setting}"\n' + service("web", "exec sleep 1000")) as running:
            pid = running.event("service.running")["pid"]
            places.append([Path(f"/proc/{each}/cgroup").read_text() for each in (pid, running.pid)])
    if places[0][0] == places[0][1]:
        pytest.skip("needs a cgroup (version 2) that the daemon may divide")
    assert places[1][0] == places[1][1]


def test_files_are_included(tmp_path: Path) -> None:
    """Their services run like those of the main file."""
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "more.toml").write_text(service("more", "exec sleep 1000"))
    text = 'include = ["conf.d/*.toml"]\n' + service("web", "exec sleep 1000")
    with daemon(tmp_path, text) as running:
        running.event("service.running", service="more")


@pytest.mark.parametrize(("log", "begins"), [("console", ""), ("journal", "<6>"), ("json", "{")])
def test_lines_of_the_log_look_as_they_are_asked_to(tmp_path: Path, log: str, begins: str) -> None:
    """For people, for the journal, or as objects, where the default would be something else."""
    settings = f'log = {{ format = "{log}" }}\n'
    lines = (
        _first_lines_on_a_terminal(tmp_path, settings) if log == "json" else _first_lines(tmp_path, settings)
    )
    assert lines
    assert all(line.startswith(begins) for line in lines)
    assert any(line.startswith("{") for line in lines) == (log == "json")


@pytest.mark.parametrize(
    ("level", "levels"),
    [("info", {"info", "warning", "error"}), ("warning", {"warning", "error"}), ("error", {"error"})],
)
def test_a_level_leaves_lines_out(tmp_path: Path, level: str, levels: set[str]) -> None:
    """A service that comes and goes is for the first, its next try for the second, its failure for all."""
    settings = f'log = {{ level = "{level}", format = "json" }}\n'
    lines = _first_lines(tmp_path, settings, "/no/such/program")
    assert {json.loads(line)["level"] for line in lines} == levels


def _first_lines(tmp_path: Path, settings: str, program: str = "true") -> list[str]:
    """Return what a daemon writes from its start to its end, which its one service brings about."""
    command = _ending_daemon(tmp_path, settings, program)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    return done.stderr.splitlines()


def _first_lines_on_a_terminal(tmp_path: Path, settings: str) -> list[str]:
    ours, theirs = os.openpty()
    with owned(_ending_daemon(tmp_path, settings, "true"), cwd=ROOT, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        with suppress(OSError):  # EIO: nobody has the terminal any more, pty(7)
            while data := os.read(ours, 65536):
                said += data
        process.wait(WITHIN_S)
    os.close(ours)
    return said.decode().splitlines()


def _ending_daemon(tmp_path: Path, settings: str, program: str) -> list[str | Path]:
    config = tmp_path / "c.toml"
    keys = f'[daemon]\nsocket = "{tmp_path}/c.sock"\nstate_dir = "{tmp_path}/state"\n{settings}'
    limits = {"start_limit": {"count": 2}, "backoff": {"initial": "1ms"}}
    config.write_text(keys + service("web", [program], restart="on-failure", essential="exit", **limits))
    return [sys.executable, "-m", "reaperd.daemon", "--", config]


def test_the_daemon_looks_for_zombies_under_any_service_where_that_is_said(tmp_path: Path) -> None:
    """And nowhere without, as this service has no key of its own."""
    web = service("web", "exec sleep 1000")
    with daemon(tmp_path, web) as running:
        running.event("service.running")
        assert running.ask("status")["zombie_looks"] is None
        running.configure(f'zombies = "report"\n{web}')
        running.ask("reload")
        assert running.ask("status")["zombie_looks"] == {"every": 30.0, "remedy": "report"}
