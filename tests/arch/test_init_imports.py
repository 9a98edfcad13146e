"""The init stands alone: what it may import, and what importing it must not do."""

import ast
import subprocess
import sys

import reaperd
from reaperd import pid1
from tests.support.init_runs import PID1, PYTHON, ROOT

ALWAYS = {"_signal", "posix", "sys", "time"}
SELDOM = {
    "ctypes",
    "fcntl",
    "termios",
    "select",
    "_socket",
    "marshal",
    "binascii",
    "zlib",
    "_frozen_importlib_external",
}
FOR_TYPES = {"typing", "collections"}


def imported(node: ast.AST) -> set[str]:
    """Return the top-level names that an import statement names."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "reaperd").partition(".")[0]}
    return set()


def test_pid1_imports_little_and_nothing_of_ours() -> None:
    """Every import in the file, inside functions too, is one of a short list."""
    tree = ast.parse(PID1.read_text())
    names = set().union(*(imported(node) for node in ast.walk(tree)))
    assert names <= ALWAYS | SELDOM | FOR_TYPES
    at_start = set().union(*(imported(node) for node in tree.body))
    assert at_start == ALWAYS


def test_a_bare_interpreter_loads_no_heavy_module() -> None:
    """Running the file loads nothing over a bare interpreter's own modules but these."""
    script = (
        "import sys; before = set(sys.modules)\n"
        f"source = open({str(PID1)!r}).read()\n"
        "try: exec(compile(source, 'pid1', 'exec'), {'__name__': 'pid1', '__file__': 'pid1'})\n"
        "finally: print(sorted(set(sys.modules) - before))\n"
    )
    ended = subprocess.run(
        [PYTHON, "-I", "-S", "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert set(ast.literal_eval(ended.stdout)) <= ALWAYS


def test_the_version_is_the_packages() -> None:
    """pid1 repeats the version because it imports nothing; the two may not drift."""
    assert reaperd.__version__ == pid1.VERSION


def blocked(*command: str) -> int:
    """Return the signal mask that a command finds after it has imported reaperd."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    return int(ended.stdout.split()[-1], 16)


SHOW = "import reaperd, reaperd.pid1; print(open('/proc/self/status').read().split('SigBlk:')[1].split()[0])"


def test_importing_reaperd_blocks_no_signal() -> None:
    """A program that uses reaperd as a library keeps its mask, also when its own argument is init."""
    assert blocked(sys.executable, "-c", SHOW) == 0
    assert blocked(sys.executable, "-c", SHOW, "init") == 0


def test_a_script_of_another_name_keeps_its_mask(tmp_path_factory: object) -> None:
    """Nor does a script whose first argument is init, nor a module that imports us."""
    folder = tmp_path_factory.mktemp("scripts")  # type: ignore[attr-defined]  # pytest's own factory
    script = folder / "program.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{SHOW}\n")
    assert blocked(sys.executable, str(script), "init") == 0
    assert blocked("env", f"PYTHONPATH={folder}", sys.executable, "-m", "program", "init") == 0


def test_the_command_blocks_every_signal_as_it_starts(tmp_path_factory: object) -> None:
    """Started as `reaperd init` every signal is blocked once the package is imported."""
    folder = tmp_path_factory.mktemp("scripts")  # type: ignore[attr-defined]  # pytest's own factory
    script = folder / "reaperd"
    script.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{SHOW}\n")
    all_but_two = sum(1 << number - 1 for number in pid1.ALL - {9, 19})
    assert blocked(sys.executable, str(script), "init", "true") & all_but_two == all_but_two
    assert blocked(sys.executable, str(script), "status") == 0
