import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from reaperd.config import reference
from reaperd.config.keys import BACKOFF, SERVICE, STOP
from reaperd.config.report import Report, Site, Source
from reaperd.config.spec import Backoff, ServiceSpec, Stop
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


@pytest.mark.parametrize(
    ("keys", "spec"),
    [(SERVICE, ServiceSpec("x", ("x",))), (BACKOFF, Backoff()), (STOP, Stop())],
    ids=["service", "backoff", "stop"],
)
def test_the_documented_default_is_the_default(keys: tuple[Key, ...], spec: Any) -> None:
    """What a row says holds without the key is what the spec holds without it."""
    site = Site(Report(), Source(Path("/c.toml"), ""))
    for key in keys:
        default = getattr(spec, key.field or key.name)
        if key.default:
            assert key.kind.read(tomllib.loads(f"x = {key.default}")["x"], site) == default
        else:
            assert key.required or default is None or is_dataclass(default)


def test_every_field_of_a_spec_has_its_key() -> None:
    """Nothing can be set that no key sets."""
    for keys, spec, others in (
        (SERVICE, ServiceSpec, {"name"}),
        (BACKOFF, Backoff, set()),
        (STOP, Stop, set()),
    ):
        assert {key.field or key.name for key in keys} | others == {field.name for field in fields(spec)}
