"""The rows of the table `daemon`: the daemon's own settings, as `keys` has those of services."""

from typing import Final

from reaperd.config.control import CONTROL, control
from reaperd.config.daemon_spec import Cgroups, Connector, Log, LogFormat, LogLevel, Track, ZombieRemedy
from reaperd.config.forward import FORWARDED
from reaperd.config.kinds import PATH, PATTERNS, choice, duration
from reaperd.config.table import Key, table_of

_SECOND_NS: Final = 1_000_000_000

LOG: Final = (
    Key("level", choice(LogLevel), "Which lines are written: these and what is worse.", '"info"'),
    Key(
        "format",
        choice(LogFormat),
        "How they look: for people, JSON, or as the journal takes them: entries with fields where that reads "
        "them, else JSON with a priority before it (sd-daemon(3)). `auto` is the journal's where that reads "
        "them, else for people on a terminal and JSON elsewhere.",
        '"auto"',
    ),
)

DAEMON: Final = (
    Key(
        "socket",
        PATH,
        "The Unix socket on which the daemon answers. Without it: `$REAPERD_SOCKET`, else for root "
        "`/run/reaperd/control.sock`; for others `$XDG_RUNTIME_DIR/reaperd/control.sock`, or "
        "`reaperd-UID/control.sock` in the temporary directory.",
    ),
    Key(
        "state_dir",
        PATH,
        "The directory of the daemon's lock and of what it remembers. Without it: `$REAPERD_STATE_DIR`, else "
        "for root `/var/lib/reaperd`; for others `$XDG_STATE_HOME/reaperd` or `~/.local/state/reaperd`.",
    ),
    Key(
        "include",
        PATTERNS,
        "Further files, each with services and templates; `*`, `?` and `[...]` match as in a shell.",
        "[]",
    ),
    Key("log", table_of(LOG, Log), "The daemon's own lines."),
    Key("control", table_of(CONTROL, control), "Who may ask the daemon for what, and where."),
    Key(
        "shutdown_timeout",
        duration(),
        "How long the end of all services may take; then whatever is left is killed. Without it: 90s, or 30s "
        "more than the longest `stop.timeout` where that is longer.",
        field="shutdown_timeout_ns",
    ),
    Key(
        "cgroup",
        choice(Cgroups),
        "Whether each run has a control group of its own: where the daemon may make them, or never.",
        '"auto"',
    ),
    Key(
        "track",
        choice(Track),
        "Who is in the daemon's picture of the machine's processes, as `reaperd tree` shows it: those that "
        "descend from the daemon, or all.",
        '"descendants"',
    ),
    Key(
        "process_connector",
        choice(Connector),
        "Whether the kernel tells the daemon of each fork, exec and exit: where the machine lets it, or "
        "never. Containers do not let it: cn_proc.",
        '"auto"',
    ),
    Key(
        "heal_interval",
        duration(_SECOND_NS),
        "The time between two looks at all processes that nothing but the clock asks for; at least 1s. They "
        "find what nobody tells: a changed group, an adoption or a zombie where there is no process "
        "connector. Without it there are none, and an idle daemon never wakes.",
        field="heal_interval_ns",
    ),
    Key(
        "forward_signals",
        FORWARDED,
        "Signals that the daemon hands on to the main processes of services, such as "
        '`{ USR1 = ["web"] }`. Those that mean something to the daemon itself cannot be among them.',
        "{}",
    ),
    Key(
        "zombies",
        choice(ZombieRemedy),
        "What is done about zombies that stay under any service: they are reported; or their parents are "
        "reminded by SIGCHLD where they listen to it; or, where that does not help, let collect them by "
        "system calls that they are made to make. Without it: those under services that have the key "
        "`zombies` are reported.",
    ),
)
