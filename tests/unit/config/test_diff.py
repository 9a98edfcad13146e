from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from reaperd.config.daemon_spec import DaemonSpec
from reaperd.config.diff import Diff, diff
from reaperd.config.spec import Config, ServiceSpec

DAEMON = DaemonSpec(Path("/s"), Path("/state"))


def config(**commands: str) -> Config:
    """Return a configuration with a service for each command."""
    services = tuple(ServiceSpec(name, (command,)) for name, command in commands.items())
    return Config(Path("/c.toml"), DAEMON, services)


def test_each_service_is_in_its_place() -> None:
    """Added, removed, changed and unchanged are told apart, in the order of the files."""
    assert diff(config(a="1", b="1", c="1", x="1"), config(c="2", d="1", b="1")) == Diff(
        added=("d",), removed=("a", "x"), changed=("c",), unchanged=("b",)
    )


def test_a_change_of_the_daemon_is_named_by_its_key() -> None:
    """What a reload cannot apply to a running daemon is told by name."""
    old = config(a="1")
    new = replace(old, daemon=replace(DAEMON, socket=Path("/other")))
    assert diff(old, new) == Diff((), (), (), ("a",), daemon=("socket",))


_configs = st.dictionaries(st.sampled_from("abcde"), st.sampled_from("12")).map(lambda made: config(**made))


@given(_configs, _configs)
def test_every_service_is_in_exactly_one_place(old: Config, new: Config) -> None:
    """The four parts are a partition of all names, whatever the configurations."""
    found = diff(old, new)
    names = sorted(found.added + found.removed + found.changed + found.unchanged)
    assert names == sorted({spec.name for spec in old.services + new.services})
    assert diff(new, old).added == found.removed
