import os
import select
from pathlib import Path

from reaperd.kernel import inotify


def changed(fd: int) -> bool:
    """Tell whether something was told, and forget it."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    told = bool(poll.poll(0))
    inotify.drain(fd)
    return told


def test_changes_of_a_directory_are_told(tmp_path: Path) -> None:
    """What is written, made or moved there; nothing before it was asked for, nothing twice."""
    fd = inotify.open_notices()
    try:
        (tmp_path / "a").touch()
        assert not changed(fd)
        assert inotify.notice(fd, str(tmp_path))
        assert inotify.notice(fd, str(tmp_path))
        assert not changed(fd)
        (tmp_path / "a").write_text("x")
        assert changed(fd)
        (tmp_path / "a").rename(tmp_path / "b")
        assert changed(fd)
        (tmp_path / "c").touch()
        assert changed(fd)
        assert not changed(fd)
    finally:
        os.close(fd)


def test_what_is_no_directory_is_not_watched(tmp_path: Path) -> None:
    """An answer, not an error: it may come."""
    fd = inotify.open_notices()
    try:
        assert not inotify.notice(fd, str(tmp_path / "none"))
        (tmp_path / "file").touch()
        assert not inotify.notice(fd, str(tmp_path / "file"))
    finally:
        os.close(fd)
