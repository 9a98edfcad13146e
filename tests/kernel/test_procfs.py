"""Against this machine's own /proc; what is hostile or fleeting happens in scenarios."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest

from reaperd.errors import KernelError
from reaperd.kernel import prctl, procfs
from tests.support.processes import (
    ROOT,
    call_in_pid_namespace,
    call_in_process,
    fork_child,
    need_root,
    owned,
    owned_child,
    sleep_forever,
    system_python,
    unprivileged,
    wait_gone,
    wait_reaped,
    wait_state,
)

NO_PID = 4_194_305  # above the highest pid_max there is: proc_sys_kernel(5)


def _stat(pid: int) -> procfs.Stat:
    stat = procfs.read_stat(pid)
    assert stat is not None, f"pid {pid} is gone"
    return stat


# --- one process ----------------------------------------------------------------------------------------


def test_our_own_line_says_what_the_system_calls_say() -> None:
    """Pid, parent, group and session are those that the kernel tells us directly."""
    stat = _stat(os.getpid())
    assert (stat.pid, stat.ppid) == (os.getpid(), os.getppid())
    assert (stat.pgid, stat.sid) == (os.getpgid(0), os.getsid(0))
    assert stat.state == "R"
    assert not stat.is_zombie
    assert stat.exit_signal == signal.SIGCHLD
    assert stat.key == (os.getpid(), stat.start_time)


def test_a_process_that_is_gone_is_none_everywhere() -> None:
    """No read of a pid without process raises."""
    assert procfs.read_stat_bytes(NO_PID) is None
    assert procfs.read_stat(NO_PID) is None
    assert procfs.read_status(NO_PID) is None
    assert procfs.read_cmdline(NO_PID) is None
    assert procfs.read_environ(NO_PID) is None
    assert procfs.environ_value(NO_PID, b"HOME") is None
    assert procfs.soft_limit(NO_PID, b"Max open files") is None
    assert procfs.memory(NO_PID) is None
    assert procfs.cpu_seconds(NO_PID) is None
    assert procfs.threads(NO_PID) == []
    assert procfs.children(NO_PID) == []
    assert procfs.descendants(NO_PID) == []


def _limits_of_a_zombie() -> list[int | None]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (77, 78))
    resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    child = fork_child(lambda: os._exit(0))
    wait_gone(child)
    lines = (b"Max open files", b"Max cpu time", b"Max open", b"Max open file", b"files", b"")
    found = [procfs.soft_limit(child, line) for line in lines]
    os.waitpid(child, 0)
    return found


def test_a_zombie_tells_its_soft_limits() -> None:
    """A number by the whole of a line's name; unlimited is none, and so is half a name."""
    assert call_in_process(_limits_of_a_zombie) == [77, None, None, None, None, None]


def _facts_of_a_zombie() -> dict[str, object]:
    child = fork_child(lambda: os._exit(3))
    wait_gone(child)
    stat = _stat(child)
    status = procfs.read_status(child)
    assert status is not None
    facts: dict[str, object] = {
        "state": stat.state,
        "status": status["State"],
        "zombie": stat.is_zombie,
        "dead leader": stat.is_dead_leader,
        "never exec'ed": stat.never_execed,
        "exit code": stat.exit_code,
        "ppid": stat.ppid == os.getpid(),
        "cmdline": procfs.read_cmdline(child),
        "environ": procfs.read_environ(child),
        "rss": procfs.memory(child),
        "child": procfs.children(os.getpid()) == [child],
        "descendant": [found.pid for found in procfs.descendants(os.getpid())] == [child],
    }
    os.waitpid(child, 0)
    return facts


def test_a_zombie_keeps_its_line_but_no_memory() -> None:
    """State Z, its exit status and parent are there; words and environment are empty."""
    facts = call_in_process(_facts_of_a_zombie)
    assert facts == {
        "state": "Z",
        "status": "Z (zombie)",
        "zombie": True,
        "dead leader": False,
        "never exec'ed": True,
        "exit code": 3 << 8,
        "ppid": True,
        "cmdline": [],
        "environ": facts["environ"],
        "rss": 0,
        "child": True,
        "descendant": True,
    }
    assert not facts["environ"]


def _opened_before_the_reap() -> bool:
    """A file of /proc that was opened on the living says ESRCH, not ENOENT, when its process is gone."""
    child = fork_child(sleep_forever)
    folder = os.open(f"/proc/{child}", os.O_RDONLY | os.O_DIRECTORY)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return procfs._read(f"/proc/self/fd/{folder}/stat", 4096) is None


def test_a_reap_in_the_middle_of_a_read_is_gone_too() -> None:
    """ESRCH and ENOENT are the same answer."""
    assert call_in_process(_opened_before_the_reap)


@pytest.mark.parametrize("name", [") Z 1 (", "two words", "line\nbreak", "(((", ")))", "", "\udcff\udc80"])
def test_a_hostile_name_does_not_shift_the_fields(name: str) -> None:
    """Whatever the name holds, the fields after it are right and the name comes back whole."""
    answer = call_in_process(_named, name)
    assert answer == [name, "R", True]


def _named(name: str) -> list[object]:
    prctl.set_name(name)
    stat = _stat(os.getpid())
    return [stat.comm, stat.state, stat.ppid == os.getppid()]


def test_a_line_of_an_old_kernel_lacks_the_last_fields() -> None:
    """Fields that are not there are 0: Linux 2.6 ended after rt_priority."""
    line = b"7 (x) S 1 7 7 0 -1 64 0 0 0 0 150 50 0 0 20 0 1 0 99 1000 12\n"
    stat = procfs.parse_stat(line)
    assert (stat.pid, stat.start_time, stat.rss_pages, stat.exit_signal, stat.exit_code) == (7, 99, 12, 0, 0)
    assert stat.never_execed
    assert stat.cpu_s == 200 / procfs.clock_ticks()


def test_the_age_is_the_time_since_the_start() -> None:
    """A process just started is young, and both clocks agree about when that was."""
    before = time.time()
    with owned(["sleep", "60"]) as process:
        stat = _stat(process.pid)
        assert 0 <= stat.age_s < 20
        assert before - 1 <= procfs.started_at(stat) <= time.time()


def test_memory_and_time_grow_with_use() -> None:
    """Resident bytes hold at least what was written, and processor time what was burnt."""
    block = b"x" * (32 * 1024 * 1024)
    memory = procfs.memory(os.getpid())
    assert memory is not None
    assert memory > len(block)
    before = procfs.cpu_seconds(os.getpid())
    assert before is not None
    started = time.process_time()
    while time.process_time() - started < 0.1:
        pass
    after = procfs.cpu_seconds(os.getpid())
    assert after is not None
    assert after - before >= 0.05


def test_the_status_of_a_thread_is_its_own() -> None:
    """Each thread is listed and has a status with its own id."""
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    assert thread.native_id in procfs.threads(os.getpid())
    status = procfs.read_status(os.getpid(), thread.native_id)
    assert status is not None
    assert (status["Pid"], status["Tgid"]) == (str(thread.native_id), str(os.getpid()))
    release.set()
    thread.join()
    assert procfs.read_status(os.getpid(), NO_PID) is None


def _status_of_a_hostile_name() -> list[str]:
    prctl.set_name("x\nState:\tZ")
    status = procfs.read_status(os.getpid())
    assert status is not None
    return [status["Name"], status["State"]]


def test_a_name_cannot_forge_a_field_of_the_status() -> None:
    """The kernel escapes the newline, so the state stays the true one."""
    name, state = call_in_process(_status_of_a_hostile_name)
    assert name == "x\\nState:\tZ"
    assert state == "R (running)"


# --- words and environment ------------------------------------------------------------------------------


def test_the_words_of_a_command_come_back() -> None:
    """Empty words and spaces are kept."""
    code = "print('ready', flush=True); input()"
    words = [sys.executable, "-c", code, "", "two words", "z"]
    with owned(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert procfs.read_cmdline(process.pid) == [word.encode() for word in words]


def test_a_kernel_thread_has_no_words() -> None:
    """Kernel threads are there and have an empty command line."""
    kthreadd = procfs.read_stat(2)
    if kthreadd is None or kthreadd.comm != "kthreadd":
        pytest.skip("no kernel threads in this PID namespace")
    assert procfs.read_cmdline(2) == []


def _ready_with(environment: dict[str, str]) -> list[str]:
    """Return what a program started with `environment` has there, as /proc tells."""
    with owned(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"ready\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"ready\n"
        found = procfs.read_environ(process.pid)
        marker = procfs.environ_value(process.pid, b"MARKER")
    assert found is not None
    return [str(len(found)), (marker or b"missing").decode()]


def test_a_variable_is_found_among_others() -> None:
    """Values may hold equals signs; names are matched whole."""
    hostile = {"XMARKER": "no", "MARKER": "a=b", "MARKERX": "no", "E": "", "NL": "\nMARKER=no"}
    assert _ready_with(hostile) == ["5", "a=b"]


def test_a_variable_that_is_not_there_is_none() -> None:
    """An environment without it, and an empty one, have no value."""
    assert _ready_with({"OTHER": "1"}) == ["1", "missing"]
    assert _ready_with({}) == ["0", "missing"]


def test_a_huge_environment_is_read_in_bounds() -> None:
    """Beyond 256 KiB nothing is read, and the entry that is cut there is left out."""
    huge = {f"V{number}": "x" * 100_000 for number in range(4)}
    assert _ready_with(huge) == ["2", "missing"]


def test_of_equal_names_the_first_counts() -> None:
    """As getenv(3) finds it; entries without equals sign are passed over."""
    read, write = os.pipe()
    code = "import ctypes, os, sys; "
    code += "words = (ctypes.c_char_p * 4)(b'MARKER=first', b'MARKER=second', b'junk', None); "
    code += "ctypes.CDLL(None).execve(b'/bin/cat', (ctypes.c_char_p * 2)(b'cat', None), words)"
    with owned([sys.executable, "-c", code], stdin=read, stdout=subprocess.PIPE) as process:
        os.close(read)
        os.write(write, b"ready\n")
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert procfs.read_environ(process.pid) == {b"MARKER": b"first"}
        os.close(write)


LOOK = """
import sys
from reaperd.kernel import procfs
pid = int(sys.argv[1])
print(procfs.read_environ(pid), procfs.environ_value(pid, b"HOME"), procfs.read_stat(pid).pid == pid)
"""


def test_another_users_environment_is_none() -> None:
    """What may not be looked into is answered like what is not there; its line stays readable."""
    need_root()
    with owned(["sleep", "60"]) as process:
        looked = subprocess.run(
            unprivileged([system_python(), "-c", LOOK, str(process.pid)]),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    assert looked.stdout == "None None True\n"


def _without_descriptors() -> list[str]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (os.dup(0), hard))
    messages = []
    for look in (procfs.read_stat, procfs.read_environ, procfs.threads):
        try:
            look(os.getpid())
        except KernelError as error:
            messages.append(f"{error.message} {error.hint}")
    return messages


def test_a_full_descriptor_table_is_no_process_that_is_gone() -> None:
    """EMFILE raises, with a hint, in every kind of read."""
    messages = call_in_process(_without_descriptors)
    assert len(messages) == 3
    assert all("Too many open files" in message and "limit" in message for message in messages)


# --- many processes -------------------------------------------------------------------------------------


def test_we_are_among_all_processes() -> None:
    """The list is in ascending order and holds our parent and us."""
    pids = procfs.list_pids()
    assert pids == sorted(set(pids))
    assert {os.getpid(), os.getppid()} <= set(pids)


def _child_of_a_thread() -> list[bool]:
    """A child forked by another thread stands in that thread's list, not in the leader's."""
    release = threading.Event()
    made: list[int] = []
    ready = threading.Event()

    def fork() -> None:
        made.append(os.posix_spawn("/bin/sleep", ["sleep", "60"], {}))
        ready.set()
        release.wait()

    thread = threading.Thread(target=fork)
    thread.start()
    ready.wait()
    found = procfs.children(os.getpid())
    os.kill(made[0], signal.SIGKILL)
    os.waitpid(made[0], 0)
    release.set()
    thread.join()
    return [found == made, procfs.children(os.getpid()) == []]


def test_children_of_all_threads_are_found() -> None:
    """The thread that forked does not matter."""
    assert all(call_in_process(_child_of_a_thread))


def _tree_of_four() -> list[bool]:
    """Make a chain of child, grandchild and two below, one a zombie; compare what is told and found."""
    read, write = os.pipe()

    def note() -> None:
        os.write(write, b"%d %d\n" % (os.getppid(), os.getpid()))

    def child() -> None:
        note()
        fork_child(grandchild)
        sleep_forever()

    def grandchild() -> None:
        note()
        fork_child(note)  # a zombie soon
        fork_child(leaf)
        sleep_forever()

    def leaf() -> None:
        note()
        sleep_forever()

    first = fork_child(child)
    told = b""
    while told.count(b"\n") < 4:
        told += os.read(read, 4096)
    edges = sorted([int(word) for word in line.split()] for line in told.splitlines())
    found = procfs.descendants(os.getpid())
    order = [stat.pid for stat in found]
    by_scan = procfs._descendants_among(os.getpid(), procfs._all_stats())
    below_first = procfs.descendants(first)
    return [
        sorted([stat.ppid, stat.pid] for stat in found) == edges,
        all(order.index(stat.pid) > order.index(stat.ppid) for stat in found if stat.ppid in order),
        sorted(order) == sorted(stat.pid for stat in by_scan),
        [stat.pid for stat in below_first] == [pid for pid in order if pid != first],
    ]


def test_all_descendants_are_found_once_and_in_order() -> None:
    """Zombies too, parents before children, with and without the kernel's lists of children."""
    assert call_in_pid_namespace(_tree_of_four) == [True] * 4


def _without_children_files() -> list[bool]:
    """Look for children as on a kernel without CONFIG_PROC_CHILDREN."""
    procfs.has_children_files = lambda: False  # type: ignore[assignment]
    with owned_child(sleep_forever) as child:
        found = procfs.children(os.getpid())
        below = [stat.pid for stat in procfs.descendants(os.getpid())]
        return [found == [child], below == [child], procfs.children(NO_PID) == []]


def test_children_are_found_without_the_kernels_lists() -> None:
    """A scan of all parents gives the same answer."""
    assert all(call_in_process(_without_children_files))


def _walk_under_a_storm() -> list[int]:
    """Walk 300 times while children fork and end as fast as they can; count what is wrong."""

    def storm() -> None:
        while True:
            fork_child(lambda: os.waitpid(fork_child(lambda: None), 0))
            os.waitpid(-1, 0)

    own = os.getpid()
    twice = outside = 0
    storms = [fork_child(storm) for _ in range(2)]
    for _ in range(300):
        found = procfs.descendants(own)
        pids = [stat.pid for stat in found]
        twice += len(pids) != len(set(pids))
        outside += any(stat.ppid not in {own, *pids} for stat in found)
        assert set(storms) <= set(pids)
    for pid in storms:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return [twice, outside]


def test_a_walk_under_a_fork_storm_lists_nobody_twice_and_no_stranger() -> None:
    """Vanishing processes neither fail the walk nor let others in, and the living are never missed."""
    assert call_in_pid_namespace(_walk_under_a_storm, is_storm=True) == [0, 0]


def _long_list_of_children() -> bool:
    children = sorted(fork_child(lambda: None) for _ in range(2000))
    for pid in children:
        wait_gone(pid)
    found = procfs.children(os.getpid())
    for pid in children:
        os.waitpid(pid, 0)
    return found == children


def test_a_list_of_children_longer_than_a_page_is_whole() -> None:
    """The kernel gives such a list a page at a time."""
    assert call_in_process(_long_list_of_children, is_storm=True)


def test_a_stopped_process_says_so() -> None:
    """The state letter follows a stop and its end."""
    with owned(["sleep", "60"]) as process:
        process.send_signal(signal.SIGSTOP)
        wait_state(process.pid, "T")
        assert _stat(process.pid).state == "T"
        process.send_signal(signal.SIGCONT)
        wait_state(process.pid, "S")
        process.kill()
        process.wait(20)
        wait_reaped(process.pid)
        assert procfs.read_stat(process.pid) is None
