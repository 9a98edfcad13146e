"""The tree shown anew again and again, and the picture that a daemon gives of its own."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from reaperd.control.client import Client
from tests.process.test_completion import at_prompt
from tests.support.daemon import Daemon, daemon, sh
from tests.support.processes import owned, system_python, wait_until

COMMAND: Final = (sys.executable, "-c", "from reaperd.cli.main import main; main()", "tree")

# A zombie that nobody waits for, and an orphan of its own session.
TROUBLED: Final = """
import os, signal
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(1, b"orphan %d\\n" % os.getpid())
        signal.pause()
    os._exit(0)
os.wait()
zombie = os.fork()
if zombie == 0:
    os._exit(3)
os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
os.write(1, b"zombie %d\\n" % zombie)
signal.pause()
"""


@contextmanager
def _changing() -> "Iterator[tuple[int, IO[bytes]]]":
    """Yield a process that becomes another program when its standard input gets a line."""
    with owned(["sh", "-c", "read go; exec sleep $((1233 + 1))"], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        yield process.pid, process.stdin


def _go(stdin: IO[bytes]) -> None:
    stdin.write(b"\n")
    stdin.flush()


def test_a_watched_tree_is_drawn_anew_on_a_terminal(tmp_path: Path) -> None:
    """In place of the one before: it stands there once; Ctrl-C ends it, with 0."""
    with (
        _changing() as (pid, stdin),
        at_prompt("bash", tmp_path, tmp_path / "none", 100) as screen,
    ):
        screen.type(f"clear; reaperd tree --watch --interval 100ms {pid}; echo left=$?\n")
        screen.wait("read go")
        _go(stdin)
        screen.wait("sleep 1234")
        shown = screen.shown()
        assert "read go" not in shown
        assert shown.count("session ") <= 1
        screen.type("\x03")
        screen.wait("left=0")


def test_a_watched_tree_is_appended_elsewhere() -> None:
    """One picture after the other, each as it was then, and no control sequences among them."""
    with (
        _changing() as (pid, stdin),
        owned(
            [*COMMAND, "--scan", "--watch", "--interval", "50ms", str(pid)], stdout=subprocess.PIPE
        ) as watch,
    ):
        assert watch.stdout is not None
        before = [_line_with(watch.stdout, b"session "), _line_with(watch.stdout, b"read go")]
        _go(stdin)
        after = _line_with(watch.stdout, b"sleep 1234")
        again = _line_with(watch.stdout, b"sleep 1234")
        watch.send_signal(signal.SIGINT)
        rest = watch.stdout.read()
        assert watch.wait() == 0
    assert b"\x1b" not in b"".join([*before, after, again, rest])


def _line_with(stream: IO[bytes], word: bytes) -> bytes:
    """Return the next line with this word; it is waited for."""
    for line in stream:
        if word in line:
            return line
    raise AssertionError(f"it ended without {word!r}")


def test_the_daemons_picture_has_services_orphans_and_causes(tmp_path: Path) -> None:
    """Whose each process is, which were adopted, who is a subreaper, and why a zombie is there."""
    web = {"command": [system_python(), "-ISc", TROUBLED]}
    with daemon(tmp_path, {"web": web, "calm": sh("exec sleep 1000")}) as reaperd:
        orphan, zombie = reaperd.hear_pid("orphan"), reaperd.hear_pid("zombie")
        reaperd.wait_for("service.running", service="calm")
        wait_until(lambda: _is_told(reaperd, tmp_path, orphan, zombie), "both to be in the picture")
        main, calm = reaperd.main_pid("web"), reaperd.main_pid("calm")
        shown = _tree(tmp_path, "--json")
        answer, text, graph = json.loads(shown), _tree(tmp_path), _tree(tmp_path, "--dot")
    found = _items(answer)
    assert (answer["schema"], answer["source"]) == ("reaperd.tree/1", "daemon")
    owners = {pid: (found[pid]["service"], found[pid]["adopted"]) for pid in (main, orphan, zombie, calm)}
    assert owners == {
        main: ("web", False),
        orphan: ("web", True),
        zombie: ("web", False),
        calm: ("calm", False),
    }
    assert found[reaperd.pid]["subreaper"] is True
    assert (found[zombie]["zombie"], found[zombie]["ppid"]) == (True, main)
    assert found[zombie]["cause"]
    assert {found[orphan]["zombie"], found[main]["zombie"]} == {False}
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "[web, adopted]" in lines[str(orphan)]
    assert "[web]" in lines[str(main)]
    assert "[zombie: " in lines[str(zombie)]
    assert "[subreaper]" in lines[str(reaperd.pid)]
    assert "style=dashed" in next(line for line in graph.splitlines() if f" p{orphan} [" in line)
    assert "color=red" in next(line for line in graph.splitlines() if f" p{zombie} [" in line)


def _is_told(reaperd: Daemon, folder: Path, orphan: int, zombie: int) -> bool:
    """Tell whether the daemon knows of both; without the connector, who asks for its status makes it look."""
    reaperd.ask("status")
    found = _items(Client(folder / "c.sock").ask("tree"))
    return bool(orphan in found and found[orphan]["adopted"] and zombie in found and found[zombie]["zombie"])


def _items(answer: Any) -> dict[int, dict[str, Any]]:
    groups = (group for session in answer["items"] for group in session["groups"])
    return {item["pid"]: item for group in groups for item in group["processes"]}


def _tree(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [*COMMAND, "--socket", str(folder / "c.sock"), *words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
