"""The table of keys: everything that a configuration may say of a service, with its default and what it does.

A default is what the file would say, and a test holds it to the default of the spec. A key stands here only
once the daemon acts on it. Reference, manual page, JSON Schema and messages are made from these rows.
"""

from typing import Any, Final

from reaperd.config.accounts import GROUP, GROUPS, USER
from reaperd.config.checks import HEALTH_TABLE, READY_TABLE
from reaperd.config.commands import COMMAND, ENVIRONMENT
from reaperd.config.kinds import (
    BOOLEAN,
    GROUP_NAME,
    NAMES,
    OCTAL,
    PATH,
    PATHS,
    SIGNAL,
    SIZE,
    choice,
    duration,
    integer,
    number,
    set_of,
    text_not_empty,
)
from reaperd.config.limits import LIMITS_TABLE
from reaperd.config.outputs import STDERR, STDOUT
from reaperd.config.schedules import SCHEDULE_TABLE
from reaperd.config.sockets import SOCKETS
from reaperd.config.spec import (
    Backoff,
    Essential,
    HealthAction,
    NotifyAccess,
    Reload,
    Restart,
    Scope,
    StartLimit,
    Stop,
    Zombies,
)
from reaperd.config.table import Key, Kind, one_of, table_of
from reaperd.units import format_duration

# A crash loop without any wait would be nothing but forks.
_SHORTEST_NS: Final = 1_000_000
_SECOND_NS: Final = 1_000_000_000

_MOST_TASKS: Final = 1 << 22  # PID_MAX_LIMIT of the kernel

MOST_INSTANCES: Final = 1000


def _backoff(**values: Any) -> Backoff:  # noqa: ANN401  # each has the type that its row's reader returns
    backoff = Backoff(**values)
    if backoff.max_ns < backoff.initial_ns:
        longest, initial = format_duration(backoff.max_ns), format_duration(backoff.initial_ns)
        raise ValueError(f"max, {longest}, is shorter than initial, {initial}; set both, initial at most max")
    return backoff


def _reload(**values: Any) -> Reload:  # noqa: ANN401  # each has the type that its row's reader returns
    one_of(values, ("signal", "command"))
    return Reload(**values)


BACKOFF: Final = (
    Key(
        "initial",
        duration(_SHORTEST_NS),
        "The wait before the first new try; at least 1ms.",
        '"500ms"',
        "initial_ns",
    ),
    Key("factor", number(1, 1000), "What each further wait is multiplied by.", "2.0"),
    Key("max", duration(_SHORTEST_NS), "The longest wait; at least `initial`.", '"30s"', "max_ns"),
    Key("jitter", number(0, 1), "The share by which each wait is made longer or shorter at random.", "0.1"),
    Key(
        "reset_after",
        duration(_SHORTEST_NS),
        "How long a service must have run for its failures to be forgotten; at least 1ms.",
        '"10s"',
        "reset_after_ns",
    ),
)

START_LIMIT: Final = (
    Key("count", integer(1, 1_000_000), "How many starts are tried within `interval`.", "5"),
    Key("interval", duration(_SHORTEST_NS), "The time in which they are counted.", '"1m"', "interval_ns"),
)

STOP: Final = (
    Key("signal", SIGNAL, "The signal that asks the service to end.", '"TERM"'),
    Key(
        "timeout",
        duration(),
        "How long it may take; then whatever is left of it is killed. After `command` the signal has as "
        "long again.",
        '"10s"',
        "timeout_ns",
    ),
    Key(
        "command",
        COMMAND,
        "A command that asks the service to end, in place of the signal, which follows where it fails or "
        "does not help.",
    ),
    Key(
        "scope",
        choice(Scope),
        "Who gets the signal: the main process, its process group, or every descendant.",
        '"tree"',
    ),
)

RELOAD: Final = (
    Key("signal", SIGNAL, "A signal to the main process."),
    Key("command", COMMAND, "A command."),
)

ZOMBIES: Final = (
    Key(
        "age",
        duration(_SECOND_NS),
        "How long one must have been there to count; at least 1s. It is looked about once in this time.",
        '"30s"',
        "age_ns",
    ),
    Key("limit", integer(0, 10_000), "How many may stay; more are too many. Without it: any number."),
    Key("action", choice(HealthAction), "What follows then.", '"restart"'),
)

SERVICE: Final = (
    Key(
        "command",
        COMMAND,
        "The program and its arguments. A string is split into words, with quotes as in a shell, but "
        "there is no shell: `*`, `|` and `>` mean nothing. A program without a slash is looked up in "
        "`PATH`.",
        required=True,
    ),
    Key("directory", PATH, "Where the program starts. Without it: where the daemon was started."),
    Key(
        "user",
        USER,
        "Whom the program runs as, with that user's supplementary groups: a name, or a number in quotes. "
        "Without it: as the daemon.",
    ),
    Key("group", GROUP, "The program's group: a name, or a number in quotes. Without it: the user's own."),
    Key("supplementary_groups", GROUPS, "Its other groups. Without it: those of the user."),
    Key("umask", OCTAL, "The modes that files it makes do not get. Without it: the daemon's."),
    Key("nice", integer(-20, 19), "Its nice value: nice(2). Without it: the daemon's."),
    Key("oom_score_adj", integer(-1000, 1000), "How soon it is killed for memory: proc(5)."),
    Key(
        "environment",
        ENVIRONMENT,
        "Variables for the program, on top of those that the daemon was started with. `SERVICE`, its own "
        "name, and what begins with `REAPERD_` are set by the daemon.",
        "{}",
    ),
    Key("environment_files", PATHS, "Files of lines `NAME=value`; `environment` comes on top.", "[]"),
    Key("clear_environment", BOOLEAN, "Whether what the daemon was started with is left out.", "false"),
    Key("requires", NAMES, "Services that must be ready before this one starts.", "[]"),
    Key("after", NAMES, "Services that start before this one, if they start at all.", "[]"),
    Key("before", NAMES, "Services that start after this one, if they start at all.", "[]"),
    Key(
        "groups",
        set_of("names", GROUP_NAME),
        "Names, besides its own, by which commands mean it together with others: `reaperd restart backend`. "
        "None may be a service's. Groups of users are another matter: `group`.",
        "[]",
    ),
    Key(
        "instances",
        integer(0, MOST_INSTANCES),
        "How many of it there are, called `NAME:1`, `NAME:2` and so on, each with its number in "
        "`REAPERD_INSTANCE`. Without it there is one, called `NAME`. What `reaperd scale` said holds in its "
        "place until this number changes.",
    ),
    Key(
        "restart",
        choice(Restart),
        "Whether a program that ended is started again: never, when it failed, or always. For a oneshot "
        'the default is `"never"`.',
        '"on-failure"',
    ),
    Key("backoff", table_of(BACKOFF, _backoff), "How long to wait before it is started again."),
    Key(
        "start_limit",
        table_of(START_LIMIT, StartLimit),
        "How many starts are tried before giving up. Without it there is no limit.",
    ),
    Key(
        "success_exit_codes",
        set_of("integers", integer(0, 255)),
        "The exit codes that are no failure.",
        "[0]",
    ),
    Key("success_signals", set_of("signals", SIGNAL), "The signals that are no failure to end by.", "[]"),
    Key("ready", READY_TABLE, "When it counts as ready: one of these. Without it: as soon as it runs."),
    Key("ready_timeout", duration(_SHORTEST_NS), "How long it may take.", '"30s"', "ready_timeout_ns"),
    Key("health", HEALTH_TABLE, "How it is asked whether it still answers: by one of the first three."),
    Key("stop", table_of(STOP, Stop), "How the service is stopped."),
    Key("reload", table_of(RELOAD, _reload, merges=False), "How it is asked to reload: by one of these."),
    Key(
        "essential",
        choice(Essential),
        "Which end of it ends the daemon too, with its exit status: a failure, or any.",
    ),
    Key("limits", LIMITS_TABLE, "Its resource limits, soft and hard alike or each: setrlimit(2)."),
    Key(
        "memory_max",
        SIZE,
        "How much memory all processes of a run may have together; at the limit one is killed. "
        "This and the next two are by control groups: they hold for each instance by itself, change while it "
        "runs, and where they cannot be had the service runs without, and `reaperd status` says so.",
    ),
    Key(
        "cpu_weight",
        integer(1, 10_000),
        "Its share of processor time where that is short, against those of other runs; 100 is what "
        "those have that do not say.",
    ),
    Key(
        "pids_max",
        integer(1, _MOST_TASKS),
        "How many processes and threads a run may have; a fork beyond it fails.",
    ),
    Key(
        "stdout",
        STDOUT,
        "Where its standard output goes: where the daemon's goes, untouched or line by line with the "
        "service's name or as JSON; to the journal; to syslog; nowhere; or into a file.",
        '"inherit"',
    ),
    Key(
        "stderr",
        STDERR,
        "The same of its standard error; with `stdout` they are one. By name or as JSON both go to the "
        "daemon's standard output.",
        '"inherit"',
    ),
    Key("on_failure", COMMAND, "A command that is run each time it failed."),
    Key("on_exit", COMMAND, "A command that is run each time it ended."),
    Key("oneshot", BOOLEAN, "Whether it is meant to end; it is ready when it has ended well.", "false"),
    Key("schedule", SCHEDULE_TABLE, "When it is started by itself: by one of the first two."),
    Key(
        "notify_access",
        choice(NotifyAccess),
        "Whose notifications count: those of every descendant, or of the main process alone.",
        '"tree"',
    ),
    Key(
        "watchdog",
        duration(_SHORTEST_NS),
        "How long it may go without saying `WATCHDOG=1` (sd_notify(3)) once it is ready; then it counts as "
        "failed. It is told by `WATCHDOG_USEC`, and should say so twice as often. Without it: for ever.",
        field="watchdog_ns",
    ),
    Key(
        "sockets",
        SOCKETS,
        "Sockets that the program finds open from descriptor 3 on, as sd_listen_fds(3) has it, and that stay "
        "open while it restarts. All instances share them.",
        "[]",
    ),
    Key(
        "zombies",
        table_of(ZOMBIES, Zombies),
        "Zombies under the service: with this table, which may be empty, they are looked for from time to "
        "time. Without it: only where `daemon.zombies` is set.",
    ),
)

USE: Final = Key(
    "use",
    Kind("a template's name", lambda value, _site: text_not_empty(value), schema={"type": "string"}),
    "The template whose keys hold where the service does not say otherwise. A template may use another one.",
)
