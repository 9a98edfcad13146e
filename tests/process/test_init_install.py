import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reaperd import pid1
from tests.support.init_runs import (
    COVERED,
    PID1,
    PYTHON,
    ROOT,
    in_namespace,
    init_command,
    is_covered,
    namespace_words,
    run,
)

SCRIPT = str(Path(sys.executable).with_name("reaperd"))
REAPERD = [sys.executable, str(COVERED), SCRIPT] if is_covered() else [SCRIPT]


def entrypoint(text: str) -> list[str]:
    """Return the words of an ENTRYPOINT line."""
    word, _, rest = text.partition(" ")
    assert word == "ENTRYPOINT"
    words = json.loads(rest)
    assert isinstance(words, list)
    return words


def test_install_writes_a_program_and_its_faster_twin(tmp_path: Path) -> None:
    """Both files are an init by themselves, whatever directory they are started in."""
    target = tmp_path / "my init"
    made = run(init_command("--install", str(target), "--print-entrypoint"))
    assert made.returncode == 0, made.stderr
    words = entrypoint(made.stdout)
    assert words[1:] == ["-I", "-S", f"{target}.pyc", "--"]
    assert target.read_bytes().startswith(f"#!{words[0]} -IS\n".encode())
    for command in ([str(target)], words):
        ended = run(["env", "-C", "/", *namespace_words(), *command, "sh", "-c", "exit 8"])
        assert (ended.returncode, ended.stderr) == (8, "")


def test_the_installed_program_falls_back_to_its_source(tmp_path: Path) -> None:
    """Where the compiled code is of another CPython, the source that the file carries is compiled."""
    target = tmp_path / "init"
    assert run(init_command("--install", str(target))).returncode == 0
    content = target.read_bytes()
    foreign = content.replace(b"if MAGIC_NUMBER == b'", b"if MAGIC_NUMBER == b'other", 1)
    assert foreign != content
    target.write_bytes(foreign)
    assert run([str(target), "-q", "sh", "-c", "exit 8"]).returncode == 8


def test_an_installed_program_can_install_itself(tmp_path: Path) -> None:
    """What is installed carries all that --install needs, byte by byte."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert run(init_command("--install", str(first))).returncode == 0
    assert run([str(first), "--install", str(second)]).returncode == 0
    theirs, ours = (path.read_bytes().partition(pid1.SOURCE_MARK)[2] for path in (first, second))
    assert theirs == ours
    assert run([PYTHON, "-I", "-S", f"{second}.pyc", "-q", "sh", "-c", "exit 8"]).returncode == 8


def test_install_says_why_it_cannot(tmp_path: Path) -> None:
    """A path that cannot be written to is one sentence and status 1, and leaves nothing behind."""
    ended = run(init_command("--install", str(tmp_path / "no" / "init")))
    assert ended.returncode == 1
    assert ended.stderr.startswith("reaperd: cannot install")
    assert list(tmp_path.iterdir()) == []


def test_install_refuses_an_interpreter_that_no_first_line_can_name(tmp_path: Path) -> None:
    """Under a path with a blank, which ends a first line's program, there is one sentence and no file."""
    folder = tmp_path / "my python"
    folder.mkdir()
    (folder / "python3").symlink_to(PYTHON)
    target = tmp_path / "init"
    ended = run([str(folder / "python3"), "-I", "-S", str(PID1), "--install", str(target)])
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)
    assert "a first line cannot name the interpreter" in ended.stderr
    assert list(tmp_path.iterdir()) == [folder]


def test_print_entrypoint_prints_a_line_that_works() -> None:
    """The line starts the compiled file with a bare interpreter, and runs a command as it stands."""
    words = entrypoint(run([*REAPERD, "init", "--print-entrypoint"]).stdout)
    assert words[1:3] == ["-I", "-S"]
    assert words[3].endswith((".pyc", "pid1.py"))
    assert run([*namespace_words(), *words, "sh", "-c", "exit 8"]).returncode == 8


def test_a_stale_cache_file_is_not_used(tmp_path: Path) -> None:
    """A compiled file is taken only if it belongs to this source."""
    source = tmp_path / "pid1.py"
    source.write_bytes(PID1.read_bytes())
    line = run([PYTHON, "-I", "-S", str(source), "--print-entrypoint"]).stdout
    compiled = Path(entrypoint(line)[3])
    assert compiled.parent.name == "__pycache__"
    assert pid1.is_fresh(str(compiled), str(source))
    source.write_bytes(PID1.read_bytes() + b"\n")
    assert not pid1.is_fresh(str(compiled), str(source))
    compiled.write_bytes(b"short")
    assert not pid1.is_fresh(str(compiled), str(source))


@pytest.mark.parametrize("command", [REAPERD, [sys.executable, "-m", "reaperd"]])
def test_the_command_hands_over_to_a_lean_init(command: list[str]) -> None:
    """`reaperd init` becomes a bare interpreter that runs pid1 alone, with its own pid and status."""
    # CMD runs before init is a bare interpreter and waits for that; the brackets keep it from finding itself.
    become = "i=0; until grep -q -- --adopt[=] /proc/$PPID/cmdline || test $((i+=1)) = 9999; do :; done"
    script = f"{become}; tr '\\0' '\\n' </proc/$PPID/cmdline; echo $PPID; exit 5"
    with subprocess.Popen(
        [*command, "init", "-q", "--", "sh", "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        shown = (process.communicate(timeout=60)[0]).splitlines()
    assert process.returncode == 5
    assert shown[1:3] == ["-I", "-S"]
    assert "pid1" in shown[3]
    assert shown[-1] == str(process.pid)


def test_the_command_keeps_mask_environment_and_arguments() -> None:
    """Through both stages CMD gets the caller's mask, environment and argument bytes."""
    block = "import os, signal, sys; signal.pthread_sigmask(0, [10]); os.execv(sys.argv[1], sys.argv[1:])"
    shown = run([PYTHON, "-S", "-c", block, *REAPERD, "init", "-q", "grep", "SigBlk", "/proc/self/status"])
    assert int(shown.stdout.split()[1], 16) == 1 << 9
    cleared = run(["env", "-i", "A=1", *REAPERD, "init", "-q", "/usr/bin/env"])
    assert cleared.stdout == "A=1\n" or is_covered()  # measuring needs a variable of its own
    odd = subprocess.run(
        [*REAPERD, "init", "-q", "printf", "%s", b"\xff\xfe"], capture_output=True, timeout=60, check=True
    )
    assert odd.stdout == b"\xff\xfe"


def test_no_signal_is_lost_between_the_stages() -> None:
    """A signal that is pending when the command starts reaches CMD through both stages."""
    become = (
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [15]); os.kill(os.getpid(), 15);"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    from tests.support.init_runs import says  # noqa: PLC0415 - only this test talks to it

    ended = run([PYTHON, "-c", become, *REAPERD, "init", "-q", *says(15, 4)])
    assert (ended.returncode, ended.stdout.splitlines()[1:]) == (4, ["15"])


def test_the_command_through_a_peers_name(tmp_path: Path) -> None:
    """A link named tini to the command is tini."""
    (tmp_path / "tini").symlink_to(SCRIPT)
    ended = run([str(tmp_path / "tini"), "-s", "--", "no-such-program"])
    assert (ended.returncode, ended.stderr.startswith("[FATAL tini (")) == (127, True)


def test_usage_errors_of_the_command_are_the_same() -> None:
    """Both stages together say one line and leave with 125."""
    ended = run([*REAPERD, "init", "-e", "256", "true"])
    assert (ended.returncode, len(ended.stderr.splitlines())) == (125, 1)


def test_as_pid_1_through_the_command() -> None:
    """The command itself may be PID 1 of a container."""
    in_namespace("true")
    command = [*namespace_words(), *REAPERD, "init", "--", "sh", "-c", "test $PPID = 1 && exit 9"]
    assert run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode == 9
