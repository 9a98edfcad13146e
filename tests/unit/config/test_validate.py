"""Each key, each message, and that nothing is used of a file that has a problem."""

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reaperd.config import paths
from reaperd.config.read import parse_toml
from reaperd.config.report import Report, Source
from reaperd.config.spec import SECOND_NS, Backoff, Config, Restart, ServiceSpec, Stop
from reaperd.config.validate import validate
from reaperd.errors import ConfigError, ReaperdError

FULL = """
[daemon]
socket = "run/s"
state_dir = "/var/state"

[service.web]
command = ["prog", "a b", ""]
directory = "site"
user = "root"
group = "0"
environment = { B = "2", A = "" }
restart = "always"
backoff = { initial = "1s", factor = 3, max = 60, jitter = 0, reset_after = 0.5 }
stop = { signal = "HUP", timeout = "0s" }
"""


def config(text: str, **environ: str) -> Config:
    """Return the configuration that a text describes, as if it stood in /etc/r."""
    source = Source(Path("/etc/r/c.toml"), text)
    return validate([(source, parse_toml(source))], Report(), environ, {})


def service(lines: str) -> ServiceSpec:
    """Return the service that has these lines besides a command."""
    return config(f'[service.web]\ncommand = "prog"\n{lines}').services[0]


def problems(text: str) -> list[str]:
    """Return every problem of a text, without the name of its file."""
    with pytest.raises(ConfigError) as caught:
        config(text)
    return [str(problem).removeprefix("/etc/r/c.toml") for problem in caught.value.problems]


def problem(lines: str) -> str:
    """Return the only problem of a service with these lines, after its place."""
    (found,) = problems(f'[service.web]\ncommand = "prog"\n{lines}')
    return found.removeprefix(":3: service.web.")


def test_every_key_reaches_the_spec() -> None:
    """Each key of the file is a field of the spec, in its own unit."""
    found = config(FULL)
    assert (found.daemon.socket, found.daemon.state_dir) == (Path("/etc/r/run/s"), Path("/var/state"))
    assert found.services == (
        ServiceSpec(
            name="web",
            command=("prog", "a b", ""),
            directory="/etc/r/site",
            user="root",
            group="0",
            environment=(("A", ""), ("B", "2")),
            restart=Restart.ALWAYS,
            backoff=Backoff(SECOND_NS, 3.0, 60 * SECOND_NS, 0.0, SECOND_NS // 2),
            stop=Stop(1, 0),
        ),
    )


def test_values_have_the_types_of_their_fields() -> None:
    """A reader gives what the spec declares: an integer where a float is declared would compare unequal."""
    found = config(FULL).services[0]
    for record in (found.backoff, found.stop):
        for field in fields(record):
            assert type(getattr(record, field.name)) is (get_origin(field.type) or field.type)


def test_only_a_command_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else has a default, the paths of the daemon too."""
    monkeypatch.setattr(paths, "default_socket", lambda: Path("/x/s"))
    monkeypatch.setattr(paths, "default_state_dir", lambda: Path("/x/state"))
    found = config('[service.web]\ncommand = ["prog"]')
    assert found.services == (ServiceSpec(name="web", command=("prog",)),)
    assert (found.daemon.socket, found.daemon.state_dir) == (Path("/x/s"), Path("/x/state"))


def test_services_keep_the_order_of_the_file() -> None:
    """What is written first comes first."""
    names = ["b", "a", "z", "0", "x@y.z-1_"]
    text = "".join(f'[service."{name}"]\ncommand = "p"\n' for name in names)
    assert [spec.name for spec in config(text).services] == names


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ('"sleep 60"', ("sleep", "60")),
        ("""'sh -c "a | b" $HOME *'""", ("sh", "-c", "a | b", "$HOME", "*")),
        ('["a b", "c"]', ("a b", "c")),
    ],
)
def test_a_string_is_split_without_a_shell(command: str, words: tuple[str, ...]) -> None:
    """Quotes group words; nothing else of a shell has a meaning."""
    assert config(f"[service.web]\ncommand = {command}").services[0].command == words


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ('""', ' is empty; name a program, as in ["sleep", "60"] or "sleep 60"'),
        ("[]", ' is empty; name a program, as in ["sleep", "60"] or "sleep 60"'),
        ('["", "a"]', " names no program: its first word is empty"),
        ("\"'' a\"", " names no program: its first word is empty"),
        (
            '"a \'b"',
            " cannot be split into words: no closing quotation; quote it, or write an array of strings",
        ),
        ("3", " an integer where an array of strings, or a string, is wanted"),
        ('["a", 3]', "[1]: an integer where a string is wanted; put it in quotes"),
        ('["a", ["b"]]', "[1]: an array where a string is wanted"),
        ('["a\\u0000"]', "[0]: holds a NUL byte, which no program can be given"),
        ('"a\\u0000"', " holds a NUL byte, which no program can be given"),
    ],
)
def test_what_is_no_command(command: str, message: str) -> None:
    """A command without a program, with something else than strings, or with a NUL byte is refused."""
    (found,) = problems(f"[service.web]\ncommand = {command}")
    assert found.removeprefix(":2: service.web.command").removeprefix(":") == message


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("directory = 3", "directory: an integer where a string is wanted; put it in quotes"),
        ('directory = ""', "directory: is empty; leave the key out instead"),
        ('directory = "a\\u0000"', "directory: holds a NUL byte, which no program can be given"),
        ("user = 1000", "user: an integer where a string is wanted; put it in quotes"),
        ('user = "rooot"', 'user: there is no user "rooot" on this machine; did you mean "root"?'),
        ('user = "a\\u0000"', "user: holds a NUL byte, which no program can be given"),
        ('user = "4294967295"', 'user: "4294967295" is no user\'s number; at most 4294967294 is allowed'),
        ('group = "rooot"', 'group: there is no group "rooot" on this machine; did you mean "root"?'),
        (
            'group = "99999999999"',
            'group: "99999999999" is no group\'s number; at most 4294967294 is allowed',
        ),
        ('environment = "A=1"', "environment: a string where a table of strings is wanted"),
        ("environment.A = 1", "environment.A: an integer where a string is wanted; put it in quotes"),
        ("environment.A = true", "environment.A: a boolean where a string is wanted; put it in quotes"),
        ("environment.A = 1979-05-27", "environment.A: a date where a string is wanted"),
        ('environment.A = "\\u0000"', "environment.A: holds a NUL byte, which no program can be given"),
        (
            'restart = "allways"',
            'restart: "allways" is none of "never", "on-failure", "always"; did you mean "always"?',
        ),
        ("restart = true", 'restart: a boolean where one of "never", "on-failure", "always" is wanted'),
        (
            "start_limit = 3",
            "start_limit: an integer where a table is wanted; its keys: count, interval",
        ),
        ("backoff.factor = nan", "backoff.factor: nan is out of range; allowed: 1 to 1000"),
        ("backoff.factor = inf", "backoff.factor: inf is out of range; allowed: 1 to 1000"),
        ("backoff.factor = 0.9", "backoff.factor: 0.9 is out of range; allowed: 1 to 1000"),
        ("backoff.factor = true", "backoff.factor: a boolean where a number from 1 to 1000 is wanted"),
        (
            "backoff.factor = 0x" + "f" * 5000,
            "backoff.factor: this integer is out of range; allowed: 1 to 1000",
        ),
        ("backoff.jitter = 1.1", "backoff.jitter: 1.1 is out of range; allowed: 0 to 1"),
        ("backoff.jitter = -0.1", "backoff.jitter: -0.1 is out of range; allowed: 0 to 1"),
        ("backoff.jitter = nan", "backoff.jitter: nan is out of range; allowed: 0 to 1"),
        ('backoff.initial = "0s"', "backoff.initial: 0s is too short; at least 1ms is allowed"),
        ("backoff.max = 0", "backoff.max: 0s is too short; at least 1ms is allowed"),
        ("backoff.reset_after = 0", "backoff.reset_after: 0s is too short; at least 1ms is allowed"),
        ("backoff.initial = []", 'backoff.initial: an array where a duration, such as "1m30s", is wanted'),
        (
            'backoff = { initial = "1m" }',
            "backoff: max, 30s, is shorter than initial, 1m; set both, initial at most max",
        ),
        (
            'backoff.max = "1ms"',
            "backoff: max, 1ms, is shorter than initial, 500ms; set both, initial at most max",
        ),
        ("stop.signal = []", 'stop.signal: an array where a signal, such as "TERM" or 15, is wanted'),
        ("stop = { timeout = {} }", 'stop.timeout: a table where a duration, such as "1m30s", is wanted'),
        (
            "stop = 07:32:00",
            "stop: a time where a table is wanted; its keys: signal, timeout, command, scope",
        ),
        (
            "stop = 1979-05-27T07:32:00Z",
            "stop: a date-time where a table is wanted; its keys: signal, timeout, command, scope",
        ),
        ('comand = "x"', 'comand: unknown key; did you mean "command"?'),
        ("timeout = 3", 'timeout: unknown key here; did you mean "health.timeout" or "stop.timeout"?'),
        ("stop.timout = 3", 'stop.timout: unknown key; did you mean "timeout"?'),
        ("stop.zzz = 3", "stop.zzz: unknown key; allowed here: signal, timeout, command, scope"),
    ],
)
def test_each_wrong_value_has_one_message(lines: str, message: str) -> None:
    """A wrong value is reported once, at its line, with what is allowed or meant."""
    assert problem(lines) == message


@pytest.mark.parametrize(
    ("lines", "start"),
    [
        ('stop.signal = "TREM"', 'stop.signal: "TREM" is not a signal; '),
        ("stop.signal = true", "stop.signal: a boolean is not a signal; "),
        ("stop.timeout = -1", "stop.timeout: -1 is not a duration: it is negative or not finite; "),
        ("stop.timeout = inf", "stop.timeout: inf is not a duration: "),
        ("stop.timeout = true", "stop.timeout: a boolean is not a duration; "),
        ('stop.timeout = "soon"', 'stop.timeout: "soon" is not a duration; write it like "500ms"'),
        ('environment."" = "x"', 'environment."": "" is no variable\'s name; '),
        ('environment."a=b" = "x"', 'environment."a=b": "a=b" is no variable\'s name; '),
        ('environment."a\\u0000b" = "x"', r'environment."a\x00b": "a\x00b" is no variable'),
        ('environment.SERVICE = "x"', "environment.SERVICE: SERVICE is set by the daemon; "),
        ('environment.REAPERD_RUN = "x"', "environment.REAPERD_RUN: REAPERD_RUN is set by the daemon; "),
        (
            'user = "no-such-account-here"',
            'user: there is no user "no-such-account-here" on this machine; allowed: ',
        ),
        ('user = "4242424242"', "user: user 4242424242 has no entry on this machine to take a group from; "),
    ],
)
def test_wrong_values_whose_help_is_longer(lines: str, start: str) -> None:
    """Signals, durations and names are refused in the words of their own readers."""
    assert problem(lines).startswith(start)


def test_a_number_with_an_account_takes_its_group() -> None:
    """The machine knows the group of a user that it knows, named or numbered."""
    assert service('user = "0"').user == "0"


def test_a_number_without_an_account_may_run_with_a_group() -> None:
    """A user's number that the machine does not know is enough where the group is given."""
    spec = service('user = "4242424242"\ngroup = "7"')
    assert (spec.user, spec.group) == ("4242424242", "7")


@pytest.mark.parametrize("name", ["", "-a", ".a", "..", "a/b", "a b", "\u00e4", "a" * 65, "a\\u0000"])
def test_names_of_services_are_bounded(name: str) -> None:
    """A name that could not be a file's, or be read as an option, is refused."""
    (found,) = problems(f'[service."{name}"]\ncommand = "p"')
    assert "is not a name for a service; allowed: 1 to 64" in found


def test_a_colon_belongs_to_instances() -> None:
    """A colon within a name has its own message."""
    (found,) = problems('[service."a:1"]\ncommand = "p"')
    assert (
        found
        == ':1: service."a:1": is not a name for a service; ":" stands between a service and its instances'
    )


def test_all_problems_are_reported_in_the_order_of_the_file() -> None:
    """One look at the message is enough to mend the whole file."""
    found = problems(
        "[service.b]\nrestart = 1\nbackoff = { factor = 0, jitter = 2 }\n\n"
        '[service.a]\ncommand = "p"\nx = 1\n[daemon]\nsocket = 1\n[extra]\n'
    )
    assert [line.partition(": ")[0] + line.partition(": ")[2].partition(":")[0] for line in found] == [
        ":1service.b.command",
        ":2service.b.restart",
        ":3service.b.backoff.factor",
        ":3service.b.backoff.jitter",
        ":7service.a.x",
        ":9daemon.socket",
        ":10extra",
    ]


def test_a_missing_command_stands_at_its_table() -> None:
    """What is not written has the line of the table that lacks it."""
    assert problems('\n[service.web]\nuser = "root"') == [
        ":2: service.web.command: is missing; wanted: an array of strings, or a string"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[daemon]", [": service: there is no service; write at least one [service.NAME] with a command"]),
        ("[service]", [":1: service: there is no service; write at least one [service.NAME] with a command"]),
        ("service = 1", [":1: service: an integer where a table is wanted"]),
        ('daemon = 1\nservice.a.command = "p"', [":1: daemon: an integer where a table is wanted"]),
        (
            '[services.a]\n[service.a]\ncommand = "p"',
            [':1: services: unknown table or key; did you mean "service"?'],
        ),
        (
            'zzz = 1\n[service.a]\ncommand = "p"',
            [":1: zzz: unknown table or key; allowed here: [daemon], [service], [template]"],
        ),
        ('service.a = "p"', [":1: service.a: a string where a table is wanted"]),
        (
            '[daemon]\nsocket_ = "s"\n[service.a]\ncommand = "p"',
            [':2: daemon.socket_: unknown key; did you mean "socket"?'],
        ),
    ],
)
def test_the_tables_of_a_file(text: str, expected: list[str]) -> None:
    """What is missing or wrong around the services is said without follow-on problems."""
    assert problems(text) == expected


def test_a_socket_that_no_socket_can_be_named_is_refused() -> None:
    """A Unix socket's path has 107 bytes; more would fail only when the daemon starts."""
    (found,) = problems(f'[daemon]\nsocket = "/{"s" * 107}"\n[service.a]\ncommand = "p"')
    assert found.endswith("is too long for a socket; at most 107 bytes are allowed")
    assert config(f'[daemon]\nsocket = "/{"s" * 106}"\n[service.a]\ncommand = "p"').services


def test_a_default_that_cannot_be_told_is_a_problem_of_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the machine gives no safe default path, the message says which key to set."""

    def refuse() -> Path:
        raise ReaperdError("cannot trust /tmp", hint="set it")

    monkeypatch.setattr(paths, "default_socket", refuse)
    (found,) = problems('[service.a]\ncommand = "p"')
    assert found == ": daemon.socket: has no default here: cannot trust /tmp; set it"


# Any value that TOML can hold, at any key: nothing may come out but a configuration or a list of problems.
_values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates() | st.times(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
_names = st.sampled_from(
    ["command", "user", "environment", "restart", "backoff", "stop", "directory", "x", "signal"]
)


@given(
    st.dictionaries(_names, _values, max_size=4), st.dictionaries(st.sampled_from(["socket", "x"]), _values)
)
def test_any_values_are_a_configuration_or_a_list_of_problems(
    web: dict[str, object], daemon: dict[str, object]
) -> None:
    """No value at any key makes validation fail in another way than by problems."""
    source = Source(Path("c.toml"), "")
    try:
        validate([(source, {"daemon": daemon, "service": {"web": web}})], Report(), {}, {})
    except ConfigError as error:
        assert error.problems  # noqa: PT017  # both outcomes are the property


def test_the_example_in_the_reference_is_valid() -> None:
    """What the reference shows is what the program reads."""
    page = (Path(__file__).parents[3] / "docs/reference/configuration.md").read_text()
    example = page.partition("```toml\n")[2].partition("```")[0]
    assert tomllib.loads(example)
    assert config(example).services[0].restart is Restart.ALWAYS
