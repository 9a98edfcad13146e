"""The cgroups of runs: where they are made, whom they hold, and what becomes of them."""

import errno
import os
import select
import signal
from pathlib import Path

import pytest

from reaperd.children import leaves
from reaperd.children.child import StageFailed
from reaperd.children.leaves import Leaves, find_place
from reaperd.errors import ReaperdError
from reaperd.kernel import cgroup, procfs
from tests.support.cgroups import own_cgroup, write
from tests.support.nursery import nursery
from tests.support.processes import call_in_process, fork_child, need_root, owned, sleep_forever, wait_gone


@pytest.fixture(autouse=True)
def _place() -> None:
    try:
        find_place()
    except ReaperdError as error:
        pytest.skip(error.message)


def _life() -> list[object]:
    with nursery(cgroups=True) as kids:
        ours = str(kids.children.cgroup)
        first, main = kids.start(["sleep", "1000"], name="web:1")
        inside = cgroup.pids(ours) == [main]
        (leaf,) = (each.name for each in os.scandir(ours) if each.is_dir())
        kids.children.kill(first)
        kids.wait_empty(first)
        gone = not Path(ours, leaf).exists()
        kids.start(["sleep", "1000"], name="web:1")
        (other,) = (each.name for each in os.scandir(ours) if each.is_dir())
    return [inside, leaf == f"web:1.{first}", gone, other != leaf, not Path(ours).exists()]


def test_each_run_has_a_leaf_of_its_own() -> None:
    """It holds the main process, goes with the run, is never used again, and the daemon's goes with it."""
    assert call_in_process(_life) == [True] * 5


def _as_nobody() -> list[bool]:
    with nursery(cgroups=True) as kids:
        _run_id, main = kids.start(["sleep", "1000"], user="65534", group="65534")
        status = procfs.read_status(main) or {}
        return [cgroup.pids(str(kids.children.cgroup)) == [main], status["Uid"].split() == ["65534"] * 4]


def test_who_gives_up_his_rights_is_inside_before() -> None:
    """The cgroup is entered while the daemon's rights are still there."""
    need_root()
    assert call_in_process(_as_nobody) == [True, True]


def _switched_off() -> list[object]:
    with nursery(cgroups=False) as kids:
        kids.start(["sleep", "1000"])
        return [kids.children.cgroup, kids.children.emptied_fd, cgroup.path_of(os.getpid())]


def test_they_can_be_switched_off() -> None:
    """Then runs stay in the daemon's own cgroup."""
    assert call_in_process(_switched_off) == [None, None, cgroup.path_of(os.getpid())]


def _stranger(pid: int) -> list[object]:
    with nursery(cgroups=True) as kids:
        run_id, main = kids.start(["sleep", "1000"])
        (leaf,) = (each.path for each in os.scandir(str(kids.children.cgroup)) if each.is_dir())
        fd = cgroup.open_procs(leaf)
        os.write(fd, b"%d" % pid)
        os.close(fd)
        members = sorted(stat.pid for stat in kids.children.members(run_id)) == sorted([main, pid])
        os.kill(main, signal.SIGKILL)
        wait_gone(main)
        kids.turn()
        emptied = kids.children.emptied_fd
        assert emptied is not None
        before = [kids.children.is_empty(run_id), bool(select.select([emptied], [], [], 0)[0])]
        kids.children.kill(run_id)
        wait_gone(pid)
        woken = bool(select.select([emptied], [], [], 20)[0])
        kids.children.drain_emptied()
        after = [kids.children.is_empty(run_id), bool(select.select([emptied], [], [], 0)[0])]
        kids.children.ended(run_id)
        return [members, before, woken, after]


def test_a_stranger_in_the_leaf_holds_the_run_until_he_ends() -> None:
    """He is another's child: his death is told by the cgroup alone, and wakes the poll once."""
    with owned(["sleep", "1000"]) as stranger:
        result = call_in_process(_stranger, stranger.pid)
    assert result == [True, [False, False], True, [True, False]]


def _taken_away() -> list[bool]:
    with nursery(cgroups=True) as kids:
        ours = str(kids.children.cgroup)
        assert cgroup.remove(ours)
        _run_id, main = kids.start(["sleep", "1000"])
        return [cgroup.pids(ours) == [main]]


def test_the_daemons_cgroup_is_made_again_where_somebody_removed_it() -> None:
    """Nothing lived in it, so nothing kept him."""
    assert call_in_process(_taken_away) == [True]


def _no_more() -> list[object]:
    with nursery(cgroups=True) as kids:
        write(f"{kids.children.cgroup}/cgroup.max.descendants", "0")
        _, failed = kids.try_start(["sleep", "1000"])
        write(f"{kids.children.cgroup}/cgroup.max.descendants", "max")
        kids.start(["sleep", "1000"])
        return [failed.stage, failed.errno] if isinstance(failed, StageFailed) else []


def test_a_cgroup_that_cannot_be_made_is_a_stage_that_failed() -> None:
    """The kernel allows no more: EAGAIN, and the next try works."""
    assert call_in_process(_no_more) == ["cgroup", errno.EAGAIN]


# --- what earlier daemons left --------------------------------------------------------------------------


def _leftovers(place: str) -> list[bool]:
    dead = fork_child(lambda: os._exit(0))
    wait_gone(dead)
    stat = procfs.read_stat(dead)
    assert stat is not None
    os.waitpid(dead, 0)
    us = procfs.read_stat(os.getpid())
    assert us is not None
    namespace = leaves._pid_namespace()
    names = [
        f"reaperd-{namespace}-{dead}-{stat.start_time}",
        f"reaperd-{namespace}-{us.pid}-{us.start_time + 1}",  # the pid is another's now
        f"reaperd-{namespace}-{us.ppid}-{procfs.read_stat(us.ppid).start_time}",  # type: ignore[union-attr] # our parent lives
        f"reaperd-{namespace - 1}-{dead}-{stat.start_time}",  # of a PID namespace that we cannot see
        "reaperd-elsewhere",
    ]
    for name in names:
        cgroup.make(f"{place}/{name}")
        cgroup.make(f"{place}/{name}/web.run.1")
    Leaves(place).close()
    return [Path(place, name).exists() for name in names]


def test_what_dead_daemons_left_is_removed_and_nothing_else() -> None:
    """Dead is who is gone, or whose number is another's by now; a neighbour behind a namespace is neither."""
    with own_cgroup() as place:
        assert call_in_process(_leftovers, place) == [False, False, True, True, True]


def _survivor(place: str) -> list[bool]:
    gone = f"{place}/reaperd-{leaves._pid_namespace()}-4194304-1"  # no pid is that large
    for name in ("", "/web.run.1", "/web.run.1/inner", "/db.run.2"):
        cgroup.make(gone + name)
    fd = cgroup.open_procs(f"{gone}/web.run.1")

    def body() -> None:
        cgroup.enter(fd)
        sleep_forever()

    child = fork_child(body)
    os.close(fd)
    while not cgroup.pids(gone):
        select.select([], [], [], 0.002)
    Leaves(place).close()
    facts = [Path(gone, "web.run.1/inner").exists(), not Path(gone, "db.run.2").exists()]
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return facts


def test_who_outlived_his_daemon_is_left_alone() -> None:
    """His leaf stays with all that he made in it; empty ones beside it go."""
    with own_cgroup() as place:
        assert call_in_process(_survivor, place) == [True, True]


# --- where they are not used ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "marked", "ours"),
    [
        ("web.service", "web.service", True),
        ("web.service", None, False),
        ("web.service/payload", "web.service", True),
        ("user.service/app.slice/web.scope", "user.service", False),
        ("plain", None, False),
    ],
)
def test_under_systemd_the_nearest_unit_must_be_given_to_us(
    path: str,
    marked: str | None,
    ours: bool,  # noqa: FBT001 - a table
) -> None:
    """Its mark counts; that of a unit further up says that another manager has it."""
    with own_cgroup() as place:
        made = place
        for name in path.split("/"):
            made += f"/{name}"
            cgroup.make(made)
        if marked is not None:
            try:
                os.setxattr(f"{place}/{marked}", "user.delegate", b"1")
            except OSError as error:
                pytest.skip(f"no user attributes on cgroups: {error.strerror}")
        assert leaves._is_given_to_us(made) is ours


def test_a_booted_systemd_that_gave_us_nothing_keeps_us_out() -> None:
    """The reason names whose it is, and the hint what would change that."""
    with pytest.raises(ReaperdError, match="is systemd's") as caught:
        find_place(booted=True)
    assert "Delegate=yes" in (caught.value.hint or "")


def test_a_threaded_place_takes_no_processes() -> None:
    """It is refused and left as it was."""
    with own_cgroup() as place:
        write(f"{place}/cgroup.type", "threaded")
        with pytest.raises(ReaperdError, match="divides threads"):
            Leaves(place)
        assert not [each for each in os.scandir(place) if each.is_dir()]


def _without_rights() -> list[object]:
    os.seteuid(65534)
    with nursery(cgroups=True) as kids:
        kids.start(["sleep", "1000"])
        return [kids.children.cgroup, kids.children.no_cgroup]


def test_a_plain_user_does_without() -> None:
    """Runs are followed by other means, and the reason is kept."""
    need_root()
    where, why = call_in_process(_without_rights)
    assert where is None
    assert "may not be written" in why
