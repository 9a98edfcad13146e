"""reaperd init: the container init, whole, in one file that imports nothing of ours.

Words. CMD is the program that init was asked to run, its main process. An orphan is a process whose parent
ended and that the kernel gave to us: because we are PID 1 of a PID namespace, or because we are child
subreaper. A leftover is whatever lives on when CMD has ended.

Life. main() blocks every signal, reads the options, prepares the terminal, forks CMD and enters one loop that
sleeps in sigwaitinfo(2). Three things can wake it: a SIGCHLD, on which it reaps until nothing is left; any
other signal, which it passes on; a deadline, which exists only while an option asks for one. When CMD has
been
reaped, the leftovers are ended, and init leaves by _exit(2) with CMD's status.

Who interrupts whom. Nobody, ever. No handler is installed and nothing is unblocked, so no line of this file
is
interrupted by a signal: each waits, with its sender and (real-time ones) count, until the loop fetches it.
That settles at once the races that other inits fight: a signal between fork and exec stays pending in the
child until its mask is the caller's again; a SIGPIPE from our own log names us as its sender and is dropped;
terminal signals cannot stop us. Signals that the caller ignores reach us too, for a blocked signal is queued
even where its disposition is to be ignored: kernel/signal.c, sig_ignored().

What must not be lost on the way: CMD gets the caller's signal mask, dispositions, argument bytes, environment
and descriptors, exactly. CPython changes four of these as it starts, and each is put back: it ignores SIGPIPE
and SIGXFSZ, catches SIGINT, and may set LC_CTYPE (PEP 538).

Cost. This runs under `python3 -I -S`. There, importing `os` takes as long as everything below it (0.9 ms), so
its C half `posix` stands in for it: the same functions. All that is needed seldom is imported where it is
needed: ctypes for -s and -p, fcntl and termios where there is a terminal, select and _socket for an awkward
standard error.
"""
# ruff: noqa: PLC0415, SLF001 - imports inside functions are paid by those alone who need them; `posix` under
# the name of `os` makes ruff take os._exit for somebody's private member

import _signal  # type: ignore[import-not-found]  # the C half of signal: importing signal costs 3 ms

if __name__ == "__main__":
    # Before anything else: the kernel drops a signal to a PID 1 that neither blocks nor handles it.
    CALLER_MASK = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
else:
    # Imported to be read or tested, not to be an init: the importer keeps its signals.
    CALLER_MASK = frozenset()

import posix as os

# As early as that, for a parent that ends before we know it cannot be told from the one that we have then.
CALLER_PARENT = os.getppid()

import sys  # noqa: E402 - the two above come first
import time  # noqa: E402 - the same

TYPE_CHECKING = False  # as type checkers understand it; importing typing costs 9 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    Row = tuple[str, str, str, str, str, Callable[["Options", str], None]]

VERSION = "0.1.0"  # reaperd.__version__; a test compares them

# prctl(2), wait(2), signal codes of sigaction(2): kernel numbers that no cheap module names.
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_GET_CHILD_SUBREAPER = 37
WALL = 0x40000000  # also children whose exit signal is not SIGCHLD: an init may inherit some by exec
SI_USER = 0
SI_KERNEL = 0x80
CLD_EXITED = 1

EXIT_USAGE = 125
EXIT_CANNOT_RUN = 126
EXIT_NOT_FOUND = 127
EXIT_SIGNAL = 128

SECOND_NS = 1_000_000_000
ALL: frozenset[int] = frozenset(_signal.valid_signals())  # never 32 and 33: they belong to the C library
CHLD: int = _signal.SIGCHLD
NOT_CHLD = ALL - {CHLD}
ESCALATING: frozenset[int] = frozenset({_signal.SIGTERM, _signal.SIGINT})
STOPPING: frozenset[int] = frozenset({_signal.SIGTSTP, _signal.SIGTTIN, _signal.SIGTTOU})
# What a log line of ours can bring upon us, in our own name: write(2) to a pipe nobody reads, RLIMIT_FSIZE.
OWN_DOING: frozenset[int] = frozenset({_signal.SIGPIPE, _signal.SIGXFSZ})
# What the terminal driver sends to a whole process group at once: n_tty(4), job control in setpgid(2).
FROM_TERMINAL: frozenset[int] = STOPPING | {
    _signal.SIGINT,
    _signal.SIGQUIT,
    _signal.SIGHUP,
    _signal.SIGCONT,
    _signal.SIGWINCH,
}

# Given a choice, one turn does this much and then looks at everything else: no storm starves anything.
REAPS_A_TURN = 1024
SIGNALS_BEFORE_A_LOOK = 64
FAILED_TURNS = 10  # in a row, before init stops trying: a filter of system calls may refuse rt_sigtimedwait

DEFAULT_GRACE_NS = 5 * SECOND_NS
KILLED_WAIT_NS = 2 * SECOND_NS  # for what SIGKILL cannot end: in uninterruptible sleep, or another user's
SAME_REQUEST_NS = SECOND_NS // 5  # timeout(1) signals its child, then the child's group: one request, twice
HELD_MOST = 4096  # real-time signals held back by --delay; past that they pass at once
LINE_MOST = 1000  # under PIPE_BUF: one write(2) to a pipe is all or nothing, pipe(7)

ERROR, WARNING, INFO, DEBUG = range(4)

# Where CMD is put: a session of its own; a process group of its own in our session; nowhere else.
SESSION, GROUP, HERE = "session", "group", "here"


# --- Signals by name --------------------------------------------------------------------------------------


def signal_numbers() -> dict[str, int]:
    """Return every name that signal(7) gives to a signal on this machine, without SIG."""
    names = {
        name[3:]: int(getattr(_signal, name))
        for name in dir(_signal)
        if name.startswith("SIG") and not name.startswith("SIG_") and name not in ("SIGRTMIN", "SIGRTMAX")
    }
    first, last = int(_signal.SIGRTMIN), int(_signal.SIGRTMAX)
    names.update({f"RTMIN+{n - first}": n for n in range(first, last + 1)})
    names.update({f"RTMAX-{last - n}": n for n in range(first, last + 1)})
    return names | {"RTMIN": first, "RTMAX": last}


def parse_signal(text: str) -> int:
    """Return the number of a signal given as 15, TERM, SIGTERM, RTMIN+3, in any case.

    Raises:
        UsageError: there is no such signal; the message lists the names.
    """
    names = signal_numbers()
    word = text.upper()
    number = names.get(word.removeprefix("SIG"))
    if number is not None:
        return number
    # str.isdigit alone would let through digits of other scripts.
    if word.isascii() and word.isdigit() and int(word) in ALL:
        return int(word)
    known = sorted({n: name for name, n in reversed(names.items()) if n < int(_signal.SIGRTMIN)}.items())
    listed = " ".join(name for _, name in known)
    last = int(_signal.SIGRTMAX) - int(_signal.SIGRTMIN)
    raise UsageError(
        f'there is no signal "{text}"; the names are {listed} RTMIN+0 to RTMIN+{last}, '
        "with or without SIG, and their numbers"
    )


def signal_name(number: int) -> str:
    """Return SIGTERM for 15, SIGRTMIN+3 for 37."""
    first = int(_signal.SIGRTMIN)
    if number >= first:
        return f"SIGRTMIN+{number - first}"
    names = signal_numbers()
    return next((f"SIG{name}" for name, n in names.items() if n == number), f"signal {number}")


# --- Options ----------------------------------------------------------------------------------------------


class UsageError(Exception):
    """The command line or an environment mirror cannot be used; nothing has been started.

    Attributes:
        getopt: the same in the words of getopt(3), which the peers' users know.
    """

    def __init__(self, text: str, getopt: str = "") -> None:
        super().__init__(text)
        self.getopt = getopt or text


class Options:
    """What the user asked for; written while parsing, only read afterwards."""

    __slots__ = (
        "action",
        "command",
        "delay_ns",
        "expected",
        "grace_given",
        "grace_ns",
        "ignore",
        "install_path",
        "kill_orphans_ns",
        "parent_death",
        "pause",
        "peer",
        "placement",
        "print_line",
        "rewrite",
        "subreaper",
        "suspend",
        "term_group_last",
        "to_group",
        "verbosity",
        "wait_all",
        "warn_on_reap",
    )

    def __init__(self, peer: str = "") -> None:
        self.peer = peer  # the program whose name and manners we go by, "" for our own
        self.action = ""  # something to do instead of being an init
        self.install_path = ""
        self.print_line = False
        self.command: list[bytes] = []
        self.verbosity = WARNING
        self.to_group = False
        self.placement = ""  # "" until place() decides
        self.subreaper = False
        self.parent_death = 0
        self.expected: frozenset[int] = frozenset()
        self.rewrite: dict[int, int] = {}
        self.ignore: frozenset[int] = frozenset()
        self.warn_on_reap = False
        self.grace_given = False
        self.grace_ns: int | None = None  # None: leave the leftovers alone
        self.wait_all = False
        self.delay_ns: dict[int, int] = {}
        self.kill_orphans_ns = 0  # 0: do not look
        self.suspend = True  # stop with CMD at a terminal's stop signal
        self.term_group_last = False  # dumb-init's farewell: SIGTERM to the group, no wait
        self.pause = False  # catatonit -P: no CMD at all


def parse_seconds(text: str) -> int:
    """Return nanoseconds for a plain number of seconds such as 5, 0.25.

    Raises:
        UsageError: not a number, negative, or more than a year.
    """
    digits = text.replace(".", "", 1)
    seconds = float(text) if digits.isascii() and digits.isdigit() else -1.0
    if not 0 <= seconds <= 366 * 86400:
        raise UsageError(f'"{text}" is not a number of seconds, such as 5 or 0.5')
    return int(seconds * SECOND_NS)


def several(text: str) -> list[str]:
    """Split the value of a repeatable option's mirror: at commas or blanks."""
    return text.replace(",", " ").split() or [""]


def set_verbose(options: Options, _value: str) -> None:
    """Say more."""
    options.verbosity = min(options.verbosity + 1, DEBUG)


def set_verbosity(options: Options, value: str) -> None:
    """Take the mirror of -v: how often -v would stand there, or yes for once."""
    digits = value.isascii() and value.isdigit()
    options.verbosity = min(WARNING + int(value), DEBUG) if digits else WARNING + int(truth(value))


def set_quiet(options: Options, _value: str) -> None:
    """Say errors only."""
    options.verbosity = ERROR


def set_group(options: Options, _value: str) -> None:
    """Signal CMD's process group."""
    options.to_group = True


def set_single(options: Options, _value: str) -> None:
    """Signal CMD alone."""
    options.to_group = False


def set_subreaper(options: Options, _value: str) -> None:
    """Become child subreaper."""
    options.subreaper = True


def set_parent_death(options: Options, value: str) -> None:
    """Choose the signal that the kernel sends us when our parent ends."""
    options.parent_death = parse_signal(value)


def add_expected(options: Options, value: str) -> None:
    """Count one more exit status of CMD as success."""
    if not (value.isascii() and value.isdigit() and int(value) <= 255):
        raise UsageError(f'"{value}" is not an exit status; they go from 0 to 255')
    options.expected |= {int(value)}


def add_rewrite(options: Options, value: str) -> None:
    """Send one signal in place of another, or nothing."""
    parts = value.split(":")
    if len(parts) != 2:
        raise UsageError(f'"{value}" is not FROM:TO, such as TERM:QUIT, or 15:0 to drop a signal')
    received = parse_signal(parts[0])
    if received in (_signal.SIGKILL, _signal.SIGSTOP, CHLD):
        raise UsageError(f"{signal_name(received)} is never passed on, so it cannot be rewritten")
    if received in options.rewrite:
        raise UsageError(f"there are two rules for {signal_name(received)}")
    options.rewrite[received] = 0 if parts[1] == "0" else parse_signal(parts[1])


def add_delay(options: Options, value: str) -> None:
    """Hold one signal back for a while before passing it on."""
    name, colon, seconds = value.partition(":")
    if not colon:
        raise UsageError(f'"{value}" is not SIG:SECONDS, such as TERM:10')
    number = parse_signal(name)
    if number in (_signal.SIGKILL, _signal.SIGSTOP, CHLD):
        raise UsageError(f"{signal_name(number)} is never passed on, so it cannot be held back")
    if number in options.delay_ns:
        raise UsageError(f"there are two delays for {signal_name(number)}")
    options.delay_ns[number] = parse_seconds(seconds)


def add_ignore(options: Options, value: str) -> None:
    """Start CMD with one more signal ignored."""
    number = parse_signal(value)
    if number in (_signal.SIGKILL, _signal.SIGSTOP):
        raise UsageError(f"{signal_name(number)} cannot be ignored")
    options.ignore |= {number}


def set_warn_on_reap(options: Options, _value: str) -> None:
    """Name each orphan reaped."""
    options.warn_on_reap = True


def set_grace(options: Options, value: str) -> None:
    """Bound the time between SIGTERM and SIGKILL."""
    options.grace_given = True
    options.grace_ns = None if value == "none" else parse_seconds(value)


def set_no_setsid(options: Options, _value: str) -> None:
    """Leave CMD in our session."""
    options.placement = HERE


def set_setsid(options: Options, _value: str) -> None:
    """Give CMD a session also where a shell's terminal would be left behind."""
    options.placement = SESSION


def set_wait_all(options: Options, _value: str) -> None:
    """Leave only when no child is left."""
    options.wait_all = True


def set_kill_orphans(options: Options, value: str) -> None:
    """End adopted orphans, looking for them every so many seconds."""
    every_ns = parse_seconds(value or "1")
    if every_ns < SECOND_NS // 100:
        raise UsageError("looking for orphans more than 100 times a second would be a busy loop")
    options.kill_orphans_ns = every_ns


def set_help(options: Options, _value: str) -> None:
    """Print the help."""
    options.action = "help"


def set_version(options: Options, _value: str) -> None:
    """Print the version."""
    options.action = "version"


def set_license(options: Options, _value: str) -> None:
    """Print the license."""
    options.action = "license"


def set_print_entrypoint(options: Options, _value: str) -> None:
    """Print the line for a container file."""
    options.print_line = True
    if options.action != "install":
        options.action = "print-entrypoint"


def set_install(options: Options, value: str) -> None:
    """Write the one file that an image needs."""
    if not value:
        raise UsageError("it needs a path")
    options.action = "install"
    options.install_path = value


def set_pause(options: Options, _value: str) -> None:
    """Run nothing; only reap, until asked to stop."""
    options.pause = True


# (short, long, value, mirror, what it does, how). A value in brackets is optional and needs "=".
# The help, the manual page and the mirrors are all read from this table.
OPTIONS: "tuple[Row, ...]" = (
    ("-v", "--verbose", "", "VERBOSE", "say more; twice: every signal and every reaped child", set_verbose),
    ("-q", "--quiet", "", "QUIET", "say errors only", set_quiet),
    ("-g", "--group", "", "GROUP", "pass signals to CMD's process group", set_group),
    ("", "--single", "", "SINGLE", "pass signals to CMD alone (the default)", set_single),
    (
        "-s",
        "--subreaper",
        "",
        "SUBREAPER",
        (
            "become child subreaper: reap orphans also when not PID 1; should init itself be killed by "
            "SIGKILL, CMD ends with it, but not what CMD had put into the background"
        ),
        set_subreaper,
    ),
    (
        "-p",
        "--parent-death-signal",
        "SIG",
        "PARENT_DEATH_SIGNAL",
        "receive SIG when the parent of init ends, also if it ends while init starts",
        set_parent_death,
    ),
    (
        "-e",
        "--expect-exit",
        "N",
        "EXPECT_EXIT",
        "count CMD's exit status N as success: leave with 0; repeatable",
        add_expected,
    ),
    (
        "-r",
        "--rewrite",
        "FROM:TO",
        "REWRITE",
        "pass signal TO on in place of FROM, nothing where TO is 0; repeatable",
        add_rewrite,
    ),
    (
        "",
        "--delay",
        "SIG:SECONDS",
        "DELAY",
        "hold SIG back for so long before passing it on; repeatable",
        add_delay,
    ),
    (
        "",
        "--ignore",
        "SIG",
        "IGNORE",
        "start CMD with SIG ignored (SIGPIPE and SIGXFSZ are default otherwise); repeatable",
        add_ignore,
    ),
    ("-w", "--warn-on-reap", "", "WARN_ON_REAP", "name each orphan that is reaped", set_warn_on_reap),
    (
        "",
        "--grace",
        "SECONDS|none",
        "GRACE",
        (
            "what is alive when CMD has ended gets SIGTERM and, after so long, SIGKILL (default 5 as PID 1 "
            "or subreaper; 0 kills at once; none leaves at once); where given, CMD too has so long after "
            "a SIGTERM"
        ),
        set_grace,
    ),
    ("", "--no-setsid", "", "NO_SETSID", "leave CMD in the session of init", set_no_setsid),
    (
        "",
        "--setsid",
        "",
        "SETSID",
        "give CMD its own session even under an interactive shell",
        set_setsid,
    ),
    (
        "",
        "--wait-all",
        "",
        "WAIT_ALL",
        "leave only when every child has ended, for a CMD that daemonizes",
        set_wait_all,
    ),
    (
        "",
        "--kill-orphans",
        "[SECONDS]",
        "KILL_ORPHANS",
        (
            "end every adopted orphan at once; the kernel announces no adoption, so this option polls: it "
            "looks every so many seconds (default 1)"
        ),
        set_kill_orphans,
    ),
    (
        "",
        "--print-entrypoint",
        "",
        "PRINT_ENTRYPOINT",
        "print the ENTRYPOINT line for a container file, and leave",
        set_print_entrypoint,
    ),
    (
        "",
        "--install",
        "PATH",
        "INSTALL",
        "write the one file that an image needs to PATH, and its faster twin to PATH.pyc, and leave",
        set_install,
    ),
    ("", "--version", "", "VERSION", "print the version, and leave", set_version),
    ("-h", "--help", "", "", "print this help, and leave", set_help),
)
REPEATABLE = (add_expected, add_rewrite, add_delay, add_ignore)
MIRROR_PREFIX = "REAPERD_INIT_"

EXAMPLES = """\
examples:
  reaperd init -- nginx -g 'daemon off;'       be PID 1 of a container
  reaperd init -s -g -- ./probe.sh             leave nothing behind, wherever this runs
  reaperd init -r TERM:QUIT --grace 20 -- app  stop with SIGQUIT, and after 20 s with SIGKILL
  reaperd init --delay TERM:10 -- app          let the load balancer drain first
  reaperd init -w -e 143 -- app                name each orphan; 143 is a success
  reaperd init --install /sbin/reaperd-init    write the file that an image needs
"""

STATUSES = """\
exit status:
  CMD's own; 128+n where signal n ended it; 127 where CMD is not found, 126 where it cannot be run,
  125 where the command line cannot be used
"""


def flag_arguments(words: list[str], flags: dict[str, str]) -> tuple[list[tuple[str, str]], int]:
    """Split `words` into flags with their values and the index of CMD.

    Stops at the first word that is no option, so CMD's own options need no "--".

    Args:
        words: the command line.
        flags: each flag, with "" for no value, "[" for one after "=", anything else for one that must be.

    Raises:
        UsageError: an unknown flag, or one whose value is missing or unasked for.
    """
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(words):
        word = words[at]
        if word == "--":
            return found, at + 1
        if not word.startswith("-") or word == "-":
            break
        at += 1
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            name = known_long(name, flags)
            if flags[name] == "" and equals:
                raise UsageError(f"option {name} takes no value")
            if flags[name] not in ("", "[") and not equals:
                value, at = next_word(words, at, name)
            found.append((name, value))
            continue
        at = short_flags(words, at, flags, found)
    return found, at


def short_flags(words: list[str], at: int, flags: dict[str, str], found: list[tuple[str, str]]) -> int:
    """Add the flags in the word before `at`, which may stand together: -sg, -e3, -e 3; return the next place.

    Raises:
        UsageError: one of them is unknown, or lacks its value.
    """
    word = words[at - 1]
    for place, letter in enumerate(word[1:], 2):
        name = f"-{letter}"
        if name not in flags:
            raise UsageError(f"there is no option {name}", f"invalid option -- '{letter}'")
        if flags[name] == "":
            found.append((name, ""))
            continue
        value = word[place:]
        if not value:
            value, at = next_word(words, at, name)
        found.append((name, value))
        break
    return at


def next_word(words: list[str], at: int, name: str) -> tuple[str, int]:
    """Return the value that stands in a word of its own, and the place after it."""
    if at >= len(words):
        raise UsageError(
            f"option {name} needs a value", f"option requires an argument -- '{name.lstrip('-')}'"
        )
    return words[at], at + 1


def known_long(name: str, flags: dict[str, str]) -> str:
    """Return the long flag that `name` is, or cuts short without doubt as getopt_long(3) allows.

    Raises:
        UsageError: none or several fit.
    """
    if name in flags:
        return name
    fitting = [flag for flag in flags if flag.startswith(name) and len(name) > 2]
    if len(fitting) == 1:
        return fitting[0]
    near = fitting or [flag for flag in flags if flag[:4] == name[:4] and flag.startswith("--")]
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    raise UsageError(f"there is no option {name}{meant}", f"unrecognized option '{name}'")


def truth(text: str) -> bool:
    """Read an environment mirror of a flag without a value.

    Raises:
        UsageError: neither yes nor no.
    """
    word = text.lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("", "0", "false", "no", "off"):
        return False
    raise UsageError(f'"{text}" is neither 1 nor 0')


def parse(words: list[bytes], environment: dict[bytes, bytes]) -> Options:
    """Read our own command line and its environment mirrors; flags win.

    Raises:
        UsageError: with a sentence that names the option or the variable.
    """
    options = Options()
    flags: dict[str, str] = {}
    rows: dict[str, Row] = {}
    for row in OPTIONS:
        for name in row[:2]:
            flags[name] = row[2][:1]
            rows[name] = row
    del flags[""]
    found, at = flag_arguments([as_text(word) for word in words], flags)
    given = {rows[name][1] for name, _ in found}
    for row in OPTIONS:
        mirror = environment.get((MIRROR_PREFIX + row[3]).encode()) if row[3] else None
        if mirror is not None and row[1] not in given:
            use_mirror(options, row, as_text(mirror))
    for name, value in found:
        try:
            rows[name][5](options, value)
        except UsageError as error:
            raise UsageError(f"option {name}: {error}") from None
    options.command = words[at:]
    return options


def use_mirror(options: Options, row: "Row", value: str) -> None:
    """Apply one environment mirror.

    Raises:
        UsageError: naming the variable.
    """
    how = row[5]
    try:
        if how is set_verbose:
            set_verbosity(options, value)
        elif how in REPEATABLE:
            for word in several(value):
                how(options, word)
        elif how is set_kill_orphans and value.lower() in ("true", "yes", "on"):
            how(options, "")
        elif row[2]:
            how(options, value)
        elif truth(value):
            how(options, "")
    except UsageError as error:
        raise UsageError(f"{MIRROR_PREFIX}{row[3]}: {error}") from None


def help_text() -> str:
    """Return the whole of --help."""
    lines = ["usage: reaperd init [OPTION]... [--] CMD [ARG]...", ""]
    lines += ["Run CMD, pass signals on to it, reap every orphan, leave with CMD's exit status.", ""]
    for short, long, value, mirror, what, _how in OPTIONS:
        shown = f"={value}" if value and not value.startswith("[") else value and f"[={value[1:-1]}]"
        lines.append(f"  {short + ',' if short else '   '} {long}{shown}")
        lines += wrapped(what, 84, " " * 10)
        if mirror:
            lines.append(f"{' ' * 10}[{MIRROR_PREFIX}{mirror}]")
    lines += ["", "Each bracketed name is an environment variable that stands for the option; flags win.", ""]
    return "\n".join(lines) + "\n" + STATUSES + "\n" + EXAMPLES


def wrapped(text: str, width: int, indent: str) -> list[str]:
    """Break `text` into indented lines; textwrap would import re."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        if line and len(line) + len(word) >= width:
            lines.append(indent + line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, indent + line]


# --- Bytes that must pass through unchanged ---------------------------------------------------------------


def as_text(raw: bytes) -> str:
    """Return bytes as text that as_bytes() turns back into the same bytes, whatever they are."""
    return raw.decode("utf-8", "surrogateescape")


def as_bytes(text: str) -> bytes:
    """Return the bytes that as_text() was given."""
    return text.encode("utf-8", "surrogateescape")


def raw_arguments() -> list[bytes]:
    """Return our arguments as the bytes that the caller gave.

    sys.argv went through the locale's decoder, and in some locales bytes do not survive that. ASCII survives
    all of them; for anything else the kernel still has the original: /proc/PID/cmdline, proc(5).
    """
    words = sys.argv[1:]
    if all(word.isascii() for word in words):
        return [word.encode("ascii") for word in words]
    original = read_file(b"/proc/self/cmdline").split(b"\0")[:-1]
    if len(original) > len(words):
        return original[-len(words) :]
    return [word.encode(sys.getfilesystemencoding(), "surrogateescape") for word in words]


def restore_environment() -> None:
    """Undo what CPython does to the environment as it starts.

    In the C locale it sets LC_CTYPE, so that its children decode as it does: PEP 538. The block that
    execve(2)
    was given still stands in /proc/self/environ and decides. Where there is no /proc, UTF-8 mode does:
    CPython
    turns it on for that same locale and for no other, unless told to.
    """
    if os.environ.get(b"LC_CTYPE") not in (b"C.UTF-8", b"C.utf8", b"UTF-8"):
        return
    block = read_file(b"/proc/self/environ")
    if not block:
        if sys.flags.utf8_mode:
            os.unsetenv(b"LC_CTYPE")
            del os.environ[b"LC_CTYPE"]
        return
    for entry in block.split(b"\0"):
        if entry.startswith(b"LC_CTYPE="):
            os.putenv(b"LC_CTYPE", entry[9:])
            return
    os.unsetenv(b"LC_CTYPE")
    del os.environ[b"LC_CTYPE"]


def read_file(path: bytes, most: int = 2**40) -> bytes:
    """Return a file, or its first bytes, empty where it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return b""
    try:
        parts = []
        while most > 0 and (part := os.read(fd, min(65536, most))):
            parts.append(part)
            most -= len(part)
        return b"".join(parts)
    except OSError:
        return b""
    finally:
        os.close(fd)


# --- Standard error ---------------------------------------------------------------------------------------

# Each peer's users search their logs for its words, so under its name we speak as it does.
PREFIXES = {
    "": ("reaperd: ", "reaperd: ", "reaperd: ", "reaperd: "),
    "tini": ("[FATAL tini ({})] ", "[WARN  tini ({})] ", "[INFO  tini ({})] ", "[DEBUG tini ({})] "),
    "dumb-init": ("[dumb-init] ",) * 4,
    "catatonit": (
        "ERROR (catatonit:{}): ",
        "WARN (catatonit:{}): ",
        "INFO (catatonit:{}): ",
        "DEBUG (catatonit:{}): ",
    ),
}


class Log:
    """Standard error, written to so that it can neither block, end nor spin us.

    A description of our own is opened where that is possible, for O_NONBLOCK on the inherited one would reach
    everyone who shares it. What cannot be written is dropped.
    """

    __slots__ = ("mode", "peer", "verbosity")

    def __init__(self) -> None:
        self.peer = ""
        self.verbosity = WARNING
        try:
            self.mode = os.fstat(2).st_mode & 0o170000
        except OSError:
            self.mode = 0  # closed: whatever is opened as 2 later is not standard error

    def own(self) -> None:
        """Give descriptor 2 a description of its own.

        A terminal or a pipe is opened once more through /proc, never as a controlling terminal. That fails
        where /proc is missing, where another user made the pipe (EACCES) or nobody reads it (ENXIO): then the
        inherited one stays and write() looks before it writes. Sockets cannot be opened, and a plain file
        must not be: its offset is shared with CMD.
        """
        if self.mode not in (0o010000, 0o020000):  # S_IFIFO, S_IFCHR
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            fd = os.open(b"/proc/self/fd/2", flags)
        except OSError:
            return
        os.dup2(fd, 2, False)
        os.close(fd)

    def say(self, level: int, text: str) -> None:
        """Write one line, if the user wants to hear lines of this level."""
        if level > self.verbosity or not self.mode:
            return
        line = PREFIXES[self.peer][level].format(os.getpid()) + printable(text)
        self.write(line.encode("utf-8", "replace")[:LINE_MOST] + b"\n")

    def write(self, data: bytes) -> None:
        """Write, or drop."""
        try:
            if self.mode == 0o140000:  # S_IFSOCK
                send_now(data)
            elif self.mode == 0o100000 or not os.get_blocking(2) or writable_now():
                os.write(2, data)
        except (OSError, ImportError):
            pass  # full, closed at the other end, a full disk: there is nobody to tell


def printable(text: str) -> str:
    """Return text fit for one line of a terminal: a process names itself as it likes."""
    return "".join(c if c.isprintable() else f"\\x{ord(c) & 0xFF:02x}" for c in text)


def writable_now() -> bool:
    """Tell whether standard error takes a line without blocking: poll(2)."""
    import select

    poll = select.poll()
    poll.register(2, select.POLLOUT)
    return any(events == select.POLLOUT for _, events in poll.poll(0))


def send_now(data: bytes) -> None:
    """Send to a standard error that is a socket, without blocking and without SIGPIPE."""
    import _socket

    peer = _socket.socket(fileno=os.dup(2))
    try:
        peer.send(data, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
    finally:
        peer.close()


LOG = Log()


# --- The kernel's per-process attributes ------------------------------------------------------------------


def prctl(option: int, argument: int) -> None:
    """Set, or ask for, one attribute of this process.

    Raises:
        OSError: the kernel refused, or this Python has no ctypes (ENOSYS).
    """
    try:
        from ctypes import CDLL, c_int, c_ulong, get_errno
    except ImportError as error:
        raise OSError(38, f"this Python has no ctypes ({error})") from error
    call = CDLL(None, use_errno=True).prctl
    # prctl is variadic: give all five words, or the unset ones carry garbage.
    call.argtypes = (c_int, c_ulong, c_ulong, c_ulong, c_ulong)
    if call(option, argument, 0, 0, 0) < 0:
        raise OSError(get_errno(), os.strerror(get_errno()))


def is_subreaper() -> bool:
    """Tell whether we are child subreaper already: the attribute survives execve(2)."""
    try:
        from ctypes import addressof, c_int

        answer = c_int()
        prctl(PR_GET_CHILD_SUBREAPER, addressof(answer))
    except (ImportError, OSError):
        return False
    return bool(answer.value)


# --- Between fork and exec --------------------------------------------------------------------------------


def become_command(init: "Init") -> int:
    """Turn this freshly forked child into CMD, or return the exit status that says why not.

    All signals are blocked here until the caller's mask comes back just before the exec; one that arrives in
    between acts then, by its default.
    """
    take_place(init)
    restore_dispositions(init)
    if os.environ.get(b"LISTEN_PID") == b"%d" % init.me:
        # Sockets passed to init were meant for CMD: sd_listen_fds(3).
        os.putenv(b"LISTEN_PID", b"%d" % os.getpid())
    if init.die_with_us:
        die_with_parent(init.me)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, init.caller_mask)
    command = init.options.command
    status, why = execute(command)
    sentence = {
        "": f'cannot run "{as_text(command[0])}": {why}',
        "tini": f"exec {as_text(command[0])} failed: {why}",
        "dumb-init": f"{as_text(command[0])}: {why}",
        "catatonit": f"failed to exec pid1: {why}",
    }
    LOG.say(ERROR, sentence[init.options.peer])
    if init.options.peer == "dumb-init":
        return 2
    return 1 if init.options.peer == "catatonit" else status


def take_place(init: "Init") -> None:
    """Move into the session or process group that CMD is to have, and take the terminal there."""
    if init.placement == SESSION:
        os.setsid()
        if init.gave_up_terminal:
            take_terminal()
    elif init.placement == GROUP:
        os.setpgid(0, 0)
        if init.in_foreground:
            # From a background group this raises SIGTTOU, unless that is blocked as here: tcsetpgrp(3).
            quietly(os.tcsetpgrp, 0, os.getpid())


def take_terminal() -> None:
    """Make the terminal on stdin ours; asking (0), not by force (1), which would rob another session."""
    from fcntl import ioctl
    from termios import TIOCSCTTY

    try:
        ioctl(0, TIOCSCTTY, 0)
    except OSError as error:
        LOG.say(WARNING, f"cannot hand the terminal over: {error.strerror}")


def restore_dispositions(init: "Init") -> None:
    """Undo what CPython and we changed; handlers go by themselves at the exec."""
    # CPython ignores these two for itself. Whether the caller did cannot be known any more.
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)
    # An interrupt that is pending while the mask comes back must act, not set a flag that the exec forgets.
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    if init.ignored_child_exits:
        _signal.signal(CHLD, _signal.SIG_IGN)
    for number in init.options.ignore:
        _signal.signal(number, _signal.SIG_IGN)


def die_with_parent(parent: int) -> None:
    """Receive SIGKILL when init ends; set after the fork, which clears it: PR_SET_PDEATHSIG(2const)."""
    quietly(prctl, PR_SET_PDEATHSIG, int(_signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(EXIT_SIGNAL + int(_signal.SIGKILL))


def execute(command: list[bytes]) -> tuple[int, str]:
    """Replace this process by CMD as execvp(3) does; return exit status and reason where that fails."""
    name = command[0]
    if b"/" in name:
        code, seen = try_exec(name, command), name
        return explain(name, code, seen, "")
    path = os.environ.get(b"PATH", b"/bin:/usr/bin")
    failed, seen = ENOENT, b""
    for directory in path.split(b":") if name else ():
        # An empty entry is the working directory.
        candidate = directory + b"/" + name if directory else name
        code = try_exec(candidate, command)
        if code == EACCES or (code == ENOENT and failed == ENOENT and exists(candidate)):
            # Remembered, not final: a later directory may have one that runs.
            failed, seen = code, candidate
        elif code not in KEEP_LOOKING:
            return explain(name, code, candidate, "")
    return explain(name, failed, seen, as_text(path))


# errno(3); importing errno is cheap, naming them here is cheaper, and these are the same on every Linux.
ENOENT, ENOEXEC, EACCES, ENODEV, ENOTDIR, ETIMEDOUT, ESTALE = 2, 8, 13, 19, 20, 110, 116
KEEP_LOOKING = (ENOENT, EACCES, ENODEV, ENOTDIR, ETIMEDOUT, ESTALE)


def try_exec(path: bytes, command: list[bytes]) -> int:
    """Try one file; return the error number. os.execv hands on the C environment with every oddity in it."""
    try:
        os.execv(path, command)
    except OSError as error:
        if error.errno != ENOEXEC:
            return error.errno or ENOEXEC
    try:
        # A script without an interpreter line: POSIX has the shell run it.
        os.execv(b"/bin/sh", [b"/bin/sh", path, *command[1:]])
    except OSError:
        return ENOEXEC


def exists(path: bytes) -> bool:
    """Tell whether there is something by this name."""
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def explain(  # noqa: PLR0911 - one return for each sentence
    name: bytes, code: int, seen: bytes, searched: str
) -> tuple[int, str]:
    """Say in words why CMD could not be run: 127 only if there is no such name."""
    if code == ENOENT and not (seen and exists(seen)):
        if LOG.peer:
            return EXIT_NOT_FOUND, os.strerror(code)
        if b"/" in name:
            return EXIT_NOT_FOUND, "there is no such file"
        return EXIT_NOT_FOUND, f"not found in PATH ({searched})" if name else "its name is empty"
    if LOG.peer:
        return EXIT_CANNOT_RUN, os.strerror(code)
    shown = as_text(seen)
    if code == ENOENT:
        line = read_file(seen, 256).partition(b"\n")[0]
        if line.startswith(b"#!"):
            interpreter = as_text(line[2:].strip())
            return EXIT_CANNOT_RUN, f"the interpreter that {shown} names is missing: {interpreter}"
        return EXIT_CANNOT_RUN, f"the program loader that {shown} needs is missing"
    if code == EACCES:
        return EXIT_CANNOT_RUN, explain_denied(seen)
    return EXIT_CANNOT_RUN, f"{shown}: {os.strerror(code)}"


def explain_denied(path: bytes) -> str:
    """Say which of the many meanings of EACCES it was: execve(2)."""
    shown = as_text(path)
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return f"{shown}: {os.strerror(EACCES)}"
    if mode & 0o170000 == 0o040000:
        return f"{shown} is a directory"
    if not mode & 0o111:
        return f"{shown} is not executable (chmod +x would make it so)"
    return f"{shown}: {os.strerror(EACCES)}"


def quietly(call: "Callable[..., Any]", *arguments: object) -> "Any":  # noqa: ANN401 - any call's result
    """Make a system call whose failure changes nothing for us; return its result or None."""
    try:
        return call(*arguments)
    except OSError:
        return None


# --- What init knows --------------------------------------------------------------------------------------


class Init:
    """Everything that changes while CMD runs."""

    __slots__ = (
        "caller_mask",
        "children_last",
        "die_with_us",
        "direct",
        "early",
        "found_at_start",
        "gave_up_terminal",
        "has_children",
        "held",
        "helper",
        "ignored_child_exits",
        "in_foreground",
        "kill_at_ns",
        "look_at_ns",
        "looks_first",
        "main",
        "main_unreaped",
        "me",
        "more",
        "options",
        "owns_orphans",
        "parent",
        "placement",
        "since_look",
        "status",
        "stop_as",
        "stops_with_main",
        "termed_at_ns",
    )

    def __init__(self, options: Options, caller_mask: frozenset[int], parent: int) -> None:
        self.options = options
        self.caller_mask = caller_mask
        self.parent = parent  # as init was started
        self.me = os.getpid()
        self.owns_orphans = self.me == 1
        self.placement = HERE
        self.gave_up_terminal = False
        self.in_foreground = False  # our process group had the terminal on stdin as we started
        self.stops_with_main = False  # under a shell that waits for us to stop as CMD does
        self.direct: dict[int, int] = {}  # signals that need no thought, and what CMD gets for each
        self.stop_as: dict[int, int] = {}  # what stops CMD where its session would ignore the real signal
        self.die_with_us = False
        self.ignored_child_exits = False  # the caller ignored SIGCHLD, and so shall CMD
        self.early: list[tuple[int, int, int]] = []  # signals that came while the terminal was handed over
        self.main = 0
        self.main_unreaped = False  # CMD has ended and is kept, so that its group's number stays its own
        self.status: int | None = None
        self.has_children = True
        self.more = True  # the last turn left zombies for the next; nobody has looked before the first
        self.children_last = False
        self.since_look = 0
        self.kill_at_ns = 0  # when CMD's grace is over; 0: none is running
        self.termed_at_ns = 0
        self.looks_first = False  # at each zombie, before it is reaped
        self.look_at_ns = 0  # when to look for orphans to end; 0: never
        self.held: list[tuple[int, int]] = []  # (when due, signal)
        self.helper = 0
        self.found_at_start: frozenset[int] = frozenset()


# --- The loop ---------------------------------------------------------------------------------------------


def run(init: Init) -> None:
    """Turn until CMD has ended."""
    init.direct = direct_signals(init)
    init.looks_first = looks_first(init)
    for number, code, sender in init.early:
        on_signal(init, number, code, sender)
    # A rehearsal, as the first turn's look for zombies is: fork has made each page of ours a fault to come,
    # and those that CMD's end would take cost a tenth of the time between its end and ours.
    last_pid()
    failed = 0
    while init.status is None:
        try:
            turn(init)
            failed = 0
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end a container
            LOG.say(ERROR, f"cannot finish a turn: {type(error).__name__}: {error}")
            failed += 1
        if failed == FAILED_TURNS:
            LOG.say(ERROR, "signals cannot be passed on here: from now on init only reaps")
            reap_only(init)


def reap_only(init: Init) -> None:
    """Wait for CMD's end without looking at signals: the machine hides them, and asking would spin."""
    while init.status is None:
        try:
            pid, status = os.waitpid(-1, WALL)
        except ChildProcessError:
            init.status = EXIT_CANNOT_RUN
            return
        if pid == init.main:
            main_ended(init, os.waitstatus_to_exitcode(status))


def turn(init: Init) -> None:
    """Wait for one thing and see to it."""
    info = next_signal(init, next_due_ns(init))
    if info is not None and info.si_signo in init.direct:
        # The common case first: what stands between the kernel and CMD is one look-up.
        send(init, init.direct[info.si_signo])
        init.since_look += 1
        if init.since_look < SIGNALS_BEFORE_A_LOOK:
            return
    if info is None:
        if init.more:
            reap(init)
    elif info.si_signo == CHLD or info.si_signo in init.direct:
        on_child(init)
    else:
        on_signal(init, info.si_signo, info.si_code, info.si_pid)
        init.since_look += 1
        if init.since_look >= SIGNALS_BEFORE_A_LOOK:
            # The kernel hands out low numbers first: a flood of them would hide SIGCHLD for ever.
            on_child(init)
    if init.kill_at_ns or init.held or init.look_at_ns:
        on_time(init, time.monotonic_ns())


def direct_signals(init: Init) -> dict[int, int]:
    """Return the signals that nothing in on_signal() and pass_on() is about: most of them, mostly."""
    options = init.options
    if options.verbosity >= DEBUG:
        return {}
    special = STOPPING | OWN_DOING | {CHLD, int(_signal.SIGCONT)} | options.delay_ns.keys()
    if init.placement == HERE:
        special |= FROM_TERMINAL
    if options.grace_given:
        special |= ESCALATING
    sent = {number: options.rewrite.get(number, number) for number in ALL - special}
    return {
        number: instead
        for number, instead in sent.items()
        if instead not in STOPPING | {0, int(_signal.SIGCONT)}
    }


def next_due_ns(init: Init) -> int:
    """Return when something is due by the monotonic clock, 0 for never: an idle init never wakes."""
    if not (init.kill_at_ns or init.held or init.look_at_ns):
        return 0
    dues = [due_ns for due_ns, _ in init.held]
    dues += [due_ns for due_ns in (init.kill_at_ns, init.look_at_ns) if due_ns]
    return min(dues)


def next_signal(init: Init, due_ns: int) -> "Any":  # noqa: ANN401 - _signal has no types
    """Return the next signal's siginfo, or None once `due_ns` has come.

    After a SIGCHLD the others go first once, for in a storm the next SIGCHLD is always there already, and
    those with a higher number would starve.
    """
    if init.children_last:
        init.children_last = False
        info = _signal.sigtimedwait(NOT_CHLD, 0)
        if info is not None:
            return info
    if init.more:
        return _signal.sigtimedwait(ALL, 0)
    if not due_ns:
        return _signal.sigwaitinfo(ALL)
    left_ns = min(max(due_ns - time.monotonic_ns(), 0), 86400 * SECOND_NS)
    return _signal.sigtimedwait(ALL, left_ns / SECOND_NS)


# --- Passing signals on -----------------------------------------------------------------------------------


def on_signal(init: Init, number: int, code: int, sender: int) -> None:
    """See to one signal that is not SIGCHLD."""
    if number in OWN_DOING and code == SI_USER and sender == init.me:
        return
    if from_terminal_to_both(init, number, code):
        return
    trace_signal("received", number)
    delay_ns = init.options.delay_ns.get(number)
    if delay_ns is None:
        pass_on(init, number)
    else:
        hold(init, number, delay_ns)


def from_terminal_to_both(init: Init, number: int, code: int) -> bool:
    """Tell whether the terminal has sent this to CMD itself: it signals the whole foreground group.

    Only a hangup goes to the session's leader alone. Stop signals need no answer here either: CMD may
    handle them first, and we stop when it has (see on_child).
    """
    if init.placement != HERE or code != SI_KERNEL or number not in FROM_TERMINAL:
        return False
    return number not in (_signal.SIGHUP, _signal.SIGCONT) or os.getsid(0) != init.me


def hold(init: Init, number: int, delay_ns: int) -> None:
    """Keep a signal back. As the kernel does with pending ones, real-time signals alone keep their count."""
    held_already = any(other == number for _, other in init.held)
    if held_already and number < int(_signal.SIGRTMIN):
        return
    if len(init.held) >= HELD_MOST:
        pass_on(init, init.held.pop(0)[1])
    init.held.append((time.monotonic_ns() + delay_ns, number))
    LOG.say(INFO, f"holding {signal_name(number)} back for {delay_ns / SECOND_NS:g} s")


def pass_on(init: Init, received: int) -> None:
    """Send a signal to CMD as the user wants it sent."""
    number = init.options.rewrite.get(received, received)
    trace_rewritten(received, number)
    stopping = number in STOPPING or (received in STOPPING and number == _signal.SIGSTOP)
    if number == _signal.SIGCONT:
        hand_foreground(init)
    if number:
        send(init, init.stop_as.get(number, number))
    if stopping or (received in STOPPING and init.options.peer == "dumb-init"):
        stop_ourselves(init)
    elif number and init.options.grace_given and init.options.grace_ns is not None:
        bound_command(init, received, init.options.grace_ns)


def send(init: Init, number: int) -> None:
    """Signal CMD, or its group. Until we reap it, no other process can get its number."""
    if init.options.to_group:
        try:
            os.kill(-init.main, number)
        except ProcessLookupError:
            pass  # no such group yet: the child has not made it, and alone is the whole of it
        except PermissionError as error:
            LOG.say(WARNING, f"cannot send {signal_name(number)} to group {init.main}: {error.strerror}")
            return
        else:
            trace_signal("sent", number)
            return
    try:
        os.kill(init.main, number)
    except OSError as error:
        # A set-user-ID CMD may be beyond us: say so, and go on being its init.
        LOG.say(WARNING, f"cannot send {signal_name(number)} to pid {init.main}: {error.strerror}")
    else:
        trace_signal("sent", number)


def stop_ourselves(init: Init) -> None:
    """Stop as CMD does, so that who waits for us sees a stopped job. PID 1 cannot be stopped from inside."""
    if init.options.suspend and init.me != 1:
        trace("suspend")
        os.kill(init.me, _signal.SIGSTOP)


def bound_command(init: Init, received: int, grace_ns: int) -> None:
    """Start CMD's grace at a SIGTERM; at another request to end, a moment later, do not wait for its end."""
    if received not in ESCALATING or (received != _signal.SIGTERM and not init.kill_at_ns):
        return
    now_ns = time.monotonic_ns()
    if not init.kill_at_ns:
        init.termed_at_ns = now_ns
        init.kill_at_ns = now_ns + grace_ns
    elif now_ns - init.termed_at_ns > SAME_REQUEST_NS:
        init.kill_at_ns = now_ns


def on_time(init: Init, now_ns: int) -> None:
    """See to everything that has become due."""
    due = [number for due_ns, number in init.held if due_ns <= now_ns]
    if due:
        init.held = [(due_ns, number) for due_ns, number in init.held if due_ns > now_ns]
        for number in due:
            pass_on(init, number)
    if init.kill_at_ns and init.kill_at_ns <= now_ns and init.status is None:
        LOG.say(WARNING, f"pid {init.main} has not ended in time after SIGTERM: sending SIGKILL")
        send(init, int(_signal.SIGKILL))
        init.kill_at_ns = 0
    if init.look_at_ns and init.look_at_ns <= now_ns:
        kill_orphans(init)
        init.look_at_ns = now_ns + init.options.kill_orphans_ns


def hand_foreground(init: Init) -> None:
    """Give CMD's group the terminal again, if a shell has just given it to ours: `fg`, not `bg`."""
    if init.placement == GROUP and init.in_foreground and quietly(os.tcgetpgrp, 0) == os.getpgrp():
        quietly(os.tcsetpgrp, 0, init.main)


# --- Reaping ----------------------------------------------------------------------------------------------


def on_child(init: Init) -> None:
    """Reap, and see to what else SIGCHLD may have meant."""
    init.since_look = 0
    init.children_last = True
    trace("child")
    if init.stops_with_main and quietly(os.waitid, os.P_PID, init.main, os.WSTOPPED | os.WNOHANG):
        stop_ourselves(init)
    reap(init)
    if init.look_at_ns and init.status is None:
        kill_orphans(init)


def reap(init: Init) -> None:
    """Reap until nothing is left, CMD is among it, or this turn has done its share.

    One SIGCHLD may stand for any number of deaths. The kernel searches our children from the oldest, so CMD
    is found first however many orphans have ended.
    """
    if init.looks_first:
        reap_looking(init)
        return
    init.more = False
    for _ in range(REAPS_A_TURN):
        try:
            pid, status = os.waitpid(-1, os.WNOHANG | WALL)
        except ChildProcessError:
            init.has_children = False
            return
        if pid == 0:
            return
        if pid == init.main and init.status is None:
            main_ended(init, os.waitstatus_to_exitcode(status))
            return
    init.more = True


def looks_first(init: Init) -> bool:
    """Tell whether a zombie is to be looked at before it is freed: its name goes, and its number."""
    return init.options.warn_on_reap or init.options.verbosity >= DEBUG or keeps_main(init)


def keeps_main(init: Init) -> bool:
    """Tell whether CMD must stay a zombie while its group is signalled: none else can be that group then."""
    if init.placement == HERE or init.owns_orphans or init.options.wait_all:
        return False
    return init.options.term_group_last or init.options.grace_ns is not None


def reap_looking(init: Init) -> None:
    """Reap as reap() does, but look at each zombie first: waitid(2) with WNOWAIT."""
    init.more = False
    for _ in range(REAPS_A_TURN):
        try:
            zombie = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | WALL)
        except ChildProcessError:
            init.has_children = False
            return
        if zombie is None:
            return
        pid = zombie.si_pid
        code = zombie.si_status if zombie.si_code == CLD_EXITED else -zombie.si_status
        if pid == init.main and keeps_main(init):
            if init.main_unreaped:
                return
            init.main_unreaped = True
            trace_reaped(init, pid, "", zombie.si_code, zombie.si_status)
            main_ended(init, code)
            return
        name = process_name(pid)
        os.waitpid(pid, os.WNOHANG | WALL)
        trace_reaped(init, pid, name, zombie.si_code, zombie.si_status)
        if pid == init.main and init.status is None:
            main_ended(init, code)
            return
    init.more = True


def main_ended(init: Init, code: int) -> None:
    """Keep CMD's status, whatever happens from now on: its exit status, or minus the signal that ended it."""
    init.status = code if code >= 0 else EXIT_SIGNAL - code
    if LOG.verbosity <= WARNING:
        return
    if not init.options.term_group_last:
        trace("main", init.status)
    if code >= 0:
        trace("main exited", code)
    else:
        trace_signal("main killed", -code)


def process_name(pid: int) -> str:
    """Return a process's command name; a zombie still has it."""
    if not proc_is_ours():
        return "?"
    return as_text(read_file(b"/proc/%d/comm" % pid).rstrip(b"\n")) or "?"


# --- What we say, in our words or a peer's ----------------------------------------------------------------

SPEECH: dict[str, dict[str, tuple[int, str]]] = {
    "": {
        "spawned": (INFO, "started {0} as pid {1}"),
        "received": (DEBUG, "received {1}"),
        "rewritten": (DEBUG, "{1} becomes {3}"),
        "dropped": (DEBUG, "{1} is dropped"),
        "sent": (DEBUG, "passed {1} on"),
        "suspend": (INFO, "stopping with CMD"),
        "exited": (DEBUG, "reaped pid {0} ({1}): exit status {2}"),
        "killed": (DEBUG, "reaped pid {0} ({1}): killed by {3}"),
        "orphan exited": (WARNING, "reaped orphan pid {0} ({1}): exit status {2}"),
        "orphan killed": (WARNING, "reaped orphan pid {0} ({1}): killed by {3}"),
        "main": (INFO, "CMD has ended: {0}"),
    },
    "tini": {
        "spawned": (INFO, "Spawned child process '{0}' with pid '{1}'"),
        "sent": (DEBUG, "Passing signal: '{2}'"),
        "child": (DEBUG, "Received SIGCHLD"),
        "exited": (DEBUG, "Reaped child with pid: '{0}'"),
        "killed": (DEBUG, "Reaped child with pid: '{0}'"),
        "orphan exited": (WARNING, "Reaped zombie process with pid={0}"),
        "orphan killed": (WARNING, "Reaped zombie process with pid={0}"),
        "main exited": (INFO, "Main child exited normally (with status '{0}')"),
        "main killed": (INFO, "Main child exited with signal (with signal '{2}')"),
    },
    "dumb-init": {
        "spawned": (DEBUG, "Child spawned with PID {1}."),
        "received": (DEBUG, "Received signal {0}."),
        "rewritten": (DEBUG, "Translating signal {0} to {2}."),
        "dropped": (DEBUG, "Translating signal {0} to 0.\nNot forwarding signal 0 to children (ignored)."),
        "sent": (DEBUG, "Forwarded signal {0} to children."),
        "child": (DEBUG, "Received signal 17."),
        "suspend": (DEBUG, "Suspending self due to TTY signal."),
        "exited": (DEBUG, "A child with PID {0} exited with exit status {2}."),
        "killed": (DEBUG, "A child with PID {0} was terminated by signal {2}."),
        "main": (DEBUG, "Child exited with status {0}. Goodbye."),
    },
    "catatonit": {},
}


def hears(event: str) -> bool:
    """Tell whether this event is said at all: what it takes to say it is paid only then."""
    said = SPEECH[LOG.peer].get(event)
    return said is not None and said[0] <= LOG.verbosity


def trace(event: str, *facts: object) -> None:
    """Say one event."""
    if hears(event):
        level, form = SPEECH[LOG.peer][event]
        for line in form.split("\n"):
            LOG.say(level, line.format(*facts))


def trace_signal(event: str, number: int) -> None:
    """Say one event about a signal: its number, its name, its description."""
    if hears(event):
        trace(event, number, signal_name(number), _signal.strsignal(number))


def trace_rewritten(received: int, number: int) -> None:
    """Say what a rule made of a signal."""
    if number == received:
        return
    event = "rewritten" if number else "dropped"
    if hears(event):
        trace(event, received, signal_name(received), number, signal_name(number) if number else "")


def trace_reaped(init: Init, pid: int, name: str, code: int, status: int) -> None:
    """Say whom we have reaped and how it ended."""
    how = "exited" if code == CLD_EXITED else "killed"
    facts = (pid, name, status, "" if code == CLD_EXITED else signal_name(status))
    if init.options.warn_on_reap and pid not in (init.main, init.helper):
        trace(f"orphan {how}", *facts)
        if not init.options.peer:
            return
    trace(how, *facts)


# --- The process table, where /proc is ours ---------------------------------------------------------------


def proc_is_ours() -> bool:
    """Tell whether /proc shows our PID namespace: in an outer one the numbers are those of others."""
    try:
        return int(os.readlink("/proc/self")) == os.getpid()
    except (OSError, ValueError):
        return False


def process_facts(pid: int) -> tuple[int, int, int, bool] | None:
    """Return (parent, process group, start time, alive) of a process, None where there is none: proc(5)."""
    line = read_file(b"/proc/%d/stat" % pid)
    # The name, second, may hold blanks and brackets: count from the last bracket.
    fields = line[line.rfind(b")") + 2 :].split()
    if len(fields) < 20:
        return None
    return int(fields[1]), int(fields[2]), int(fields[19]), fields[0] not in (b"Z", b"X")


def processes() -> dict[int, tuple[int, int, int, bool]]:
    """Return the facts of every process that we can see; nothing where /proc is missing or another's."""
    if not proc_is_ours():
        return {}
    found = {}
    for name in os.listdir("/proc"):
        facts = process_facts(int(name)) if name.isdigit() else None
        if facts is not None:
            found[int(name)] = facts
    return found


def descendants(table: dict[int, tuple[int, int, int, bool]], root: int) -> dict[int, int]:
    """Return the living descendants of `root` with their start times, children before grandchildren."""
    children: dict[int, list[int]] = {}
    for pid, facts in table.items():
        children.setdefault(facts[0], []).append(pid)
    found: dict[int, int] = {}
    todo = [root]
    while todo:
        for pid in children.get(todo.pop(), ()):
            if pid not in found:
                todo.append(pid)
                found[pid] = table[pid][2]
    return {pid: start for pid, start in found.items() if table[pid][3]}


def signal_process(pid: int, start: int, number: int) -> None:
    """Signal exactly the process that was seen, by pidfd: a number alone may be another's by now.

    Where a filter or an old kernel refuses pidfds, our own children can be signalled all the same, for only
    we reap them; whoever is below those becomes our child when they have ended.
    """
    fd = -1
    try:
        fd = os.pidfd_open(pid, 0)
    except ProcessLookupError:
        return
    except OSError as error:
        LOG.say(DEBUG, f"no pidfd for pid {pid}: {error.strerror}")
    try:
        facts = process_facts(pid)
        if facts is None or facts[2] != start:
            return
        if fd >= 0:
            _signal.pidfd_send_signal(fd, number)
        elif facts[0] == os.getpid():
            os.kill(pid, number)
    except OSError as error:
        LOG.say(WARNING, f"cannot send {signal_name(number)} to pid {pid}: {error.strerror}")
    finally:
        if fd >= 0:
            os.close(fd)


def our_children(init: Init) -> list[int]:
    """Return the pids of our children."""
    if not proc_is_ours():
        return []
    listed = read_file(b"/proc/self/task/%d/children" % init.me).split()
    if listed:
        return [int(pid) for pid in listed]
    # Built into most kernels, not all: CONFIG_PROC_CHILDREN.
    return [pid for pid, facts in processes().items() if facts[0] == init.me]


def kill_orphans(init: Init) -> None:
    """End whoever was given to us. They are children that only we reap, so their numbers are theirs."""
    spared = {init.main, init.helper} | init.found_at_start
    for pid in our_children(init):
        if pid in spared:
            continue
        facts = process_facts(pid)
        if facts is None or not facts[3]:
            continue
        LOG.say(INFO, f"ending orphan pid {pid} ({process_name(pid)})")
        quietly(os.kill, pid, int(_signal.SIGKILL))


# --- After CMD --------------------------------------------------------------------------------------------
#
# Who the leftovers are depends on what we are. PID 1: everybody else in the PID namespace, also those whom
# somebody outside has put there (nsenter, a container engine's exec) and who are nobody's child here. Child
# subreaper: our descendants, however often they forked and called setsid. Neither: CMD's process group, and
# only where --grace asks for it; CMD stays a zombie meanwhile, so that the group's number cannot become
# another's. kill(-1) has its meaning only for PID 1; nobody else calls it.


def settle(init: Init) -> None:
    """See to the leftovers, and free CMD if it is still a zombie."""
    if init.me == 1 and init.main == 2 and last_pid() == b"2":
        # Nobody but CMD was ever born here, so nobody is left. Asking by kill(-1) would cost more: the kernel
        # goes through every process of the machine for it.
        return
    termed = init.options.wait_all and wait_all(init)
    if init.options.term_group_last and init.main_unreaped and init.options.to_group:
        number = init.options.rewrite.get(int(_signal.SIGTERM), int(_signal.SIGTERM))
        quietly(os.kill, -init.main, number)
        trace_signal("sent", number)
        trace("main", init.status)
    elif init.options.grace_ns is not None:
        end_leftovers(init, init.options.grace_ns, termed=termed)
    if init.main_unreaped:
        quietly(os.waitpid, init.main, os.WNOHANG | WALL)
    if init.helper:
        quietly(os.kill, init.helper, int(_signal.SIGKILL))
        quietly(os.waitpid, init.helper, WALL)
    if init.placement == GROUP and init.in_foreground and quietly(os.tcgetpgrp, 0) != os.getpgrp():
        # A caller that is no interactive shell does not take the terminal back by itself.
        quietly(os.tcsetpgrp, 0, os.getpgrp())


def last_pid() -> bytes:
    """Return the last pid that was given out in our PID namespace, empty if unknown: proc_loadavg(5)."""
    try:
        fd = os.open(b"/proc/loadavg", os.O_RDONLY | os.O_CLOEXEC)
        line = os.read(fd, 100)
        os.close(fd)
    except OSError:
        return b""
    return line[line.rfind(b" ") + 1 : -1]


def end_leftovers(init: Init, grace_ns: int, *, termed: bool) -> None:
    """Ask the leftovers to end, make them end, and reap them."""
    if not (init.owns_orphans or init.main_unreaped or termed):
        # CMD had no group of its own; children that an earlier program left to us by its exec are not CMD's.
        return
    if init.me != 1 and not init.main_unreaped:
        reap_leftovers(init)
        if not init.has_children:
            return
    if grace_ns:
        if not termed and not signal_leftovers(init, int(_signal.SIGTERM)):
            return
        signal_leftovers(init, int(_signal.SIGCONT))  # a stopped process cannot act on SIGTERM
        if wait_gone(init, time.monotonic_ns() + grace_ns):
            return
    if not signal_leftovers(init, int(_signal.SIGKILL)):
        return
    # What is forked while a tree is being killed is found by killing it again.
    due_ns = time.monotonic_ns() + KILLED_WAIT_NS
    while not wait_gone(init, min(due_ns, time.monotonic_ns() + SECOND_NS // 10)):
        if time.monotonic_ns() >= due_ns:
            LOG.say(WARNING, "leaving although some processes have not ended")
            return
        signal_leftovers(init, int(_signal.SIGKILL))


def signal_leftovers(init: Init, number: int) -> bool:
    """Signal every leftover; tell whether there was one."""
    if init.me == 1 or init.main_unreaped:
        try:
            os.kill(-1 if init.me == 1 else -init.main, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            LOG.say(WARNING, f"cannot send {signal_name(number)} to what CMD left: not permitted")
        return True
    if number == _signal.SIGKILL:
        freeze_descendants(init)
    for pid, start in descendants(processes(), init.me).items():
        if pid != init.helper:
            signal_process(pid, start, number)
    return True


def freeze_descendants(init: Init) -> None:
    """Stop all descendants until a look finds none that runs: a stopped process does not fork."""
    stopped: set[tuple[int, int]] = set()
    for _ in range(100):
        fresh = [key for key in descendants(processes(), init.me).items() if key not in stopped]
        if not fresh:
            return
        for pid, start in fresh:
            signal_process(pid, start, int(_signal.SIGSTOP))
        stopped.update(fresh)


def wait_gone(init: Init, due_ns: int) -> bool:
    """Reap until no leftover is alive; False when `due_ns` has come or somebody asks for haste."""
    while not leftovers_gone(init):
        if time.monotonic_ns() >= due_ns:
            return False
        info = next_signal(init, due_ns)
        if info is not None and info.si_signo in ESCALATING:
            return False
    return True


def leftovers_gone(init: Init) -> bool:
    """Reap what has ended, and tell whether that was all."""
    reap_leftovers(init)
    if init.has_children:
        return False
    strangers = [pid for pid in strangers_alive(init) if pid != init.helper]
    if not strangers:
        return True
    init.helper = watch(strangers)
    return False


def reap_leftovers(init: Init) -> None:
    """Reap without waiting, and find out whether children are left."""
    init.has_children = True
    if not init.main_unreaped:
        reap(init)
        return
    if init.helper and quietly(os.waitpid, init.helper, os.WNOHANG | WALL) in (None, (init.helper, 0)):
        init.helper = 0
    init.has_children = bool(init.helper)


def strangers_alive(init: Init) -> list[int]:
    """Return living leftovers that are not our descendants, so that no SIGCHLD tells of their end."""
    if init.main_unreaped:
        return [pid for pid, facts in processes().items() if facts[1] == init.main and facts[3]]
    if init.me != 1:
        return []
    table = processes()
    ours = descendants(table, 1)
    return [pid for pid, facts in table.items() if facts[3] and pid not in ours and pid != 1]


def watch(pids: list[int]) -> int:
    """Fork a helper that ends when all of `pids` have ended: its SIGCHLD wakes us, so nobody polls.

    Returns its pid, 0 where there is none.
    """
    helper: int | None = quietly(os.fork)
    if helper is None:
        return 0  # no process to be had: then the grace is waited out
    if helper == 0:
        try:
            for pid in pids:
                watch_one(pid)
        finally:
            os._exit(0)
    return helper


def watch_one(pid: int) -> None:
    """Return when the process has ended; a pidfd polls readable then: pidfd_open(2)."""
    try:
        fd = os.pidfd_open(pid, 0)
    except ProcessLookupError:
        return
    except OSError:
        time.sleep(0.1)  # no pidfds here: look again from time to time
        return
    import select

    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.poll()
    os.close(fd)


def wait_all(init: Init) -> bool:
    """Go on as init until no child is left; True where a request to end the rest has been passed on."""
    while True:
        reap_leftovers(init)
        if not init.has_children:
            return False
        info = next_signal(init, 0)
        if info is None or info.si_signo == CHLD:
            continue
        if info.si_signo in OWN_DOING and info.si_code == SI_USER and info.si_pid == init.me:
            continue
        number = init.options.rewrite.get(info.si_signo, info.si_signo)
        if number:
            signal_leftovers(init, number)
        if number and info.si_signo in ESCALATING and init.options.grace_ns is not None:
            return True


# --- Becoming an init -------------------------------------------------------------------------------------


def start(init: Init) -> None:
    """Take all that must be taken before CMD exists, and fork it.

    Raises:
        OSError: the kernel refused an attribute that was asked for, or the fork.
    """
    options = init.options
    init.ignored_child_exits = _signal.getsignal(CHLD) is _signal.SIG_IGN
    # While SIGCHLD is ignored the kernel frees children by itself and CMD's status with them: wait(2).
    _signal.signal(CHLD, _signal.SIG_DFL)
    if options.subreaper and init.me != 1:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    if options.parent_death:
        follow_parent(init)
    # SIGKILL cannot be passed on; so that a killed init leaves no CMD behind, the kernel passes it on.
    init.die_with_us = init.me != 1 and (
        (options.subreaper and not options.peer) or options.parent_death == _signal.SIGKILL
    )
    if options.kill_orphans_ns:
        init.found_at_start = frozenset(our_children(init))
    restore_environment()
    prepare_terminal(init)
    init.main = os.fork()
    if init.main == 0:
        os._exit(become_command(init))
    trace("spawned", as_text(options.command[0]), init.main)
    if init.placement == GROUP:
        # In both, so that neither has to wait for the other; EACCES once CMD has called exec.
        quietly(os.setpgid, init.main, init.main)


def follow_parent(init: Init) -> None:
    """Ask for a signal at our parent's end, and notice an end that came first: the kernel tells only once."""
    prctl(PR_SET_PDEATHSIG, init.options.parent_death)
    if os.getppid() == init.parent:
        return
    if init.options.parent_death == _signal.SIGKILL:
        os.kill(init.me, _signal.SIGKILL)
    init.early.append((init.options.parent_death, SI_USER, init.parent))


def check_subreaper(init: Init) -> None:
    """Find out whether an earlier program made us child subreaper; say so if orphans will not come to us."""
    if is_subreaper():
        init.owns_orphans = True
    elif not init.options.peer:
        LOG.say(
            WARNING,
            "not PID 1 and not a child subreaper, so orphans will not be reaped: -s makes init a subreaper",
        )
    elif init.options.peer == "tini":
        LOG.say(
            WARNING,
            "Tini is not running as PID 1 and isn't registered as a child subreaper: "
            "zombie processes will not be re-parented to it. Use -s or set TINI_SUBREAPER.",
        )


def prepare_terminal(init: Init) -> None:
    """Decide where CMD goes, and give the terminal up where CMD is to lead it."""
    options = init.options
    leads = os.getsid(0) == init.me
    group_in_front = quietly(os.tcgetpgrp, 0)  # fails unless stdin is our session's terminal: tty_ioctl(4)
    init.placement = options.placement or (HERE if group_in_front is not None and not leads else SESSION)
    if init.placement == HERE and options.to_group:
        init.placement = GROUP
    if init.placement == SESSION:
        # Nobody outside CMD's session can be its job control, so its group is orphaned there and the kernel
        # drops stop signals whose action is the default: setpgid(2).
        init.stop_as = dict.fromkeys(STOPPING, int(_signal.SIGSTOP))
        if leads and group_in_front is not None:
            give_up_terminal(init)
        return
    init.in_foreground = group_in_front == os.getpgrp()
    init.stops_with_main = options.suspend and init.me != 1 and group_in_front is not None
    if init.placement == HERE and group_is_orphaned() and not options.peer:
        init.stop_as = dict.fromkeys(STOPPING, int(_signal.SIGSTOP))


def group_is_orphaned() -> bool:
    """Tell whether no one in our session, outside our group, could continue us: our parent is who could."""
    parent = os.getppid()
    if parent == 0:
        return True
    session, group = quietly(os.getsid, parent), quietly(os.getpgid, parent)
    return bool(session != os.getsid(0) or group == os.getpgrp())


def give_up_terminal(init: Init) -> None:
    """Leave our controlling terminal to CMD, and keep apart what is real from what that itself sends.

    The kernel sends SIGHUP and SIGCONT to the foreground group, which is ours, in our name: tty_ioctl(4).
    They are fetched here and not later, for while one is pending a real one would merge with it.
    """
    from fcntl import ioctl
    from termios import TIOCNOTTY

    try:
        ioctl(0, TIOCNOTTY)
    except OSError:
        return  # the master side of another terminal also answers tcgetpgrp(3)
    init.gave_up_terminal = True
    fetch_early(init, frozenset({_signal.SIGHUP, _signal.SIGCONT}))


def fetch_early(init: Init, numbers: frozenset[int]) -> None:
    """Fetch what is pending of these signals and keep what others have sent."""
    while info := _signal.sigtimedwait(numbers, 0):
        if info.si_code != SI_USER or info.si_pid != init.me:
            init.early.append((info.si_signo, info.si_code, info.si_pid))


def let_go(init: Init) -> None:
    """Hold on to nothing of CMD's: no descriptor, no directory, no pipe that somebody waits to see closed."""
    LOG.own()
    if init.placement != GROUP or not init.in_foreground:
        quietly(os.close, 0)
    quietly(os.close, 1)
    close_inherited()
    quietly(os.chdir, "/")


def close_inherited() -> None:
    """Close every descriptor from 3 on.

    Each by its number: os.closerange is one system call where the kernel has close_range(2) and no filter
    refuses it. Elsewhere it tries all numbers, for minutes.
    """
    try:
        open_now = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        # Without /proc nobody knows them: the limit bounds them, if it has not been lowered, but may be huge.
        open_now = list(range(3, min(max(os.sysconf("SC_OPEN_MAX"), 1024), 65536)))
    for fd in open_now:
        if fd > 2:
            quietly(os.close, fd)


# --- Peers ------------------------------------------------------------------------------------------------

# Argument zero decides: a link by one of these names is that program, with its flags, defaults and words.
PEERS = {"tini": "tini", "docker-init": "tini", "dumb-init": "dumb-init", "catatonit": "catatonit"}


def set_single_child(options: Options, _value: str) -> None:
    """Take dumb-init's -c: no session, and signals to CMD alone."""
    options.placement = HERE
    options.to_group = False


def set_debug(options: Options, _value: str) -> None:
    """Take dumb-init's -v."""
    options.verbosity = DEBUG


def add_dumb_rewrite(options: Options, value: str) -> None:
    """Take dumb-init's -r: two numbers, the later rule wins."""
    received, colon, number = value.partition(":")
    good = colon and all(word.isascii() and word.isdigit() and int(word) <= 31 for word in (received, number))
    if not good or int(received) == 0:
        raise UsageError(
            "-r option takes <signum>:<signum>, where <signum> is between 1 and 31.\n"
            "This option can be specified multiple times.\nUse --help for full usage."
        )
    options.rewrite[int(received)] = int(number)


def set_tini_parent_death(options: Options, value: str) -> None:
    """Take tini's -p: full names only."""
    try:
        options.parent_death = parse_signal(value if value.startswith("SIG") else "")
    except UsageError:
        raise UsageError(f"Not a valid option for -p: {value}") from None


def add_tini_expected(options: Options, value: str) -> None:
    """Take tini's -e."""
    try:
        add_expected(options, value)
    except UsageError:
        raise UsageError(f"Not a valid option for -e: {value}") from None


PEER_FLAGS: "dict[str, dict[str, Callable[[Options, str], None]]]" = {
    "tini": {
        "-s": set_subreaper,
        "-v": set_verbose,
        "-w": set_warn_on_reap,
        "-g": set_group,
        "-p": set_tini_parent_death,
        "-e": add_tini_expected,
        "-h": set_help,
        "-l": set_license,
    },
    "dumb-init": {
        "-c": set_single_child,
        "--single-child": set_single_child,
        "-r": add_dumb_rewrite,
        "--rewrite": add_dumb_rewrite,
        "-v": set_debug,
        "--verbose": set_debug,
        "-h": set_help,
        "--help": set_help,
        "-V": set_version,
        "--version": set_version,
    },
    "catatonit": {
        "-g": set_group,
        "-h": set_help,
        "-L": set_license,
        "-P": set_pause,
        "-V": set_version,
        "--version": set_version,
    },
}
PEER_VALUES = (add_dumb_rewrite, set_tini_parent_death, add_tini_expected)

PEER_USAGE = {
    "tini": """\
{1} (reaperd init {0} in place of tini)
Usage: {1} [OPTIONS] PROGRAM -- [ARGS] | --version

  --version: show the version and leave.
  -h: show this help and leave.
  -s: become child subreaper.
  -p SIGNAL: receive SIGNAL when the parent ends, such as "-p SIGKILL".
  -v: say more; up to three times.
  -w: warn of each orphan that is reaped.
  -g: send signals to the child's process group.
  -e EXIT_CODE: turn EXIT_CODE (0 to 255) into 0.
  -l: show the license and leave.

Environment: TINI_SUBREAPER (as -s), TINI_VERBOSITY (1 by default), TINI_KILL_PROCESS_GROUP (as -g).
""",
    "dumb-init": """\
{1} (reaperd init {0} in place of dumb-init)
Usage: {1} [option] command [[arg] ...]

  -c, --single-child   no session of its own; signals go to the child alone.
  -r, --rewrite s:r    send signal r in place of s, nothing where r is 0; repeatable.
  -v, --verbose        say on stderr what happens.
  -h, --help           show this help and leave.
  -V, --version        show the version and leave.

Environment: DUMB_INIT_DEBUG=1 (as -v), DUMB_INIT_SETSID=0 (as -c).
""",
    "catatonit": """\
usage: {1} [-ghLPV] [--] <progname> [<arguments>...]

  -g              send signals to the child's process group.
  -h              show this help and leave.
  -L              show the license and leave.
  -P              pause: run no program and leave at SIGINT.
  -V, --version   show the version and leave.

This is reaperd init {0} in place of catatonit.
""",
}


def peer_options(peer: str, environment: dict[bytes, bytes]) -> Options:
    """Return a peer's defaults, as its environment variables change them."""
    options = Options(peer)
    if peer == "tini":
        options.placement, options.suspend = GROUP, False
        options.rewrite = {int(_signal.SIGTTIN): 0, int(_signal.SIGTTOU): 0}
        options.subreaper = b"TINI_SUBREAPER" in environment
        options.to_group = b"TINI_KILL_PROCESS_GROUP" in environment
        level = environment.get(b"TINI_VERBOSITY", b"1")
        options.verbosity = min(int(level), DEBUG) if level.isdigit() else ERROR
    elif peer == "dumb-init":
        options.placement, options.to_group, options.term_group_last = SESSION, True, True
        if environment.get(b"DUMB_INIT_DEBUG") == b"1":
            options.verbosity = DEBUG
        if environment.get(b"DUMB_INIT_SETSID") == b"0":
            set_single_child(options, "")
    else:
        options.placement, options.suspend, options.subreaper = GROUP, False, True
        options.rewrite = dict.fromkeys(STOPPING, 0)
    return options


def parse_as_peer(peer: str, words: list[bytes], environment: dict[bytes, bytes]) -> Options:
    """Read a peer's command line and variables.

    Raises:
        UsageError: in the peer's words.
    """
    options = peer_options(peer, environment)
    table = PEER_FLAGS[peer]
    if peer == "tini" and words == [b"--version"]:
        set_version(options, "")
        return options
    flags = {name: "N" if how in PEER_VALUES else "" for name, how in table.items()}
    found, at = flag_arguments([as_text(word) for word in words], flags)
    for name, value in found:
        table[name](options, value)
    if options.placement == SESSION and peer == "dumb-init":
        for number in STOPPING:
            options.rewrite.setdefault(number, int(_signal.SIGSTOP))
    options.command = words[at:]
    return options


def pause(init: Init) -> None:
    """Be an init without CMD: reap until asked to leave."""
    let_go(init)
    while True:
        info = next_signal(init, 0)
        if info is not None and info.si_signo in ESCALATING:
            init.status = 0
            return
        reap(init)


# --- Other things to do than being an init ----------------------------------------------------------------

LICENSE = """\
Copyright (c) the reaperd authors. MIT License: you may use, copy, change and pass this program on, provided
that this notice stays with it. It comes without warranty of any kind.
"""


def print_out(text: str) -> int:
    """Write to stdout, which nothing but the answer to a question is written to."""
    data = as_bytes(text)
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError as error:
        LOG.say(ERROR, f"cannot write to stdout: {error.strerror}")
        return 1
    return 0


def act(options: Options, name: str) -> int:
    """Answer a question about ourselves; return the exit status."""
    if options.action == "help":
        usage = PEER_USAGE[options.peer].format(VERSION, name) if options.peer else help_text()
        return print_out(usage)
    if options.action == "version":
        shown = f"{name} version {VERSION} (reaperd init)" if options.peer else f"reaperd init {VERSION}"
        return print_out(shown + "\n")
    if options.action == "license":
        return print_out(LICENSE)
    try:
        path = install(options.install_path) if options.action == "install" else make_lean_file()
    except (OSError, ValueError, SyntaxError, ImportError) as error:
        doing = f"install {options.install_path}" if options.action == "install" else "find my own file"
        LOG.say(ERROR, f"cannot {doing}: {error}")
        return 1
    return print_out(entrypoint_line(path)) if options.print_line else 0


def interpreter() -> str:
    """Return the interpreter to start with: the real one, for a virtual environment's link costs time."""
    base: str = getattr(sys, "_base_executable", "")
    return base or sys.executable or "/usr/bin/python3"


def entrypoint_line(path: str) -> str:
    """Return the line for a container file that starts `path` as cheaply as CPython can."""
    words = (interpreter(), "-I", "-S", path, "--")
    quoted = ('"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in words)
    return f"ENTRYPOINT [{', '.join(quoted)}]\n"


def lean_file() -> str:
    """Return the file to start an init from: compiled, where that fits this source and CPython."""
    here = absolute(__file__)
    if here.endswith(".pyc"):
        return here
    if not here.endswith(".py"):
        return here + ".pyc" if exists(as_bytes(here + ".pyc")) else here
    folder, _, name = here.rpartition("/")
    compiled = f"{folder}/__pycache__/{name[:-3]}.{sys.implementation.cache_tag}.pyc"
    return compiled if is_fresh(compiled, here) else here


def make_lean_file() -> str:
    """Return lean_file(), compiled first if nobody has done that yet and the folder can be written to.

    Also where PYTHONDONTWRITEBYTECODE is set: that is about imports, and this file is started, not imported.
    Each start would compile it anew, which takes longer than everything else together.
    """
    path = lean_file()
    if not path.endswith(".py"):
        return path
    from _frozen_importlib_external import MAGIC_NUMBER
    from marshal import dumps

    folder, _, name = path.rpartition("/")
    facts = os.stat(path)
    made, size = (number & 0xFFFFFFFF for number in (int(facts.st_mtime), facts.st_size))
    header = MAGIC_NUMBER + bytes(4) + made.to_bytes(4, "little") + size.to_bytes(4, "little")
    code = dumps(compile(own_source(), path, "exec", dont_inherit=True))
    quietly(os.mkdir, f"{folder}/__pycache__")
    compiled = f"{folder}/__pycache__/{name[:-3]}.{sys.implementation.cache_tag}.pyc"
    try:
        replace_file(compiled, header + code, 0o644)
    except OSError as error:
        LOG.say(INFO, f"cannot write {compiled}, so each start compiles: {error.strerror}")
        return path
    return compiled


def absolute(path: str) -> str:
    """Return a path that does not depend on the working directory."""
    return path if path.startswith("/") else f"{as_text(os.getcwdb())}/{path}"


def is_fresh(compiled: str, source: str) -> bool:
    """Tell whether importlib would use this cache file: PEP 552. Run by name, nobody else would check."""
    from _frozen_importlib_external import MAGIC_NUMBER

    header = read_file(as_bytes(compiled), 16)
    if len(header) < 16 or header[:4] != MAGIC_NUMBER:
        return False
    if header[4] & 1:
        return True  # made by whoever packaged it, from a source that does not change
    facts = os.stat(source)
    size = facts.st_size & 0xFFFFFFFF
    made = int(facts.st_mtime) & 0xFFFFFFFF
    return header[8:] == made.to_bytes(4, "little") + size.to_bytes(4, "little")


SOURCE_MARK = b"#= "

SCRIPT = """\
#!%(python)s -IS
# reaperd init %(version)s. A script is compiled anew each time it starts, so this one carries its code
# compiled, for the CPython that its first line names; any other compiles the source that the last line holds.
from _frozen_importlib_external import MAGIC_NUMBER
from binascii import a2b_base64
if MAGIC_NUMBER == %(magic)r:
    from marshal import loads
    code = loads(a2b_base64("%(code)s"))
else:
    from zlib import decompress
    with open(__file__, "rb") as own:
        packed = own.read().rpartition(%(mark)r)[2]
    code = compile(decompress(a2b_base64(packed)), __file__, "exec")
exec(code)
"""


def install(path: str) -> str:
    """Write PATH, which runs by itself, and PATH.pyc, which starts faster; return the latter's path.

    Raises:
        OSError: a file cannot be written.
        ValueError: the first line cannot name this interpreter.
    """
    from _frozen_importlib_external import MAGIC_NUMBER
    from binascii import b2a_base64
    from marshal import dumps
    from zlib import compress

    path = absolute(path)
    python = interpreter()
    if len(python) > 200 or any(character <= " " for character in python):
        # The kernel ends the interpreter's path at a blank and the line at a length: execve(2).
        raise ValueError(
            "a first line cannot name the interpreter, for its path has a blank or is too long: "
            f"{python} (run this with another, or through a link such as /usr/local/bin/python3)"
        )
    source = own_source()
    # Without docstrings and assertions: a tenth of the private memory of an idle init.
    code = dumps(compile(source, path, "exec", dont_inherit=True, optimize=2))
    script = SCRIPT % {
        "python": python,
        "version": VERSION,
        "magic": MAGIC_NUMBER,
        # As text that CPython reads six times faster than the escapes of a bytes literal.
        "code": b2a_base64(code, newline=False).decode("ascii"),
        "mark": SOURCE_MARK,
    }
    # Packed, for a comment too is read at every start: 0.15 ms in place of 0.7.
    replace_file(path, as_bytes(script) + SOURCE_MARK + b2a_base64(compress(source, 9)), 0o755)
    # PEP 552: hash-based and never checked, for there is no source beside it to compare with.
    replace_file(path + ".pyc", MAGIC_NUMBER + b"\1\0\0\0" + b"\0" * 8 + code, 0o644)
    return path + ".pyc"


def own_source() -> bytes:
    """Return the source of this file, from wherever it is being run.

    Raises:
        OSError: there is none.
    """
    here = absolute(__file__)
    folder = here.rpartition("/")[0]
    compiled_from = own_source.__code__.co_filename
    for candidate in (here, here.removesuffix(".pyc"), f"{folder}/../pid1.py", compiled_from):
        text = b"" if candidate.endswith(".pyc") else read_file(as_bytes(candidate))
        if text.startswith(b"#!"):
            from binascii import a2b_base64
            from zlib import decompress

            return decompress(a2b_base64(text.rpartition(SOURCE_MARK)[2]))
        if text:
            return text
    raise OSError(ENOENT, "the source of reaperd init is not here")


def replace_file(path: str, content: bytes, mode: int) -> None:
    """Write a file whole or not at all."""
    temporary = as_bytes(f"{path}.{os.getpid()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        while content:
            content = content[os.write(fd, content) :]
        os.fchmod(fd, mode)
        os.rename(temporary, as_bytes(path))
    except OSError:
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)


# --- Start ------------------------------------------------------------------------------------------------


def main() -> int:
    """Be the init; return the exit status."""
    words = raw_arguments()
    if words and words[0].startswith(ADOPT):
        return go_on(words[0][len(ADOPT) :], words[1:])
    return begin(CALLER_MASK, CALLER_PARENT, sys.argv[0], words, lean=True)


def begin(caller_mask: frozenset[int], parent: int, origin: str, words: list[bytes], *, lean: bool) -> int:
    """Do what a command line asks for; return the exit status.

    Args:
        caller_mask: the signal mask that CMD is to have; everything is blocked by now.
        parent: the pid of our parent as we were started.
        origin: the path by which we were run, whose last part may be a peer's name.
        words: the command line.
        lean: this interpreter is small already.
    """
    name = speak_as(origin)
    try:
        options = read_options(words)
        if options.action:
            return act(options, name)
    except UsageError as error:
        return refuse(name, error)
    if not options.command and not options.pause:
        return refuse(name, UsageError("there is no command to run", "missing program name"))
    init = Init(options, caller_mask, parent)
    try:
        if not options.pause:
            start(init)
    except OSError as error:
        LOG.say(ERROR, f'cannot run "{as_text(options.command[0])}": {error.strerror or error}')
        return EXIT_CANNOT_RUN
    if not lean:
        become_lean(init, origin, words)
    return attend(init)


def speak_as(origin: str) -> str:
    """Take the manners of the program whose name we were run by; return the name."""
    name = origin.rpartition("/")[2].removesuffix(".pyc")
    LOG.peer = PEERS.get(name, "")
    return name


def read_options(words: list[bytes]) -> Options:
    """Read the command line and the environment as who we are.

    Raises:
        UsageError: they cannot be used.
    """
    peer = LOG.peer
    options = parse_as_peer(peer, words, os.environ) if peer else parse(words, os.environ)
    LOG.verbosity = options.verbosity
    return options


def refuse(name: str, error: UsageError) -> int:
    """Say what is wrong with the command line; nothing has been started."""
    if not LOG.peer:
        LOG.say(ERROR, f"cannot start: {error} (reaperd init --help lists all options)")
        return EXIT_USAGE
    if error.getopt.startswith("Not a valid"):
        LOG.say(ERROR, error.getopt)
        return 1
    said = error.getopt
    if LOG.peer == "tini" and said.startswith("unrecognized"):
        said = "invalid option -- '-'"  # tini knows no long options
    if said.startswith("-r option"):
        LOG.write(as_bytes(f"Usage: {said}\n"))
        return 1
    if said != "missing program name":
        LOG.write(as_bytes(f"{name}: {said}\n"))
    elif LOG.peer == "catatonit":
        LOG.say(ERROR, said)
    elif LOG.peer == "dumb-init":
        LOG.write(as_bytes(f"Usage: {name} [option] program [args]\nTry {name} --help for full usage.\n"))
    if LOG.peer != "dumb-init":
        LOG.write(as_bytes(PEER_USAGE[LOG.peer].format(VERSION, name)))
    return 1


def attend(init: Init) -> int:
    """Be the init of a CMD that has been started, see to what it leaves; return the exit status."""
    options = init.options
    let_go(init)
    init.owns_orphans = init.me == 1 or options.subreaper
    if options.pause:
        pause(init)
        return 0
    if not init.owns_orphans:
        check_subreaper(init)
    if not options.grace_given and not options.peer and init.owns_orphans:
        options.grace_ns = DEFAULT_GRACE_NS
    if options.kill_orphans_ns:
        init.look_at_ns = time.monotonic_ns() + options.kill_orphans_ns
    run(init)
    try:
        settle(init)
    except Exception as error:  # noqa: BLE001 - CMD's status is told whatever becomes of its leftovers
        LOG.say(ERROR, f"cannot end what CMD left: {type(error).__name__}: {error}")
    status = init.status or 0
    return 0 if status in options.expected else status


# --- From the console script ------------------------------------------------------------------------------
#
# `reaperd init` starts in an interpreter with site-packages, which takes 3 ms longer and 1 MiB more than the
# bare one. Time is saved by starting CMD right there. Memory is not given back by dropping imports; execve(2)
# gives it back: so the first stage, once CMD runs, becomes a bare interpreter that runs this file and goes
# on. The pid stays the same, hence CMD its child and every attribute of prctl(2) its own; all signals are
# blocked, and what is pending stays pending across the exec. Where that exec fails, the first stage goes on
# itself, for nothing but its size is wrong with it.

# First word only: what the first stage knows and the second cannot find out. The environment and everything
# else in the command line belong to CMD.
ADOPT = b"--adopt="
PLACES = (SESSION, GROUP, HERE)


def from_script(caller_mask: "frozenset[int] | None", parent: int, words: list[bytes]) -> "NoReturn":
    """Be the init, beginning in an interpreter that has loaded more than an init needs.

    Args:
        caller_mask: the mask before everything was blocked; None where nothing has been blocked yet.
        parent: the pid of our parent as we were started.
        words: the command line.
    """
    if caller_mask is None:
        caller_mask = frozenset(_signal.pthread_sigmask(_signal.SIG_BLOCK, ALL))
    os._exit(begin(caller_mask, parent, sys.argv[0], words, lean=False))


def become_lean(init: Init, origin: str, words: list[bytes]) -> None:
    """Replace this interpreter by a bare one that goes on with CMD; return where that cannot be."""
    python = as_bytes(interpreter())
    if init.options.parent_death and gains_rights(python):
        return  # the kernel would forget the parent-death signal: PR_SET_PDEATHSIG(2const)
    # CPython ignores these two as it starts, and the kernel throws away what is pending of an ignored signal.
    fetch_early(init, OWN_DOING)
    try:
        path = as_bytes(make_lean_file())
        os.execv(python, [python, b"-I", b"-S", path, ADOPT + knowledge(init, origin), *words])
    except OSError as error:
        LOG.say(INFO, f"staying in a larger interpreter: cannot start {as_text(python)}: {error.strerror}")


def gains_rights(program: bytes) -> bool:
    """Tell whether the exec of a file may change who we are: its set-ID bits or capabilities."""
    try:
        if os.stat(program).st_mode & 0o6000:
            return True
        return bool(os.getxattr(program, "security.capability"))
    except OSError:
        return False


def knowledge(init: Init, origin: str) -> bytes:
    """Return as one word what the next stage cannot find out by itself."""
    flags = init.in_foreground | init.stops_with_main << 1 | bool(init.stop_as) << 2
    early = [number for signal in init.early for number in signal]
    parts = ([init.main, PLACES.index(init.placement), flags], sorted(init.found_at_start), early)
    listed = (b",".join(b"%d" % number for number in part) for part in parts)
    return b":".join((*listed, as_bytes(origin)))


def learn(init: Init, parts: list[bytes]) -> None:
    """Take over what knowledge() has said.

    Raises:
        ValueError: it has not.
    """
    own, found, early = ([int(word) for word in part.split(b",") if word] for part in parts)
    init.main, place, flags = own
    init.placement = PLACES[place]
    init.in_foreground, init.stops_with_main = bool(flags & 1), bool(flags & 2)
    init.stop_as = dict.fromkeys(STOPPING, int(_signal.SIGSTOP)) if flags & 4 else {}
    init.found_at_start = frozenset(found)
    init.early = list(zip(early[::3], early[1::3], early[2::3], strict=True))


def go_on(text: bytes, words: list[bytes]) -> int:
    """Be the init of the CMD that the first stage has started; return the exit status."""
    *parts, origin = text.split(b":", 3)
    name = speak_as(as_text(origin))
    try:
        init = Init(read_options(words), CALLER_MASK, CALLER_PARENT)
        learn(init, parts)
        if not init.options.pause:
            os.waitid(os.P_PID, init.main, os.WEXITED | os.WNOHANG | os.WNOWAIT | WALL)
    except UsageError as error:
        return refuse(name, error)
    except (ValueError, IndexError, OverflowError, ChildProcessError):
        return refuse(name, UsageError("--adopt is what reaperd init tells itself, no option"))
    return attend(init)


if __name__ == "__main__":
    # Not sys.exit: flushing and tearing down can block, and nothing here is buffered.
    os._exit(main())
