"""Every kind of change of processes as `reaperd events --kernel -f` prints it, by real ones."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM
from typing import Any, Final

from reaperd.control.client import Client
from tests.support.daemon import Daemon, Lines, daemon, daemon_as_init, parsed
from tests.support.processes import WITHIN_S, need_connector, owned, system_python

EVENTS: Final = (
    *(sys.executable, "-c", "from reaperd.cli.main import main; main()"),
    *("events", "--kernel", "--socket"),
)

# A family whose members carry out what is written into the fifo of their name, and say so once it is done.
PUPPETS: Final = """
import _thread, ctypes, os, signal, sys
os.chdir(sys.argv[1])
os.umask(0)
libc = ctypes.CDLL(None)
def serve(name):
    if not os.path.exists(name):
        os.mkfifo(name)
    while True:
        say(name, os.getpid())
        exec(open(name).read())
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
def fork(name):
    pid = os.fork()
    if pid == 0:
        serve(name)
    return pid
def subreaper(on):
    libc.prctl(36, on)
def be_called(name):
    open("/proc/self/comm", "w").write(name)
gate = _thread.allocate_lock()
gate.acquire()
def start_thread():
    _thread.start_new_thread(lambda: (say("thread", _thread.get_native_id()), gate.acquire()), ())
def end_thread():
    gate.release()
    while len(os.listdir("/proc/self/task")) > 1:
        pass
def leave_it_to_a_thread(name):
    def follow():
        while open("/proc/self/stat").read().rpartition(")")[2].split()[0] != "Z":
            pass
        serve(name)
    _thread.start_new_thread(follow, ())
    libc.syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)
serve("main")
"""


class Family:
    """The puppets of one daemon's service, and what is told of them."""

    def __init__(self, reaperd: Daemon, folder: Path, told: Lines, *, hears: bool) -> None:
        self.reaperd = reaperd
        self._hears = hears
        self.home = reaperd.events("daemon.started")[0]["pid"]  # as the daemon itself sees it
        self._folder = folder
        self._told = told

    def order(self, name: str, what: str) -> None:
        """Let a member carry out what is to be done."""
        (self._folder / name).write_text(what)

    def do(self, name: str, what: str, answers: str = "") -> int:
        """Return once a member has done what is to be done, with the number that it then `answers`."""
        self.order(name, what)
        return self.reaperd.hear_pid(answers or name)

    def fork(self, name: str, child: str) -> int:
        """Let a member fork another one, and return the pid of that."""
        self.do(name, f"fork({child!r})")
        return self.reaperd.hear_pid(child)

    def look(self) -> None:
        """Let the daemon look, as whoever asks for its picture does."""
        Client(self.reaperd.socket).ask("tree")

    def see(self) -> None:
        """Let the daemon look where the kernel does not tell it."""
        if not self._hears:
            self.look()

    def told(self, event: str, pid: int, **keys: object) -> dict[str, Any]:
        """Return the next change of this kind, waiting for it."""
        wanted = {"event": event, "pid": pid, **keys}

        def is_it(line: str) -> bool:
            found = parsed(line)
            return found is not None and wanted.items() <= found.items()

        found = parsed(self._told.take(is_it, f"line with {wanted}", WITHIN_S))
        assert found is not None
        return found


@contextmanager
def followed(reaperd: Daemon, folder: Path, *, hears: bool) -> "Iterator[Family]":
    """Follow the changes of a daemon that runs its services."""
    reaperd.wait_for("service.running", service="web")
    reading, writing = os.pipe()
    with owned([*EVENTS, reaperd.socket, "-f", "--json"], stdout=writing):
        os.close(writing)
        lines = Lines(reading)
        first = json.loads(lines.take(lambda _line: True, "first line", WITHIN_S))
        assert (first["kind"], first["source"]) == ("kernel", "connector" if hears else "looks")
        yield Family(reaperd, folder, lines, hears=hears)
    assert lines.wait_end(WITHIN_S)


def _see_all(family: Family) -> None:
    """Go through every change that stays long enough to be looked at."""
    main = _see_a_restart(family)
    _see_threads(family, main)
    middle, orphan = _see_moves(family, main)
    _see_an_end(family, main, middle, orphan)
    _see_an_adoption(family)
    _see_a_dead_leader(family, main)
    family.order("main", "os._exit(7)")
    family.told("process.exited", main, status=7 << 8)
    family.told("process.reaped", main, status=7 << 8, by=family.home)
    family.told("process.adopted", orphan, old=main, new=family.home)


def _see_a_restart(family: Family) -> int:
    """See the daemon's own child end and another one come, which nobody has to look for."""
    first = family.reaperd.hear_pid("main")
    family.reaperd.ask("restart", "web")
    family.told("process.exited", first, status=SIGTERM)
    family.told("process.reaped", first, status=SIGTERM, by=family.home)
    main = family.reaperd.hear_pid("main")
    family.told("process.forked", main, parent=family.home)
    family.see()  # its program, if its fork was not told with that already
    family.do("main", "be_called('renamed')")
    family.see()
    family.told("process.renamed", main, new="renamed")
    return main


def _see_threads(family: Family, main: int) -> None:
    thread = family.do("main", "start_thread()", answers="thread")
    family.reaperd.hear_pid("main")
    family.see()
    family.told("thread.started", main, tid=thread)
    family.do("main", "end_thread()")
    family.see()
    family.told("thread.ended", main, tid=thread, is_last=False)


def _see_moves(family: Family, main: int) -> tuple[int, int]:
    """See a child make a session, and its child a group there."""
    middle = family.fork("main", "middle")
    family.see()
    family.told("process.forked", middle, parent=main, sid=main)
    family.do("middle", "os.setsid()")
    family.see()
    family.told("process.session_changed", middle, old=main, new=middle)
    family.told("process.group_changed", middle, old=main, new=middle)
    orphan = family.fork("middle", "orphan")
    family.see()
    family.told("process.forked", orphan, parent=middle, sid=middle)
    family.do("orphan", "os.setpgid(0, 0)")
    family.look()  # the connector does not tell either
    family.told("process.group_changed", orphan, old=middle, new=orphan)
    return middle, orphan


def _see_an_end(family: Family, main: int, middle: int, orphan: int) -> None:
    """See a zombie, its reap by its own parent, and its child go to a subreaper and become a program."""
    family.do("main", "subreaper(1)")
    family.order("middle", "os._exit(5)")
    family.do("main", f"os.waitid(os.P_PID, {middle}, os.WEXITED | os.WNOWAIT)")
    family.see()
    family.told("process.exited", middle, status=5 << 8)
    family.told("process.reparented", orphan, old=middle, new=main)
    family.do("main", f"os.waitpid({middle}, 0)")
    family.told("process.reaped", middle, status=5 << 8, by=main)  # a pidfd tells
    family.do("orphan", 'os.execv("/bin/sh", ["sh", "-c", "echo orphan $$; read _ <orphan; exit 3"])')
    family.see()
    family.told("process.execed", orphan, comm="sh")
    family.do("main", "subreaper(0)")


def _see_an_adoption(family: Family) -> None:
    """See an orphan come to the daemon, and its end, which is for the daemon to reap."""
    parent = family.fork("main", "parent")
    stray = family.fork("parent", "stray")
    family.see()
    family.told("process.forked", stray, parent=parent)
    family.order("parent", "os._exit(0)")
    family.do("main", f"os.waitpid({parent}, 0)")
    family.see()
    family.told("process.adopted", stray, old=parent, new=family.home)
    family.told("process.reaped", parent)
    family.order("stray", "os._exit(9)")
    family.told("process.exited", stray, status=9 << 8)
    family.told("process.reaped", stray, status=9 << 8, by=family.home)


def _see_a_dead_leader(family: Family, main: int) -> None:
    """See a first thread end before the others, and then the process."""
    split = family.fork("main", "split")
    family.see()
    family.told("process.forked", split, parent=main)
    family.do("split", "leave_it_to_a_thread('split')")
    family.see()
    family.told("thread.ended", split, tid=split, is_last=False)
    family.order("split", "os._exit(4)")
    family.do("main", f"os.waitid(os.P_PID, {split}, os.WEXITED | os.WNOWAIT)")
    family.see()
    family.told("process.exited", split, status=4 << 8)
    family.do("main", f"os.waitpid({split}, 0)")
    family.told("process.reaped", split, status=4 << 8, by=main)


def _web(folder: Path) -> dict[str, dict[str, object]]:
    return {"web": {"command": [system_python(), "-ISc", PUPPETS, str(folder)], "restart": "never"}}


def test_every_kind_of_change_is_told(tmp_path: Path) -> None:
    """By the process connector at once; moves between groups by the next look."""
    need_connector()
    with daemon(tmp_path, _web(tmp_path)) as reaperd, followed(reaperd, tmp_path, hears=True) as family:
        _see_all(family)


def test_without_the_connector_looks_tell_every_kind_of_change(tmp_path: Path) -> None:
    """Where it is switched off: our own forks and exits at once, reaps too, all else with the next look."""
    settings = {"process_connector": "no"}
    with (
        daemon(tmp_path, _web(tmp_path), settings=settings) as reaperd,
        followed(reaperd, tmp_path, hears=False) as family,
    ):
        _see_all(family)


def test_people_are_told_where_the_kernel_tells_nothing(tmp_path: Path) -> None:
    """Why that is, and when there will be something to see."""
    with daemon(tmp_path, _web(tmp_path), settings={"process_connector": "no"}) as reaperd:
        reaperd.wait_for("service.running", service="web")
        done = subprocess.run([*EVENTS, reaperd.socket], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert "of its own children alone: it is switched off\nhint: " in done.stderr


def test_in_a_container_looks_tell_every_kind_of_change(tmp_path: Path) -> None:
    """The same as PID 1 of a PID namespace, where the kernel tells the daemon nothing."""
    with (
        daemon_as_init(tmp_path, _web(tmp_path)) as reaperd,
        followed(reaperd, tmp_path, hears=False) as family,
    ):
        _see_all(family)


def test_the_connector_tells_of_who_is_gone_before_anybody_looks(tmp_path: Path) -> None:
    """Fork, exec, exit and reap of one whose parent has waited for it by then."""
    need_connector()
    with daemon(tmp_path, _web(tmp_path)) as reaperd, followed(reaperd, tmp_path, hears=True) as family:
        main = reaperd.hear_pid("main")
        script = 'pid = os.posix_spawn("/bin/true", ["true"], {}); os.waitpid(pid, 0); say("short", pid)'
        short = family.do("main", script, answers="short")
        family.told("process.forked", short, parent=main)
        family.told("process.execed", short)
        family.told("process.exited", short, status=0)
        family.told("process.reaped", short, status=0, by=main)
