"""Storms of real processes, followed live: by looks in a PID namespace, by the connector outside of one.

A failure tells its seed, and REAPERD_ORACLE_SEED draws the same again; the races are the machine's own.
"""

import os
import secrets
from typing import Final

import pytest

from tests.support.oracle_storm import run_connected_storms, run_watched_storms
from tests.support.processes import call_in_pid_namespace, call_in_process, need_connector

ROOMY: Final = 64 * 1024 * 1024
TIGHT: Final = 256 * 1024
TINY: Final = 16 * 1024  # a message takes 832 bytes


def seed() -> str:
    """Return what decides who does what."""
    return os.environ.get("REAPERD_ORACLE_SEED") or secrets.token_hex(4)


def test_after_a_storm_a_model_that_looks_is_what_the_kernel_shows() -> None:
    """Sound in the midst of forks, execs, daemons, threads and pids that come back, and right in the calm."""
    seen = call_in_pid_namespace(run_watched_storms, seed(), 3, 20, within_s=240, is_storm=True)
    assert seen["processes"] > 300, seen
    assert seen["reused"] > 0 or not seen["few"], seen


@pytest.mark.parametrize("buffer_bytes", [ROOMY, TIGHT, TINY])
def test_after_a_storm_a_model_that_hears_is_what_the_kernel_shows(buffer_bytes: int) -> None:
    """The same by the process connector, whether it loses hardly any, some or most messages of the storm."""
    need_connector()
    seen = call_in_process(run_connected_storms, seed(), 2, 25, buffer_bytes, within_s=240, is_storm=True)
    assert seen["processes"] > 300, seen
    # A storm alone does not fill the roomy one; the rest of the machine may.
    assert seen["losses"] > 0 or buffer_bytes != TINY, seen
    assert seen["reused"] > 0 or os.geteuid() != 0, seen  # who may not choose pids has to meet one again
