import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from reaperd import __version__
from reaperd.cli.main import COMMANDS
from tests.support.control_plane import unmeasured
from tests.support.processes import ROOT, owned, wait_readable

COMMAND = [sys.executable, "-c", "from reaperd.cli.main import main; main()"]
OURS = sorted(set(COMMANDS) - {"tree", "zombies", "init"})  # those have tests of their own


class Server:
    """A control plane in another process."""

    def __init__(self, path: Path, process: "subprocess.Popen[bytes]") -> None:
        self.path = path
        self.process = process

    @property
    def script(self) -> IO[bytes]:
        """Its standard input: a line settles what waits."""
        assert self.process.stdin is not None
        return self.process.stdin


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[Server]:
    """Start a control plane with services, and end it on the way out."""
    path = folder / "c.sock"
    program: list[str | Path] = [sys.executable, ROOT / "tests/support/control_serve.py", path, *words]
    with owned(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield Server(path, process)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A control plane for tests that change nothing."""
    with serving(tmp_path_factory.mktemp("c"), "web", "db") as made:
        yield made


def environment(socket: Path | None = None, **more: str) -> dict[str, str]:
    """Return an environment in which nothing of the caller's changes what is printed."""
    left_out = {"NO_COLOR", "COLUMNS", "REAPERD_SOCKET"}
    named = {} if socket is None else {"REAPERD_SOCKET": str(socket)}
    return {key: value for key, value in os.environ.items() if key not in left_out} | named | more


def reaperd(
    *words: str, socket: Path | None = None, stdout: int | IO[bytes] = subprocess.PIPE, **more: str
) -> "subprocess.CompletedProcess[str]":
    """Run the command line to its end."""
    return subprocess.run(
        [*COMMAND, *words],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
        env=environment(socket, **more),
    )


# --- what is printed ---


def test_status_table(server: Server) -> None:
    """Without a terminal the status is an aligned table without colours."""
    done = reaperd("status", socket=server.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "NAME  STATE     PID  UPTIME  RESTARTS  MEMORY  ZOMBIES  WHY",
        "web   running  4242  1h 02m         3   12.3M        -  -",
        "db    running  4242  1h 02m         3   12.3M        -  -",
    ]


def test_status_json(server: Server) -> None:
    """--json prints the daemon's object, whose schema is named."""
    done = reaperd("status", "--json", "--socket", str(server.path), "db")
    body = json.loads(done.stdout)
    assert body["schema"] == "reaperd.status/1"
    assert [(item["name"], item["uptime"]) for item in body["items"]] == [("db", 3723.5)]


def test_text_of_services_is_escaped(tmp_path: Path) -> None:
    """What a service's end says cannot reach the terminal as it is."""
    with serving(tmp_path, "failed") as server:
        text = reaperd("status", socket=server.path).stdout
        assert "exit status 1\\x1b[31m" in text
        assert "\x1b" not in reaperd("status", "--json", socket=server.path).stdout


def test_status_on_a_terminal(tmp_path: Path) -> None:
    """On a terminal states have colours, NO_COLOR takes them away, and lines end where the terminal does."""
    with serving(tmp_path, "web", "failed") as server:
        coloured = on_terminal("status", socket=server.path, TERM="xterm", COLUMNS="36")
        assert "\x1b[32mrunning\x1b[0m" in coloured
        assert "\x1b[31mfailed\x1b[0m" in coloured
        assert "exit statu..." in coloured
        plain = on_terminal("status", socket=server.path, TERM="xterm", COLUMNS="36", NO_COLOR="1")
        assert "\x1b" not in plain
        assert max(map(len, plain.splitlines())) == 36


def on_terminal(*words: str, socket: Path, **more: str) -> str:
    """Return what the command line prints on a terminal."""
    leader, follower = pty.openpty()
    try:
        done = reaperd(*words, socket=socket, stdout=follower, **more)
        assert done.stderr == ""
        wait_readable(leader)
        return os.read(leader, 65536).decode()
    finally:
        os.close(follower)
        os.close(leader)


def test_actions(tmp_path: Path) -> None:
    """Actions say what each service is now; what went wrong is said on standard error."""
    with serving(tmp_path, "web", "db", "stuck") as server:
        done = reaperd("stop", "web", "db", socket=server.path)
        assert (done.returncode, done.stdout) == (0, "web: stopped\ndb: stopped\n")
        done = reaperd("start", "web", "stuck", socket=server.path)
        assert (done.returncode, done.stdout) == (1, "web: running\n")
        assert done.stderr == 'reaperd: cannot start "stuck": it ended with exit status 1\n'
        done = reaperd("restart", "--json", "all", socket=server.path)
        assert done.returncode == 1
        assert [item["ok"] for item in json.loads(done.stdout)["items"]] == [True, True, False]


def test_reload(tmp_path: Path) -> None:
    """A reload says what changed; a configuration with problems exits with 78 and its problems."""
    with serving(tmp_path, "web") as server:
        done = reaperd("reload", socket=server.path)
        assert (done.returncode, done.stdout) == (0, "added new\nremoved old\n")
        answer = json.loads(reaperd("reload", "--json", socket=server.path).stdout)
        assert {item["name"]: item["change"] for item in answer["items"]} == {
            "new": "added",
            "old": "removed",
        }
    with serving(tmp_path, "broken") as server:
        done = reaperd("reload", socket=server.path)
        assert done.returncode == 78
        assert done.stderr == "reaperd: cannot use this configuration: 1 problem\n  f:1: no\nhint: mend it\n"


def test_shutdown(tmp_path: Path) -> None:
    """After a shutdown the daemon is gone, and so is its socket."""
    with serving(tmp_path, "web") as server:
        assert reaperd("shutdown", socket=server.path).returncode == 0
        assert server.process.wait(20) == 0
        assert not server.path.exists()


# --- exit statuses ---


@pytest.mark.parametrize(
    ("services", "named", "status"),
    [
        (("web", "db"), (), 0),
        (("web", "stopped"), (), 0),
        (("web", "exited"), (), 0),
        (("web", "failed"), (), 3),
        (("web", "stopped"), ("web",), 0),
        (("starting",), ("starting",), 0),
        (("web", "stopped"), ("stopped", "web"), 3),
        (("exited",), ("exited",), 3),
        (("web",), ("wbe",), 4),
        ((), (), 0),
    ],
)
def test_status_exits(tmp_path: Path, services: tuple[str, ...], named: tuple[str, ...], status: int) -> None:
    """Status exits with 0 if all runs that should, 3 if something does not, 4 if it cannot tell."""
    with serving(tmp_path, *services) as server:
        assert reaperd("status", *named, socket=server.path).returncode == status


def test_unknown_service(server: Server) -> None:
    """A mistyped name is met with the one that was probably meant."""
    done = reaperd("stop", "wbe", socket=server.path)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == 'reaperd: cannot find a service called "wbe"\nhint: did you mean "web"?\n'


def test_no_daemon(tmp_path: Path) -> None:
    """Without a daemon status cannot tell, and actions are unavailable; both say how to start one."""
    for words, status in ((("status",), 4), (("stop", "web"), 69), (("shutdown",), 69)):
        done = reaperd(*words, socket=tmp_path / "none")
        assert (done.returncode, done.stdout) == (status, "")
        message, hint = done.stderr.splitlines()
        assert message == f"reaperd: cannot reach the daemon at {tmp_path}/none: there is no such socket"
        assert hint.startswith("hint: start it with: reaperd run -c FILE")


def test_default_socket(tmp_path: Path) -> None:
    """Where nothing is named, the socket is where a daemon of this user would have it."""
    (tmp_path / "run").mkdir(mode=0o700)
    done = reaperd("status", XDG_RUNTIME_DIR=str(tmp_path / "run"))
    expected = "/run/reaperd/control.sock" if os.geteuid() == 0 else f"{tmp_path}/run/reaperd/control.sock"
    if os.geteuid() == 0 and Path(expected).exists():
        pytest.skip("needs a machine on which no daemon of root's runs")
    assert f"cannot reach the daemon at {expected}" in done.stderr


@pytest.mark.parametrize(
    "words",
    [(), ("start",), ("stauts",), ("status", "--jsn"), ("run",), ("check",), ("--nope",), ("init\x1b",)],
)
def test_usage(words: tuple[str, ...]) -> None:
    """What is no command line of ours exits with 2 and says so on standard error."""
    done = reaperd(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: reaperd" in done.stderr
    assert "\x1b" not in done.stderr


def test_mistyped_command() -> None:
    """A mistyped command is met with the one that was probably meant."""
    assert 'there is no command "stauts"; did you mean "status"?' in reaperd("stauts").stderr


# --- help ---


def test_help_lists_every_command() -> None:
    """The help names every command and what it does, without importing any."""
    done = reaperd("--help")
    assert done.returncode == 0
    for name, (_, summary) in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert summary in done.stdout
    assert reaperd("--version").stdout == f"reaperd {__version__}\n"


@pytest.mark.parametrize("name", OURS)
def test_help_has_an_example(name: str) -> None:
    """Every command's help ends with an example of itself."""
    done = reaperd(name, "--help")
    assert done.returncode == 0
    assert "Exit status:" in done.stdout
    assert f"  reaperd {name}" in done.stdout.partition("Examples:")[2]


# --- ends that are nobody's fault ---


def test_nobody_reads(server: Server) -> None:
    """Where nobody reads the output any more, the command ends quietly."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = reaperd("status", socket=server.path, stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_closed_output(server: Server) -> None:
    """With its standard output closed a command still exits with its status."""
    line = 'exec "$@" >&-'
    done = subprocess.run(
        ["sh", "-c", line, "sh", *COMMAND, "status"],
        capture_output=True,
        check=False,
        cwd=ROOT,
        env=environment(server.path),
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_full_output(server: Server) -> None:
    """An output that cannot be written is said to be so, not passed over."""
    with Path("/dev/full").open("wb") as full:
        done = reaperd("status", socket=server.path, stdout=full)
    assert done.returncode == 1
    assert done.stderr == "reaperd: cannot write to standard output: No space left on device\n"


def test_interrupted_while_waiting(tmp_path: Path) -> None:
    """Ctrl-C ends a command that waits, with 130; what was asked for goes on."""
    with serving(tmp_path, "web", "--slow") as server:
        with owned(
            [*COMMAND, "stop", "web"], cwd=ROOT, env=environment(server.path), stderr=subprocess.PIPE
        ) as waiting:
            wait_for_client(server, waiting.pid)
            waiting.send_signal(signal.SIGINT)
            assert waiting.wait(20) == 130
        server.script.write(b"\n")
        server.script.flush()
        assert reaperd("status", socket=server.path).returncode == 0


def wait_for_client(server: Server, pid: int) -> None:
    """Return once the daemon holds an ask that waits: it says so in a line."""
    assert server.process.stdout is not None
    assert server.process.stdout.readline() == f"waits {pid}\n".encode()


def test_waits_until_settled(tmp_path: Path) -> None:
    """An action returns when all is settled; with --no-wait at once."""
    with serving(tmp_path, "web", "--slow") as server:
        assert reaperd("stop", "--no-wait", "web", socket=server.path).stdout == "web: stopped\n"
        with owned(
            [*COMMAND, "start", "web"], cwd=ROOT, env=environment(server.path), stdout=subprocess.PIPE
        ) as waiting:
            wait_for_client(server, waiting.pid)
            assert waiting.poll() is None
            server.script.write(b"\n")
            server.script.flush()
            assert waiting.stdout is not None
            assert waiting.stdout.read() == b"web: running\n"
            assert waiting.wait(20) == 0


# --- check, run and what is imported ---


def test_check(tmp_path: Path) -> None:
    """Check reports what can be used and what cannot, as text and as JSON."""
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text('[service.web]\ncommand = ["sleep", "1"]\n')
    bad.write_text('[service.web]\ncommand = ["sleep", "1"]\nrestrat = "always"\n')
    done = reaperd("check", str(good))
    assert (done.returncode, done.stdout) == (0, f"{good}: 1 service, no problem\n")
    assert json.loads(reaperd("check", "--json", str(good)).stdout)["items"] == []
    done = reaperd("check", str(bad))
    assert (done.returncode, done.stdout) == (78, "")
    assert "restart" in done.stderr
    [problem] = json.loads(reaperd("check", "--json", str(bad)).stdout)["items"]
    assert problem["where"] == f"{bad}:3"


def test_run_becomes_a_fresh_interpreter(tmp_path: Path) -> None:
    """The daemon keeps the pid that was started, and holds nothing of the command line."""
    program = (
        "import os, sys\n"
        "def execv(path, words):\n"
        "    print(words); sys.stdout.flush(); real(path, words[:-4] + ['-c', look])\n"
        "look = 'import os, sys; print(os.getpid(), \"click\" in sys.modules)'\n"
        "real, os.execv = os.execv, execv\n"
        "from reaperd.cli.main import main\n"
        "main(['run', '-c', 'x.toml'])\n"
    )
    with owned(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        words, seen = process.stdout.read().decode().splitlines()
        assert seen == f"{process.pid} False"
    assert words.endswith("'-m', 'reaperd.daemon', '--', 'x.toml']")
    assert "'-P'" in words  # modules of the directory it is started in are nobody's choice


def test_status_imports_little(server: Server) -> None:
    """Status pays neither for psutil and structlog, nor for reading configurations, nor for the daemon."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *COMMAND[1:], "status"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=unmeasured(environment(server.path)),
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {"click", "h11", "reaperd.control.client"} <= imported
    heavy = {"psutil", "structlog", "asyncio", "tomllib", "subprocess", "difflib", "reaperd.config.parse"}
    assert not (heavy | {"inspect", "ast"}) & imported
    assert not {name for name in imported if name.startswith(("reaperd.kernel", "reaperd.control.server"))}


def test_init_by_way_of_the_commands() -> None:
    """Reached through the commands instead of the entry point, init is the same program."""
    assert reaperd("init", "--", "sh", "-c", "exit 7").returncode == 7
