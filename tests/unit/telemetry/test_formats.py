import json
import os
from pathlib import Path

import pytest

from reaperd.telemetry.logs import Format, open_log

INFO, WARNING, ERROR = "service.stopped", "service.killing", "service.stuck"


def lines(path: Path, how: Format, level: str = "info") -> list[str]:
    """Return what a log of this kind writes of one event of each level."""
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        log = open_log(how, level, fd, address=str(path.with_name("no-journal")))
        for name in (INFO, WARNING, ERROR):
            log(name, service="web")
    finally:
        os.close(fd)
    return path.read_text().splitlines()


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", [INFO, WARNING, ERROR]),
        ("info", [INFO, WARNING, ERROR]),
        ("warning", [WARNING, ERROR]),
        ("error", [ERROR]),
    ],
)
def test_a_level_leaves_out_what_is_less(level: str, written: list[str], tmp_path: Path) -> None:
    """What is as bad, or worse, is written."""
    assert [json.loads(line)["event"] for line in lines(tmp_path / "log", Format.JSON, level)] == written


def test_lines_for_the_journal_begin_with_their_priority(tmp_path: Path) -> None:
    """As sd-daemon(3) has it; what follows is the same JSON."""
    found = lines(tmp_path / "log", Format.JOURNAL)
    assert [line[:3] for line in found] == ["<6>", "<4>", "<3>"]
    assert [json.loads(line[3:])["event"] for line in found] == [INFO, WARNING, ERROR]


def test_the_journal_gets_its_own_where_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so by device and inode; anything else that is no terminal gets JSON."""
    path = tmp_path / "log"
    path.touch()
    found = path.stat()
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    assert lines(path, Format.AUTO)[0].startswith('<6>{"')
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino + 1}")
    assert lines(path, Format.AUTO)[0].startswith('{"')


def test_the_console_is_for_people(tmp_path: Path) -> None:
    """Asked for, it is written to a file too, without colours."""
    assert "service.stopped" in lines(tmp_path / "log", Format.CONSOLE)[0]
    assert "\x1b" not in lines(tmp_path / "log", Format.CONSOLE)[0]
