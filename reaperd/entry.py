"""Choose between init and the command line before importing either.

An init must start in a bare interpreter's time; the command line takes ten times that. So this file reads the
command's name and its first word, and only then imports.
"""

# ruff: noqa: PLC0415 - to import late is what this file is for

import sys

import reaperd


def main() -> int:
    """Run the command that the arguments ask for; return its exit status."""
    name = sys.argv[0].rpartition("/")[2]
    if name in ("tini", "docker-init", "dumb-init", "catatonit"):
        return _init(skip=0)
    if sys.argv[1:2] == ["init"]:
        return _init(skip=1)
    from reaperd.cli.main import main as command_line

    return command_line()


def _init(*, skip: int) -> int:
    """Become the init, by replacing this process: two stages, see pid1.hand_over."""
    from reaperd import pid1

    mask = reaperd.caller_mask
    if mask is None:
        # Called as a function by a program of another name: block now what the import could not.
        import _signal  # type: ignore[import-not-found]  # has no stub

        mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    return pid1.hand_over(frozenset(mask), pid1.raw_arguments()[skip:])


if __name__ == "__main__":
    sys.exit(main())
