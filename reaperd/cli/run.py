"""reaperd run: become the daemon.

Reading the command line needs click; running services does not, and what is imported stays in memory for as
long as the daemon lives. So a fresh interpreter takes this one's place, with the same pid.
"""

import os
import sys
from pathlib import Path
from typing import Final

import click

import reaperd
from reaperd.cli.command import PATH, Command
from reaperd.errors import InternalError

_FLAGS: Final = (
    ("isolated", "-I"),
    ("ignore_environment", "-E"),
    ("no_user_site", "-s"),
    ("no_site", "-S"),
    ("dont_write_bytecode", "-B"),
)


@click.command(
    cls=Command,
    exits="0: asked to stop. 1: another daemon has the lock or the socket. 70: the daemon itself failed, or "
    "left a process behind. 78: the configuration cannot be used. Where an essential service ends the "
    "daemon, that service's own.",
    examples=("reaperd run -c /etc/reaperd.toml",),
)
@click.option("-c", "--config", required=True, metavar="FILE", type=PATH, help="What to run.")
def run(config: Path) -> int:
    """Run the daemon in the foreground on a configuration.

    SIGTERM or Ctrl-C stops every service in order, SIGHUP reads the configuration again.
    """
    command = daemon_command(config)
    try:
        os.execv(command[0], command)
    except OSError as error:
        raise InternalError(f"cannot execute {command[0]}: {error.strerror}") from error


def daemon_command(config: Path) -> list[str]:
    """Return the command line of a fresh interpreter, run as this one is, that becomes the daemon."""
    return [sys.executable, *_interpreter_flags(), "-m", "reaperd.daemon", "--", str(config)]


def _interpreter_flags() -> list[str]:
    flags = ["-O"] * sys.flags.optimize
    flags += [flag for name, flag in _FLAGS if getattr(sys.flags, name)]
    for option, value in sys._xoptions.items():  # noqa: SLF001  # documented, for all its underscore
        flags += ["-X", option if value is True else f"{option}={value}"]
    # -m would look for modules in the current directory first, where anybody may have left a json.py. Only
    # who runs from a checkout needs that, and trusts it already.
    if Path.cwd() != Path(reaperd.__file__).resolve().parents[1]:
        flags.append("-P")
    return flags
