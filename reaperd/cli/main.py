"""The command line's own door: find the command, run it, and say in one voice what went wrong.

Commands are imported when they are called, so that `reaperd status` does not pay for what `zombies` needs.
A command returns its exit status; failures that a person can mend arrive here as `ReaperdError`.
"""

import errno
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Final, NoReturn

import click

from reaperd import __version__
from reaperd.cli.render import printable
from reaperd.errors import Exit, ReaperdError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# In the order of the help: section -> command -> (the module of reaperd.cli that defines it, its line there).
SECTIONS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "Services": {
        "status": ("status", "Show what services do, and why."),
        "why": ("why", "Say why a service does not run, and what is next."),
        "logs": ("logs", "Show what services have written into their files."),
        "events": ("events", "Show what the daemon did, and goes on doing."),
        "metrics": ("metrics", "Print what monitoring reads, in OpenMetrics."),
        "start": ("actions", "Start services, and what they require."),
        "stop": ("actions", "Stop services, with everything they started."),
        "restart": ("actions", "Stop services, then start them again."),
        "signal": ("signal", "Send services a signal."),
        "scale": ("scale", "Run more or fewer instances of a service."),
        "reload": ("reload", "Let the daemon, or services, read their configuration again."),
    },
    "The daemon": {
        "run": ("run", "Run the daemon in the foreground on a configuration."),
        "check": ("check", "Read a configuration and report every problem it has."),
        "import": ("import_", "Turn a supervisord.conf, Procfile or compose file into TOML."),
        "shutdown": ("actions", "Stop every service, then the daemon."),
    },
    "Processes and zombies": {
        "tree": ("tree", "Show processes by session and process group."),
        "zombies": ("zombies", "Find zombies, and who should have reaped them."),
        "reap": ("reap", "Clear zombies whose parents do not, gentlest remedy first."),
        "cure": ("cure", "Let a parent leave no more zombies."),
        "specimen": ("specimen", "Make a real zombie of one kind, to look at."),
    },
    "Containers": {
        "init": ("init", "Be the init of a container: run one command, reap everything."),
    },
    "This machine": {
        "doctor": ("doctor", "Say what this machine allows, and what is done instead."),
        "completion": ("completion", "Print what lets a shell complete commands and names."),
    },
}
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    name: command for section in SECTIONS.values() for name, command in section.items()
}
COMPLETE: Final = "_REAPERD_COMPLETE"  # in the environment: a shell asks, as click's scripts do
_WRITING: Final = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})  # write(2)
_INTERRUPTED: Final = 130  # 128 + SIGINT
_NOBODY_READS: Final = 141  # 128 + SIGPIPE: what a program without Python's handling would end with


class _Commands(click.Group):
    """All commands, none of them imported before it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"reaperd.cli.{COMMANDS[cmd_name][0]}")
        # One that Python has a keyword for stands there as PEP 8 has it, with an underscore after it.
        found = getattr(module, cmd_name, None) or getattr(module, f"{cmd_name}_")
        assert isinstance(found, click.Command), f"{cmd_name} is no command"
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        del ctx
        widest = max(map(len, COMMANDS))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:{widest}}", text) for name, (_, text) in commands.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Return the commands that begin so, without importing any, and the options."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only where a shell asks

        found = [
            CompletionItem(name, help=text)
            for name, (_, text) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one was probably meant."""
        is_known = not args or args[0] in COMMANDS or args[0].startswith("-")
        if not is_known and not ctx.resilient_parsing:
            # Imported here: only a mistake needs it.
            from reaperd.units import suggest  # noqa: PLC0415

            ctx.fail(f'there is no command "{printable(args[0])}"{suggest(args[0], COMMANDS)}')
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="reaperd %(version)s")
def reaperd() -> None:
    """Keep services running, be the init of a container, find and explain zombies.

    `reaperd COMMAND --help` says more about each command, with an example.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):  # None where the descriptor is closed
            stream.reconfigure(errors="backslashreplace")
    status = _guarded(sys.argv[1:] if arguments is None else list(arguments))
    _leave(status)


def _leave(status: int) -> NoReturn:
    """End as the kernel ends a process: an interpreter takes 10 ms to take itself apart, for nobody."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError, ValueError):  # what could not be written has been told
                stream.flush()
    os._exit(status)


def _guarded(arguments: list[str]) -> int:
    """Run a command and turn every way it can end into an exit status."""
    try:
        status = _complete() if COMPLETE in os.environ else _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()  # while an error can still be told
    except ReaperdError as error:
        _complain(error)
        return error.exit_status
    except (KeyboardInterrupt, click.Abort):
        return _INTERRUPTED
    except OSError as error:
        return _unwritten(error)
    return status


def _complete() -> int:
    """Answer a shell that asks what could come next: see cli/completion.py."""
    from click.shell_completion import shell_complete  # noqa: PLC0415 - only where a shell asks

    return shell_complete(reaperd, {}, "reaperd", COMPLETE, os.environ[COMPLETE])


def _run(arguments: list[str]) -> int:
    try:
        with reaperd.make_context("reaperd", arguments) as context:
            status = reaperd.invoke(context)
    except click.exceptions.Exit as leaving:  # --help and --version
        return leaving.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return status if isinstance(status, int) else Exit.OK


def _unwritten(error: OSError) -> int:
    """Return the exit status for output that could not be written; any other failure is a bug, and raised."""
    if error.errno not in _WRITING:
        raise error
    _silence()
    if error.errno == errno.EPIPE:
        return _NOBODY_READS
    _complain(ReaperdError(f"cannot write to standard output: {error.strerror}"))
    return Exit.FAILED


def _silence() -> None:
    """Let what is still in the buffers go nowhere: the interpreter flushes them once more when it ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def _complain(error: ReaperdError) -> None:
    """Print the message and the hint; both may hold text that others wrote."""
    lines = [f"reaperd: {error.message}", *([f"hint: {error.hint}"] if error.hint else [])]
    for line in "\n".join(lines).split("\n"):
        click.echo(printable(line), err=True)
