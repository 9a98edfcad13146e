import errno
import fcntl
import os
from pathlib import Path

import pytest

from reaperd.errors import ReaperdError
from reaperd.supervise.state import lock


def test_a_lock_keeps_a_second_daemon_out(tmp_path: Path) -> None:
    """Who holds it is told, and its descriptor does not reach programs."""
    fd = lock(tmp_path / "a" / "b")
    assert not os.get_inheritable(fd)
    with pytest.raises(ReaperdError, match="another daemon holds it") as refused:
        lock(tmp_path / "a" / "b")
    assert f"pid {os.getpid()} " in str(refused.value.hint)
    os.close(fd)


def test_a_lock_ends_with_its_descriptor(tmp_path: Path) -> None:
    """Whatever ended its holder, and whatever the file says."""
    (tmp_path / "lock").write_text("999999999999999999999\n")
    os.close(lock(tmp_path))
    os.close(lock(tmp_path))
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_holder_that_wrote_no_pid_is_unknown(tmp_path: Path) -> None:
    """Nothing in the file is trusted."""
    fd = lock(tmp_path)
    (tmp_path / "lock").write_bytes(b"\xff\x1b[2J")
    with pytest.raises(ReaperdError) as refused:
        lock(tmp_path)
    assert str(refused.value.hint).startswith("daemon of unknown pid runs on it")
    os.close(fd)


def test_a_lock_is_not_taken_through_a_symbolic_link(tmp_path: Path) -> None:
    """In a directory that others may write, it could name any file, which would then be emptied."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "lock").symlink_to(victim)
    with pytest.raises(ReaperdError, match="cannot open"):
        lock(tmp_path)
    assert victim.read_text() == "precious"


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """Is an error with a hint."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ReaperdError, match=r"cannot open .*Not a directory") as refused:
        lock(tmp_path / "file" / "state")
    assert "state_dir" in str(refused.value.hint)


def _no_locks(_fd: int, _how: int) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is an error for a person too, and leaves no descriptor open."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(fcntl, "flock", _no_locks)
    with pytest.raises(ReaperdError, match="cannot lock"):
        lock(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
