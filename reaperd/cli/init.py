"""reaperd init, as the command line finds it: the entry point goes there without any of this."""

import click

import reaperd
from reaperd import pid1


@click.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def init(arguments: tuple[str, ...]) -> None:
    """Be the init of a container: run one command, forward signals to it, reap everything."""
    words = pid1.raw_arguments()
    pid1.from_script(reaperd.caller_mask, reaperd.caller_parent, words[len(words) - len(arguments) :])
