"""The daemon with less patience for helpers than anybody would want, so that a test need not have it either.

Hooks have 0.3 s; a look for zombies, and whoever clears some, has 5.
"""

import sys

from reaperd import daemon
from reaperd.supervise import helpers, zombies

if __name__ == "__main__":
    helpers.PATIENCE_NS = 300_000_000  # type: ignore[misc]  # final for everybody but this
    zombies.LOOKING_NS = zombies.CLEARING_NS = 5_000_000_000  # type: ignore[misc]  # the same
    sys.exit(daemon.main())
