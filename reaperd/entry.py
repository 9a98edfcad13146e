"""Choose between init and the command line before importing either.

An init must start in a bare interpreter's time; the command line takes ten times that. So this file reads the
command's name and its first word, and only then imports.
"""

# ruff: noqa: PLC0415 - to import late is what this file is for

import gc
import sys

import reaperd

_OBJECTS = 50_000  # made and kept between two searches for cycles of garbage

TYPE_CHECKING = False  # as type checkers understand it; importing typing costs 9 ms
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> int:
    """Run the command that the arguments ask for; return its exit status."""
    name = sys.argv[0].rpartition("/")[2]
    if name in ("tini", "docker-init", "dumb-init", "catatonit"):
        _init(skip=0)
    if sys.argv[1:2] == ["init"]:
        _init(skip=1)
    # What is imported lives to the end: looking through it every 700 objects, as is the default, costs 10 ms.
    gc.set_threshold(_OBJECTS)
    if sys.argv[1:2] == ["zombies"] and not {"--help", "-h"} & {*sys.argv}:
        from reaperd.zombies import candidates

        candidates.begin()
    from reaperd.cli.main import main as command_line

    return command_line()


def _init(*, skip: int) -> "NoReturn":
    """Become the init, in two stages: see pid1.from_script."""
    from reaperd import pid1

    pid1.from_script(reaperd.caller_mask, reaperd.caller_parent, pid1.raw_arguments()[skip:])


if __name__ == "__main__":
    sys.exit(main())
