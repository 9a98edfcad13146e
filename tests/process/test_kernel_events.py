"""Every kind of change of processes as `reaperd events --kernel -f` prints it, by real ones."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from reaperd.errors import KernelError
from reaperd.kernel.procconn import Connector
from tests.support.daemon import Daemon, daemon
from tests.support.processes import owned, system_python

EVENTS: Final = (
    *(sys.executable, "-c", "from reaperd.cli.main import main; main()"),
    *("events", "--kernel", "-f", "--json", "--socket"),
)

# Each step once, after a line in the fifo; the subreaper keeps the orphan, which makes a group later on.
LIVES: Final = """
import ctypes, os, signal, sys, threading
open(sys.argv[1]).read()
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
def fork(body):
    pid = os.fork()
    if pid == 0:
        body()
        os._exit(7)
    return pid
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
def orphan():
    signal.sigwait({signal.SIGUSR1})
    os.setsid()
    fork(lambda: (os.write(1, b"orphan %d\\n" % os.getpid()), signal.pause()))
    signal.pause()
def mover():
    os.write(1, b"mover %d\\n" % os.getpid())
    signal.sigwait({signal.SIGUSR1})
    os.setpgid(0, 0)
    signal.pause()
middle = fork(orphan)
os.write(1, b"middle %d\\n" % middle)
fork(mover)
threading.Thread(target=lambda: os.write(1, b"thread %d\\n" % threading.get_native_id())).start()
open("/proc/self/comm", "w").write("renamed")
open(sys.argv[1]).read()
os.kill(middle, signal.SIGTERM)
os.waitpid(middle, 0)
pid = os.fork()
if pid == 0:
    os.write(1, b"short %d\\n" % os.getpid())
    os.execv("/bin/sh", ["sh", "-c", "exit 7"])
os.waitpid(pid, 0)
os.write(1, b"over %d\\n" % pid)
signal.pause()
"""


def _want(events: list[dict[str, Any]], stream: Any, **keys: object) -> dict[str, Any]:
    """Return the event with these keys, waiting for it if it was not told before."""
    for event in events:
        if keys.items() <= event.items():
            return event
    for line in stream:
        told: dict[str, Any] = json.loads(line)
        events.append(told)
        if keys.items() <= told.items():
            return told
    raise AssertionError(f"the stream ended without {keys}: {events}")


@contextmanager
def _followed(reaperd: Daemon) -> "Iterator[subprocess.Popen[bytes]]":
    """Follow the changes of a daemon that runs its service."""
    reaperd.wait_for("service.running", service="web")
    with owned([*EVENTS, reaperd.socket], stdout=subprocess.PIPE) as events:
        yield events


def test_every_kind_of_change_is_told(tmp_path: Path) -> None:
    """By the process connector at once; moves between groups by the next look."""
    try:
        Connector().close()
    except KernelError as error:
        pytest.skip(f"no process connector here: {error.message}")
    fifo = tmp_path / "go"
    os.mkfifo(fifo)
    web = {"command": [system_python(), "-ISc", LIVES, str(fifo)]}
    settings = {"heal_interval": "1s"}
    with (
        daemon(tmp_path, {"web": web}, settings=settings) as reaperd,
        _followed(reaperd) as events,
    ):
        assert events.stdout is not None
        assert json.loads(events.stdout.readline())["kind"] == "kernel"
        main, seen = reaperd.main_pid("web"), list[dict[str, Any]]()

        def told(name: str, pid: int, **keys: object) -> dict[str, Any]:
            return _want(seen, events.stdout, event=name, pid=pid, **keys)

        fifo.write_text("")
        middle, mover = reaperd.hear_pid("middle"), reaperd.hear_pid("mover")
        thread = reaperd.hear_pid("thread")
        assert told("process.forked", middle)["parent"] == main
        told("process.renamed", main, new="renamed")
        told("thread.started", main, tid=thread)
        told("thread.ended", main, tid=thread)
        assert told("process.forked", mover)["pgid"] == main
        os.kill(mover, signal.SIGUSR1)
        told("process.group_changed", mover, new=mover)
        os.kill(middle, signal.SIGUSR1)
        told("process.session_changed", middle, new=middle)
        orphan = reaperd.hear_pid("orphan")
        assert told("process.forked", orphan)["parent"] == middle
        fifo.write_text("")
        short = reaperd.hear_pid("short")
        assert reaperd.hear_pid("over") == short
        assert told("process.exited", middle)["status"] in (signal.SIGTERM, None)
        reaped = told("process.reaped", middle)
        assert reaped["by"] == main  # its own parent, not the daemon
        told("process.reparented", orphan, new=main)
        told("process.forked", short, parent=main)
        told("process.execed", short)
        told("process.reaped", short, status=7 << 8, by=main)
