"""Zombies collected by their own parents, who are made to and do not notice."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Final

import pytest

from reaperd.kernel import procfs, proctask
from reaperd.zombies import helper
from reaperd.zombies.hold import Target
from reaperd.zombies.inject import Victim
from tests.support.blocked import Parent, blocked, blocked_32, program, victim_of
from tests.support.processes import (
    ROOT,
    WITHIN_S,
    need_program,
    need_root,
    owned,
    owned_namespace,
    state_of,
    system_python,
    unprivileged,
    wait_reaped,
    wait_state,
    wait_until,
)

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="proven on x86-64 only")

MS: Final = 4000  # longer than a debugger needs to start on a busy machine
EINTR: Final = 4
ETIMEDOUT: Final = 110
ERESTARTSYS: Final = 512  # include/linux/errno.h: not for programs
EAGAIN: Final = 11
# call -> (what it ends with by itself, whether it is one that never restarts, made anew in full)
CALLS: Final = {
    "sleep": ((0, 0), False),
    "poll": ((0, 0), False),
    "select": ((0, 0), False),
    "futex": ((-1, ETIMEDOUT), False),
    "epoll_wait": ((0, 0), True),
    "epoll_pwait": ((0, 0), True),
    "semop": ((-1, EAGAIN), True),
    "recv": ((-1, EAGAIN), True),
    "sigtimedwait": ((-1, EAGAIN), True),
}


def inject(parent: Parent) -> list[str]:
    """Collect all its zombies by injection and return what became of each."""
    done = helper.reap(parent.target(), parent.victims(), WITHIN_S)
    assert done.refused is None, done.why
    assert not any(state_of(pid) for pid in parent.zombies)
    assert "TracerPid:\t0\n" in Path(f"/proc/{parent.pid}/status").read_text()
    return list(done.said.values())


def debug(parent: Parent) -> subprocess.Popen[bytes]:
    """Start the classic remedy on its first zombie."""
    call = f"call (int)waitpid({parent.zombies[0]}, 0, 1)"
    return subprocess.Popen(
        ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-ex", call, "-p", str(parent.pid)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("call", CALLS)
def test_its_own_call_goes_on(call: str) -> None:
    """It ends as if nothing had happened: not by EINTR, not early, at most one timeout late."""
    ending, is_anew = CALLS[call]
    with blocked(call, ms=1500) as parent:
        assert inject(parent) == ["reaped"]
        ended = parent.ended()
        assert (ended.result, ended.errno) == ending
        assert 1500 <= ended.elapsed_ms < (2 if is_anew else 1) * 1500 + 1000
        assert parent.leave() == 0


def test_calls_without_an_end_beside_gdb() -> None:
    """A blocking read and sigsuspend wait on for what they wait for; debugged, the read may fail.

    gdb 13 lets the kernel's own verdict, error 512, reach the program; a later one may know better.
    """
    need_program("gdb")
    with blocked("read") as ours, blocked("read") as theirs, blocked("sigsuspend") as suspended:
        gdb = debug(theirs)
        assert inject(ours) == inject(suspended) == ["reaped"]
        gdb.wait(WITHIN_S * 3)
        assert state_of(theirs.zombies[0]) is None
        for parent in (ours, theirs):
            assert parent.process.stdin is not None
            os.write(parent.process.stdin.fileno(), b"x")
        disturbed = theirs.ended()
        assert (disturbed.result, disturbed.errno) in ((-1, ERESTARTSYS), (-1, EINTR), (1, 0))
        assert ours.ended().result == 1
        wait_until(lambda: call_of(suspended.pid) == 130, "sigsuspend to be made anew")
        os.kill(suspended.pid, signal.SIGUSR1)
        assert suspended.ended().errno == EINTR


@pytest.mark.parametrize("call", ["sleep", "epoll_wait", "futex"])
def test_beside_gdb(call: str) -> None:
    """Where gdb collects it too, epoll_wait ends early with EINTR; injected, it does not."""
    need_program("gdb")
    ending, _ = CALLS[call]
    with blocked(call, ms=MS) as ours, blocked(call, ms=MS) as theirs:
        gdb = debug(theirs)
        assert inject(ours) == ["reaped"]
        gdb.wait(WITHIN_S * 3)
        ended, disturbed = ours.ended(), theirs.ended()
        assert (ended.result, ended.errno) == ending
        assert MS <= ended.elapsed_ms < 2 * MS + 1000
        assert state_of(theirs.zombies[0]) is None
        if call == "epoll_wait":
            assert (disturbed.result, disturbed.errno) == (-1, EINTR)
            assert disturbed.elapsed_ms < MS
        assert ours.leave() == 0


def test_a_blocking_read_is_not_disturbed() -> None:
    """It returns the byte that comes afterwards."""
    with blocked("read") as parent:
        assert inject(parent) == ["reaped"]
        assert parent.process.stdin is not None
        os.write(parent.process.stdin.fileno(), b"x")
        assert parent.ended().result == 1
        assert parent.leave() == 0


def test_sigsuspend_waits_on_for_its_signal() -> None:
    """With the mask that it was given; the signal then ends it, as it should."""
    with blocked("sigsuspend") as parent:
        assert inject(parent) == ["reaped"]
        wait_until(lambda: call_of(parent.pid) == 130, "sigsuspend to be made anew")
        os.kill(parent.pid, signal.SIGUSR1)
        ended = parent.ended()
        assert (ended.result, ended.errno) == (-1, EINTR)
        assert parent.leave() == 0


def call_of(pid: int) -> int | None:
    """Return the number of the system call that the process sleeps in."""
    call = proctask.current_call(pid, pid)
    return None if call is None else call.number


@pytest.mark.parametrize("work", ["compute", "rseq"])
def test_a_computing_parent_computes_the_same(work: str) -> None:
    """No register is lost, and a restartable sequence is not resumed behind the kernel's back."""
    with blocked(work, 40, 1500) as parent:
        for victim in parent.victims()[:8]:
            assert helper.reap(parent.target(), [victim], WITHIN_S).said == {victim.pid: "reaped"}
        ended = parent.ended()
        if ended.result == -2:
            pytest.skip("this C library registers no restartable sequences")
        assert ended.result == 0
        assert parent.leave() == 0


def test_a_static_binary() -> None:
    """It has no symbol that a debugger could call, and needs none."""
    with blocked("sleep", 3, 1500, flags=("-static", "-s")) as parent:
        assert inject(parent) == ["reaped"] * 3
        assert parent.ended().result == 0
        assert parent.leave() == 0


def test_a_32_bit_parent() -> None:
    """It enters the kernel by another instruction, with other numbers, in other registers."""
    with blocked_32() as parent:
        assert inject(parent) == ["reaped"]
        _, result = parent.line()
        assert int(result) == 0
        assert parent.leave() == 0


def test_a_parent_with_threads() -> None:
    """One thread makes the call; children of all of them are its children."""
    with blocked("thread", 2, 1500) as parent:
        assert inject(parent) == ["reaped"] * 2
        assert parent.ended().result == 0
        assert parent.leave() == 0


PYTHON: Final = """
import os, queue, subprocess, sys, threading
children = [subprocess.Popen(["true"]) for _ in range(3)]
for child in children:
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
asked, answered = queue.SimpleQueue(), queue.SimpleQueue()
def answer():
    while True:
        answered.put(asked.get())
threading.Thread(target=answer, daemon=True).start()
event = threading.Event()
threading.Thread(target=event.wait, daemon=True).start()
print(*[child.pid for child in children], flush=True)
sys.stdin.readline()
asked.put("alive")
print(children[0].poll(), answered.get(), flush=True)
"""


def test_a_python_program_with_threads() -> None:
    """Its threads go on; what it is told of the child is 0, for the true status is lost."""
    with owned([sys.executable, "-c", PYTHON], stdin=PIPE, stdout=PIPE, bufsize=0) as process:
        parent = Parent(process, process.pid, ())
        parent = Parent(process, process.pid, tuple(map(int, parent.line())))
        assert inject(parent) == ["reaped"] * 3
        assert process.stdin is not None
        os.write(process.stdin.fileno(), b"\n")
        assert parent.line() == ["0", "alive"]
        assert process.wait(WITHIN_S) == 0


NODE: Final = """
let ticks = 0
setInterval(() => { ticks += 1 }, 10)
process.stdin.on('data', () => {
  const before = ticks
  setInterval(() => { if (ticks > before + 3) { console.log('alive'); process.exit(0) } }, 10)
})
console.log('ready')
"""


def test_node() -> None:
    """A child that it never made, from before its exec, is none of which it knows."""
    node = need_program("node")
    ends_after_the_exec = "while grep -q ^sh /proc/$PPID/comm; do sleep 0.05; done; exit 3"
    line = 'sh -c "$2" & echo $!; exec "$0" -e "$1"'
    with owned(
        ["sh", "-c", line, node, NODE, ends_after_the_exec], stdin=PIPE, stdout=PIPE, bufsize=0
    ) as process:
        parent = Parent(process, process.pid, ())
        (zombie,) = parent.line()
        assert parent.line() == ["ready"]
        wait_state(int(zombie), "Z")
        assert inject(Parent(process, process.pid, (int(zombie),))) == ["reaped"]
        assert process.stdin is not None
        os.write(process.stdin.fileno(), b"\n")
        assert parent.line() == ["alive"]
        assert process.wait(WITHIN_S) == 0


def test_in_a_pid_namespace() -> None:
    """The parent is told the pid by which it knows its child."""
    with owned_namespace([program(), "sleep", "2", "1500"], stdin=PIPE, stdout=PIPE, bufsize=0) as process:
        parent = Parent(process, process.pid, ())
        word, *inner = parent.line()
        assert word == "zombies"
        (init,) = procfs.children(process.pid)
        zombies = procfs.children(init)
        victims = [
            Victim(pid, victim_of(pid).start_time, int(number), init)
            for pid, number in zip(zombies, inner, strict=True)
        ]
        stat = procfs.read_stat(init)
        assert stat is not None
        done = helper.reap(Target(init, stat.start_time), victims, WITHIN_S)
        assert list(done.said.values()) == ["reaped"] * 2, done.why
        assert parent.ended().result == 0


def test_another_users_parent() -> None:
    """Root may."""
    need_root()
    with blocked("sleep", 2, 1500, prefix=unprivileged([])) as parent:
        assert inject(parent) == ["reaped"] * 2
        assert parent.ended().result == 0
        assert parent.leave() == 0


@pytest.mark.parametrize("verdict", ["kill", "trap", "errno"])
def test_under_a_seccomp_filter(verdict: str) -> None:
    """A filter that kills for wait4 does not see it, where it may be suspended."""
    need_root()
    with blocked("sleep", 2, 1500, verdict) as parent:
        assert inject(parent) == ["reaped"] * 2
        assert parent.ended().result == 0
        assert parent.leave() == 0


def as_nobody(parent: Parent) -> dict[str, object]:
    """Run the helper as a plain user and return its answer."""
    request = {
        "verb": "reap",
        "pid": parent.pid,
        "start_time": parent.target().start_time,
        "victims": [[v.pid, v.start_time, v.inner_pid, v.ppid] for v in parent.victims()],
        "within_s": WITHIN_S,
        "force": False,
    }
    words = unprivileged([system_python(), "-B", "-m", "reaperd.zombies.inject"])
    done = subprocess.run(
        words, input=json.dumps(request), capture_output=True, text=True, check=True, cwd=ROOT
    )
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_a_plain_user_is_kept_from_what_a_filter_could_kill() -> None:
    """Who may not suspend the filter does not take the risk, and the parent is not touched."""
    with blocked("sleep", 1, 1500, "kill", prefix=unprivileged([])) as parent:
        answer = as_nobody(parent)
        assert answer["refused"] == "seccomp"
        assert "--force" in str(answer["hint"])
        assert state_of(parent.zombies[0]) == "Z"
        assert parent.ended().result == 0
        assert parent.leave() == 0


def test_a_plain_user_clears_his_own() -> None:
    """The same user is enough, where nothing forbids it."""
    with blocked("sleep", 1, 1500, prefix=unprivileged([])) as parent:
        answer = as_nobody(parent)
        if answer.get("refused") == "denied" and "Yama" in str(answer["why"]):
            pytest.skip(str(answer["why"]))
        assert answer["said"] == {str(parent.zombies[0]): "reaped"}
        assert parent.ended().result == 0


def test_a_plain_user_is_told_which_rule_forbids_it() -> None:
    """Another user's parent: the rule has a name and a remedy, and nothing was done."""
    need_root()
    with blocked("sleep", 1, 1500) as parent:
        answer = as_nobody(parent)
        assert answer["refused"] == "denied"
        assert "belongs to another user" in str(answer["why"])
        assert "root" in str(answer["hint"])
        assert parent.ended().result == 0


def test_a_thousand_in_one_stop() -> None:
    """All of them go, the thread is stopped once, and its sleep is as long as it was."""
    with blocked("sleep", 1000, 6000) as parent:
        done = helper.reap(parent.target(), parent.victims(), WITHIN_S)
        assert set(done.said.values()) == {"reaped"}
        assert len(done.said) == 1000
        assert not procfs.children(parent.pid)
        assert parent.ended().result == 0
        assert parent.leave() == 0


def test_a_stopped_parent_stays_stopped() -> None:
    """It collects without going on, and goes on as if nothing had been."""
    with blocked("sleep", 2, 1000) as parent:
        os.kill(parent.pid, signal.SIGSTOP)
        wait_state(parent.pid, "T")
        assert inject(parent) == ["reaped"] * 2
        wait_state(parent.pid, "T")
        os.kill(parent.pid, signal.SIGCONT)
        assert parent.ended().result == 0
        assert parent.leave() == 0


def test_a_parent_that_is_traced_already() -> None:
    """The kernel allows one tracer; its pid is said."""
    strace = need_program("strace")
    with blocked("sleep", 1, 1000) as parent:
        with owned([strace, "-o", "/dev/null", "-p", str(parent.pid)], stderr=PIPE) as tracer:
            wait_until(lambda: f"TracerPid:\t{tracer.pid}\n" in status_of(parent.pid), "strace to attach")
            done = helper.reap(parent.target(), parent.victims(), WITHIN_S)
            tracer.send_signal(signal.SIGINT)
            tracer.wait(WITHIN_S)
        assert done.refused == "denied"
        assert f"process {tracer.pid} already" in str(done.why)
        assert state_of(parent.zombies[0]) == "Z"


def status_of(pid: int) -> str:
    """Return the text of its status file."""
    return Path(f"/proc/{pid}/status").read_text()


def test_a_parent_of_another_start_time_is_left_alone() -> None:
    """A pid that has become another's is seen before anything is stopped."""
    with blocked("sleep", 1, 1000) as parent:
        wrong = Target(parent.pid, parent.target().start_time - 1)
        done = helper.reap(wrong, parent.victims(), WITHIN_S)
        assert done.refused == "gone"
        assert state_of(parent.zombies[0]) == "Z"
        assert parent.ended().result == 0
        assert parent.leave() == 0


def test_who_does_not_stop_in_time_is_let_go_of(cgroup: Path) -> None:
    """A frozen parent is refused, undamaged."""
    with blocked("sleep", 1, 1000) as parent:
        (cgroup / "cgroup.procs").write_text(str(parent.pid))
        (cgroup / "cgroup.freeze").write_text("1")
        wait_until(lambda: "frozen 1" in (cgroup / "cgroup.events").read_text(), "the freeze")
        done = helper.reap(parent.target(), parent.victims(), 0.3)
        (cgroup / "cgroup.freeze").write_text("0")
        assert done.refused == "frozen"
        assert parent.ended().result == 0
        assert state_of(parent.zombies[0]) == "Z"
        assert parent.leave() == 0


@pytest.fixture
def cgroup(tmp_path: Path) -> Iterator[Path]:
    """Yield a cgroup of version 2 that is empty again in the end."""
    need_root()
    roots = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")]
    root = next((root for root in roots if (root / "cgroup.procs").exists()), None)
    if root is None:
        pytest.skip("no cgroup v2 hierarchy is mounted")
    folder = root / f"reaperd-test-{os.getpid()}-{tmp_path.name}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made: {error.strerror}")
    yield folder
    wait_until(lambda: "populated 0" in (folder / "cgroup.events").read_text(), "the cgroup to be empty")
    folder.rmdir()


@pytest.mark.parametrize("undo", [False, True])
def test_a_cured_parent_leaves_no_zombies(*, undo: bool) -> None:
    """From then on its children vanish, its handler is kept; undone, they stay again."""
    with owned([sys.executable, "-c", LITTERER], stdin=PIPE, stdout=PIPE, bufsize=0) as process:
        parent = Parent(process, process.pid, ())
        (first,) = map(int, parent.line())
        wait_state(first, "Z")
        done = helper.cure(parent.target(), WITHIN_S)
        assert (done.refused, done.confirmed) == (None, True)
        if undo:
            assert helper.cure(parent.target(), WITHIN_S, undo=True).confirmed
        assert process.stdin is not None
        os.write(process.stdin.fileno(), b"\n")
        (second, calls) = map(int, parent.line())
        if undo:
            wait_state(second, "Z")
        else:
            wait_reaped(second)
        assert state_of(first) == "Z"
        assert calls == 2


LITTERER: Final = """
import os, signal, sys
calls = []
signal.signal(signal.SIGCHLD, lambda *_: calls.append(1))
def make():
    before = len(calls)
    pid = os.posix_spawn("/bin/true", ["true"], {})
    while len(calls) == before:
        signal.sigtimedwait([], 0.01)
    return pid
print(make(), flush=True)
sys.stdin.readline()
print(make(), len(calls), flush=True)
sys.stdin.readline()
"""
