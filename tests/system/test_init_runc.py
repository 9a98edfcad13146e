from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.init_container import INIT, Container, container
from tests.support.init_runs import wait_for


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Container]:
    """A container that can be run."""
    with container(tmp_path) as made:
        yield made


def test_the_exit_status_is_cmds(box: Container) -> None:
    """Under a real OCI runtime init is PID 1, and the runtime sees CMD's status, 127 and 126 too."""
    ended = box.run(*INIT, "sh", "-c", "test $PPID = 1 && exit 7")
    assert (ended.returncode, ended.stderr) == (7, "")
    assert box.run(*INIT, "sh", "-c", "kill -9 $$").returncode == 137
    assert box.run(*INIT, "no-such-program").returncode == 127
    assert box.run(*INIT, "/etc").returncode == 126


def test_kill_reaches_cmd(box: Container) -> None:
    """The runtime's kill is passed on to CMD, whose handler runs."""
    script = "trap 'echo asked; exit 5' TERM; echo ready; while :; do sleep 0.1; done"
    with box.running(*INIT, "sh", "-c", script) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        killed = box.runc("kill", box.name, "TERM")
        assert killed.returncode == 0, killed.stderr
        assert process.stdout.readline() == "asked\n"
        assert process.wait(60) == 5


def test_what_exec_leaves_is_reaped(box: Container) -> None:
    """Orphans of the runtime's exec leave no zombie, and a probe wrapped in init leaves nothing."""
    with box.running(*INIT, "sh", "-c", "echo ready; exec sleep 1000") as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        for _ in range(5):
            done = box.runc("exec", box.name, "sh", "-c", "(sleep 0.05 &); exit 3")
            assert done.returncode == 3
        wrapped = [INIT[0], "-s", "-g", "--", "sh", "-c", "(setsid sleep 1000 &); exit 4"]
        assert box.runc("exec", box.name, *wrapped).returncode == 4

        def only_init_and_cmd() -> bool:
            shown = box.runc("exec", box.name, "sh", "-c", "cat /proc/[0-9]*/comm").stdout.split()
            ours = [name for name in shown if name not in ("cat", "sh")]
            return len(ours) == 2 and ours.count("sleep") == 1

        wait_for(only_init_and_cmd)
        assert box.runc("kill", box.name, "TERM").returncode == 0
        assert process.wait(60) == 143


def test_a_limit_of_processes(box: Container) -> None:
    """Where the container may have too few processes for CMD, init says so and leaves with 126."""
    ended = box.run(*INIT, "true", limits={"pids": {"limit": 1}})
    if ended.returncode == 0:
        pytest.skip("this machine's cgroups do not limit processes")
    if "pids" in ended.stderr and "reaperd" not in ended.stderr:
        pytest.skip(f"runc cannot limit processes here: {ended.stderr.strip()}")
    assert ended.returncode == 126
    assert 'reaperd: cannot run "true"' in ended.stderr


def test_a_limit_of_memory(box: Container) -> None:
    """A CMD that the kernel ends for its memory is told by 137, and init, small, lives on to say so."""
    eat = "import sys; data = [bytearray(1 << 20) for _ in range(400)]; sys.exit(3)"
    limits: dict[str, object] = {"memory": {"limit": 64 << 20, "swap": 64 << 20}}
    ended = box.run(*INIT, "/usr/bin/python3", "-I", "-S", "-c", eat, limits=limits)
    if ended.returncode == 3:
        pytest.skip("this machine's cgroups do not limit memory")
    if "reaperd" not in ended.stderr and ended.returncode == 1:
        pytest.skip(f"runc cannot limit memory here: {ended.stderr.strip()}")
    assert ended.returncode == 137


def test_leftovers_end_with_the_container(box: Container) -> None:
    """A daemon that CMD leaves has its SIGTERM and time before the container ends."""
    daemon = "setsid sh -c 'trap \"echo asked; exit\" TERM; echo ready >&2; while :; do sleep 0.05; done' &"
    ended = box.run(*INIT, "sh", "-c", f"{daemon} sleep 0.5; exit 6")
    assert (ended.returncode, ended.stdout) == (6, "asked\n")
