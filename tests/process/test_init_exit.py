import os
import signal
from pathlib import Path

import pytest

from tests.support.init_runs import in_namespace, init_command, is_covered, run


@pytest.mark.parametrize("status", [0, 1, 7, 125, 255])
def test_status_is_passed_through(status: int) -> None:
    """CMD's exit status becomes the init's."""
    assert run(init_command("-q", "sh", "-c", f"exit {status}")).returncode == status


@pytest.mark.parametrize("name", ["TERM", "KILL", "SEGV", "USR1"])
def test_death_by_signal_is_128_and_its_number(name: str) -> None:
    """A CMD that a signal ended is told by 128 plus that signal."""
    expected = 128 + getattr(signal, f"SIG{name}")
    assert run(init_command("-q", "sh", "-c", f"kill -{name} $$")).returncode == expected


def test_status_is_passed_through_as_pid_1() -> None:
    """The same holds for PID 1 of a namespace."""
    assert run(in_namespace("sh", "-c", "test $PPID = 1 && exit 9")).returncode == 9


@pytest.mark.parametrize(("given", "status"), [(["-e", "7"], 0), (["-e3", "-e", "7"], 0), (["-e", "8"], 7)])
def test_expected_statuses_count_as_success(given: list[str], status: int) -> None:
    """-e maps exactly the given statuses to 0, and may be repeated."""
    assert run(init_command("-q", *given, "sh", "-c", "exit 7")).returncode == status


def test_expected_death_by_signal() -> None:
    """-e 143 is how a SIGTERM that ends CMD becomes a success."""
    assert run(init_command("-q", "-e", "143", "sh", "-c", "kill -TERM $$")).returncode == 0


def one_line(text: str) -> str:
    """Return the only line of `text`."""
    lines = text.splitlines()
    assert len(lines) == 1, text
    return lines[0]


@pytest.mark.parametrize("name", ["no-such-program", "./no-such-program", "/no/such/program", ""])
def test_not_found_is_127(name: str) -> None:
    """127 and one sentence where there is no such name."""
    ended = run(init_command("-q", name))
    assert ended.returncode == 127
    assert one_line(ended.stderr).startswith(f'reaperd: cannot run "{name}": ')


def test_not_executable_is_126(tmp_path: Path) -> None:
    """126 and the reason where the file may not be executed."""
    script = tmp_path / "plain"
    script.write_text("#!/bin/sh\n")
    ended = run(init_command("-q", str(script)))
    assert ended.returncode == 126
    assert one_line(ended.stderr).endswith("is not executable (chmod +x would make it so)")


def test_a_directory_is_126(tmp_path: Path) -> None:
    """126 and the reason for a directory."""
    ended = run(init_command("-q", str(tmp_path)))
    assert (ended.returncode, one_line(ended.stderr).endswith("is a directory")) == (126, True)


def test_a_missing_interpreter_is_126_and_named(tmp_path: Path) -> None:
    """The kernel says ENOENT for a script whose interpreter is missing; the script is there: 126."""
    script = tmp_path / "script"
    script.write_text("#!/no/such/shell -x\n")
    script.chmod(0o755)
    for ended in (
        run(init_command("-q", str(script))),
        run(init_command("-q", "script"), env={"PATH": f"/nowhere:{tmp_path}"}),
    ):
        assert ended.returncode == 126
        assert "/no/such/shell" in one_line(ended.stderr)


def test_a_file_in_the_way_is_126() -> None:
    """ENOTDIR is 126, as every shell has it."""
    assert run(init_command("-q", "/etc/passwd/x")).returncode == 126


def test_a_script_without_interpreter_line_is_run_by_the_shell(tmp_path: Path) -> None:
    """ENOEXEC falls back to /bin/sh with the arguments, by path and by name."""
    script = tmp_path / "bare"
    script.write_text('test "$1" = "a b" && exit 5\n')
    script.chmod(0o755)
    assert run(init_command("-q", str(script), "a b")).returncode == 5
    assert run(init_command("-q", "bare", "a b"), env={"PATH": str(tmp_path)}).returncode == 5


def test_denied_is_remembered_while_searching(tmp_path: Path) -> None:
    """A file that may not be executed does not hide one later in PATH, and is the reason if there is none."""
    for folder, mode in (("one", 0o644), ("two", 0o755)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tool").write_text("#!/bin/sh\nexit 6\n")
        (tmp_path / folder / "tool").chmod(mode)
    both, only = f"{tmp_path}/one:{tmp_path}/two", f"{tmp_path}/one:/nowhere"
    assert run(init_command("-q", "tool"), env={"PATH": both}).returncode == 6
    ended = run(init_command("-q", "tool"), env={"PATH": only})
    assert (ended.returncode, f"{tmp_path}/one/tool is not executable" in ended.stderr) == (126, True)


def test_an_empty_entry_in_path_is_the_working_directory(tmp_path: Path) -> None:
    """PATH=: looks where we are, as execvp(3) does."""
    (tmp_path / "here").write_text("#!/bin/sh\nexit 4\n")
    (tmp_path / "here").chmod(0o755)
    command = ["env", "-C", str(tmp_path), "PATH=/nowhere:", *init_command("-q", "here")]
    assert run(command).returncode == 4


def test_without_path_the_usual_places_are_searched() -> None:
    """No PATH in the environment means /bin:/usr/bin."""
    assert run(["env", "-i", *init_command("-q", "true")]).returncode == 0
    assert os.path.exists("/bin/true") or os.path.exists("/usr/bin/true")  # noqa: PTH110 - two plain questions


def test_a_failed_fork_is_one_sentence() -> None:
    """Where the kernel refuses the fork, init says so and leaves with 126."""
    if os.geteuid() != 0:
        pytest.skip("needs root to drop to a user with no processes left")
    python = "/usr/bin/python3"
    command = ["prlimit", "--nproc=0", "setpriv", "--reuid=65533", "--clear-groups"]
    ended = run([*command, python, "-I", "-S", *init_command()[3:], "true"])
    if is_covered():
        pytest.skip("the interpreter that measures coverage is closed to other users")
    assert ended.returncode == 126
    assert one_line(ended.stderr).startswith('reaperd: cannot run "true": ')
