"""Changes of the model as events of a stream."""

from typing import get_args

from reaperd.model import ProcessKey, changes
from reaperd.track.tidings import NAMES, tiding

ONE = ProcessKey(7, 100)
OTHER = ProcessKey(1, 1)


def test_every_kind_of_change_has_a_name_of_its_own() -> None:
    """None can come to the stream that has none, and no two look alike."""
    assert set(NAMES) == set(get_args(changes.Change))
    assert len(set(NAMES.values())) == len(NAMES)


def test_processes_are_told_by_their_pids() -> None:
    """The one it is about by its start time, too."""
    assert tiding(changes.Reparented(ONE, None, OTHER)) == (
        "process.reparented",
        {"pid": 7, "start_time": 100, "old": None, "new": 1},
    )


def test_a_name_of_any_bytes_is_text() -> None:
    """What no encoding explains is spelt out."""
    _name, keys = tiding(changes.Renamed(ONE, "a\udcff", "b"))
    assert keys["old"] == "a\\xff"
