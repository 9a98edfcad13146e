"""Run reaperd as `python -m reaperd`."""

import sys

from reaperd.entry import main

sys.exit(main())
