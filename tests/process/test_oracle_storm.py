"""Storms of real processes, followed by looks alone.

A failure tells its seed, and REAPERD_ORACLE_SEED draws the same again; the races are the machine's own.
"""

import os
import secrets

from tests.support.oracle_storm import run_storms
from tests.support.processes import call_in_pid_namespace


def test_after_a_storm_the_table_is_what_the_kernel_shows() -> None:
    """Sound in the midst of forks, execs, daemons, threads and pids that come back, and right in the calm."""
    seed = os.environ.get("REAPERD_ORACLE_SEED") or secrets.token_hex(4)
    seen = call_in_pid_namespace(run_storms, seed, 3, 20, within_s=240, is_storm=True)
    assert seen["processes"] > 300, seen
    assert seen["reused"] > 0 or not seen["few"], seen
