"""The kernel as the oracle of the model: random programs run on both, and /proc must show the model.

A failure tells its seed. To see it again, set REAPERD_ORACLE_SEED to that, and REAPERD_ORACLE_STEPS for other
than ten thousand steps.
"""

import os
import secrets
from typing import Final

import pytest

from tests.support.oracle_program import EVERY_OUTCOME, run_program
from tests.support.processes import call_in_pid_namespace

SEED: Final = os.environ.get("REAPERD_ORACLE_SEED")
STEPS: Final = int(os.environ.get("REAPERD_ORACLE_STEPS", "10000"))
PART_STEPS: Final = 1000  # in a namespace of their own
PARTS: Final = 1 if SEED else max(1, STEPS // PART_STEPS)


@pytest.mark.parametrize("part", range(PARTS))
def test_the_model_does_what_the_kernel_does(part: int) -> None:
    """After each of a thousand random calls, errors included, /proc, the model and the table agree."""
    seed = SEED or f"{secrets.token_hex(4)}-{part}"
    steps = STEPS if SEED else min(STEPS, PART_STEPS)
    outcomes = call_in_pid_namespace(
        run_program, seed, steps, 4 * steps, within_s=60 + steps / 10, is_storm=True
    )
    assert set(outcomes) >= EVERY_OUTCOME, f"seed {seed}: {sorted(EVERY_OUTCOME - set(outcomes))} never came"
