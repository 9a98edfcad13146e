"""Controllers of cgroups against the real kernel: whichever of them this machine has in version 2."""

import errno
from pathlib import Path

import pytest

from reaperd.errors import KernelError
from reaperd.kernel import cgroup, cgroup_control
from tests.support.cgroups import divisible_cgroup, own_cgroup, write
from tests.support.processes import owned


def test_those_below_have_what_they_are_given() -> None:
    """With its files, which take values; taken again the files are gone."""
    with divisible_cgroup() as (place, name, file):
        below = f"{place}/below"
        cgroup.make(below)
        assert name in cgroup_control.controllers(place)
        assert not Path(below, file).exists()
        cgroup_control.give(place, name)
        assert cgroup_control.given(place) == {name}
        cgroup_control.put(below, file, "4194304")
        assert Path(below, file).read_text() == "4194304\n"
        with pytest.raises(KernelError) as refused:
            cgroup_control.put(below, file, "no number")
        assert refused.value.errno == errno.EINVAL
        cgroup_control.take(place, name)
        assert not Path(below, file).exists()


def test_who_holds_processes_gives_nothing() -> None:
    """The kernel says EBUSY, until the last one has left."""
    with divisible_cgroup() as (place, name, _file), owned(["sleep", "1000"]) as process:
        cgroup.make(f"{place}/below")
        write(f"{place}/cgroup.procs", str(process.pid))
        with pytest.raises(KernelError) as refused:
            cgroup_control.give(place, name)
        assert refused.value.errno == errno.EBUSY
        write(f"{place}/below/cgroup.procs", str(process.pid))
        cgroup_control.give(place, name)


def test_what_is_not_there_is_not_given_and_has_no_files() -> None:
    """A controller of no such name, a file of one that is elsewhere, counts and pressure of who is gone."""
    with own_cgroup() as made:
        with pytest.raises(KernelError) as refused:
            cgroup_control.give(made, "nonesuch")
        assert refused.value.errno == errno.ENOENT
        with pytest.raises(KernelError) as refused:
            cgroup_control.put(made, "nonesuch.max", "1")
        assert refused.value.errno == errno.ENOENT
    assert cgroup_control.controllers(made) == frozenset()
    assert cgroup_control.counts(made, "memory.events") is None
    assert cgroup_control.pressure(made, "cpu") is None


def test_events_are_counted_and_pressure_is_a_share() -> None:
    """Of a cgroup in which nothing has happened; cgroup.events is there everywhere and looks like others."""
    with own_cgroup() as made:
        assert cgroup_control.counts(made, "cgroup.events") == {"populated": 0, "frozen": 0}
        if not Path(made, "cpu.pressure").exists():
            pytest.skip("this kernel measures no pressure: CONFIG_PSI")
        assert cgroup_control.pressure(made, "cpu") == 0.0
