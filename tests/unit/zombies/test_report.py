import json
from pathlib import Path
from typing import Final

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reaperd.cli.render import Screen
from reaperd.cli.zombies import as_text
from reaperd.zombies.cause import Cause
from reaperd.zombies.report import as_json, signal_name
from reaperd.zombies.scan import Parent, Scan, Zombie

DOCS: Final = Path(__file__).parents[3] / "docs"
PARENT = Parent(pid=7, name="python3", command="python3 server.py", status="sleeping")
CAUSE = Cause(name="parent-stopped", sentence="It was stopped.", evidence="state T", advice="kill -CONT 7")
DEAD_LEADER = CAUSE._replace(name="dead-leader", is_leak=False)
ZOMBIE = Zombie(
    pid=812,
    start_time=4711,
    name="worker",
    user="www-data",
    ppid=7,
    parent=PARENT,
    started_at=1_700_000_000.25,
    at_most_s=3700.0,
    at_least_s=3600.5,
    was_killed=False,
    exit_code=3,
    exit_signal=None,
    core_dumped=False,
    threads=1,
    cause=CAUSE,
)


def _text(*zombies: Zombie) -> str:
    return as_text(Scan(zombies, is_complete=True), Screen())


def test_a_zombie_is_one_line_under_a_header() -> None:
    """Pid, name, user, time, ending and parent, in columns."""
    assert _text(ZOMBIE).splitlines() == [
        "PID  NAME    USER      ZOMBIE FOR  ENDED BY  PARENT",
        "812  worker  www-data      1h 00m  exit 3    7 python3 server.py",
        "",
        "812: It was stopped.",
        "  seen:  state T",
        "  helps: kill -CONT 7",
    ]


def test_no_zombie_is_said_in_words() -> None:
    """An empty table would look like a failure."""
    assert _text() == "No zombies.\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"at_least_s": None}, "< 1h 01m"),
        ({"exit_code": None, "exit_signal": 9, "was_killed": True}, "SIGKILL "),
        ({"exit_code": None, "exit_signal": 11, "core_dumped": True}, "SIGSEGV, core"),
        ({"exit_code": None, "was_killed": True}, "a signal "),
        ({"exit_code": None}, "exit ? "),
        ({"threads": 3, "cause": DEAD_LEADER}, "2 live threads"),
        ({"ppid": 0, "parent": None}, "outside this PID namespace"),
        ({"parent": None}, "exit 3    7"),
        ({"parent": PARENT._replace(command=None)}, "7 (python3)"),
        ({"parent": PARENT._replace(status="stopped")}, "7 [stopped] python3 server.py"),
    ],
)
def test_what_is_not_known_is_said(change: dict[str, object], said: str) -> None:
    """Each fact that may be missing or special has its own words."""
    assert said in _text(ZOMBIE._replace(**change))  # type: ignore[arg-type]  # names and types are above


def test_a_secret_status_says_what_would_help() -> None:
    """The question mark is explained once."""
    secret = ZOMBIE._replace(exit_code=None)
    assert _text(secret, secret).count("run as root") == 1


def test_a_dead_leader_is_no_zombie() -> None:
    """It is listed, counted apart, and the answer is that there is no zombie."""
    found = Scan((ZOMBIE._replace(threads=2, cause=DEAD_LEADER),), is_complete=True)
    assert found.collectable == ()
    assert "No zombies." in as_text(found, Screen())
    assert "others live on" in as_text(found, Screen())
    assert as_json(found)["items"][0]["state"] == "dead-leader"


def test_an_incomplete_look_is_said() -> None:
    """Who cannot see all processes is told so, in text and JSON."""
    found = Scan((ZOMBIE,), is_complete=False)
    assert "Incomplete" in as_text(found, Screen())
    assert as_json(found)["complete"] is False


def test_a_line_is_cut_to_the_terminal() -> None:
    """The parent stands last, for it may be long; the cut is marked."""
    lines = as_text(Scan((ZOMBIE,), is_complete=True), Screen(width=60)).splitlines()
    assert [len(line) for line in lines[:2]] == [51, 60]
    assert lines[1].endswith("...")


def test_the_object_has_every_documented_key() -> None:
    """The schema's first version, whole."""
    assert as_json(Scan((ZOMBIE,), is_complete=True)) == {
        "schema": "reaperd.zombies/1",
        "complete": True,
        "items": [
            {
                "pid": 812,
                "state": "zombie",
                "name": "worker",
                "user": "www-data",
                "started": "2023-11-14T22:13:20.250Z",
                "zombie_for_at_least": 3600.5,
                "zombie_for_at_most": 3700.0,
                "exit_code": 3,
                "exit_signal": None,
                "killed": False,
                "core_dumped": False,
                "threads": 1,
                "ppid": 7,
                "inner_pid": None,
                "cgroup": None,
                "container": None,
                "pod": None,
                "cause": {
                    "name": "parent-stopped",
                    "leak": True,
                    "sentence": "It was stopped.",
                    "evidence": "state T",
                    "advice": "kill -CONT 7",
                },
                "parent": {
                    "pid": 7,
                    "name": "python3",
                    "command": "python3 server.py",
                    "status": "sleeping",
                },
            },
        ],
    }


def test_the_object_is_of_the_published_schema() -> None:
    """With and without what may be missing, and no key that the schema does not know."""
    schema = json.loads((DOCS / "reference/schemas/zombies-1.json").read_text())
    bare = ZOMBIE._replace(parent=None, ppid=0, at_least_s=None, exit_code=None, exit_signal=9)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(as_json(Scan((ZOMBIE, bare), is_complete=False)), schema)


def test_zombies_with_one_cause_are_explained_once() -> None:
    """At most eight are named; whoever has another cause or parent is explained apart."""
    alike = [ZOMBIE._replace(pid=pid) for pid in range(100, 110)]
    other = ZOMBIE._replace(pid=7, cause=CAUSE._replace(advice="kill -CONT 8"))
    text = _text(*alike, other)
    assert "\n100, 101, 102, 103, 104, 105, 106, 107 and 2 more: It was stopped.\n" in text
    assert "\n7: It was stopped.\n  seen:  state T\n  helps: kill -CONT 8\n" in text


def test_an_unknown_parent_is_null() -> None:
    """Outside the PID namespace nobody can be named."""
    item = as_json(Scan((ZOMBIE._replace(ppid=0, parent=None),), is_complete=True))["items"][0]
    assert (item["ppid"], item["parent"]) == (0, None)


@given(st.binary(max_size=60))
def test_no_name_can_command_a_terminal_or_break_json(name: bytes) -> None:
    """Whatever bytes a process calls itself, each zombie stays one line of printable text and valid JSON."""
    hostile = name.decode(errors="surrogateescape")
    zombie = ZOMBIE._replace(name=hostile, parent=PARENT._replace(name=hostile, command=hostile or None))
    found = Scan((zombie,), is_complete=True)
    lines = as_text(found, Screen()).splitlines()
    assert len(lines) == 6
    assert all(line.isprintable() for line in lines)
    json.dumps(as_json(found), ensure_ascii=False).encode()


def test_signals_without_a_name_are_numbers() -> None:
    """Real-time signals have no names of their own."""
    assert signal_name(15) == "SIGTERM"
    assert signal_name(40) == "signal 40"
