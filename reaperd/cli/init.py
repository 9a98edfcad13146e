"""reaperd init, for the help: the entry point starts the init itself, before any of this is imported."""

import os
import sys
from pathlib import Path

import click

import reaperd


@click.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def init(arguments: tuple[str, ...]) -> int:
    """Be the init of a container: run one command, forward signals to it, reap everything."""
    program = Path(reaperd.__file__).with_name("pid1.py")
    os.execv(sys.executable, [sys.executable, "-I", "-S", str(program), *arguments])
