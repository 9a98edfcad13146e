import json
from pathlib import Path
from typing import Any

from reaperd.config.parse import load
from reaperd.config.reference import TABLES
from reaperd.config.resolved import resolved

FULL = """
[daemon]
socket = "/s"
state_dir = "/d"
shutdown_timeout = "1m"
forward_signals = { USR1 = ["web"] }
[service.web]
command = ["web", "${SERVICE}"]
instances = 1
umask = "027"
environment = { A = "b" }
success_signals = ["TERM"]
ready = { tcp = "[::1]:80" }
health = { http = "http://localhost/", interval = "500ms" }
limits = { nofile = 7, core = "unlimited" }
stop = { signal = "INT", timeout = "2s" }
reload = { signal = "HUP" }
[service.tidy]
command = "tidy"
schedule = { cron = "* * * * *" }
"""


def plain(folder: Path, text: str) -> Any:
    """Return a configuration as JSON would carry it."""
    path = folder / "reaperd.toml"
    path.write_text(text)
    return json.loads(json.dumps(resolved(load(path))))


def test_the_whole_is_plain_and_speaks_of_keys(tmp_path: Path) -> None:
    """Durations in seconds, signals by name, variables expanded, defaults filled in."""
    found = plain(tmp_path, FULL)
    assert found["daemon"]["shutdown_timeout"] == 60
    assert found["daemon"]["forward_signals"] == {"SIGUSR1": ["web"]}
    web, tidy = found["services"]
    assert web["command"] == ["web", "web:1"]
    assert (web["name"], web["instance"], web["umask"], web["environment"]) == ("web:1", 1, "027", {"A": "b"})
    assert web["ready"] == {"tcp": "[::1]:80"}
    assert (web["health"]["http"], web["health"]["interval"], web["health"]["failures"]) == (
        "http://localhost/",
        0.5,
        3,
    )
    assert web["limits"]["core"] == {"soft": "unlimited", "hard": "unlimited"}
    assert (web["stop"]["signal"], web["stop"]["timeout"], web["success_signals"]) == (
        "SIGINT",
        2,
        ["SIGTERM"],
    )
    assert tidy["schedule"] == {"cron": "* * * * *", "overlap": "skip"}
    assert (tidy["restart"], tidy["reload"], tidy["ready"]) == ("on-failure", None, None)


def test_every_key_of_a_service_is_told(tmp_path: Path) -> None:
    """Under its own name; what was put together from several is there as the result."""
    (_, tidy) = plain(tmp_path, FULL)["services"]
    keys = {key.name for key in TABLES["service"]} - {"use", "instances", "environment_files"}
    assert tidy.keys() == keys | {"name", "base", "instance"}


def test_what_follows_from_the_services_is_null(tmp_path: Path) -> None:
    """Nobody has said how long the end may take, so it is what the services' own timeouts take."""
    assert plain(tmp_path, '[service.web]\ncommand = ["web"]')["daemon"]["shutdown_timeout"] is None


def test_each_form_of_a_check_is_told(tmp_path: Path) -> None:
    """As the key that it was written with."""
    for form, told in (
        ("notify = true", {"notify": True}),
        ("fd = 3", {"fd": 3}),
        ('log = "up"', {"log": "up"}),
        ('delay = "1.5s"', {"delay": 1.5}),
        ('tcp = "h:1"', {"tcp": "h:1"}),
        ('exec = "a b"', {"exec": ["a", "b"]}),
    ):
        text = (
            f'[daemon]\nsocket = "/s"\nstate_dir = "/d"\n[service.x]\ncommand = "x"\nready = {{ {form} }}\n'
        )
        assert plain(tmp_path, text)["services"][0]["ready"] == told
    every = '[daemon]\nsocket = "/s"\nstate_dir = "/d"\n[service.x]\ncommand = "x"\nschedule.every = "90s"\n'
    assert plain(tmp_path, every)["services"][0]["schedule"] == {"every": 90, "overlap": "skip"}
