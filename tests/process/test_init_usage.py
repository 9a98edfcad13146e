import os
import signal
from pathlib import Path

import pytest

from reaperd import pid1
from tests.support.init_runs import in_namespace, init_command, run, says, started


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--"],
        ["-s"],
        ["-Z", "true"],
        ["--no-such", "true"],
        ["-e", "", "true"],
        ["-e", "256", "true"],
        ["-e", "-1", "true"],
        ["-e", "x", "true"],
        ["-e"],
        ["-r", "15", "true"],
        ["-r", "99:1", "true"],
        ["-r", "15:3:1", "true"],
        ["-r", "15:3", "-r", "TERM:9", "true"],
        ["-r", "TRM:QUIT", "true"],
        ["-r", "KILL:15", "true"],
        ["-r", "CHLD:15", "true"],
        ["-r", "٣:1", "true"],
        ["-p", "NOPE", "true"],
        ["--grace", "soon", "true"],
        ["--grace", "-1", "true"],
        ["--grace=inf", "true"],
        ["--grace=1_0", "true"],
        ["--group=yes", "true"],
        ["--delay", "TERM", "true"],
        ["--delay", "TERM:x", "true"],
        ["--delay", "TERM:1", "--delay", "15:2", "true"],
        ["--ignore", "KILL", "true"],
        ["--kill-orphans=0", "true"],
        ["--install", "", "true"],
    ],
)
def test_usage_errors_leave_with_125_and_one_line(words: list[str]) -> None:
    """A bad command line is one line on stderr, nothing on stdout, status 125, and nothing is started."""
    marked = [word if word != "true" else "echo" for word in words]
    ended = run(init_command(*marked))
    assert ended.returncode == 125
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith("reaperd: cannot start: ")


def test_a_bad_signal_lists_the_valid_ones() -> None:
    """The message of a rule with a bad name has the names that would do."""
    error = run(init_command("-r", "TRM:QUIT", "true")).stderr
    assert {"HUP", "TERM", "USR1", "WINCH"} <= set(error.replace(";", "").split())


def test_a_near_miss_is_suggested() -> None:
    """A mistyped long option names the one that was probably meant."""
    assert "--subreaper" in run(init_command("--subreper", "true")).stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EXPECT_EXIT", "256"),
        ("REWRITE", "15"),
        ("GRACE", "x"),
        ("SUBREAPER", "maybe"),
        ("PARENT_DEATH_SIGNAL", "NOPE"),
        ("DELAY", "TERM"),
        ("VERBOSE", "loud"),
        ("KILL_ORPHANS", "x"),
        ("INSTALL", ""),
        ("PRINT_ENTRYPOINT", "line"),
        ("VERSION", "0.1.0"),
    ],
)
def test_a_bad_mirror_is_a_usage_error_that_names_it(name: str, value: str) -> None:
    """A bad environment variable is an error too, and the message says which."""
    ended = run(init_command("true"), env={**os.environ, f"REAPERD_INIT_{name}": value})
    assert (ended.returncode, f"REAPERD_INIT_{name}: " in ended.stderr) == (125, True)


def test_options_stop_at_the_first_word_that_is_none() -> None:
    """CMD's own options need no "--", and a "--" of its own is left alone."""
    assert run(init_command("-q", "sh", "-c", "exit 3")).returncode == 3
    assert run(init_command("-q", "--", "echo", "-s", "--", "-e")).stdout == "-s -- -e\n"


def options(*words: str, **mirrors: str) -> pid1.Options:
    """Parse a command line with mirrors."""
    environment = {f"REAPERD_INIT_{name}".encode(): value.encode() for name, value in mirrors.items()}
    return pid1.parse([word.encode() for word in words], environment)


def test_flags_win_over_mirrors() -> None:
    """Each flag on the command line replaces its mirror, the repeatable ones altogether."""
    given = options("-e", "3", "--grace=1", "--single", EXPECT_EXIT="4,5", GRACE="9", GROUP="1")
    assert (given.expected, given.grace_ns, given.to_group) == (frozenset({3}), 10**9, False)


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("VERBOSE", "2", "verbosity", pid1.DEBUG),
        ("VERBOSE", "yes", "verbosity", pid1.INFO),
        ("QUIET", "1", "verbosity", pid1.ERROR),
        ("GROUP", "true", "to_group", True),
        ("GROUP", "0", "to_group", False),
        ("SUBREAPER", "on", "subreaper", True),
        ("PARENT_DEATH_SIGNAL", "sigkill", "parent_death", 9),
        ("EXPECT_EXIT", "3, 143", "expected", frozenset({3, 143})),
        ("REWRITE", "15:3,USR1:0", "rewrite", {15: 3, 10: 0}),
        ("DELAY", "TERM:0.5", "delay_ns", {15: 500_000_000}),
        ("IGNORE", "PIPE XFSZ", "ignore", frozenset({13, 25})),
        ("WARN_ON_REAP", "1", "warn_on_reap", True),
        ("GRACE", "none", "grace_given", True),
        ("GRACE", "3", "grace_ns", 3 * 10**9),
        ("NO_SETSID", "1", "placement", pid1.HERE),
        ("SETSID", "1", "placement", pid1.SESSION),
        ("WAIT_ALL", "1", "wait_all", True),
        ("KILL_ORPHANS", "yes", "kill_orphans_ns", 10**9),
        ("KILL_ORPHANS", "5", "kill_orphans_ns", 5 * 10**9),
        ("PRINT_ENTRYPOINT", "1", "action", "print-entrypoint"),
        ("INSTALL", "/sbin/init", "install_path", "/sbin/init"),
        ("VERSION", "1", "action", "version"),
    ],
)
def test_each_mirror_stands_for_its_option(name: str, value: str, field: str, expected: object) -> None:
    """Every option that shapes the init can be given by its environment variable."""
    assert getattr(options("true", **{name: value}), field) == expected


def test_single_by_its_mirror_undoes_group_by_its_own() -> None:
    """Where both variables are set signals go to CMD alone, as with both flags in this order."""
    assert options("true", GROUP="1", SINGLE="1").to_group is False
    assert options("true", GROUP="1").to_group is True


def test_a_question_on_the_command_line_is_answered_first() -> None:
    """A flag that asks wins over a variable that asks something else; 0 asks nothing."""
    assert options("--print-entrypoint", VERSION="1").action == "print-entrypoint"
    assert options("--help", INSTALL="/sbin/init", PRINT_ENTRYPOINT="1").action == "help"
    both = options("--print-entrypoint", INSTALL="/sbin/init")
    assert (both.action, both.print_line) == ("install", True)
    assert options("true", VERSION="0", PRINT_ENTRYPOINT="0").action == ""


def test_a_question_may_be_asked_by_its_variable(tmp_path: Path) -> None:
    """What the flag would answer, the variable answers, and CMD is not run."""
    target = tmp_path / "init"

    def asked(**mirrors: str) -> str:
        ended = run(init_command("echo", "started"), env={**os.environ, **mirrors})
        assert (ended.returncode, ended.stderr) == (0, "")
        return ended.stdout

    assert asked(REAPERD_INIT_VERSION="1") == f"reaperd init {pid1.VERSION}\n"
    assert asked(REAPERD_INIT_PRINT_ENTRYPOINT="1").startswith("ENTRYPOINT [")
    assert asked(REAPERD_INIT_INSTALL=str(target)) == ""
    assert run([str(target), "-q", "sh", "-c", "exit 8"]).returncode == 8


def test_an_init_below_cmd_has_the_same_variables() -> None:
    """CMD's environment is untouched, so a nested init reads the same mirrors; its flags win there too."""
    script = ["sh", "-c", "exit 7"]
    nested = init_command("-q", "--", *init_command("-q", *script))
    env = {**os.environ, "REAPERD_INIT_EXPECT_EXIT": "7"}
    assert run(nested, env=env).returncode == 0
    shown = init_command("-q", "-e", "3", "--", "sh", "-c", '"$@"; test $? = 0 && exit 9', "sh")
    assert run([*shown, *init_command("-q", *script)], env=env).returncode == 9


def test_the_mirrors_tested_are_all_there_are() -> None:
    """No mirror is missing from the list above."""
    mark = test_each_mirror_stands_for_its_option.pytestmark[0]  # type: ignore[attr-defined]  # pytest's own
    assert {row[0] for row in mark.args[1]} | {"SINGLE"} == {row[3] for row in pid1.OPTIONS if row[3]}


@pytest.mark.parametrize("text", ["15", "TERM", "SIGTERM", "sigterm", "Term"])
def test_signals_by_number_and_name(text: str) -> None:
    """A signal may be given by number or name, with and without SIG, in any case."""
    assert pid1.parse_signal(text) == 15


def test_real_time_signals_by_name() -> None:
    """RTMIN+3 and RTMAX-1 are names too; 32 and 33 belong to the C library."""
    assert pid1.parse_signal("RTMIN+3") == signal.SIGRTMIN + 3
    assert pid1.parse_signal("SIGRTMAX-1") == signal.SIGRTMAX - 1
    for text in ("32", "33", "65", "0", "RTMIN+31", "CLD+1"):
        with pytest.raises(pid1.UsageError):
            pid1.parse_signal(text)


@pytest.mark.parametrize("number", sorted(signal.valid_signals()))
def test_every_signal_has_a_name_that_parses(number: int) -> None:
    """The name that init says for a signal is one that it understands."""
    assert pid1.parse_signal(pid1.signal_name(number)) == number


def test_help_is_complete() -> None:
    """--help goes to stdout and has every option, its mirror, the exit statuses and examples."""
    ended = run(init_command("--help"))
    assert (ended.returncode, ended.stderr) == (0, "")
    for row in pid1.OPTIONS:
        assert row[0] in ended.stdout
        assert row[1] in ended.stdout
        assert row[3] in ended.stdout
    assert "examples:" in ended.stdout
    assert "127" in ended.stdout
    assert max(len(line) for line in ended.stdout.splitlines()) <= 100


def test_version() -> None:
    """--version is one line with the package's version."""
    assert run(init_command("--version")).stdout == f"reaperd init {pid1.VERSION}\n"


@pytest.mark.parametrize(
    ("rule", "sent", "got"),
    [
        ("15:3", signal.SIGTERM, signal.SIGQUIT),
        ("SIGUSR1:rtmin+3", signal.SIGUSR1, signal.SIGRTMIN + 3),
        ("HUP:9", signal.SIGHUP, None),
    ],
)
def test_a_rule_sends_one_signal_for_another(rule: str, sent: int, got: int | None) -> None:
    """-r FROM:TO makes CMD get TO, SIGKILL too."""
    last = got or signal.SIGTERM
    with started(in_namespace("-q", "-r", rule, "--", *says(last))) as init:
        init.line()
        init.signal(sent)
        assert init.line() == (str(int(got)) if got else "")
        assert init.end()[0] == (0 if got else 137)


def test_a_rule_to_zero_drops() -> None:
    """-r 10:0 drops SIGUSR1, and only that."""
    with started(init_command("-q", "-r", "10:0", *says(signal.SIGUSR2))) as init:
        init.line()
        init.signal(signal.SIGUSR1)
        init.signal(signal.SIGUSR2)
        assert init.line() == str(int(signal.SIGUSR2))


def test_stop_signals_can_be_rewritten_too() -> None:
    """-r TSTP:USR2 passes USR2 on and stops nobody; -r TTIN:0 drops it."""
    with started(init_command("-q", "-r", "TSTP:USR2", "-r", "TTIN:0", *says(signal.SIGUSR2))) as init:
        init.line()
        init.signal(signal.SIGTTIN)
        init.signal(signal.SIGTSTP)
        assert init.line() == str(int(signal.SIGUSR2))
        assert init.end()[0] == 0


def test_a_delayed_signal_waits_and_others_do_not() -> None:
    """--delay holds its signal back, merges repeats as the kernel does, and lets others pass at once."""
    words = ["-q", "--delay", "TERM:0.5", "--delay", "RTMIN:0.2", *says(signal.SIGTERM)]
    with started(init_command(*words)) as init:
        init.line()
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGRTMIN, signal.SIGRTMIN, signal.SIGUSR1):
            init.signal(number)
        got = [int(init.line()) for _ in range(4)]
        assert got == [signal.SIGUSR1, signal.SIGRTMIN, signal.SIGRTMIN, signal.SIGTERM]
        assert init.end()[0] == 0


def test_what_is_held_back_has_a_bound() -> None:
    """Past 4,096 signals held back the oldest passes at once: no sender makes init grow without end."""
    number = int(signal.SIGRTMIN)
    with started(init_command("-q", "--delay", "RTMIN:1000", *says(number))) as init:
        init.line()
        for _ in range(4097):
            init.signal(number)
        assert init.line() == str(number)
