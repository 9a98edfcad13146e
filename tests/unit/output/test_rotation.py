import gzip
import os
from pathlib import Path

import pytest

from reaperd.output import compress, rotation


def names(folder: Path) -> list[str]:
    """Return what is in a directory."""
    return sorted(each.name for each in folder.iterdir())


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with one line."""
    path = tmp_path / "web.log"
    path.write_text("now\n")
    return path


def test_a_number_is_used_once(log: Path) -> None:
    """The next file gets a number above all there are, also above one that was removed below them."""
    for text in ("a", "b", "c"):
        log.write_text(text)
        rotation.set_aside(str(log))
    assert names(log.parent) == ["web.log.000001", "web.log.000002", "web.log.000003"]
    assert Path(f"{log}.000003").read_text() == "c"
    rotation.prune(str(log), 1)
    log.write_text("d")
    rotation.set_aside(str(log))
    assert names(log.parent) == ["web.log.000003", "web.log.000004"]


def test_only_its_own_old_files_are_meant(log: Path) -> None:
    """A name that only looks like one is left alone."""
    others = ["web.log.1", "web.log.000001.bak", "web.log2.000001", "xweb.log.000001", "web.log.gz"]
    for name in others:
        (log.parent / name).touch()
    rotation.prune(str(log), 0)
    assert names(log.parent) == sorted([*others, "web.log"])
    assert rotation.old_files(str(log)) == []


def test_a_part_of_a_compressed_file_is_no_file_and_goes_with_its_number(log: Path) -> None:
    """It was left behind by somebody who was killed."""
    Path(f"{log}.000001.gz.part").touch()
    Path(f"{log}.000002").touch()
    assert [old.paths for old in rotation.old_files(str(log))] == [(), (f"{log}.000002",)]
    rotation.prune(str(log), 1)
    assert names(log.parent) == ["web.log", "web.log.000002"]


def test_old_files_are_compressed_with_their_times_and_modes(log: Path) -> None:
    """The log itself is left alone."""
    old = Path(f"{log}.000001")
    old.write_text("then\n")
    old.chmod(0o604)
    os.utime(old, (1_000_000_000, 1_000_000_000))
    assert compress.main([str(log)]) == 0
    packed = Path(f"{old}.gz")
    assert names(log.parent) == ["web.log", packed.name]
    assert gzip.decompress(packed.read_bytes()) == b"then\n"
    assert (packed.stat().st_mtime, packed.stat().st_mode & 0o7777) == (1_000_000_000, 0o604)
    assert [old.paths for old in rotation.old_files(str(log))] == [(str(packed),)]


def test_compression_that_was_interrupted_is_completed(log: Path) -> None:
    """A part is written anew, and an original that has its compressed form is removed."""
    Path(f"{log}.000001").write_text("one\n")
    Path(f"{log}.000001.gz.part").write_text("half")
    Path(f"{log}.000002").write_text("two\n")
    Path(f"{log}.000002.gz").write_bytes(gzip.compress(b"two\n"))
    assert compress.main([str(log)]) == 0
    assert names(log.parent) == ["web.log", "web.log.000001.gz", "web.log.000002.gz"]
    assert gzip.decompress(Path(f"{log}.000001.gz").read_bytes()) == b"one\n"


def test_what_cannot_be_compressed_stays_as_it_is(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says why, and goes on with the others."""
    Path(f"{log}.000001").write_text("one\n")
    Path(f"{log}.000001.gz.part").mkdir()
    other = log.with_name("db.log")
    Path(f"{other}.000001").write_text("one\n")
    assert compress.main([str(log), str(other)]) == 1
    assert "cannot compress the old files of" in capsys.readouterr().err
    assert Path(f"{log}.000001").read_text() == "one\n"
    assert Path(f"{other}.000001.gz").exists()
