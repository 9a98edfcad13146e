"""The daemon with less patience for hooks than anybody would want, so that a test need not have it either."""

import sys

from reaperd import daemon
from reaperd.supervise import helpers

if __name__ == "__main__":
    helpers.PATIENCE_NS = 300_000_000  # type: ignore[misc]  # final for everybody but this
    sys.exit(daemon.main())
