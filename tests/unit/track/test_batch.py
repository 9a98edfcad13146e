"""A batch of the connector's messages, looked through beforehand."""

from reaperd.kernel import procconn
from reaperd.kernel.procconn import Event
from reaperd.track.batch import Batch


def fork(parent: int, child: int, tid: int | None = None) -> Event:
    """Return the message of a fork, or of a thread's start where a `tid` is given."""
    return (procconn.FORK, 0, 0, parent, parent, child if tid is None else tid, child, 0, 0)


def act(what: int, pid: int, tid: int | None = None) -> Event:
    """Return the message of something that a process does, or a thread of it."""
    return (what, 0, 0, pid if tid is None else tid, pid, 0, 0, 0, 0)


def exit_of(pid: int, tid: int | None = None) -> Event:
    """Return the message of an end."""
    return act(procconn.EXIT, pid, tid)


def test_one_who_is_born_and_ends_is_all_there() -> None:
    """Where its parent stays, or ends later."""
    assert Batch([fork(1, 2), exit_of(2)]).is_all_of(2, 1, 0)
    assert Batch([fork(1, 2), exit_of(2), exit_of(1)]).is_all_of(2, 1, 0)


def test_one_who_stays_is_not_all_there() -> None:
    """Nor is one who only ends here, or whose first thread does not."""
    assert not Batch([fork(1, 2)]).is_all_of(2, 1, 0)
    assert not Batch([exit_of(2), fork(1, 2)]).is_all_of(2, 1, 1)
    assert not Batch([fork(1, 2), exit_of(2, tid=3)]).is_all_of(2, 1, 0)


def test_whoever_does_more_is_not_all_there() -> None:
    """Each kind of message is more, threads included."""
    for more in (
        fork(2, 3),
        fork(1, 2, tid=3),
        act(procconn.EXEC, 2),
        act(procconn.SID, 2),
        act(procconn.COMM, 2),
    ):
        assert not Batch([fork(1, 2), more, exit_of(2)]).is_all_of(2, 1, 0), more


def test_an_orphan_is_not_all_there() -> None:
    """Its parent ended before it, so that somebody else reaped it."""
    assert not Batch([fork(1, 2), exit_of(1), exit_of(2)]).is_all_of(2, 1, 0)


def test_only_the_last_with_a_pid_is_all_there() -> None:
    """What was said of the earlier ones cannot be told from what was said of it."""
    batch = Batch([fork(1, 2), exit_of(2), fork(1, 2), exit_of(2)])
    assert not batch.is_all_of(2, 1, 0)
    assert batch.is_all_of(2, 1, 2)
    assert (batch.ends_later(2, 1), batch.ends_later(2, 3)) == (True, False)
    assert (batch.is_born_later(2, 1), batch.is_born_later(2, 2)) == (True, False)
    assert not batch.ends_later(9, -1)
