import re
from collections.abc import Callable
from pathlib import Path

import pytest

from reaperd.cli.main import COMMANDS
from reaperd.errors import Exit
from tests.support.processes import ROOT

PAGE = (ROOT / "docs/man/reaperd.8").read_text()
INIT_GUIDE = ROOT / "docs/how-to/container.md"  # the init has no configuration
GUIDES = sorted((ROOT / "docs/how-to").glob("*.md"))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_manual_page_names_every_command(command: str) -> None:
    """Each command has an entry of its own."""
    commands = PAGE.partition(".SH COMMANDS")[2].partition(".SH OPTIONS")[0]
    assert re.search(rf'^\.(TP\n\.)?B[IR]? "?{command}\b', commands, re.MULTILINE)


@pytest.mark.parametrize("status", Exit)
def test_the_manual_page_names_every_exit_status(status: Exit) -> None:
    """Each exit status that a command can leave with is explained."""
    statuses = PAGE.partition(".SH EXIT STATUS")[2].partition(".SH ENVIRONMENT")[0]
    assert re.search(rf"^\.B {status.value}$", statuses, re.MULTILINE)


@pytest.mark.parametrize("guide", [path for path in GUIDES if path != INIT_GUIDE], ids=lambda path: path.name)
def test_what_the_guides_configure_can_be_used(guide: Path, tmp_path: Path) -> None:
    """Every piece of configuration in a guide is accepted as it stands."""
    from reaperd.config.parse import load  # noqa: PLC0415 - slow, and only this test needs it

    pieces: list[str] = re.findall(r"```toml\n(.*?)```", guide.read_text(), re.DOTALL)
    assert pieces
    for number, piece in enumerate(pieces):
        source = tmp_path / f"{number}.toml"
        source.write_text(piece)
        assert load(source).services


@pytest.mark.parametrize("read", [lambda: PAGE, *(path.read_text for path in GUIDES)])
def test_commands_that_pages_show_exist(read: Callable[[], str]) -> None:
    """A page shows only commands that there are."""
    shown = re.findall(r"^[$#] reaperd (\w+)", read(), re.MULTILINE)
    assert set(shown) <= set(COMMANDS)
