"""reaperd completion: print what lets a shell complete commands, options and the names of services.

The script asks `reaperd` itself at each key, by a variable in its environment (cli/main.py), so that it need
not be printed again when commands or services change.
"""

from typing import Final

import click
from click.shell_completion import ShellComplete, get_completion_class

from reaperd.cli.command import Command
from reaperd.cli.main import COMPLETE, reaperd
from reaperd.cli.render import put
from reaperd.errors import Exit

# Without this bash would take worker:1 for three words; other programs' completions do the same.
_ONE_WORD: Final = "COMP_WORDBREAKS=${COMP_WORDBREAKS//:}\n"

SHELLS: Final = ("bash", "zsh", "fish")


@click.command(
    cls=Command,
    exits="0: printed.",
    examples=(
        'eval "$(reaperd completion bash)"     # in ~/.bashrc',
        'eval "$(reaperd completion zsh)"      # in ~/.zshrc, after compinit',
        "reaperd completion fish | source      # in ~/.config/fish/config.fish",
    ),
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> int:
    """Print the script with which SHELL completes commands, options and the names of services.

    Names come from the daemon that the command line would ask, or from none within half a second.
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click has all of these"
    # The script alone: bash's own method would first run a bash to ask for its version.
    put(ShellComplete.source(kind(reaperd, {}, "reaperd", COMPLETE)))
    if shell == "bash":
        put(_ONE_WORD)
    return Exit.OK
