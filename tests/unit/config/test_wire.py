"""A configuration on its way from one process to another."""

import os
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import pytest

from reaperd.config import spec
from reaperd.config.daemon_spec import DaemonSpec
from reaperd.config.parse import load
from reaperd.config.spec import Config, ServiceSpec
from reaperd.config.wire import pack, unpack
from reaperd.errors import ConfigError

ROOT = Path(__file__).parents[3]

EVERYTHING = """
[daemon]
socket = "/run/x.sock"
state_dir = "/var/lib/x"
shutdown_timeout = "1m"
log = { level = "debug", format = "json" }
control = { mode = "0660", read = ["0"], tcp = "127.0.0.1:9000", token_file = "/etc/token" }
forward_signals = { USR1 = ["web"] }

[service.web]
command = ["/bin/web", "--größe", "1"]
user = "0"
environment = { A = "b c" }
restart = "always"
backoff = { initial = "1s", factor = 3, jitter = 0.5 }
start_limit = { count = 3, interval = "1m" }
stop = { signal = "INT", timeout = "2s", scope = "main" }
ready = { tcp = "127.0.0.1:80" }
health = { http = "http://127.0.0.1/", action = "report" }
limits = { nofile = 1024 }
stdout = { file = "/var/log/web.log", max_size = "1MiB" }
stderr = "stdout"
essential = "exit"
zombies = { age = "5s", limit = 3 }
sockets = ["tcp://127.0.0.1:8080"]
instances = 2

[service.daily]
command = "/bin/true"
oneshot = true
schedule = { cron = "0 3 * * *", overlap = "queue" }
"""


def problems_of(path: Path) -> object:
    """Return what is wrong with a file."""
    with pytest.raises(ConfigError) as raised:
        load(path)
    return raised.value.problems


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/**/*.toml")), ids=lambda path: path.name)
def test_every_example_arrives_as_it_was(path: Path) -> None:
    """Or what is wrong with it on this machine does."""
    try:
        sent: Config | tuple[Any, ...] = load(path)
    except ConfigError as error:
        sent = error.problems
    assert unpack(pack(sent)) == sent


def test_every_kind_of_value_arrives(tmp_path: Path) -> None:
    """With its type: what is a float stays one, and enums are the enums' own members."""
    (tmp_path / "x.toml").write_text(EVERYTHING)
    sent = load(tmp_path / "x.toml")
    got = unpack(pack(sent))
    assert got == sent
    assert repr(got) == repr(sent)
    held = Counter(type(value).__name__ for each in sent.services for value in _values(each))
    assert {"LogFile", "TcpCheck", "Health", "StartLimit", "Schedule", "Zombies", "Essential"} <= held.keys()


def _values(record: object) -> list[object]:
    return [getattr(record, field.name) for field in fields(cast("Any", record))]


def test_problems_arrive(tmp_path: Path) -> None:
    """All of them, with their places."""
    (tmp_path / "x.toml").write_text('[service.web]\ncommand = 3\nrestrat = "always"\n')
    found = problems_of(tmp_path / "x.toml")
    assert isinstance(found, tuple)
    assert len(found) == 2
    assert unpack(pack(found)) == found


def test_services_share_what_is_alike() -> None:
    """A thousand of them hold one record of the same settings, and one text of the same name."""
    config = Config(
        Path("x"),
        DaemonSpec(Path("s"), Path("d")),
        tuple(ServiceSpec(f"s{n}", ("sleep", str(n // 100))) for n in range(200)),
    )
    got = unpack(pack(config))
    assert isinstance(got, Config)
    assert got == config
    assert len({id(each.stop) for each in got.services}) == 1
    assert len({id(each.command) for each in got.services}) == 2


def test_what_is_equal_and_differs_is_not_shared() -> None:
    """1 and 1.0 are written differently, whatever they compare as."""
    one, other = spec.Backoff(factor=2.0), replace(spec.Backoff(), factor=cast("float", 2))
    services = tuple(ServiceSpec(f"s{n}", ("x",), backoff=each) for n, each in enumerate((one, other)))
    got = unpack(pack(Config(Path("x"), DaemonSpec(Path("s"), Path("d")), services)))
    assert isinstance(got, Config)
    assert [repr(each.backoff.factor) for each in got.services] == ["2.0", "2"]


def test_what_is_no_configuration_is_refused() -> None:
    """A value that no key gives is a fault of ours, and said so where it is sent."""
    service = ServiceSpec("web", cast("tuple[str, ...]", (os.environ,)))
    with pytest.raises(ValueError, match="holds no _Environ"):
        pack(Config(Path("x"), DaemonSpec(Path("s"), Path("d")), (service,)))
