"""The table of keys: everything that a configuration may say, with its default and what it does.

A default is what the file would say, and a test holds it to the default of the spec. A key stands here only
once the daemon acts on it. Reference, manual page and messages are made from these rows.
"""

from typing import Any, Final

from reaperd.config.kinds import COMMAND, ENVIRONMENT, GROUP, PATH, SIGNAL, USER, choice, duration, number
from reaperd.config.spec import Backoff, Restart, Stop
from reaperd.config.table import Key, table_of
from reaperd.units import format_duration

# A crash loop without any wait would be nothing but forks.
_SHORTEST_NS: Final = 1_000_000


def _backoff(**values: Any) -> Backoff:  # noqa: ANN401  # each has the type that its row's reader returns
    backoff = Backoff(**values)
    if backoff.max_ns < backoff.initial_ns:
        longest, initial = format_duration(backoff.max_ns), format_duration(backoff.initial_ns)
        raise ValueError(f"max, {longest}, is shorter than initial, {initial}; set both, initial at most max")
    return backoff


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

STOP: Final = (
    Key("signal", SIGNAL, "The signal that asks the service to end.", '"TERM"'),
    Key(
        "timeout",
        duration(),
        "How long it may take; then whatever is left of it is killed.",
        '"10s"',
        "timeout_ns",
    ),
)

SERVICE: Final = (
    Key(
        "command",
        COMMAND,
        "The program and its arguments. A string is split into words, with quotes as in a shell, but "
        "there is no shell: `$`, `*`, `|` and `>` mean nothing. A program without a slash is looked up in "
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
    Key(
        "environment",
        ENVIRONMENT,
        "Variables for the program, on top of those that the daemon was started with. `SERVICE`, its own "
        "name, and what begins with `REAPERD_` are set by the daemon.",
        "{}",
    ),
    Key(
        "restart",
        choice({policy.value: policy for policy in Restart}),
        "Whether a program that ended is started again: never, when it failed, or always.",
        '"on-failure"',
    ),
    Key("backoff", table_of(BACKOFF, _backoff), "How long to wait before it is started again."),
    Key("stop", table_of(STOP, Stop), "How the service is stopped."),
)

DAEMON: Final = (
    Key(
        "socket",
        PATH,
        "The Unix socket on which the daemon answers. Without it: `/run/reaperd/control.sock` for root; "
        "for others `$XDG_RUNTIME_DIR/reaperd/control.sock`, or `reaperd-UID/control.sock` in the "
        "temporary directory.",
    ),
    Key(
        "state_dir",
        PATH,
        "The directory of the daemon's lock and of what it remembers. Without it: `/var/lib/reaperd` for "
        "root; for others `$XDG_STATE_HOME/reaperd` or `~/.local/state/reaperd`.",
    ),
)
