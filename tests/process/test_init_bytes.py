import os
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.init_runs import PYTHON, children_of, init_command, is_covered, run, started, wait_for
from tests.support.masks import signal_mask

SHOW_ARGUMENTS = "import sys; sys.stdout.buffer.write(open('/proc/self/cmdline', 'rb').read())"
SHOW_ENVIRONMENT = ["cat", "/proc/self/environ"]
covered = pytest.mark.skipif(is_covered(), reason="the interpreter that measures coverage is not isolated")


@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "POSIX", "de_DE.ISO-8859-1", "ja_JP.eucJP"])
def test_arguments_are_byte_exact(locale: str) -> None:
    """Whatever bytes are given as arguments, in whatever locale, CMD gets them."""
    rng = random.Random(locale)
    words = [bytes(rng.randrange(1, 256) for _ in range(rng.randrange(40))) for _ in range(30)]
    words += ["ä€😀".encode(), b"\xff\xfe", b"\xed\xa0\x80", b"--", b""]
    command: list[str | bytes] = [*init_command("-q", PYTHON, "-S", "-c", SHOW_ARGUMENTS), *words]
    ended = subprocess.run(
        command, env={"LC_ALL": locale, "PATH": "/bin:/usr/bin"}, capture_output=True, timeout=60, check=True
    )
    assert ended.stdout.split(b"\0")[4:-1] == words


@covered
@pytest.mark.parametrize(
    "environment",
    [
        b"",
        b"A=1\0",
        b"LC_CTYPE=C\0",
        b"LC_CTYPE=C.UTF-8\0B=2\0",
        b"LC_CTYPE=\0LANG=C\0",
        b"LANG=C\0A=1\0A=2\0odd\0=x\0\xff=\xfe\0",
        b"PYTHONHOME=/nowhere\0PYTHONPATH=/nowhere\0PYTHONMALLOC=bad\0PYTHONUTF8=7\0",
    ],
)
def test_the_environment_is_untouched(environment: bytes, tmp_path: Path) -> None:
    """CMD gets the very block that init got: order, doubles and oddities too, and no LC_CTYPE of Python's."""
    # Only execve itself can pass on such a block, so ctypes calls it.
    start = (
        "import ctypes, sys\n"
        "def array(words): return (ctypes.c_char_p * (len(words) + 1))(*words, None)\n"
        "env = open(sys.argv[1], 'rb').read().split(b'\\0')[:-1]\n"
        "argv = [word.encode() for word in sys.argv[2:]]\n"
        "ctypes.CDLL(None).execve(argv[0], array(argv), array(env))\n"
    )
    block = tmp_path / "environ"
    block.write_bytes(environment)
    command = [PYTHON, "-c", start, str(block), *init_command("-q", *SHOW_ENVIRONMENT)]
    ended = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert ended.stdout == environment


@covered
def test_modules_in_the_way_cannot_disturb(tmp_path: Path) -> None:
    """Modules in the working directory and in PYTHONPATH, sitecustomize too, are not imported."""
    for name in ("posix", "_signal", "time", "sys", "os", "ctypes", "sitecustomize", "fcntl", "select"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(77)\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = ["env", "-C", str(tmp_path), *init_command("-s", "-w", "true")]
    ended = run(command, env=env)
    assert (ended.returncode, ended.stderr) == (0, "")


def masks(text: str) -> dict[str, int]:
    """Return the signal masks of a /proc/PID/status."""
    return {
        line.partition(":")[0]: signal_mask(line.partition(":")[2])
        for line in text.splitlines()
        if line.startswith(("SigBlk", "SigIgn"))
    }


def bit(*numbers: int) -> int:
    """Return the mask of some signals, as /proc shows it."""
    return sum(1 << number - 1 for number in numbers)


CALLER = (
    "import os, signal, sys\n"
    "signal.pthread_sigmask(signal.SIG_SETMASK, [int(n) for n in sys.argv[1].split(',') if n])\n"
    "for n in range(1, 65):\n"
    "    if n not in (9, 19, 32, 33): signal.signal(n, signal.SIG_DFL)\n"
    "for n in sys.argv[2].split(','):\n"
    "    if n: signal.signal(int(n), signal.SIG_IGN)\n"
    "os.execv(sys.argv[3], sys.argv[3:])\n"
)
STATUS = ["cat", "/proc/self/status"]


def called(block: str, ignore: str, *words: str) -> dict[str, int]:
    """Return the masks that CMD finds when init was started with such masks."""
    return masks(run([PYTHON, "-S", "-c", CALLER, block, ignore, *init_command(*words)]).stdout)


def test_mask_and_dispositions_are_the_callers() -> None:
    """What the caller blocks is blocked in CMD, what it ignores is ignored, SIGINT included, and no more."""
    assert called("10,12,40", "1,2,17", "-q", *STATUS) == {"SigBlk": bit(10, 12, 40), "SigIgn": bit(1, 2, 17)}
    assert called("", "", "-q", *STATUS) == {"SigBlk": 0, "SigIgn": 0}


def test_every_signal_blocked_by_the_caller_does_no_harm() -> None:
    """With every signal blocked and SIGCHLD ignored init still reaps, and CMD finds the same."""
    everything = sorted(signal.valid_signals() - {9, 19})
    found = called(",".join(str(int(number)) for number in everything), "17", "-q", *STATUS)
    assert found == {"SigBlk": bit(*everything), "SigIgn": bit(17)}


def test_sigpipe_is_default_unless_ignore_names_it() -> None:
    """SIGPIPE and SIGXFSZ are default in CMD; --ignore starts it with a signal ignored."""
    assert called("", "13,25", "-q", *STATUS)["SigIgn"] == 0
    assert called("", "", "-q", "--ignore", "PIPE", "--ignore=SIGXFSZ", *STATUS)["SigIgn"] == bit(13, 25)
    assert run(init_command("-q", "sh", "-c", "yes | head -1")).stdout == "y\n"


def test_descriptors_pass_through_and_none_is_added(tmp_path: Path) -> None:
    """CMD has exactly the caller's descriptors, and init has let go of them and of the working directory."""
    with (tmp_path / "kept").open("w") as kept:
        command = init_command("-q", "sh", "-c", "ls /proc/$$/fd; echo ready; read line")
        with started(command, stdin=subprocess.PIPE, cwd=tmp_path, pass_fds=[kept.fileno()]) as init:
            shown = list(iter(init.line, "ready"))
            assert set(shown) == {"0", "1", "2", str(kept.fileno())}
            wait_for(lambda: Path(f"/proc/{init.pid}/cwd").readlink() == Path("/"))
            assert [path.name for path in Path(f"/proc/{init.pid}/fd").iterdir()] == ["2"]
            (cmd,) = children_of(init.pid)
            assert Path(f"/proc/{cmd}/cwd").readlink() == tmp_path


def test_a_pipe_closes_when_cmd_closes_it() -> None:
    """Who reads CMD's output sees its end although init lives on."""
    with started(init_command("-q", "sh", "-c", "echo ready; exec >&-; exec sleep 1000")) as init:
        assert init.line() == "ready"
        assert init.line() == ""
        assert init.process.poll() is None


def test_listen_pid_names_cmd() -> None:
    """LISTEN_PID becomes CMD's pid where it was init's, and stays where it names somebody else."""
    script = 'test "$LISTEN_PID" = $$ && echo "$LISTEN_FDS"'
    become = ["sh", "-c", 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"', "sh"]
    assert run([*become, *init_command("-q", "sh", "-c", script)]).stdout == "1\n"
    kept = run(["env", "LISTEN_PID=1", *init_command("-q", "sh", "-c", "echo $LISTEN_PID")])
    assert kept.stdout == "1\n"


@pytest.mark.parametrize(
    "closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "</dev/full >/dev/full 2>/dev/full"]
)
def test_closed_or_full_standard_descriptors_do_no_harm(closed: str) -> None:
    """With stdin, stdout or stderr closed or full, init runs CMD and passes its status on."""
    ended = run(["sh", "-c", f'"$@" {closed}', "sh", *init_command("-v", "-w", "sh", "-c", "exit 3")])
    assert ended.returncode == 3


def test_a_tiny_limit_of_descriptors_does_no_harm() -> None:
    """Five descriptors are enough."""
    assert run(["prlimit", "--nofile=5", *init_command("-s", "sh", "-c", "exit 3")]).returncode == 3


def test_a_signal_between_fork_and_exec_acts(tmp_path: Path) -> None:
    """A SIGINT that reaches the child before its exec ends CMD: Python's own handler does not swallow it."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace to place a signal between fork and exec")
    traced = ["strace", "-f", "-o", str(tmp_path / "trace"), "-e", "inject=setsid:signal=SIGINT"]
    assert run([*traced, *init_command("-q", "sleep", "1000")]).returncode == 130
