"""`reaperd logs` beside a real daemon that writes and rotates."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.daemons import daemon, service
from tests.support.processes import ROOT, owned, wait_until
from tests.support.written import parts

LOGS = (sys.executable, "-c", "from reaperd.cli.main import main; main()", "logs")


def environment(folder: Path) -> dict[str, str]:
    """Return our environment, with the daemon in `folder`."""
    return {**os.environ, "REAPERD_SOCKET": str(folder / "c.sock")}


def logs(folder: Path, *words: str) -> "subprocess.CompletedProcess[bytes]":
    """Run the command to its end."""
    return subprocess.run(
        [*LOGS, *words], capture_output=True, check=False, cwd=ROOT, timeout=60, env=environment(folder)
    )


@contextmanager
def following(folder: Path, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the command, which goes on until the end of the block."""
    with owned([*LOGS, "-f", *words], stdout=subprocess.PIPE, cwd=ROOT, env=environment(folder)) as process:
        yield process


def written(name: str, script: str, log: Path, **keys: object) -> str:
    """Return a service that writes into a file and runs on."""
    return service(name, f"{script}; exec sleep 1000", stdout={"file": str(log), **keys}, stderr="stdout")


def test_the_rotated_set_is_shown_as_one(tmp_path: Path) -> None:
    """Compressed files too; the last lines where they are asked for."""
    log = tmp_path / "web.log"
    text = written("web", "seq 2000", log, max_size="1KiB", keep=100, compress=True)
    with daemon(tmp_path, text) as running:
        running.event("service.running")
        wait_until(
            lambda: all(part.suffix == ".gz" for part in parts(log)[:-1]) and len(parts(log)) > 8, "gz"
        )
        whole = logs(tmp_path, "web")
        assert (whole.returncode, whole.stderr) == (0, b"")
        assert whole.stdout.split() == [b"%d" % number for number in range(1, 2001)]
        assert logs(tmp_path, "-n", "3", "web").stdout == b"1998\n1999\n2000\n"


def test_what_comes_is_shown_across_rotations(tmp_path: Path) -> None:
    """After the last ten lines, each line once and in order."""
    log, gate = tmp_path / "web.log", tmp_path / "gate"
    os.mkfifo(gate)
    text = written("web", f"seq 100; read _ <{gate}; seq 101 5000", log, max_size="2KiB", keep=1000)
    with daemon(tmp_path, text) as running:
        running.event("service.running")
        wait_until(lambda: log.exists() and log.read_bytes().endswith(b"\n100\n"), "the first lines")
        with following(tmp_path, "web") as process:
            assert process.stdout is not None
            for number in range(91, 5001):
                assert process.stdout.readline() == b"%d\n" % number
                if number == 100:
                    gate.write_text("\n")


def test_several_services_are_told_apart(tmp_path: Path) -> None:
    """By their names and the mark of the standard error; as JSON by keys, after a line with the schema."""
    both = service(
        "both",
        "echo out; echo err >&2; exec sleep 1000",
        stdout={"file": str(tmp_path / "out")},
        stderr={"file": str(tmp_path / "err")},
    )
    with daemon(tmp_path, written("web", "printf 'a\\377\\n'", tmp_path / "web.log") + both) as running:
        running.event("service.running", nth=2)
        files = [tmp_path / name for name in ("web.log", "out", "err")]
        wait_until(lambda: all(file.exists() and file.stat().st_size for file in files), "three files")
        assert logs(tmp_path, "web", "both").stdout == b"web | a\xff\nboth | out\nboth ! err\n"
        first, *others = map(json.loads, logs(tmp_path, "--json", "both").stdout.splitlines())
        assert first == {"schema": "reaperd.logs/1"}
        assert others == [
            {"service": "both", "stream": "stdout", "message": "out"},
            {"service": "both", "stream": "stderr", "message": "err"},
        ]


def test_groups_and_patterns_name_several(tmp_path: Path) -> None:
    """As everywhere: a group, a pattern, all instances; each line once with the name of its service."""
    text = "".join(
        service(
            f"{name}-{number}",
            f"echo {name}{number}; exec sleep 1000",
            stdout={"file": str(tmp_path / f"{name}{number}.log")},
            groups=[name],
        )
        for name in ("web", "job")
        for number in (1, 2)
    )
    with daemon(tmp_path, text) as running:
        for name in ("web-1", "web-2", "job-1", "job-2"):
            running.event("service.running", service=name)
        files = [tmp_path / f"{name}.log" for name in ("web1", "web2", "job1", "job2")]
        wait_until(lambda: all(file.stat().st_size for file in files), "their lines")
        web = sorted([b"web-1 | web1", b"web-2 | web2"])
        assert sorted(logs(tmp_path, "web").stdout.splitlines()) == web
        assert sorted(logs(tmp_path, "web-*").stdout.splitlines()) == web
        assert sorted(logs(tmp_path, "*-1").stdout.splitlines()) == [b"job-1 | job1", b"web-1 | web1"]
        nobody = logs(tmp_path, "db-*")
        assert nobody.returncode == 4
        assert b"cannot" in nobody.stderr


def test_a_service_without_a_file_is_refused(tmp_path: Path) -> None:
    """It says what would help; so it does of a name or a time that nobody understands."""
    with daemon(tmp_path, service("web", ["sleep", "1000"])) as running:
        running.event("service.running")
        refused = logs(tmp_path, "web")
        assert refused.returncode == 1
        assert b'cannot show the log of "web": it does not write into a file' in refused.stderr
        assert b"service.web" in refused.stderr
        assert logs(tmp_path, "wbe").returncode == 4
        wrong = logs(tmp_path, "--since", "yesterdayish", "web")
        assert wrong.returncode == 2
        assert b'like "10m"' in wrong.stderr


def test_since_leaves_out_what_is_older(tmp_path: Path) -> None:
    """As lines tell themselves."""
    script = "echo 2020-01-01T00:00:00Z old; date -u '+%Y-%m-%dT%H:%M:%SZ new'"
    with daemon(tmp_path, written("web", script, tmp_path / "web.log")) as running:
        running.event("service.running")
        wait_until(lambda: b"new" in logs(tmp_path, "web").stdout, "both lines")
        (line,) = logs(tmp_path, "--since", "1h", "web").stdout.splitlines()
        assert line.endswith(b" new")
        assert len(logs(tmp_path, "--since", "2019-12-31", "web").stdout.splitlines()) == 2


def test_who_may_not_read_the_file_is_told_so(tmp_path: Path) -> None:
    """The daemon gives the path, the file's mode decides."""
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0:  # root without the rights that make modes mean nothing
        rights = "-dac_override,-dac_read_search"
        prefix = ("setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}")
    with daemon(tmp_path, written("web", "echo secret", tmp_path / "web.log")) as running:
        running.event("service.running")
        wait_until((tmp_path / "web.log").exists, "the log")
        assert (tmp_path / "web.log").stat().st_mode & 0o007 == 0
        (tmp_path / "web.log").chmod(0)
        denied = subprocess.run(
            [*prefix, *LOGS, "web"], capture_output=True, check=False, cwd=ROOT, env=environment(tmp_path)
        )
        if denied.stderr.startswith(b"setpriv"):
            pytest.skip("this machine lets nobody give up rights")
        assert (denied.returncode, denied.stdout) == (1, b"")
        assert f"cannot read {tmp_path}/web.log: Permission denied" in denied.stderr.decode()
