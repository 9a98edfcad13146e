from typing import Any

import pytest

from reaperd.cli.status import verdict
from reaperd.errors import Exit


def item(state: str, **keys: Any) -> dict[str, Any]:
    """Return a row of a service that is wanted up."""
    return {"state": state, "want": "up", "next": None, "waits_for": [], **keys}


@pytest.mark.parametrize(
    ("row", "whole", "named"),
    [
        (item("running"), Exit.OK, Exit.OK),
        (item("starting"), Exit.OK, Exit.OK),
        (item("exited"), Exit.OK, Exit.NOT_RUNNING),
        (item("failed"), Exit.NOT_RUNNING, Exit.NOT_RUNNING),
        (item("backoff"), Exit.NOT_RUNNING, Exit.NOT_RUNNING),
        (item("stopped", want="down"), Exit.OK, Exit.NOT_RUNNING),
        (item("waiting", waits_for=["db"]), Exit.NOT_RUNNING, Exit.NOT_RUNNING),
        (item("waiting", next="2026-11-21T02:30:00.000Z"), Exit.OK, Exit.NOT_RUNNING),
        (
            item("waiting", next="2026-11-21T02:30:00.000Z", waits_for=["db"]),
            Exit.NOT_RUNNING,
            Exit.NOT_RUNNING,
        ),
    ],
)
def test_the_exit_status_says_whether_what_should_run_does(
    row: dict[str, Any], whole: Exit, named: Exit
) -> None:
    """Without names a job between two times is well and one that is held is not; by name what runs is."""
    assert verdict([row], named=False) is whole
    assert verdict([row], named=True) is named
    assert verdict([item("running"), row], named=False) is whole
