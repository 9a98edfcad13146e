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


def test_what_the_first_stage_knows_survives_its_way_through_the_command_line() -> None:
    """All that the second stage cannot find out is handed over as one word, whatever it is."""
    for place in pid1.PLACES:
        one = pid1.Init(pid1.Options(), frozenset(), 1)
        one.main, one.placement, one.in_foreground = 17, place, True
        one.stop_as = dict.fromkeys(pid1.STOPPING, 19)
        one.found_at_start = frozenset({5, 6})
        one.early = [(15, 0, 99), (10, -1, 7)]
        *parts, origin = pid1.knowledge(one, "/odd:path,\udcff/tini").split(b":", 3)
        other = pid1.Init(pid1.Options(), frozenset(), 1)
        pid1.learn(other, parts)
        for name in ("main", "placement", "in_foreground", "stops_with_main", "stop_as", "early"):
            assert getattr(other, name) == getattr(one, name), name
        assert other.found_at_start == one.found_at_start
        assert origin == b"/odd:path,\xff/tini"


@pytest.mark.parametrize("word", [b"", b"1", b"1:2:3", b"a,0,0::", b"1,9,0::", b"1,0,0::1,2"])
def test_what_the_first_stage_has_not_said_is_refused(word: bytes) -> None:
    """Anything else in place of that word is an error, not a crash."""
    with pytest.raises((ValueError, IndexError)):
        pid1.learn(pid1.Init(pid1.Options(), frozenset(), 1), word.split(b":"))
