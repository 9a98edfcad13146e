"""The ladder on real specimens, by the command: what is tried, what is refused, what a second look says."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from tests.support.processes import (
    ROOT,
    call_in_pid_namespace,
    need_program,
    need_root,
    owned,
    state_of,
    system_python,
    unprivileged,
    wait_readable,
    wait_state,
    wait_until,
)

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="proven on x86-64 only")

REAPERD: Final = [sys.executable, "-m", "reaperd"]


def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command and return what came of it."""
    return subprocess.run(
        [*REAPERD, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60, **options
    )


def reap(*words: str) -> tuple[int, list[dict[str, Any]]]:
    """Run `reap --json` and return its exit status and what it says of each."""
    done = run("reap", "--json", *words)
    assert done.stdout, done.stderr
    answer = json.loads(done.stdout)
    assert answer["schema"] == "reaperd.reap/1"
    return done.returncode, answer["items"]


@contextmanager
def specimen(kind: str, within_s: float = 20) -> Iterator[dict[str, list[int]]]:
    """Keep a specimen in a process of its own and yield who plays which part, once a scan would judge it."""
    with owned([*REAPERD, "specimen", kind], cwd=ROOT, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        roles: dict[str, list[int]] = {}
        while True:
            wait_readable(process.stdout.fileno(), within_s)
            words = process.stdout.readline().decode().split()
            if not words:
                pytest.skip(f"a specimen of {kind} cannot be made here")
            if words[0] == "look:":
                break
            roles[words[0]] = list(map(int, words[1:]))
        wait_until(lambda: is_judged(roles.get("zombie", [])), "the zombies to be old enough")
        yield roles
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def is_judged(zombies: list[int]) -> bool:
    """Tell whether a scan calls none of them in transit any more."""
    items = json.loads(run("zombies", "--json").stdout)["items"]
    return not any(item["pid"] in zombies and item["cause"]["name"] == "in-transit" for item in items)


@pytest.mark.parametrize(
    "kind",
    [
        "never-waits",
        "blocked",
        "sigwait",
        "ignored-late",
        "clone-child",
        "waits-for-another",
        "busy",
        "own-thread",
        "leader-ended",
        "stopped",
        "handler-own",
        "held",
        "outside",
        "held-up",
    ],
)
def test_injection_clears_it(kind: str) -> None:
    """Told so by a second look; the parent is still there."""
    if kind in ("outside", "held-up"):
        need_root()
    with specimen(kind) as roles:
        pids = [str(pid) for pid in roles["zombie"]]
        status, items = reap("--method", "inject", *pids)
        assert [(item["gone"], item["by"]) for item in items] == [(True, "inject")] * len(pids), items
        assert status == 0
        assert state_of(roles["parent"][0]) is not None


def test_a_nudge_clears_what_a_handler_missed() -> None:
    """One SIGCHLD for each zombie, while each makes a difference; nobody is injected into."""
    with specimen("handler-once") as roles:
        status, items = reap("--parent", str(roles["parent"][0]))
        assert {(item["gone"], item["by"], *item["tried"]) for item in items} == {(True, "nudge", "nudge")}
        assert len(items) == len(roles["zombie"])
        assert status == 0


def test_without_consent_nothing_is_injected() -> None:
    """What would help is said, and how to agree to it; the zombie is there and said to be."""
    with specimen("never-waits") as roles:
        (pid,) = roles["zombie"]
        status, (item,) = reap(str(pid))
        assert (status, item["gone"], item["tried"]) == (1, False, [])
        assert "reap --parent" in item["hint"]
        status, (item,) = reap(str(pid), "--yes")
        assert (status, item["gone"], item["by"]) == (0, True, "inject")


def test_a_dry_run_does_nothing() -> None:
    """It says what would be tried, and what that costs."""
    with specimen("handler-own") as roles:
        (pid,) = roles["zombie"]
        done = run("reap", "--dry-run", str(pid))
        assert done.returncode == 0
        assert "nudge: send SIGCHLD" in done.stdout
        assert "inject: stop one thread" in done.stdout
        assert "libuv never emits 'exit'" in done.stdout
        assert "offered first" not in done.stdout
        assert state_of(pid) == "Z"


def test_gdb_clears_it_where_it_is_asked_for() -> None:
    """The last of its kind, verified like the others."""
    need_program("gdb")
    with specimen("never-waits") as roles:
        status, (item,) = reap("--method", "gdb", str(roles["zombie"][0]))
        assert (status, item["gone"], item["by"]) == (0, True, "gdb"), item


@pytest.mark.parametrize("kind", ["frozen", "frozen-v1", "traced"])
def test_who_cannot_run_is_refused_with_its_own_cure(kind: str) -> None:
    """Nothing is done unasked to what somebody froze or traced."""
    need_root()
    with specimen(kind) as roles:
        (pid,) = roles["zombie"]
        offer = "end the tracer, process" if kind == "traced" else "thaw the cgroup of process"
        assert f"offered first, for a person to decide: {offer}" in run("reap", "--dry-run", str(pid)).stdout
        status, (item,) = reap("--yes", str(pid))
        assert (status, item["gone"], item["tried"]) == (1, False, [])
        assert "What helps:" in item["why"]
        assert state_of(pid) == "Z"


def test_a_dead_leader_is_refused() -> None:
    """There is nothing to collect."""
    with specimen("dead-leader") as roles:
        status, (item,) = reap("--yes", str(roles["zombie"][0]))
        assert (status, item["tried"]) == (1, [])
        assert "only looks like a zombie" in item["why"]


def test_a_person_is_offered_that_a_stopped_parent_goes_on() -> None:
    """Asked on the terminal; agreed to, it goes on, and what it does not collect is still there."""
    with specimen("stopped") as roles:
        (pid,), (parent,) = roles["zombie"], roles["parent"]
        ours, theirs = pty.openpty()
        with owned(
            [*REAPERD, "reap", str(pid)], cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs
        ) as process:
            os.close(theirs)
            said = b""
            while b"[y/N]" not in said:
                wait_readable(ours)
                said += os.read(ours, 4096)
            assert f"let process {parent} go on".encode() in said
            os.write(ours, b"y\n")
            wait_state(parent, "SRD")
            assert process.wait(60) == 1
        os.close(ours)
        assert state_of(pid) == "Z"


def test_adoption_needs_consent_and_names_what_ends() -> None:
    """Without it the parent lives; with it the parent has ended, and the zombies with it."""
    assert call_in_pid_namespace(_adopted) == [[1, False], True, True, [0, True, "adopt"]]


def _adopted() -> list[Any]:
    """Keep a specimen as PID 1 of a namespace, which reaps what comes to it."""
    with specimen("never-waits") as roles:
        (pid,) = roles["zombie"]
        status, (item,) = reap("--method", "adopt", str(pid))
        done = [[status, item["gone"]], state_of(roles["parent"][0]) is not None]
        told = run("reap", "--method", "adopt", "--dry-run", str(pid)).stdout
        status, (item,) = reap("--method", "adopt", "--yes", str(pid))
        return [*done, "its other children get another parent" in told, [status, item["gone"], item["by"]]]


def test_what_is_no_zombie_cannot_be_reaped() -> None:
    """Said so, with exit status 1; and a command line that names nobody is none."""
    done = run("reap", str(os.getpid()))
    assert done.returncode == 1
    assert f"cannot reap {os.getpid()}: it is no zombie" in done.stderr
    assert run("reap").returncode == 2


@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--json",)])
def test_a_parent_that_is_no_process_is_an_error(more: tuple[str, ...]) -> None:
    """It was mistyped, or has ended: that nothing is to be done there is no success."""
    nobody = 1 + 2**22  # PID_MAX_LIMIT: proc_sys_kernel(5)
    done = run("reap", "--parent", str(nobody), *more)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"cannot reap the zombies of {nobody}: there is no such process" in done.stderr
    assert "hint: " in done.stderr


def test_a_parent_without_zombies_has_nothing_to_be_done() -> None:
    """It is there, and collects its children."""
    done = run("reap", "--parent", str(os.getpid()))
    assert (done.returncode, done.stdout) == (0, "Nothing to do.\n")


def test_the_machines_init_is_not_injected_into() -> None:
    """Unless --force takes the risk; cure refuses too."""
    done = run("cure", "1", "--yes")
    if str(Path("/proc/self/ns/pid").readlink()) != "pid:[4026531836]":
        pytest.skip("this is not the machine's own PID namespace")
    assert done.returncode == 1
    assert "it is the init of this machine" in done.stderr
    assert "--force" in done.stderr


def test_a_cure_is_agreed_to_read_back_and_undone() -> None:
    """It says what it breaks; without consent nothing is done."""
    with specimen("never-waits") as roles:
        parent = str(roles["parent"][0])
        done = run("cure", parent, stdin=subprocess.DEVNULL)
        assert done.returncode == 1
        assert "ECHILD" in done.stdout
        assert run("cure", "--yes", parent).stdout == f"{parent}: leaves no more zombies\n"
        assert run("cure", "--undo", parent).stdout == f"{parent}: leaves zombies again\n"


def _as_plain_user(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the machine's own as nobody, with what it needs to find reaperd."""
    packages = {"PYTHONPATH": f"{ROOT}:{Path(psutil.__file__).parents[1]}", "PATH": os.defpath}
    done = subprocess.run(
        unprivileged(words), cwd="/", env=packages, capture_output=True, text=True, check=False, timeout=60
    )
    if "No module named" in done.stderr:
        pytest.skip("the packages of these tests cannot be read by a plain user")
    return done


def test_a_plain_user_is_told_the_rule() -> None:
    """Another user's parent: which rule forbids it, and what permits it."""
    need_root()
    with specimen("never-waits") as roles:
        parent = str(roles["parent"][0])
        done = _as_plain_user(system_python(), "-B", "-m", "reaperd", "cure", "--yes", parent)
        assert done.returncode == 1
        assert "belongs to another user" in done.stderr
        assert "hint: run as root" in done.stderr


def test_where_no_process_can_be_made_it_is_said() -> None:
    """As on a machine that zombies have filled: no traceback, and the one remedy that needs no process."""
    need_root()
    limit = [need_program("prlimit"), "--nproc=1"]
    with specimen("never-waits") as roles:
        zombie = str(roles["zombie"][0])
        done = _as_plain_user(*limit, system_python(), "-B", "-m", "reaperd", "reap", "--yes", zombie)
        assert done.returncode == 1
        assert "cannot be started: Resource temporarily unavailable" in done.stderr
        assert "take --method adopt" in done.stderr


def test_a_zombie_is_not_cured() -> None:
    """It runs no code; its parent is named, who does."""
    with specimen("never-waits") as roles:
        done = run("cure", "--yes", str(roles["zombie"][0]))
        assert done.returncode == 1
        assert f"hint: reaperd cure {roles['parent'][0]} cures its parent" in done.stderr
