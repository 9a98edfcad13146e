"""The command on real zombies, each in a PID namespace where no others are."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from ctypes import c_int, c_long
from pathlib import Path
from subprocess import PIPE
from typing import Any, Final

import psutil
import pytest

from reaperd.kernel import libc, prctl, procfs
from reaperd.zombies.scan import scan
from tests.support.processes import (
    call_in_pid_namespace,
    call_in_process,
    fork_child,
    need_program,
    need_root,
    owned_child,
    owned_namespace,
    sleep_forever,
    system_python,
    unprivileged,
    wait_gone,
    wait_zombie,
)

COMMAND: Final = [sys.executable, "-m", "reaperd", "zombies"]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)


def _items() -> tuple[int, list[dict[str, Any]]]:
    done = _run("--json")
    assert not done.stderr, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["schema"], answer["complete"]) == ("reaperd.zombies/1", True)
    return done.returncode, answer["items"]


def _none() -> list[object]:
    with owned_child(sleep_forever):
        return [*_items(), _run().stdout]


def test_without_zombies_it_says_so_and_leaves_with_0() -> None:
    """Living children are none."""
    assert call_in_pid_namespace(_none) == [0, [], "No zombies.\n"]


def _one_of_each_ending() -> list[Any]:
    """Leave three zombies to a parent that never waits; return what is said of them."""
    read, write = os.pipe()

    def parent() -> None:
        prctl.set_name("careless")
        endings = (lambda: os._exit(3), lambda: os.kill(os.getpid(), signal.SIGTERM), lambda: None)
        pids = [fork_child(ending) for ending in endings]
        for pid in pids:
            wait_gone(pid)
        os.write(write, b" ".join(b"%d" % pid for pid in pids))
        sleep_forever()

    with owned_child(parent) as careless:
        pids = [int(word) for word in os.read(read, 100).split()]
        status, items = _items()
        text = _run().stdout
    return [status, careless, pids, items, text]


def test_each_zombie_is_told_with_its_ending_and_its_parent() -> None:
    """Exit code, signal, parent and command are the true ones, and the command leaves with 1."""
    status, careless, pids, items, text = call_in_pid_namespace(_one_of_each_ending)
    assert status == 1
    assert [item["pid"] for item in items] == pids
    assert [(item["exit_code"], item["exit_signal"], item["killed"]) for item in items] == [
        (3, None, False),
        (None, signal.SIGTERM, True),
        (0, None, False),
    ]
    assert {(item["state"], item["ppid"], item["threads"]) for item in items} == {("zombie", careless, 1)}
    assert {item["parent"]["name"] for item in items} == {"careless"}
    assert all("tests.support.scenario" in item["parent"]["command"] for item in items)
    for word in ("exit 3", "SIGTERM", "exit 0", "tests.support.scenario", str(careless)):
        assert word in text


def _time_of_death() -> list[float | None]:
    """Let a child live for a while, then be a zombie for a while; return what is measured and told."""
    started = time.monotonic()
    with owned_child(sleep_forever) as child:
        time.sleep(0.5)  # a life longer than the error of the clocks
        killed = time.monotonic()
        os.kill(child, signal.SIGKILL)
        wait_gone(child)
        died = time.monotonic()
        time.sleep(0.2)  # time that must not be mistaken for life
        before = time.monotonic()
        (zombie,) = scan().zombies
        after = time.monotonic()
    return [before - died, after - killed, after - started, zombie.at_least_s, zombie.at_most_s]


def test_the_time_as_a_zombie_is_bounded_from_both_sides() -> None:
    """Counted from death, not from the start, give or take the clocks of different processors."""
    shortest, longest, since_start, at_least, at_most = call_in_pid_namespace(_time_of_death)
    assert shortest <= at_most <= since_start + 0.1
    if at_least is None:
        pytest.skip("this kernel has no /proc/PID/sched")
    assert shortest - 0.1 <= at_least <= longest + 0.1


def _dead_leader() -> list[Any]:
    read, write = os.pipe()

    def body() -> None:
        threading.Thread(target=lambda: (os.read(read, 1), os._exit(0))).start()
        libc.declare("syscall", c_long, c_long)(60, 0)  # exit of this thread alone, on x86-64

    with owned_child(body) as child:
        wait_zombie(child)
        status, items = _items()
        os.write(write, b".")
        wait_gone(child)
    return [status, [(item["pid"] == child, item["state"], item["threads"]) for item in items]]


def test_a_dead_leader_is_listed_and_not_counted() -> None:
    """It looks like a zombie in ps, but nobody could collect it: exit status 0."""
    if os.uname().machine != "x86_64":
        pytest.skip("the number of exit is x86-64's")
    assert call_in_pid_namespace(_dead_leader) == [0, [[True, "dead-leader", 2]]]


def _hostile_name() -> list[str]:
    def body() -> None:
        prctl.set_name("\x1b[2J) Z\n\udcff")
        os._exit(0)

    with owned_child(body) as child:
        wait_gone(child)
        return [_run().stdout, *(item["name"] for item in _items()[1])]


def test_a_hostile_name_cannot_reach_the_terminal() -> None:
    """Escapes, newlines and broken bytes in a zombie's name are spelt out."""
    text, name = call_in_pid_namespace(_hostile_name)
    assert "\x1b" not in text
    assert "\\x1b[2J) Z\\x0a\\xff" in text
    assert len(text.splitlines()) == 6
    assert name == "\x1b[2J) Z\n\\xff"


def _under_a_storm() -> list[int]:
    """Scan 200 times while two storms fork; count what is wrong with the one zombie that stays."""

    def storm() -> None:
        while True:
            for pid in [fork_child(lambda: None) for _ in range(4)]:
                os.waitpid(pid, 0)

    with owned_child(lambda: os._exit(9)) as lasting, owned_child(storm), owned_child(storm):
        wait_gone(lasting)
        wrong = [0, 0]
        for _ in range(200):
            found = [zombie for zombie in scan().zombies if zombie.pid == lasting]
            wrong[0] += len(found) != 1
            wrong[1] += any(zombie.exit_code != 9 or zombie.ppid != 1 for zombie in found)
        return wrong


def test_a_scan_survives_everything_vanishing() -> None:
    """Under a fork storm the zombie that stays is always found, once, and with its own facts."""
    assert call_in_pid_namespace(_under_a_storm, is_storm=True) == [0, 0]


PRINT_FACTS: Final = """
from reaperd.zombies.scan import scan
z, = scan().zombies
print(z.exit_code, z.exit_signal, z.was_killed, z.user, z.ppid, z.parent and z.parent.pid, z.cause.name)
"""


def _seen_by_nobody(python: str) -> list[str]:
    """Return what a plain user is told of root's zombie."""
    packages = {"PYTHONPATH": str(Path(psutil.__file__).parents[1])}
    with owned_child(lambda: os.kill(os.getpid(), signal.SIGKILL)) as child:
        wait_gone(child)
        words = unprivileged([python, "-c", PRINT_FACTS])
        seen = subprocess.run(words, capture_output=True, text=True, check=False, env=packages)
    return seen.stdout.split() or [seen.stderr]


def test_a_plain_user_is_told_what_is_secret() -> None:
    """Another user's exit status is not known, that a signal ended it is; never a false exit 0."""
    need_root()
    told = call_in_pid_namespace(_seen_by_nobody, system_python())
    if "No module named" in told[0] or "Permission denied" in told[0]:
        pytest.skip("the packages of these tests cannot be read by a plain user")
    assert told == ["None", "None", "True", "root", "1", "1", "in-transit"]


def _parent_outside(inside: int) -> list[str]:
    """Put a zombie of ours into the PID namespace of `inside` and look at it from in there."""
    namespace = os.open(f"/proc/{inside}/ns/pid", os.O_RDONLY)
    if libc.declare("setns", c_int, c_int)(namespace, 0) < 0:  # for children to come: setns(2)
        raise OSError(libc.last_errno(), "setns")
    with owned_child(lambda: os._exit(3)) as child:
        wait_gone(child)
        words = ["nsenter", f"--target={inside}", "--mount", "--pid", sys.executable, "-c", PRINT_FACTS]
        seen = subprocess.run(words, capture_output=True, text=True, check=False)
    return seen.stdout.split() or [seen.stderr]


def test_a_parent_outside_the_namespace_is_nobody_here() -> None:
    """The zombie of such a parent is found, and that its parent cannot be seen is told."""
    need_root()
    need_program("nsenter")
    with owned_namespace(["sh", "-c", "echo ready; read line"], stdin=PIPE, stdout=PIPE) as outer:
        assert outer.stdout is not None
        assert outer.stdout.readline() == b"ready\n"
        (inside,) = procfs.children(outer.pid)
        told = call_in_process(_parent_outside, inside)
    assert told == ["3", "None", "False", "root", "0", "None", "parent-outside"]


LOOK_AND_SAY: Final = """
import os, subprocess, sys
from reaperd.zombies.scan import ScanError, scan
if sys.argv[1] == "mine":
    mine = subprocess.Popen(["true"])
    os.waitid(os.P_PID, mine.pid, os.WEXITED | os.WNOWAIT)
try:
    found = scan()
    print(len(found.zombies), found.is_complete)
except ScanError as error:
    print(int(error.exit_status), error.message)
"""


def _behind_hidepid(option: str, python: str) -> list[str]:
    """Return what a plain user is told behind `option`, without and with a zombie of his own."""
    subprocess.run(["mount", "-t", "proc", "-o", option, "proc", "/proc"], check=True)
    packages = {"PYTHONPATH": str(Path(psutil.__file__).parents[1])}
    told = []
    for whose in ("none", "mine"):
        words = unprivileged([python, "-c", LOOK_AND_SAY, whose])
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=packages)
        told.append(done.stdout or done.stderr)
    return told


@pytest.mark.parametrize("option", ["hidepid=1", "hidepid=2"])
def test_hidden_processes_are_no_absent_zombies(option: str) -> None:
    """Where others are hidden, finding none is "could not look"; what is found is called incomplete."""
    need_root()
    none, mine = call_in_pid_namespace(_behind_hidepid, option, system_python())
    if "No module named" in none or "Permission denied" in none:
        pytest.skip("the packages of these tests cannot be read by a plain user")
    assert none.startswith("2 cannot look at other users' processes")
    assert mine == "1 False\n"


def test_without_proc_it_could_not_look() -> None:
    """An empty /proc is an error with exit status 2, not a machine without zombies."""
    need_root()
    need_program("unshare")
    code = (
        "from reaperd.zombies.scan import ScanError, scan\n"
        "try: scan()\n"
        "except ScanError as error: print(int(error.exit_status), error.message)\n"
    )
    script = f'mount -t tmpfs none /proc && exec "{sys.executable}" -c "{code}"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("2 cannot list processes"), done.stderr
