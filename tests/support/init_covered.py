"""Run pid1.py as `python3 -I -S pid1.py` would, in an interpreter that measures coverage.

Coverage wraps how a process ends in the module os; pid1 ends by posix, so the wrappers are put there too, and
again in each forked child, for which coverage starts anew.
"""

import os
import posix
import runpy
import sys


def _share() -> None:
    """Let posix end a process as os does."""
    for name in ("_exit", "execv"):
        setattr(posix, name, getattr(os, name))


_share()
os.register_at_fork(after_in_child=_share)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
