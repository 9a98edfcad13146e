"""The look at who may be a zombie, by a child that begins before the command line is there."""

import json
import marshal
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import psutil
import pytest

from reaperd.kernel import procfs
from reaperd.zombies import candidates
from tests.support.processes import (
    ROOT,
    call_in_pid_namespace,
    call_in_process,
    fork_child,
    need_program,
    need_root,
    owned_child,
    sleep_forever,
    state_of,
    system_python,
    unprivileged,
    wait_gone,
    wait_until,
)

_WHOLE: Final = [1, False, [], []]
_TOLD: Final = marshal.dumps((1, False, [], []))


def _telling(files: candidates.Files) -> list[object]:
    """Return what no longer changes: a zombie of a moment has its last turn still before it."""
    status, sched, cgroup = files
    told = procfs.parse_status(status or b"")
    return [told.get("NSpid"), told.get("Uid"), told.get("TracerPid"), bool(sched), cgroup]


def _both() -> list[object]:
    """Look by a child and by ourselves at a namespace with one zombie; return both, and who is left."""
    with owned_child(lambda: None) as zombie:
        wait_gone(zombie)
        candidates.begin()
        told = candidates.told()
        assert set(procfs.children(os.getpid())) == {zombie}, "the child has been collected"
        seen = candidates.look()
        assert told is not None
        assert seen is not None
        (read,) = told[3]
        is_read = [_telling(read) == _telling(candidates.files_of(zombie)), seen[3] == []]
        pids = [[procfs.parse_stat(line).pid for line in found[2]] for found in (told, seen)]
        return [told[:2], seen[:2], *(each == [zombie] for each in pids), *is_read, candidates.told()]


def test_a_child_finds_what_a_look_finds() -> None:
    """The zombie and nobody else, and besides what its files hold; the answer is there once."""
    assert call_in_pid_namespace(_both) == [[1, False], [1, False], True, True, True, True, None]


def _answered(size: int) -> object:
    """Return what is understood of a child that has told so many bytes of an answer."""
    read, write = os.pipe()
    pid = fork_child(lambda: os.write(write, _TOLD[:size]))
    os.close(write)
    candidates._begun.append((pid, read))
    return candidates.told()


@pytest.mark.parametrize(
    ("size", "told"), [(len(_TOLD), _WHOLE), (len(_TOLD) - 1, None), (1, None), (0, None)]
)
def test_an_answer_that_is_not_whole_is_none(size: int, told: object) -> None:
    """Somebody ended the child in the middle: half a list would be zombies that are not told."""
    assert call_in_process(_answered, size) == told


def _where_children_are_ignored() -> object:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    return _answered(len(_TOLD))


def test_a_caller_that_ignores_sigchld_is_told_all_the_same() -> None:
    """The child has vanished by the time it is to be collected: wait(2)."""
    assert call_in_process(_where_children_are_ignored) == _WHOLE


def _holds_the_pipe_alone() -> bool:
    """Let a child look whose answer nobody reads, and wait until it holds nothing but the pipe."""
    _read, write = os.pipe()
    os.set_blocking(write, False)
    try:
        while True:
            os.write(write, bytes(4096))
    except BlockingIOError:
        os.set_blocking(write, True)
    with owned_child(lambda: candidates._look_for_parent(write)) as child:
        held = Path(f"/proc/{child}/fd")
        wait_until(lambda: [each.name for each in held.iterdir()] == [str(write)], "the rest to be closed")
        return state_of(child) not in (None, "Z")


def test_the_child_holds_no_descriptor_of_ours() -> None:
    """Whoever reads our output to its end, or wants a lock that we hold, does not wait for the child."""
    assert call_in_process(_holds_the_pipe_alone)


def test_where_no_process_can_be_made_we_look_ourselves() -> None:
    """As on a machine that zombies have filled: that is where the command is needed most."""
    need_root()
    command = [system_python(), "-B", "-m", "reaperd", "zombies", "--json"]
    done = subprocess.run(
        unprivileged([need_program("prlimit"), "--nproc=1", *command]),
        cwd="/",
        env={"PYTHONPATH": f"{ROOT}:{Path(psutil.__file__).parents[1]}", "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if "No module named" in done.stderr:
        pytest.skip("the packages of these tests cannot be read by a plain user")
    assert done.returncode in (0, 1), done.stderr
    assert json.loads(done.stdout)["schema"] == "reaperd.zombies/1"


def _our_own_child() -> list[object]:
    """Run the command where nobody else is a zombie, and where one is."""
    command = [sys.executable, "-m", "reaperd", "zombies", "--json"]
    found: list[object] = []
    for body in (sleep_forever, lambda: None):
        with owned_child(body) as child:
            if body is not sleep_forever:
                wait_gone(child)
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            found.append([done.returncode, len(json.loads(done.stdout)["items"]), done.stderr])
    return found


def test_the_command_does_not_find_its_own_child() -> None:
    """It has been collected before anybody is looked at closely."""
    assert call_in_pid_namespace(_our_own_child) == [[0, 0, ""], [1, 1, ""]]
