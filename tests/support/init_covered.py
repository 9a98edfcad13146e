"""Run pid1.py as `python3 -I -S pid1.py` would, in an interpreter that measures coverage.

Coverage wraps the exits in the module os; pid1 calls them in posix, so they are put there too.
"""

import os
import posix
import runpy
import sys

for _name in ("_exit", "execv"):
    setattr(posix, _name, getattr(os, _name))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
