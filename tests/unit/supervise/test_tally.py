"""Children are counted, each once."""

from reaperd.supervise.tally import Tally


def test_an_orphan_is_counted_once_however_often_it_comes() -> None:
    """It comes as a stranger, and again when it is known whose it is."""
    tally = Tally()
    tally.came(7)
    tally.came(7)
    tally.orphan_ended(7)
    assert (tally.adopted, tally.reaped["orphan"]) == (1, 1)


def test_an_orphan_that_had_ended_when_it_came_is_counted_with_its_end() -> None:
    """Nobody saw it alive."""
    tally = Tally()
    tally.orphan_ended(7)
    assert (tally.adopted, tally.reaped["orphan"]) == (1, 1)


def test_a_pid_that_was_a_main_process_is_an_orphan_s_again() -> None:
    """An orphan may be named as the main process, and its pid be another orphan's after its end."""
    tally = Tally()
    tally.came(7)
    tally.main_ended(7)
    tally.came(7)
    tally.orphan_ended(7)
    assert (tally.adopted, dict(tally.reaped)) == (2, {"main": 1, "orphan": 1})
