import json
import os
from pathlib import Path

import pytest

from reaperd import pid1
from tests.support.init_runs import PID1


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the init's source that the module takes for its own."""
    copy = tmp_path / "pid1.py"
    copy.write_bytes(PID1.read_bytes())
    monkeypatch.setattr(pid1, "__file__", str(copy))
    return copy


def test_the_lean_file_is_made_once(source: Path) -> None:
    """Without a compiled file the source is named; once made, the compiled one is, and not made again."""
    assert pid1.lean_file() == str(source)
    compiled = pid1.make_lean_file()
    assert Path(compiled).parent == source.parent / "__pycache__"
    before = Path(compiled).stat().st_mtime_ns
    assert pid1.make_lean_file() == pid1.lean_file() == compiled
    assert Path(compiled).stat().st_mtime_ns == before


def test_a_folder_that_cannot_be_written_to(source: Path) -> None:
    """Where nothing can be written the source is started from."""
    (source.parent / "__pycache__").write_text("in the way")
    assert pid1.make_lean_file() == str(source)


def test_install_from_a_package(source: Path) -> None:
    """Both files are written, and from either of them the source is found again."""
    target = source.parent / "init"
    assert pid1.install(str(target)) == f"{target}.pyc"
    assert pid1.own_source() == source.read_bytes()
    assert sorted(path.name for path in source.parent.iterdir()) == ["init", "init.pyc", "pid1.py"]
    assert os.access(target, os.X_OK)


def test_the_installed_files_know_themselves(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as PATH or PATH.pyc, the faster of both is the lean file, and the source is that of PATH."""
    target = source.parent / "init"
    pid1.install(str(target))
    for name in (str(target), f"{target}.pyc"):
        monkeypatch.setattr(pid1, "__file__", name)
        assert pid1.make_lean_file() == f"{target}.pyc"
        assert pid1.own_source() == source.read_bytes()


def test_an_interpreter_that_no_first_line_can_name(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path with a blank cannot stand in a first line: an error, and nothing is written."""
    monkeypatch.setattr(pid1, "interpreter", lambda: "/my python/bin/python3")
    with pytest.raises(ValueError, match="first line"):
        pid1.install(str(source.parent / "init"))
    assert [path.name for path in source.parent.iterdir()] == ["pid1.py"]


def test_the_entrypoint_line_is_json(source: Path) -> None:
    """Whatever the path, the words after ENTRYPOINT are a JSON array of them."""
    odd = f'{source.parent}/a "b" \\c'
    words = json.loads(pid1.entrypoint_line(odd).removeprefix("ENTRYPOINT "))
    assert words[1:] == ["-I", "-S", odd, "--"]


def test_a_mask_survives_its_way_through_the_command_line() -> None:
    """The caller's mask is handed from one stage to the next as one word."""
    for mask in (frozenset[int](), frozenset({1, 15, 34, 64}), pid1.ALL):
        assert pid1.text_to_mask(pid1.mask_to_text(mask)) == mask
