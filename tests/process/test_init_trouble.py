import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.init_runs import (
    PID1,
    PYTHON,
    SYSTEM_PYTHON,
    children_of,
    in_namespace,
    init_command,
    namespace_words,
    run,
    says,
    started,
    wait_for,
)

TALKATIVE = ["-v", "-v", "-w", "--"]
MANY_ORPHANS = "i=0; while test $i -lt 300; do (true & ); i=$((i+1)); done; sleep 0.2; exit 3"


def full_pipe() -> tuple[int, int]:
    """Return a pipe that takes nothing more."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while os.write(writing, b"x" * 4096):
            pass
    except BlockingIOError:
        os.set_blocking(writing, True)
    return reading, writing


def test_a_full_stderr_does_not_block() -> None:
    """Init reaps and leaves although nobody reads its standard error, which stays blocking for others."""
    reading, writing = full_pipe()
    try:
        ended = subprocess.run(
            in_namespace(*TALKATIVE, "sh", "-c", MANY_ORPHANS), stderr=writing, timeout=60, check=False
        )
        assert ended.returncode == 3
        assert os.get_blocking(writing)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_full_socket_as_stderr_does_not_block() -> None:
    """The same for a socket, which cannot be opened once more."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        try:
            while theirs.send(b"x" * 4096):
                pass
        except BlockingIOError:
            theirs.setblocking(True)
        command = in_namespace(*TALKATIVE, "sh", "-c", MANY_ORPHANS)
        assert subprocess.run(command, stderr=theirs.fileno(), timeout=60, check=False).returncode == 3


def test_a_socket_as_stderr_is_written_to() -> None:
    """A socket that takes something gets the lines."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = init_command("no-such-program")
        assert subprocess.run(command, stderr=theirs.fileno(), timeout=60, check=False).returncode == 127
        assert b"no-such-program" in ours.recv(65536)


def test_a_broken_stderr_ends_nothing() -> None:
    """Nobody reads the pipe: SIGPIPE is not passed on, and CMD's status is kept."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with started(init_command(*TALKATIVE, *says(signal.SIGTERM, 7)), stderr=writing) as init:
            init.line()
            init.signal(signal.SIGUSR1)
            assert init.line() == str(int(signal.SIGUSR1))
            init.signal(signal.SIGTERM)
            assert init.line() == str(int(signal.SIGTERM))
            assert init.end()[0] == 7
    finally:
        os.close(writing)


def test_a_real_sigpipe_is_passed_on() -> None:
    """A SIGPIPE that somebody else sends is a signal like any other."""
    with started(init_command("-q", *says(signal.SIGPIPE, 7))) as init:
        init.line()
        init.signal(signal.SIGPIPE)
        assert init.line() == str(int(signal.SIGPIPE))


def test_nothing_goes_to_stdout() -> None:
    """However much init has to say, standard output is CMD's alone."""
    ended = run(in_namespace(*TALKATIVE, "sh", "-c", "echo mine; kill -USR1 1; (true &)"))
    assert ended.stdout == "mine\n"
    assert ended.stderr


def test_a_name_cannot_write_control_characters() -> None:
    """A process names itself as it likes; a log line stays one line of printable text."""
    rename = "open('/proc/self/comm', 'wb').write(b'\\x1b[31m\\nx')"
    # The shell has read the orphan's output to its end when the orphan has ended.
    ended = run(in_namespace("-w", "--", "sh", "-c", f'x=$( ({PYTHON} -S -c "$0" &) )', rename))
    assert "(\\x1b[31m\\x0ax)" in ended.stderr


def test_quiet_says_errors_only() -> None:
    """-q leaves out the warning that orphans will not come, and keeps the sentence for a missing CMD."""
    assert "subreaper" in run(init_command("true")).stderr
    assert run(init_command("-q", "true")).stderr == ""
    assert "no-such" in run(init_command("-q", "no-such")).stderr


def test_no_warning_where_orphans_come() -> None:
    """With -s, as PID 1, and where an earlier program set the attribute, there is nothing to warn of."""
    assert run(init_command("-s", "true")).stderr == ""
    assert run(in_namespace("true")).stderr == ""
    inherit = (
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"
    )
    assert run([PYTHON, "-c", inherit, *init_command("true")]).stderr == ""


def test_verbose_says_what_happens() -> None:
    """-v says what starts and ends, -vv each signal and each child reaped."""
    once = run(init_command("-s", "-v", "sh", "-c", "exit 3")).stderr
    assert "started sh as pid" in once
    assert "CMD has ended: 3" in once
    with started(init_command("-s", "-vv", "-r", "USR1:TERM", *says())) as init:
        init.line()
        init.signal(signal.SIGUSR1)
        error = init.end()[1]
    for words in ("received SIGUSR1", "SIGUSR1 becomes SIGTERM", "passed SIGTERM on", "reaped pid"):
        assert words in error


def as_root() -> None:
    """Skip where the test needs to mount."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount")


HIDE_PROC = 'mount -t tmpfs none /proc && exec "$@"'
READ_ONLY = 'mount -o remount,bind,ro / && exec "$@"'


@pytest.mark.parametrize("hide", [HIDE_PROC, READ_ONLY])
def test_without_proc_or_with_a_read_only_root(hide: str) -> None:
    """Without /proc, or with a root that nobody can write to, init is all that it is elsewhere."""
    as_root()
    command = [*namespace_words(), "--mount", "sh", "-c", hide, "sh", *init_command("-q", "-w", *says(15, 7))]
    with started(command) as init:
        assert init.line().startswith("ready")
        init.signal(signal.SIGTERM)
        assert init.line() == "15"
        assert init.end()[0] == 7


def test_without_proc_the_environment_is_cleaned_all_the_same() -> None:
    """Python's own LC_CTYPE does not leak where /proc cannot tell what was there."""
    as_root()
    script = "mount -t tmpfs none /proc && exec env -i /bin/env LC_ALL= PATH=/bin:/usr/bin"
    command = [*namespace_words(), "--mount", "sh", "-c", f'{script} "$@"', "sh", *init_command("-q", "env")]
    if command[-2] != "env" and "init_covered" in " ".join(command):
        pytest.skip("the interpreter that measures coverage is not isolated")
    assert "LC_CTYPE" not in run(command).stdout


def test_leftovers_end_without_proc() -> None:
    """PID 1 needs no /proc to end what CMD left."""
    as_root()
    script = ["sh", "-c", "setsid sleep 1000 & exit 6"]
    command = [*namespace_words(), "--mount", "sh", "-c", HIDE_PROC, "sh", *init_command("-q", "--", *script)]
    assert run(command).returncode == 6


def test_another_namespaces_proc_is_not_believed() -> None:
    """Where /proc shows an outer PID namespace, its numbers are those of others: -w says no name."""
    as_root()
    words = [word for word in namespace_words() if word != "--mount-proc"]
    orphan = "(sh -c 'sleep 0.1; exit 4' &); sleep 0.4; exit 6"
    ended = run([*words, *init_command("-w", "-s", "--", "sh", "-c", orphan)])
    assert ended.returncode == 6
    assert "(?): exit status 4" in ended.stderr


def test_as_a_plain_user(tmp_path: Path) -> None:
    """A user without privileges has the same init: PID 1 of a user's own namespace, and subreaper."""
    if not os.access(SYSTEM_PYTHON, os.X_OK):
        pytest.skip("needs /usr/bin/python3")
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents:
        if folder != folder.parent and folder.owner() == "root" and not folder.stat().st_mode & 1:
            folder.chmod(0o755)
    file = tmp_path / "pid1.py"
    file.write_bytes(PID1.read_bytes())
    file.chmod(0o644)
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]
    words = become if os.geteuid() == 0 else []
    init = [SYSTEM_PYTHON, "-I", "-S", str(file)]
    script = "(setsid sleep 1000 &); test $(id -u) != 0 && exit 6"
    assert run([*words, *init, "-s", "--", "sh", "-c", script]).returncode == 6
    own = [*words, "unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]
    tried = run([*own, "true"])
    if tried.returncode:
        pytest.skip(f"no user namespaces here: {tried.stderr.strip()}")
    assert run([*own, *init, "--", "sh", "-c", "(setsid sleep 1000 &); exit 6"]).returncode == 6


def test_no_right_to_signal_is_a_warning() -> None:
    """A set-user-ID CMD may be beyond a plain user: init says so and lives on, until CMD ends by itself."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make a CMD that init may not signal")
    # CMD keeps root where init gives it up: sudo the other way round.
    script = (
        "import os, sys\n"
        "r, w = os.pipe()\n"
        "os.set_inheritable(r, True)\n"
        "source = compile(open(sys.argv[1]).read(), sys.argv[1], 'exec')\n"
        "names = {'__name__': 'pid1', '__file__': sys.argv[1]}\n"
        "exec(source, names)\n"
        "options = names['parse']([b'-q', b'sh', b'-c', b'echo ready; read l; exit 4'], {})\n"
        "options.verbosity = names['LOG'].verbosity = 1\n"
        "init = names['Init'](options, frozenset(), os.getppid())\n"
        "import _signal\n"
        "_signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())\n"
        "names['start'](init)\n"
        "names['let_go'](init)\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "names['run'](init)\n"
        "os._exit(init.status)\n"
    )
    command = [PYTHON, "-S", "-c", script, str(PID1)]
    with started(command, stdin=subprocess.PIPE, stderr=subprocess.STDOUT) as init:
        assert init.line() == "ready"
        init.signal(signal.SIGTERM)
        assert "cannot send SIGTERM" in init.line()
        init.enter()
        assert init.end()[0] == 4


def test_an_endless_storm_does_not_keep_it() -> None:
    """Init leaves as soon as CMD is reaped although orphans never cease to end."""
    storm = "while :; do (true & ); done"
    ended = run(in_namespace("-q", "--", "sh", "-c", f"({storm}) & ({storm}) & sleep 0.5; exit 7"))
    assert ended.returncode == 7


def test_a_flood_of_signals_does_not_hide_the_end() -> None:
    """Signals that never cease, with numbers below SIGCHLD's, do not keep init from seeing that CMD ended."""
    with started(
        init_command("-q", "-r", "HUP:0", "--", "sh", "-c", "echo ready; sleep 0.5; exit 7")
    ) as init:
        init.line()
        while init.process.poll() is None:
            os.kill(init.process.pid, signal.SIGHUP)
        assert init.end()[0] == 7


def test_an_idle_init_never_wakes() -> None:
    """Between two signals the init is not scheduled once: its loop has no timeout."""
    with started(in_namespace("-q", "--", *says())) as init:
        init.line()
        pid = init.pid
        wait_for(lambda: waiting_in(pid) == "rt_sigtimedwait" or not waiting_in(pid))
        before = switches(pid)
        fd = os.pidfd_open(children_of(pid)[0])
        os.close(fd)
        signal.sigtimedwait([], 1.5)
        assert switches(pid) == before


def waiting_in(pid: int) -> str:
    """Return the system call in which a process sleeps, "" where that cannot be known."""
    try:
        number = Path(f"/proc/{pid}/syscall").read_text().split()[0]
    except OSError:
        return ""
    return {"128": "rt_sigtimedwait"}.get(number, number)


def switches(pid: int) -> str:
    """Return how often a process has been switched to and from."""
    text = Path(f"/proc/{pid}/status").read_text()
    return "".join(line for line in text.splitlines() if "ctxt_switches" in line)


# Says what it costs to be init after each count of orphans: dirty memory in KiB, open descriptors.
COUNTING = """
import os, sys, time

def costs():
    with open("/proc/1/smaps_rollup") as rollup:
        dirty = next(line.split()[1] for line in rollup if line.startswith("Private_Dirty"))
    print(dirty, len(os.listdir("/proc/1/fd")), flush=True)

made = 0
for goal in sys.argv[1:]:
    while made < int(goal):
        if os.fork() == 0:
            for _ in range(500):
                os.fork() or os._exit(0)
            os._exit(0)
        os.wait()
        made += 500
        while len([name for name in os.listdir("/proc") if name.isdigit()]) > 5000:
            time.sleep(0.001)  # the table of pids has an end
    while [name for name in os.listdir("/proc") if name.isdigit() and int(name) not in (1, os.getpid())]:
        time.sleep(0.01)
    costs()
"""


def test_many_orphans_change_nothing() -> None:
    """However many orphans it has reaped, init is as small as it was and has the same descriptors."""
    goals = ["20000", os.environ.get("REAPERD_INIT_ORPHANS", "60000")]
    command = in_namespace("-q", "--", PYTHON, "-I", "-S", "-c", COUNTING, *goals)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=True)
    before, after = ([int(word) for word in line.split()] for line in ended.stdout.splitlines())
    assert after[0] - before[0] <= 64
    assert after[1] == before[1]


def refusing(folder: Path, *faults: str) -> list[str]:
    """Return the words that make the kernel refuse system calls, as filters and old kernels do."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace to have system calls refused")
    return ["strace", "-f", "-o", str(folder / "trace"), *(f"--inject={fault}" for fault in faults)]


def test_without_close_range_descriptors_are_closed_in_no_time(tmp_path: Path) -> None:
    """Old kernels and filters lack close_range(2): init does not try two thousand million numbers."""
    command = [*refusing(tmp_path, "close_range:error=ENOSYS"), *init_command("-q", "sh", "-c", "exit 6")]
    assert run(command).returncode == 6


def test_where_signals_cannot_be_waited_for_init_still_reaps(tmp_path: Path) -> None:
    """Where rt_sigtimedwait is refused init says so a few times and does not spin; CMD's status is told."""
    refused = refusing(tmp_path, "rt_sigtimedwait:error=EPERM")
    ended = run([*refused, *init_command("--", "sh", "-c", "sleep 0.5; exit 6")])
    assert ended.returncode == 6
    assert "from now on init only reaps" in ended.stderr
    assert ended.stderr.count("cannot finish a turn") < 50


def test_the_beginning_of_a_huge_program_is_enough(tmp_path: Path) -> None:
    """To say which interpreter is missing, init reads the first line and not the whole file."""
    script = tmp_path / "huge"
    script.write_bytes(b"#!/no/such/interpreter\n")
    script.chmod(0o755)
    with script.open("r+b") as file:
        file.truncate(2**40)
    ended = run(["prlimit", f"--as={2**30}", *init_command("-q", str(script))])
    assert ended.returncode == 126
    assert "/no/such/interpreter" in ended.stderr
