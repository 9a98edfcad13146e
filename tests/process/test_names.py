"""Instances, groups and patterns as names, in every command that takes names."""

import json
from pathlib import Path

from tests.process.test_cli_verbs import reaperd
from tests.support.daemons import daemon, service

WAIT = ["sleep", "1000"]


def names_of(folder: Path, *words: str) -> list[str]:
    """Return the services that a command answered about."""
    told = reaperd(folder, *words, "--json")
    assert told.returncode in {0, 1, 3}, told.stderr
    return [item["name"] for item in json.loads(told.stdout)["items"]]


def test_every_command_takes_groups_and_patterns(tmp_path: Path) -> None:
    """Each means the same services; what means none exits with 4 and says what was probably meant."""
    services = service("db", WAIT, groups=["backend"])
    services += service("worker", WAIT, groups=["backend"], instances=2, reload={"signal": "CONT"})
    services += service("web", WAIT)
    with daemon(tmp_path, services) as running:
        running.event("service.running", service="web")
        backend = ["db", "worker:1", "worker:2"]
        for words in (["status"], ["why"], ["restart"], ["stop"], ["start"]):
            assert sorted(names_of(tmp_path, *words, "backend")) == backend, words
            assert sorted(names_of(tmp_path, *words, "worker:*", "d?")) == backend, words
        assert names_of(tmp_path, "reload", "worker") == ["worker:1", "worker:2"]
        unknown = reaperd(tmp_path, "stop", "bakcend")
        assert (unknown.returncode, unknown.stdout) == (4, "")
        assert 'did you mean "backend"?' in unknown.stderr
        nothing = reaperd(tmp_path, "status", "wbe*")
        assert nothing.returncode == 4
        assert nothing.stderr.splitlines() == [
            'reaperd: cannot find a service that matches "wbe*"',
            'hint: did you mean "web"?',
        ]


def test_a_reload_moves_a_service_from_group_to_group(tmp_path: Path) -> None:
    """Without a restart of what runs."""
    with daemon(tmp_path, service("db", WAIT, groups=["a"])) as running:
        pid = running.event("service.running", service="db")["pid"]
        running.configure(service("db", WAIT, groups=["b"]))
        assert reaperd(tmp_path, "reload").returncode == 0
        assert reaperd(tmp_path, "status", "a").returncode == 4
        assert reaperd(tmp_path, "status", "b").returncode == 0
        assert running.row("db")["pid"] == pid
