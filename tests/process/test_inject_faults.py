"""What can go wrong in the middle of an injection, and what it leaves behind: nothing."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from reaperd.kernel import procfs, signals
from reaperd.zombies import helper
from reaperd.zombies.attach import hold
from reaperd.zombies.hold import Faulted, Held, Lost, Target
from reaperd.zombies.inject import Victim, collect
from tests.support.blocked import blocked, victim_of
from tests.support.processes import (
    ROOT,
    call_in_pid_namespace,
    call_in_process,
    fork_child,
    need_root,
    owned,
    owned_child,
    sleep_forever,
    state_of,
    wait_gone,
    wait_until,
    wait_zombie,
)

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="proven on x86-64 only")

LAST_PID: Final = Path("/proc/sys/kernel/ns_last_pid")  # of this PID namespace: pid_namespaces(7)
PID_MAX: Final = Path("/proc/sys/kernel/pid_max")  # of this PID namespace since Linux 6.14
ROUNDS: Final = 25


def _parent(report: int, orders: int, order: Callable[[list[int]], None]) -> None:
    """Have three zombies; a second thread carries out `order` when told to, while the first is held."""
    pids = [fork_child(lambda: None) for _ in range(3)]
    for pid in pids:
        wait_gone(pid)

    def obey() -> None:
        os.read(orders, 1)
        order(pids)
        os.write(report, b"done\n")

    threading.Thread(target=obey, daemon=True).start()
    os.write(report, b" ".join(b"%d" % pid for pid in pids) + b"\n")
    while True:
        time.sleep(1000)


class _Pipes:
    def __init__(self) -> None:
        self.hears, self.report = os.pipe()
        self.orders, self.tells = os.pipe()

    def order(self) -> None:
        os.write(self.tells, b".")
        assert os.read(self.hears, 16) == b"done\n"


def _held(parent: int) -> Held:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signals.block_all()
    stat = procfs.read_stat(parent)
    assert stat is not None
    return hold(Target(parent, stat.start_time), 20, force=False)


def _interfered(how: str) -> dict[str, Any]:
    """Hold a parent, let `how` happen after its first zombie is collected, and say what came of each."""
    pipes = _Pipes()
    with owned_child(partial(_parent, pipes.report, pipes.orders, ORDERS[how])) as parent:
        pids = [int(word) for word in os.read(pipes.hears, 64).split()]
        victims = [victim_of(pid) for pid in pids]
        time.sleep(0.05)  # start times are counted in hundredths: let the next process have another
        held = _held(parent)
        said: dict[int, str] = {}

        def interfering() -> Iterator[Victim]:
            yield victims[0]
            if how == "die":
                os.kill(parent, signal.SIGKILL)
                yield victims[1]
            else:
                pipes.order()
                yield from victims[1:]

        lost = False
        try:
            collect(held, interfering(), said)
            held.let_go()
        except Lost:
            lost = True
        state = state_of(parent)
        second = state_of(pids[1])
    return {"said": [said.get(pid) for pid in pids], "lost": lost, "state": state, "second": second}


def _reap_second(pids: list[int]) -> None:
    os.waitpid(pids[1], 0)


def _reuse_second(pids: list[int]) -> None:
    """Let the second zombie's pid be another child's, which becomes a zombie too."""
    os.waitpid(pids[1], 0)
    LAST_PID.write_text(str(pids[1] - 1))
    again = fork_child(lambda: None)
    assert again == pids[1]
    wait_zombie(again)


ORDERS: Final[dict[str, Callable[[list[int]], None]]] = {
    "die": lambda _: None,
    "reap": _reap_second,
    "reuse": _reuse_second,
}


def test_the_parent_dies_in_the_middle() -> None:
    """What was collected is told, the rest is nobody's business any more."""
    came = call_in_pid_namespace(_interfered, "die")
    first, second, third = came["said"]
    assert (first, third) == ("reaped", None)
    assert second in (None, "moved")
    assert came["lost"]


def test_a_zombie_is_reaped_by_its_parent_in_the_middle() -> None:
    """It is called gone, the next one is collected, and the parent goes on."""
    came = call_in_pid_namespace(_interfered, "reap")
    assert came["said"] == ["reaped", "gone", "reaped"]
    assert (came["lost"], came["state"] in "SR", came["second"]) == (False, True, None)


def test_a_pid_is_reused_in_the_middle() -> None:
    """The new owner of the pid, a zombie of the same parent too, keeps its status for its parent."""
    need_root()
    came = call_in_pid_namespace(_interfered, "reuse")
    assert came["said"] == ["reaped", "gone", "reaped"]
    assert (came["lost"], came["state"] in "SR", came["second"]) == (False, True, "Z")


def _where_pids_are_few() -> Any:
    """Collect over and over while others fork as fast as they can; count statuses that went astray."""
    try:
        PID_MAX.write_text("380")  # the first 300 are given out only once: pid_namespaces(7)
    except OSError as error:
        return f"pid_max cannot be changed here: {error.strerror}"
    astray = 0
    with owned_child(_bystander) as one, owned_child(_bystander) as two:
        for _ in range(ROUNDS):
            pipes = _Pipes()
            with owned_child(partial(_parent, pipes.report, pipes.orders, lambda _: None)) as parent:
                pids = [int(word) for word in os.read(pipes.hears, 64).split()]
                stat = procfs.read_stat(parent)
                assert stat is not None
                done = helper.reap(Target(parent, stat.start_time), [victim_of(pid) for pid in pids], 20)
                astray += list(done.said.values()) != ["reaped"] * 3
                astray += state_of(parent) not in ("S", "R")
            for end in (pipes.hears, pipes.report, pipes.orders, pipes.tells):
                os.close(end)
        astray += state_of(one) in (None, "Z")  # a bystander ends at the first status that it misses
        astray += state_of(two) in (None, "Z")
    return astray


def _bystander() -> None:
    """Fork and wait for ever; end at the first child whose status is not the one it left with."""
    while True:
        pids = [os.posix_spawn("/bin/sh", ["sh", "-c", f"exit {code}"], {}) for code in (1, 2, 3)]
        for code, pid in enumerate(pids, 1):
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code


def test_nobody_else_loses_a_status_where_pids_are_few() -> None:
    """With 80 pids for all, every one is used again and again; bystanders get each of their statuses."""
    need_root()
    answer = call_in_pid_namespace(_where_pids_are_few, within_s=180, is_storm=True)
    if isinstance(answer, str):
        pytest.skip(answer)
    assert answer == 0


ASK: Final = """
import json, sys
from reaperd.zombies import helper
from reaperd.zombies.hold import Target
from reaperd.zombies.inject import Victim
target, victims = json.load(sys.stdin)
helper.reap(Target(*target), [Victim(*words) for words in victims], 20)
"""


def test_who_asked_is_killed_in_the_middle() -> None:
    """The helper is no member of its process group, and finishes: nobody is left stopped or damaged."""
    with blocked("epoll_wait", 1000, 4000) as parent:
        target = parent.target()
        victims = [[v.pid, v.start_time, v.inner_pid, v.ppid] for v in parent.victims()]
        with owned(
            [sys.executable, "-c", ASK], cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True
        ) as asking:
            assert asking.stdin is not None
            asking.stdin.write(json.dumps([[target.pid, target.start_time], victims]).encode())
            asking.stdin.close()
            wait_until(lambda: _is_traced(parent.pid) or not procfs.children(parent.pid), "the attach")
            os.killpg(asking.pid, signal.SIGKILL)
            assert asking.wait(20) == -signal.SIGKILL
        wait_until(lambda: not _is_traced(parent.pid), "the end of the injection")
        assert not procfs.children(parent.pid)
        ended = parent.ended()
        assert (ended.result, ended.errno) == (0, 0)
        assert parent.leave() == 0


def _is_traced(pid: int) -> bool:
    return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()


def test_the_helper_dies_before_it_has_written_anything() -> None:
    """The kernel lets go of a thread whose tracer ends, and it goes on."""
    with blocked("sleep", 1, 1500) as parent:
        pid = parent.pid
        code = (
            "import signal, os; from tests.process.test_inject_faults import _held\n"
            f"held = _held({pid}); os.kill(os.getpid(), signal.SIGKILL)"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
        assert done.returncode == -signal.SIGKILL
        assert not _is_traced(pid)
        assert parent.ended().result == 0
        assert parent.leave() == 0


def _several_signals() -> Any:
    """Inject while signals rain on a parent that counts them; return how many it was sent, and counted."""
    read, write = os.pipe()
    orders, tells = os.pipe()
    zombies = 40

    def parent() -> None:
        counts, count = os.pipe2(os.O_NONBLOCK)
        signal.set_wakeup_fd(count)  # a byte for each; the interpreter's own handlers come once for several
        signal.signal(signal.SIGRTMIN, lambda *_: None)
        pids = [fork_child(lambda: None) for _ in range(zombies)]
        for pid in pids:
            wait_gone(pid)
        os.write(write, b" ".join(b"%d" % pid for pid in pids) + b"\n")
        os.read(orders, 1)  # goes on after every handler
        os.write(write, b"%d\n" % len(os.read(counts, 65536)))
        sleep_forever()

    with owned_child(parent) as pid:
        pids = [int(word) for word in os.read(read, 4096).split()]
        stat = procfs.read_stat(pid)
        assert stat is not None
        sent = 0
        said: list[str] = []
        for zombie in pids:
            injecting = threading.Thread(target=_inject_one, args=(pid, stat.start_time, zombie, said))
            injecting.start()
            while injecting.is_alive():
                os.kill(pid, signal.SIGRTMIN)  # real-time signals queue up: none may be lost
                sent += 1
                time.sleep(0.0005)
            injecting.join()
        os.write(tells, b".")
        counted = int(os.read(read, 32))
    return [said == ["reaped"] * zombies, sent == counted or [sent, counted]]


def _inject_one(pid: int, start_time: int, zombie: int, said: list[str]) -> None:
    done = helper.reap(Target(pid, start_time), [victim_of(zombie)], 20)
    said.extend(done.said.values())


def test_no_signal_is_lost_in_a_rain_of_them() -> None:
    """Each of some thousand queued signals reaches the parent's handler, injected into or not."""
    assert call_in_pid_namespace(_several_signals, within_s=120, is_storm=True) == [True, True]


def _frozen_in_the_middle(folder: str) -> list[Any]:
    """Freeze a parent that is held already; return what came of its zombies, and its state when thawed."""
    cgroup = Path(folder)
    pipes = _Pipes()
    with owned_child(partial(_parent, pipes.report, pipes.orders, lambda _: None)) as parent:
        pids = [int(word) for word in os.read(pipes.hears, 64).split()]
        victims = [victim_of(pid) for pid in pids]
        (cgroup / "cgroup.procs").write_text(str(parent))
        held = _held(parent)
        said: dict[int, str] = {}

        def freezing() -> Iterator[Victim]:
            yield victims[0]
            (cgroup / "cgroup.freeze").write_text("1")
            yield victims[1]

        faulted = False
        try:
            collect(held, freezing(), said)
        except Faulted:
            faulted = True
        held.let_go()
        (cgroup / "cgroup.freeze").write_text("0")
        pipes.order()  # its other thread runs
        return [
            said.get(pids[0]),
            said.get(pids[1]),
            faulted,
            _is_traced(parent),
            state_of(parent) in ("S", "R"),
        ]


def test_the_parent_is_frozen_in_the_middle(tmp_path: Path) -> None:
    """What was not done is told, it is restored all the same, and goes on when it is thawed."""
    need_root()
    roots = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")]
    root = next((root for root in roots if (root / "cgroup.procs").exists()), None)
    if root is None:
        pytest.skip("no cgroup v2 hierarchy is mounted")
    folder = root / f"reaperd-test-{os.getpid()}-{tmp_path.name}"
    folder.mkdir()
    try:
        answer = call_in_process(_frozen_in_the_middle, str(folder))
    finally:
        (folder / "cgroup.freeze").write_text("0")
        wait_until(lambda: "populated 0" in (folder / "cgroup.events").read_text(), "the cgroup to be empty")
        folder.rmdir()
    assert answer == ["reaped", None, True, False, True]
