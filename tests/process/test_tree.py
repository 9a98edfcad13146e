"""The command on real sessions, groups, threads and zombies in a PID namespace of their own."""

import json
import os
import signal
import subprocess
import sys
import threading
from ctypes import c_long
from typing import Any, Final

import pytest

from reaperd.cli.treefacts import scan
from reaperd.kernel import libc, prctl
from tests.support.processes import (
    call_in_pid_namespace,
    fork_child,
    owned_child,
    sleep_forever,
    wait_gone,
    wait_state,
    wait_zombie,
)

COMMAND: Final = [sys.executable, "-c", "from reaperd.cli.main import main; main()", "tree"]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)


def _answer(*arguments: str) -> Any:
    done = _run("--json", *arguments)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["schema"] == "reaperd.tree/1"
    return answer


def _places(answer: Any) -> dict[int, tuple[int, int, dict[str, Any]]]:
    """Return session, group and item of each process, and check that each stands in one place only."""
    places: dict[int, tuple[int, int, dict[str, Any]]] = {}
    for session in answer["items"]:
        for group in session["groups"]:
            for item in group["processes"]:
                assert item["pid"] not in places
                places[item["pid"]] = session["sid"], group["pgid"], item
    return places


def _told(read: int, count: int) -> list[int]:
    data = b""
    while data.count(b"\n") < count:
        data += os.read(read, 4096)
    return [int(line) for line in data.splitlines()]


def _a_session_with_two_groups() -> list[Any]:
    """Make a session leader, a job in a group of its own, and that job's child."""
    read, write = os.pipe()

    def note() -> None:
        os.write(write, b"%d\n" % os.getpid())

    def leader() -> None:
        os.setsid()
        note()
        fork_child(job)
        sleep_forever()

    def job() -> None:
        os.setpgid(0, 0)
        note()
        fork_child(member)
        sleep_forever()

    def member() -> None:
        note()
        sleep_forever()

    fork_child(leader)
    pids = _told(read, 3)
    places = _places(_answer())
    below = _places(_answer(str(pids[1])))
    return [
        pids,
        [[*places[pid][:2], places[pid][2]["ppid"]] for pid in pids],
        sorted(below),
        _run(str(pids[0])).stdout,
    ]


def test_everybody_stands_in_the_right_session_and_group() -> None:
    """Sessions hold groups, groups hold processes, children of a group stand under their parents."""
    pids, places, below, text = call_in_pid_namespace(_a_session_with_two_groups)
    leader, job, child = pids
    assert places == [[leader, leader, 1], [leader, job, leader], [leader, job, job]]
    assert below == [job, child]
    lines = text.splitlines()
    assert lines[0] == f"session {leader}"
    assert lines[1] == f"  group {leader}"
    assert lines[2].startswith(f"    {leader} (child of 1) ")
    assert lines[3] == f"  group {job}"
    assert lines[4].startswith(f"    {job} (child of {leader}) ")
    assert lines[5].startswith(f"      {child} ")
    assert len(lines) == 6


def _marked() -> list[Any]:
    """Make a zombie, a stopped process, one with threads and a dead leader."""
    read, write = os.pipe()

    def thread() -> None:
        threading.Thread(target=lambda: os.read(read, 1)).start()

    def many() -> None:
        thread()
        os.write(ready_write, b".")
        sleep_forever()

    def dead_leader() -> None:
        thread()
        libc.declare("syscall", c_long, c_long)(60, 0)  # exit of this thread alone, on x86-64

    ready_read, ready_write = os.pipe()
    with (
        owned_child(lambda: None) as zombie,
        owned_child(sleep_forever) as stopped,
        owned_child(many) as threads,
        owned_child(dead_leader) as leader,
    ):
        wait_gone(zombie)
        wait_zombie(leader)
        os.kill(stopped, signal.SIGSTOP)
        wait_state(stopped, "T")
        os.read(ready_read, 1)
        places = _places(_answer())
        items = [places[pid][2] for pid in (zombie, stopped, threads, leader)]
        facts = [[item[key] for key in ("zombie", "dead_leader", "state", "threads")] for item in items]
        del write
        return [facts, _run().stdout, len(items[2]["tids"])]


def test_zombies_stops_and_threads_are_marked() -> None:
    """In text and in JSON; a dead leader with living threads is not called a zombie."""
    if os.uname().machine != "x86_64":
        pytest.skip("the number of exit is x86-64's")
    facts, text, tids = call_in_pid_namespace(_marked)
    assert facts == [
        [True, False, "Z", 1],
        [False, False, "T", 1],
        [False, False, "S", 2],
        [False, True, "Z", 2],
    ]
    assert tids == 2
    for mark in (
        "[zombie: ",
        "[stopped]",
        "[2 threads]",
        "[first thread ended, 1 live]",
        "[init]",
    ):
        assert text.count(mark) == 1, mark


def _leader_gone() -> list[Any]:
    """Leave a member in a group and session whose leader has been reaped."""
    read, write = os.pipe()

    def leader() -> None:
        os.setsid()
        fork_child(left_behind)

    def left_behind() -> None:
        os.write(write, b"%d\n" % os.getpid())
        sleep_forever()

    pid = fork_child(leader)
    os.waitpid(pid, 0)
    (member,) = _told(read, 1)
    (session,) = _answer(str(member))["items"]
    (group,) = session["groups"]
    return [pid, session["sid"], session["leader"], group["pgid"], group["leader"], _run(str(member)).stdout]


def test_a_group_outlives_its_leader() -> None:
    """Session and group are shown by their numbers, and that their leader is gone."""
    pid, sid, session_leader, pgid, group_leader, text = call_in_pid_namespace(_leader_gone)
    assert (sid, session_leader, pgid, group_leader) == (pid, False, pid, False)
    assert text.splitlines()[0] == f"session {pid} (its leader is gone)"
    assert text.splitlines()[1] == f"  group {pid} (its leader is gone)"


def _hostile() -> list[str]:
    def body() -> None:
        prctl.set_name("\x1b[2J\n\udcff")

    with owned_child(body) as child:
        wait_gone(child)
        return [_run(str(child)).stdout, _places(_answer(str(child)))[child][2]["name"]]


def test_a_hostile_name_cannot_reach_the_terminal() -> None:
    """Escapes, newlines and broken bytes are spelt out."""
    text, name = call_in_pid_namespace(_hostile)
    assert "\x1b" not in text
    assert len(text.splitlines()) == 3
    assert "(child of 1) Z " in text
    assert "\\x1b[2J\\x0a\\xff" in text
    assert name == "\x1b[2J\n\\xff"


def _missing() -> list[Any]:
    done = _run("4711")
    return [done.returncode, done.stderr, _run("0").returncode, _run("x").returncode]


def test_a_process_that_is_not_there_is_an_error() -> None:
    """One line that says so; what is no pid is a usage error."""
    status, complaint, zero, word = call_in_pid_namespace(_missing)
    assert (status, zero, word) == (1, 2, 2)
    assert complaint.startswith("reaperd: cannot show process 4711: there is none\n")


def _under_a_storm() -> int:
    def storm() -> None:
        while True:
            for pid in [fork_child(os.setsid) for _ in range(4)]:
                os.waitpid(pid, 0)

    with owned_child(storm) as first, owned_child(storm) as second:
        return sum({1, first, second} <= set(_places(scan())) for _ in range(50))


def test_a_tree_is_whole_under_a_fork_storm() -> None:
    """Processes that vanish while it looks neither fail it nor hide those that stay."""
    assert call_in_pid_namespace(_under_a_storm, is_storm=True) == 50


def test_kernel_threads_are_shown_on_request() -> None:
    """Only where there are any, and never without asking."""
    with_kernel = {pid for pid, place in _places(_answer("--kernel")).items() if place[2]["kernel"]}
    assert not any(place[2]["kernel"] for place in _places(_answer()).values())
    if not with_kernel:
        pytest.skip("no kernel threads in this PID namespace")
    assert 2 in with_kernel
