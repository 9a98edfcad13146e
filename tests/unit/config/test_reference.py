import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from reaperd.config import reference
from reaperd.config.checks import HEALTH
from reaperd.config.control import CONTROL
from reaperd.config.daemon_keys import DAEMON, LOG
from reaperd.config.daemon_spec import Control, DaemonSpec, Log
from reaperd.config.keys import BACKOFF, RELOAD, SERVICE, START_LIMIT, STOP, ZOMBIES
from reaperd.config.report import Report, Site, Source
from reaperd.config.schedules import SCHEDULE
from reaperd.config.spec import (
    Backoff,
    Every,
    Health,
    Reload,
    Schedule,
    ServiceSpec,
    StartLimit,
    Stop,
    TcpCheck,
    Zombies,
)
from reaperd.config.table import Key

DOCS = Path(__file__).parents[3] / "docs"
PAGES = (DOCS / "reference/configuration.md", DOCS / "man/reaperd.toml.5")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_pages_say_what_the_table_says(page: Path) -> None:
    """Reference and manual page are not stale; the named command writes them anew."""
    text = page.read_text()
    fresh = reference.refreshed(text, is_man=page.suffix != ".md")
    assert text == fresh, f"run: python -m reaperd.config.reference {page}"


def test_the_command_writes_the_pages(tmp_path: Path) -> None:
    """A page without its tables gets them."""
    page = tmp_path / "page.md"
    page.write_text("the keys of it\n<!-- keys of daemon -->\nold\n<!-- end of keys -->\nafter\n")
    reference.main([str(page)])
    text = page.read_text()
    assert "| `socket` |" in text
    assert "old" not in text
    assert text.endswith("<!-- end of keys -->\nafter\n")


def test_no_line_of_the_manual_page_is_taken_for_a_request() -> None:
    """A text that begins with a dot is printed, not obeyed."""
    assert reference._roff(".x") == "\\&.x"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_key_is_in_every_page(page: Path) -> None:
    """No key is without a row."""
    text = page.read_text()
    for keys in reference.TABLES.values():
        for name, _ in reference.rows(keys):
            assert f"`{name}`" in text or f".B {name}\n" in text


RECORDS: list[tuple[tuple[Key, ...], Any, set[str]]] = [
    (SERVICE, ServiceSpec("x", ("x",)), {"name", "base", "instance"}),
    (DAEMON, DaemonSpec(Path("/s"), Path("/d")), set()),
    (LOG, Log(), set()),
    (CONTROL, Control(), set()),
    (BACKOFF, Backoff(), set()),
    (START_LIMIT, StartLimit(), set()),
    (STOP, Stop(), set()),
    (RELOAD, Reload(), set()),
    (HEALTH, Health(TcpCheck("h", 1)), {"check"}),
    (ZOMBIES, Zombies(), set()),
    (SCHEDULE, Schedule(Every(1)), {"when"}),
]
NOT_IN_SPEC = {"instances", "environment_files", "include", "tcp", "http", "exec", "cron", "every"}
IDS = [type(record).__name__ for _, record, _ in RECORDS]


@pytest.mark.parametrize(("keys", "record", "_others"), RECORDS, ids=IDS)
def test_the_documented_default_is_the_default(keys: tuple[Key, ...], record: Any, _others: set[str]) -> None:
    """What a row says holds without the key is what the spec holds without it."""
    site = Site(Report(), Source(Path("/c.toml"), ""))
    for key in keys:
        default = getattr(record, key.field or key.name, None)
        if key.default and key.name not in NOT_IN_SPEC:
            assert key.kind.read(tomllib.loads(f"x = {key.default}")["x"], site) == default
        else:
            assert key.required or not default or is_dataclass(default) or key.name in {"socket", "state_dir"}


@pytest.mark.parametrize(("keys", "record", "others"), RECORDS, ids=IDS)
def test_every_field_of_a_spec_has_its_key(keys: tuple[Key, ...], record: Any, others: set[str]) -> None:
    """Nothing can be set that no key sets, and no key sets nothing."""
    names = {key.field or key.name for key in keys}
    declared = {field.name for field in fields(record)}
    assert declared <= names | others
    assert names - declared <= NOT_IN_SPEC
