"""The forms in which `reaperd zombies` shows what it finds, on a real zombie."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

from reaperd.kernel import prctl
from reaperd.zombies.careless import TRANSIT_S
from reaperd.zombies.specimens import specimen
from tests.support.processes import (
    ROOT,
    call_in_pid_namespace,
    fork_child,
    need_program,
    need_root,
    owned,
    owned_child,
    sleep_forever,
    wait_readable,
    wait_zombie,
)

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="some kinds are made on x86-64 only")

COMMAND: Final = [sys.executable, "-m", "reaperd", "zombies"]


def _run(*words: str) -> list[Any]:
    done = subprocess.run([*COMMAND, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return [done.returncode, done.stdout, done.stderr]


def _forms(file: str) -> dict[str, Any]:
    """Return what each form says of five zombies of one parent."""
    with specimen("handler-once") as roles:
        time.sleep(TRANSIT_S + 0.1)  # nothing happens: they grow old enough to be judged
        (parent,), zombies = roles["parent"], roles["zombie"]
        said = {
            "tree": _run("--tree"),
            "by": _run("--by", "parent", "--json"),
            "warn": _run("--warn", "1", "--critical", "9"),
            "critical": _run("--critical", "0"),
            "fine": _run("--warn", "9"),
            "one": _run("--json", str(zombies[0])),
            "none": _run("--older-than", "1h"),
            "metrics": _run("--prometheus"),
            "zero": _run("--exit-zero"),
            "written": _run("--prometheus", "--output", file),
        }
    return {"parent": parent, "zombies": zombies, "file": Path(file).read_text(), **said}


def test_every_form(tmp_path: Path) -> None:
    """Tree, groups, monitoring, metrics, one pid, and none that is old enough."""
    said = call_in_pid_namespace(_forms, str(tmp_path / "zombies.prom"))
    count = len(said["zombies"])
    status, tree, _ = said["tree"]
    assert status == 1
    assert all(f"    {pid} [" in tree for pid in said["zombies"])
    assert f"\n  {said['parent']} " in tree
    (group,) = json.loads(said["by"][1])["items"]
    assert (group["count"], group["leaks"]) == (count, count)
    assert said["warn"][:1] == [1]
    assert said["warn"][1].startswith(f"ZOMBIES WARNING - {count} zombies stay, ")
    assert [said["critical"][0], said["fine"][0]] == [2, 0]
    assert [item["pid"] for item in json.loads(said["one"][1])["items"]] == said["zombies"][:1]
    assert said["none"][:2] == [0, "No zombies.\n"]
    series = f'ppid="{said["parent"]}",cause="handler-missed",leak="true",container='
    assert series in said["metrics"][1]
    assert series in said["file"]
    assert said["written"][1] == ""
    assert (said["zero"][0], said["metrics"][0]) == (0, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["zombies.prom"]


def test_metrics_that_cannot_be_written_are_an_error(tmp_path: Path) -> None:
    """And leave nothing behind."""
    done = _run("--prometheus", "--exit-zero", "--output", str(tmp_path / "none" / "zombies.prom"))
    assert done[0] == 1
    assert "cannot write" in done[2]
    assert list(tmp_path.iterdir()) == []


def test_forms_exclude_each_other() -> None:
    """Two at once are no command line, nor is a file for what is not written."""
    assert _run("--tree", "--by", "user")[0] == 2
    assert _run("--output", "x")[0] == 2
    assert _run("--older-than", "soon")[0] == 2
    assert _run("--watch", "0")[0] == 2
    assert _run("--prometheus", "--json")[0] == 2
    assert _run("--warn", "1", "--json")[0] == 2


def _metrics_of_a_hostile_parent() -> list[str]:
    """Return the metrics as a pipe gets them, and as a terminal does."""

    def parent() -> None:
        prctl.set_name("\x1b]0;x\x07")
        wait_zombie(fork_child(lambda: None))
        os.write(tells, b".")
        sleep_forever()

    told, tells = os.pipe()
    with owned_child(parent):
        os.read(told, 1)
        return [_run("--prometheus")[1], _on_terminal("--prometheus")]


def _on_terminal(*words: str, width: int = 80, **environ: str) -> str:
    """Return what the command prints on a terminal that is so wide, where one zombie or more is."""
    left_out = {"NO_COLOR", "COLUMNS", "TERM"}
    own = {name: value for name, value in os.environ.items() if name not in left_out}
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, width))
    done = subprocess.run([*COMMAND, *words], cwd=ROOT, stdout=theirs, env={**own, **environ}, check=False)
    assert done.returncode == 1
    os.close(theirs)
    said = _until_all_have_left(ours)
    os.close(ours)
    return said.decode()


def _until_all_have_left(terminal: int) -> bytes:
    said = b""
    with suppress(OSError):  # EIO: everybody has left the terminal
        while chunk := os.read(terminal, 65536):
            said += chunk
    return said


def test_metrics_do_not_command_a_terminal() -> None:
    """A name is as it is for a collector, and spelt out for who looks."""
    piped, seen = call_in_pid_namespace(_metrics_of_a_hostile_parent)
    assert 'parent="\x1b]0;x\x07"' in piped
    assert 'parent="\\x1b]0;x\\x07"' in seen
    assert "\x1b" not in seen


def _tables() -> dict[str, list[str]]:
    """Return the table's lines, its head and the row of one zombie, as each kind of terminal gets them."""
    with specimen("never-waits"):
        said = {
            "wide": _on_terminal(width=200, TERM="xterm"),
            "narrow": _on_terminal(width=70, TERM="xterm"),
            "columns": _on_terminal(width=70, TERM="xterm", COLUMNS="80"),
            "plain": _on_terminal(width=70, TERM="xterm", NO_COLOR="1"),
            "dumb": _on_terminal(width=70, TERM="dumb"),
            "pipe": _run()[1],
        }
    return {name: text.splitlines()[:2] for name, text in said.items()}


def test_a_table_on_a_terminal() -> None:
    """Its lines end where the terminal or COLUMNS says; with NO_COLOR or on a dumb one it has no colours."""
    tables = call_in_pid_namespace(_tables)
    heads = {name: head for name, (head, _) in tables.items()}
    rows = {name: row for name, (_, row) in tables.items()}
    assert all(head.startswith("\x1b[1mPID\x1b[0m") for head in (heads["wide"], heads["narrow"]))
    assert not any("\x1b" in heads[name] + rows[name] for name in ("plain", "dumb", "pipe"))
    assert heads["plain"] == heads["dumb"] == re.sub(r"\x1b\[\d*m", "", heads["narrow"])
    assert [len(rows[name]) for name in ("narrow", "plain", "columns")] == [70, 70, 80]
    assert all(rows[name].endswith("...") for name in ("narrow", "plain", "columns"))
    assert len(rows["pipe"]) > 80, "the parent's command line is longer than that"
    assert not rows["pipe"].endswith("...")


def test_only_a_file_is_replaced(tmp_path: Path) -> None:
    """Neither a device nor a directory, nor what has no name; each is left as it was."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for output in (pipe, tmp_path, Path("/")):
        status, _, problem = _run("--prometheus", "--output", str(output))
        assert status == 1
        assert problem.startswith(f"reaperd: cannot write {output}: it is no regular file\nhint: ")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_watching_says_more_each_time() -> None:
    """The schema in the first line, one object a look, until Ctrl-C."""
    words = [*COMMAND, "--watch", "10ms", "--json"]
    with owned(words, cwd=ROOT, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        lines = []
        for _ in range(3):
            wait_readable(process.stdout.fileno())
            lines.append(json.loads(process.stdout.readline()))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert lines[0] == {"schema": "reaperd.zombies.watch/1"}
    assert all(isinstance(line["count"], int) for line in lines[1:])


def test_on_a_terminal_each_look_is_drawn_over_the_one_before() -> None:
    """Up by the lines that were drawn, and erased; Ctrl-C leaves the last look, and no word of its own."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    words = [*COMMAND, "--watch", "10ms"]
    with owned(words, cwd=ROOT, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        while len(re.findall(rb" zombies?\r\n", said)) < 3:
            wait_readable(ours)
            said += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        said += _until_all_have_left(ours)
        assert process.wait(20) == 130
    os.close(ours)
    first, *others = said.decode().split("\x1b[J")
    lines = [re.sub(r"\x1b\[\d+F$", "", look).count("\r\n") for look in (first, *others)]
    assert [int(n) for n in re.findall(r"\x1b\[(\d+)F", said.decode())] == lines[:-1]
    assert b"Traceback" not in said
    assert said.endswith(b"\r\n")


def test_where_it_could_not_look_monitoring_says_unknown() -> None:
    """Exit status 3 and one line, as the convention has it."""
    need_root()
    need_program("unshare")
    script = f"mount -t tmpfs none /proc && exec {sys.executable} -m reaperd zombies --warn 0"
    words = ["unshare", "--mount", "sh", "-c", script]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith("ZOMBIES UNKNOWN - cannot list processes")
