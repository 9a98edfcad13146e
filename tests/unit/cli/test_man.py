import re
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from reaperd.cli.main import COMMANDS, reaperd
from reaperd.errors import Exit
from tests.support.processes import ROOT

PAGE = (ROOT / "docs/man/reaperd.8").read_text()
REFERENCE = (ROOT / "docs/reference/cli.md").read_text()
INIT_GUIDE = ROOT / "docs/how-to/container.md"  # the init has no configuration
GUIDES = sorted((ROOT / "docs/how-to").glob("*.md"))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_manual_page_names_every_command(command: str) -> None:
    """Each command has an entry of its own."""
    commands = PAGE.partition(".SH COMMANDS")[2].partition(".SH OPTIONS")[0]
    assert re.search(rf'^\.(TP\n\.)?B[IR]? "?{command}\b', commands, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"init"}))  # whose page is reaperd-init(1)
def test_the_pages_name_every_option(name: str) -> None:
    """Where its command is told of, in the manual page or the reference, or among those that many share."""
    told = f"{_in_the_manual(name)}\n{_in_the_reference(name)}"
    command = reaperd.get_command(click.Context(reaperd), name)
    assert command is not None
    options = [each for each in command.params if isinstance(each, click.Option)]
    missing = [
        option.opts
        for option in options
        for names in (option.opts, option.secondary_opts)
        if names and not any(re.search(rf"(?<![\w-]){each}(?![\w-])", told) for each in names)
    ]
    assert missing == []


def _in_the_manual(name: str) -> str:
    page = PAGE.replace("\\-", "-")
    shared = page.partition(".SH OPTIONS")[2].partition(".SH SHELL")[0]
    commands = page.partition(".SH COMMANDS")[2].partition(".SH OPTIONS")[0]
    own = [each for each in commands.split(".TP\n") if re.match(rf'\.B[IR]? "?{name}\b', each)]
    return "\n".join([shared, *own])


def _in_the_reference(name: str) -> str:
    shared = REFERENCE.partition("## Options of")[2].partition("\n## ")[0]
    rows = [line for line in REFERENCE.splitlines() if line.startswith(f"| `reaperd {name}")]
    paragraphs = [each for each in REFERENCE.split("\n\n") if not each.startswith("| command |")]
    own = [each for each in paragraphs if re.search(rf"`(?:reaperd )?{name}\b", each)]
    return "\n".join([shared, *rows, *own])


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
