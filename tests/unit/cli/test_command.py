import os
from pathlib import Path

import click
import pytest

from reaperd.cli.command import PATH
from reaperd.cli.main import COMMANDS, reaperd


def test_whoever_reads_a_path_says_that_it_may_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line lets every path through: "permission denied" and its hint come from who knows more."""
    path = tmp_path / "c.sock"
    path.touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert PATH.convert(str(path), None, None) == path


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_looks_at_a_path_by_itself(name: str) -> None:
    """Neither whether it is there nor whether it may be read."""
    command = reaperd.get_command(click.Context(reaperd), name)
    assert command is not None
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            assert not parameter.type.exists
            assert not parameter.type.readable


def test_the_daemons_help_names_each_status_that_it_leaves_with() -> None:
    """Those of the contract with whoever starts it: a unit, a container engine, a script."""
    command = reaperd.get_command(click.Context(reaperd), "run")
    assert command is not None
    text = " ".join(command.get_help(click.Context(command)).split())
    for said in (
        "0: asked to stop.",
        "1: another daemon has the lock or the socket.",
        "70: ",
        "78: ",
        "essential",
    ):
        assert said in text
