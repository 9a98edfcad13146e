# ruff: noqa: E501  # a message stands whole on its line, as its reader sees it
"""The whole example of the reference, templates, instances, variables and the order of services."""

import resource
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from reaperd.config.daemon_spec import Cgroups, Log, LogFormat, LogLevel
from reaperd.config.parse import load
from reaperd.config.spec import (
    SECOND_NS,
    Config,
    Cron,
    DelayCheck,
    Essential,
    Every,
    ExecCheck,
    FdCheck,
    Health,
    HealthAction,
    HttpCheck,
    Limit,
    LogCheck,
    NotifyAccess,
    NotifyCheck,
    Overlap,
    Reload,
    Restart,
    Schedule,
    Scope,
    ServiceSpec,
    Sink,
    StartLimit,
    Stop,
    TcpCheck,
)
from reaperd.errors import ConfigError

FULL = """
[daemon]
socket = "s"
state_dir = "d"
include = ["conf.d/*.toml"]
log = { level = "warning", format = "json" }
shutdown_timeout = "1m"
cgroup = "no"
forward_signals = { USR1 = ["web", "db"], SIGWINCH = [] }

[template.python]
environment = { PYTHONUNBUFFERED = "1", PORT = "1" }
umask = "027"

[service.web]
use = "python"
command = ["gunicorn", "app:app", "--name=${SERVICE}", "$$5 $HOME"]
directory = "/srv/web"
user = "root"
group = "root"
supplementary_groups = ["root", "7"]
nice = -5
oom_score_adj = 500
environment = { PORT = "80${REAPERD_INSTANCE}", DATA = "${STATE:-/var/lib/web}" }
environment_files = ["web.env"]
clear_environment = true
requires = ["db"]
after = ["tidy"]
before = ["late"]
instances = 2
restart = "always"
start_limit = { count = 3, interval = "30s" }
success_exit_codes = [75, 0, 75]
success_signals = ["USR1", "HUP"]
ready = { notify = true }
ready_timeout = "5s"
health = { http = "http://127.0.0.1:8000/healthz", interval = "1s", timeout = "500ms", failures = 2, action = "report" }
stop = { signal = "INT", timeout = "1s", command = "bye", scope = "main" }
reload = { signal = "HUP" }
essential = "failure"
limits = { nofile = 65536, core = "unlimited", as = "1GiB", nproc = { soft = 10, hard = "unlimited" } }
stdout = "null"
stderr = "stdout"
on_failure = ["/usr/local/bin/page", "${SERVICE}"]
on_exit = "note"
notify_access = "main"
groups = ["front", "all-day", "front"]

[service.db]
command = "db"

[service.late]
command = "late"

[service.migrate]
command = ["./migrate"]
oneshot = true

[service.tidy]
command = ["./tidy"]
schedule = { cron = "*/5  * * * *", overlap = "queue" }
"""

MINIMAL = '[service.web]\ncommand = "prog"\n'


@pytest.fixture(name="folder")
def folder_without_root(tmp_path: Path) -> Path:
    """Give a folder for a configuration."""
    return tmp_path


def read(
    folder: Path, text: str, environ: Mapping[str, str] | None = None, scale: Mapping[str, int] | None = None
) -> Config:
    """Return the configuration of a file with this text."""
    path = folder / "c.toml"
    path.write_text(text if "[daemon]" in text else f'daemon = {{ socket = "/s", state_dir = "/d" }}\n{text}')
    return load(path, environ or {}, scale)


def service(folder: Path, lines: str) -> ServiceSpec:
    """Return the only service of a file, with these lines besides its command."""
    return read(folder, MINIMAL + lines).services[0]


def problems(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the problems of a file, without the names of folder and file."""
    with pytest.raises(ConfigError) as caught:
        read(folder, text, environ)
    return [
        str(problem).replace(f"{folder}/c.toml", "").replace(f"{folder}/", "")
        for problem in caught.value.problems
    ]


def problem(folder: Path, lines: str) -> str:
    """Return the only problem of a service with these lines, after its place."""
    (found,) = problems(folder, MINIMAL + lines)
    return found.partition("service.web.")[2]


def test_every_key_reaches_its_field(folder: Path) -> None:
    """The whole example is read, each value in its own unit."""
    (folder / "web.env").write_text('# settings\nexport A="x y"\nPORT=2\n')
    found = read(folder, FULL)
    assert found.daemon.log == Log(LogLevel.WARNING, LogFormat.JSON)
    assert found.daemon.shutdown_timeout_ns == 60 * SECOND_NS
    assert found.daemon.cgroup is Cgroups.NO
    assert found.daemon.forward_signals == ((signal.SIGUSR1, ("web", "db")), (signal.SIGWINCH, ()))
    assert found.instances == (("web", 2),)
    assert [spec.name for spec in found.services] == ["web:1", "web:2", "db", "late", "migrate", "tidy"]
    web = found.services[1]
    assert replace(web, backoff=found.services[2].backoff) == ServiceSpec(
        name="web:2",
        base="web",
        instance=2,
        command=("gunicorn", "app:app", "--name=web:2", "$5 $HOME"),
        directory="/srv/web",
        user="root",
        group="root",
        supplementary_groups=("root", "7"),
        umask=0o027,
        nice=-5,
        oom_score_adj=500,
        environment=(("A", "x y"), ("DATA", "/var/lib/web"), ("PORT", "802"), ("PYTHONUNBUFFERED", "1")),
        clear_environment=True,
        requires=("db",),
        after=("tidy",),
        before=("late",),
        restart=Restart.ALWAYS,
        start_limit=StartLimit(3, 30 * SECOND_NS),
        success_exit_codes=(0, 75),
        success_signals=(1, 10),
        ready=NotifyCheck(),
        ready_timeout_ns=5 * SECOND_NS,
        health=Health(
            HttpCheck("http://127.0.0.1:8000/healthz"), SECOND_NS, SECOND_NS // 2, 2, HealthAction.REPORT
        ),
        stop=Stop(2, SECOND_NS, ("bye",), Scope.MAIN),
        reload=Reload(signal=1),
        essential=Essential.FAILURE,
        limits=tuple(
            sorted(
                (
                    Limit(resource.RLIMIT_NOFILE, 65536, 65536),
                    Limit(resource.RLIMIT_CORE, -1, -1),
                    Limit(resource.RLIMIT_AS, 1 << 30, 1 << 30),
                    Limit(resource.RLIMIT_NPROC, 10, -1),
                ),
                key=lambda limit: limit.resource,
            )
        ),
        stdout=Sink.NULL,
        stderr=Sink.STDOUT,
        on_failure=("/usr/local/bin/page", "web:2"),
        on_exit=("note",),
        notify_access=NotifyAccess.MAIN,
        groups=("all-day", "front"),
    )
    assert (found.services[4].oneshot, found.services[4].restart) == (True, Restart.NEVER)
    assert found.services[5].schedule == Schedule(Cron("*/5 * * * *"), Overlap.QUEUE)


@pytest.mark.parametrize(
    ("lines", "ready"),
    [
        ("fd = 3", FdCheck(3)),
        ('tcp = "localhost:80"', TcpCheck("localhost", 80)),
        ('http = "http://h/x"', HttpCheck("http://h/x")),
        ('exec = ["a", "$$"]', ExecCheck(("a", "$"))),
        ('log = "listen(ing)?"', LogCheck("listen(ing)?")),
        ('delay = "2s"', DelayCheck(2 * SECOND_NS)),
    ],
)
def test_each_form_of_ready(lines: str, ready: object, folder: Path) -> None:
    """Each way to be ready has a record of its own."""
    assert service(folder, f"ready = {{ {lines} }}").ready == ready


def test_the_other_forms(folder: Path) -> None:
    """Forms that the example does not show."""
    spec = service(
        folder,
        'schedule.every = "5m"\nreload.command = "r"\nstderr = "null"\nhealth.exec = "e"\noneshot = false',
    )
    assert spec.schedule == Schedule(Every(300 * SECOND_NS))
    assert spec.reload == Reload(command=("r",))
    assert (spec.stdout, spec.stderr) == (Sink.INHERIT, Sink.NULL)
    assert spec.health == Health(ExecCheck(("e",)))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("ready = {}", "ready: needs exactly one of notify, fd, log, delay, tcp, http, exec, and says nothing of it"),
        (
            "ready = { fd = 3, notify = true }",
            "ready: needs exactly one of notify, fd, log, delay, tcp, http, exec, and says notify and fd",
        ),
        ("ready.notify = false", "ready.notify: can only be true; leave the key out instead"),
        ("ready.fd = 2", "ready.fd: 2 is out of range; allowed: 3 to 1023"),
        ("ready.fd = true", "ready.fd: a boolean where an integer from 3 to 1023 is wanted"),
        ('ready.tcp = "h"', 'ready.tcp: "h" is not an address; write it like "127.0.0.1:8000" or "[::1]:8000"'),
        ('ready.tcp = ":80"', 'ready.tcp: ":80" is not an address; write it like "127.0.0.1:8000" or "[::1]:8000"'),
        ('ready.tcp = "h:x"', 'ready.tcp: "h:x" is not an address; write it like "127.0.0.1:8000" or "[::1]:8000"'),
        ('ready.tcp = "h:65536"', "ready.tcp: 65536 is not a port; allowed: 1 to 65535"),
        (
            'ready.tcp = "::1:80"',
            'ready.tcp: "::1:80" is not an address; write an IPv6 address in brackets: [::1]:8000',
        ),
        ('ready.log = "("', 'ready.log: "(" is not a regular expression: missing ), unterminated subpattern at position 0'),
        ("health = { interval = 1 }", "health: needs exactly one of tcp, http, exec, and says nothing of it"),
        ('health.action = "x"', 'health.action: "x" is none of "restart", "report"'),
        ("reload = {}", "reload: needs exactly one of signal, command, and says nothing of it"),
        ("schedule = {}", "schedule: needs exactly one of cron, every, and says nothing of it"),
        ('schedule.every = "1ms"', "schedule.every: 1ms is too short; at least 1s is allowed"),
        ("stdout = 1", 'stdout: an integer where one of "inherit", "prefix", "json", "journal", "syslog", "null", or a table with file, is wanted'),
        ('stdout = "stdout"', 'stdout: "stdout" is none of "inherit", "prefix", "json", "journal", "syslog", "null"'),
        (
            'stderr = "null"\nready.log = "up"',
            "stderr: nowhere is no place to look for a line, as ready.log does; leave one of them out",
        ),
        ('limits.nofile = "1k"', 'limits.nofile: "1k" is not a limit; allowed: 0 to 9223372036854775807, and "unlimited"'),
        ("limits.nofile = true", 'limits.nofile: a boolean where a number, "unlimited", or a table of soft and hard is wanted'),
        ("limits.core = { soft = 2, hard = 1 }", "limits.core: soft is above hard; allowed: soft at most hard"),
        ('limits.core = { soft = "unlimited", hard = 1 }', "limits.core: soft is above hard; allowed: soft at most hard"),
        ("limits.core = { soft = 2 }", "limits.core.hard: is missing; soft and hard are both needed"),
        ("limits.core = { soft = 2, hard = 3, x = 1 }", "limits.core.x: unknown key; allowed here: soft, hard"),
        ("limits.core = { soft = 2, hard = [] }", 'limits.core.hard: an array where a size or "unlimited" is wanted'),
        ("limits.nofiles = 1", 'limits.nofiles: unknown key; did you mean "nofile"?'),
        ("umask = 18", 'umask: an integer where octal digits in quotes, such as "022", is wanted'),
        ('umask = "999"', 'umask: "999" is not a mode; allowed: octal digits, "000" to "777"'),
        ('umask = "1777"', 'umask: "1777" is not a mode; allowed: octal digits, "000" to "777"'),
        ("nice = 20", "nice: 20 is out of range; allowed: -20 to 19"),
        ("instances = -1", "instances: -1 is out of range; allowed: 0 to 1000"),
        ("success_exit_codes = [256]", "success_exit_codes[0]: 256 is out of range; allowed: 0 to 255"),
        ("success_exit_codes = 0", "success_exit_codes: an integer where an array of integers is wanted"),
        ('supplementary_groups = ["root", "rooot"]', 'supplementary_groups[1]: there is no group "rooot" on this machine; did you mean "root"?'),
        ("use = 1", "use: an integer where a string is wanted; put it in quotes"),
        ('use = "x"', "use: there is no template of this name; there is none"),
        ('oneshot = true\nrestart = "always"', 'restart: a oneshot is meant to end, so "always" is not for it; allowed: "never", "on-failure"'),
        ("oneshot = true\nready.notify = true", "ready: a oneshot is ready when it has ended well; leave this out"),
        ('requires = ["wbe"]', 'requires[0]: there is no service of this name; did you mean "web"?'),
        ('after = ["x"]', "after[0]: there is no service of this name; there is web"),
        ('before = ["web"]', "before[0]: closes a cycle, in which each waits for the next: web -> web"),
        ("requires = [1]", "requires[0]: an integer where a string is wanted; put it in quotes"),
        ('environment_files = ["none"]', "environment_files[0]: none cannot be read: No such file or directory"),
        ('on_exit = "a ${X}"', 'on_exit: needs the variable X, which is not set; set it, or write "${X:-default}"'),
        ('on_exit = ["a", "${X}"]', 'on_exit[1]: needs the variable X, which is not set; set it, or write "${X:-default}"'),
        ('environment.A = "${"', 'environment.A: holds "${" without a "}": "${"; write "$$" for a dollar'),
    ],
)  # fmt: skip
def test_each_wrong_value_has_one_message(lines: str, message: str, folder: Path) -> None:
    """A wrong value is reported once, with what is allowed or meant."""
    assert problem(folder, lines) == message


@pytest.mark.parametrize(
    "url",
    ["https://h/", "h", "http://", "http://h:x/", "http://h:0/", "http://u@h/", "http://[/", "http://h/ x"],
)
def test_what_is_no_address_of_http(url: str, folder: Path) -> None:
    """Another scheme, no host, a bad port, a user or a space are refused."""
    assert problem(folder, f'health.http = "{url}"').startswith("health.http: ")


@pytest.mark.parametrize(
    ("cron", "what"),
    [
        ("* * * *", "is not a schedule: wrong number of fields; write five fields"),
        ("61 * * * *", "is not a schedule: bad minute; write five fields"),
        ("0 0 30 2 *", "is not a schedule: bad day-of-month; "),
        ("0 0 */31 * MON#5", "never comes"),
        ("*" * 201, "is not a schedule; write five fields"),
    ],
)
def test_what_is_no_time_table(cron: str, what: str, folder: Path) -> None:
    """A wrong field is named, and a day that never comes is told."""
    assert what in problem(folder, f'schedule.cron = "{cron}"')


@pytest.mark.parametrize(
    ("signals", "message"),
    [
        ("{ HUP = [] }", ".HUP: cannot be handed on: SIGHUP is the daemon's own"),
        ("{ 15 = [] }", ".15: cannot be handed on: SIGTERM is the daemon's own"),
        ("{ VTALRM = [] }", ".VTALRM: cannot be handed on: SIGVTALRM is the daemon's own"),
        ("{ KILL = [] }", ".KILL: cannot be handed on: SIGKILL cannot be caught by anybody"),
        ("{ SEGV = [] }", ".SEGV: cannot be handed on: SIGSEGV means a fault of the process that gets it"),
        ("{ CONT = [] }", ".CONT: cannot be handed on: SIGCONT stops or continues the process that gets it"),
        ("{ USR1 = [], SIGUSR1 = [] }", ".SIGUSR1: is SIGUSR1, which is here already"),
        ('{ USR1 = "web" }', '.USR1: a string where an array of names is wanted; write ["web"]'),
        ('{ USR1 = ["wbe"] }', ': there is no service "wbe" to hand SIGUSR1 on to; did you mean "web"?'),
        ("1", ": an integer where a table of signals is wanted"),
    ],
)
def test_what_cannot_be_handed_on(signals: str, message: str, folder: Path) -> None:
    """Signals that have a meaning of their own, and services that are not there."""
    text = f'[daemon]\nsocket = "/s"\nstate_dir = "/d"\nforward_signals = {signals}\n{MINIMAL}'
    assert problems(folder, text) == [f":4: daemon.forward_signals{message}"]


def test_nobody_can_require_what_comes_from_time_to_time(folder: Path) -> None:
    """A scheduled service is never ready for long, so it would hold the other for ever."""
    text = '[service.a]\ncommand = "a"\nrequires = ["b"]\n[service.b]\ncommand = "b"\nschedule.every = 60\n'
    what = "has a schedule, so it is not ready but from time to time"
    assert problems(folder, text) == [f":4: service.a.requires[0]: {what}"]


def test_a_template_gives_what_the_service_leaves_out(folder: Path) -> None:
    """Tables of independent keys become one; a choice among several is replaced whole."""
    spec = read(
        folder,
        '[template.t]\ncommand = "c"\nrestart = "never"\nready.notify = true\n'
        'environment = { A = "1", B = "1" }\nbackoff = { initial = "1s" }\n'
        '[service.x]\nuse = "t"\nrestart = "always"\nready.fd = 4\nenvironment.B = "2"\nbackoff.factor = 3\n',
    ).services[0]
    assert (spec.command, spec.restart, spec.ready) == (("c",), Restart.ALWAYS, FdCheck(4))
    assert spec.environment == (("A", "1"), ("B", "2"))
    assert (spec.backoff.initial_ns, spec.backoff.factor) == (SECOND_NS, 3.0)


def test_a_problem_of_a_template_is_reported_once_where_it_stands(folder: Path) -> None:
    """However many services use a template, its mistakes are its own."""
    found = problems(
        folder,
        '[template.t]\nnice = 99\nenvironment = { A = 1, B = "${X}" }\nuse = "u"\n'
        '[service.a]\ncommand = "c"\nuse = "t"\n[service.b]\ncommand = "c"\nuse = "t"\n',
    )
    assert [line.partition(": ")[2].partition(":")[0] for line in found] == [
        "template.t.nice",
        "template.t.environment.A",
        "template.t.environment.B",
        "template.t.use",
    ]


def test_a_template_that_nobody_uses_is_checked_too(folder: Path) -> None:
    """An unknown key of it is a problem; a variable without a value is not, for nobody needs it."""
    found = problems(folder, f'[template.t]\ncolour = 1\ncommand = "${{X}}"\n{MINIMAL}')
    assert len(found) == 1
    assert ": template.t.colour: unknown key; allowed here: " in found[0]


def test_a_template_may_use_another_one(folder: Path) -> None:
    """The nearest says it: the service, its template, that one's own, in whatever order they are written."""
    text = (
        '[service.x]\nuse = "a"\nnice = 1\n[template.a]\nuse = "b"\nnice = 2\numask = "022"\n'
        '[template.b]\nuse = "c"\numask = "027"\nrestart = "always"\nenvironment.B = "1"\n'
        '[template.c]\ncommand = "c"\nrestart = "never"\nenvironment.C = "1"\n'
    )
    spec = read(folder, text).services[0]
    assert (spec.command, spec.nice, spec.umask, spec.restart) == (("c",), 1, 0o22, Restart.ALWAYS)
    assert spec.environment == (("B", "1"), ("C", "1"))


def test_templates_that_use_each_other_are_a_cycle(folder: Path) -> None:
    """It is named once, and a template that merely leads there is no part of it."""
    found = problems(
        folder,
        '[template.a]\nuse = "b"\n[template.b]\nuse = "a"\n[template.c]\nuse = "a"\n[template.d]\nuse = "d"\n'
        '[service.x]\nuse = "c"\ncommand = "c"\n',
    )
    assert [line.split(": ", 1)[1] for line in found] == [
        "template.a.use: closes a cycle, in which each uses the next: a -> b -> a",
        "template.d.use: closes a cycle, in which each uses the next: d -> d",
    ]


def test_an_unknown_template_of_a_template_is_reported_where_it_is_used(folder: Path) -> None:
    """With the nearest name."""
    found = problems(folder, f'[template.python]\n[template.t]\nuse = "pyton"\n{MINIMAL}')
    assert [line.split(": ", 1)[1] for line in found] == [
        'template.t.use: there is no template of this name; did you mean "python"?'
    ]


@pytest.mark.parametrize(
    ("key", "where"),
    [
        ('directory = "${HOME}/x"', "directory"),
        ('ready.tcp = "${HOST}:80"', "ready.tcp"),
        ('health.http = "http://${HOST}/"', "health.http"),
        ('stdout = { file = "/var/log/${SERVICE}.log" }', "stdout.file"),
        ('environment_files = ["/etc/${SERVICE}"]', "environment_files"),
        ('user = "${USER}"', "user"),
        ('stop.timeout = "${TIME}"', "stop.timeout"),
        ('requires = ["${DB}"]', "requires"),
    ],
)
def test_a_variable_where_none_counts_is_told(folder: Path, key: str, where: str) -> None:
    """Rather than taken for a name, or refused for what it looks like."""
    found = problems(folder, f'[service.web]\ncommand = "c"\n{key}\n')
    told = [line for line in found if f"service.web.{where}: holds " in line]
    assert len(told) == 1
    assert "but variables count in commands and in environment only; write the value itself" in told[0]


def test_a_dollar_and_a_brace_may_stand_in_a_pattern(folder: Path) -> None:
    """There they are what a regular expression makes of them."""
    spec = read(folder, '[service.x]\ncommand = "c"\nready.log = "up[${]"\n').services[0]
    assert spec.ready == LogCheck("up[${]")


LOGGED = '[service.{}]\ncommand = "c"\ninstances = 2\nstdout = {{ file = "{}", keep = {} }}\n'


def test_a_file_may_be_shared_by_who_write_it_alike(folder: Path) -> None:
    """Instances do so by themselves, both outputs of one may, and so may services that say the same."""
    text = (
        LOGGED.format("a", "/l/x", 3)
        + LOGGED.format("b", "/l/x", 3)
        + 'stderr = { file = "/l/x", keep = 3 }\n'
    )
    assert len(read(folder, text).services) == 4


@pytest.mark.parametrize(
    ("file", "keep", "said"),
    [
        ("/l/x", 4, "/l/x is the file of service.a.stdout too, with other settings there"),
        ("/l/../l/x", 3, "/l/../l/x is the file of service.a.stdout too, called /l/x there"),
        ("/dev/fd/../fd/../../../l/x", 3, "too, called /l/x there"),
    ],
)
def test_a_file_that_would_be_written_in_two_ways_is_refused(
    folder: Path, file: str, keep: int, said: str
) -> None:
    """By other settings or by another name of it."""
    found = problems(folder, LOGGED.format("a", "/l/x", 3) + LOGGED.format("b", file, keep))
    assert len(found) == 1
    assert "service.b.stdout: " in found[0]
    assert f"{said}; write both alike, or name another file" in found[0]


def test_instances_know_their_number(folder: Path) -> None:
    """Each is a service of its own; a request for another number goes before the file's."""
    text = '[service.w]\ncommand = "p ${REAPERD_INSTANCE} ${SERVICE}"\ninstances = 2\n'
    assert [spec.command for spec in read(folder, text).services] == [("p", "1", "w:1"), ("p", "2", "w:2")]
    scaled = read(folder, text, scale={"w": 1, "x": 5})
    assert [(spec.name, spec.base, spec.instance) for spec in scaled.services] == [("w:1", "w", 1)]
    assert read(folder, text.replace("2\n", "0\n")).services == ()


def test_a_service_without_instances_has_no_number(folder: Path) -> None:
    """Its number is not set, whatever the daemon itself was started with."""
    (found,) = problems(folder, '[service.w]\ncommand = "${REAPERD_INSTANCE}"', {"REAPERD_INSTANCE": "7"})
    assert "needs the variable REAPERD_INSTANCE, which is not set" in found


def test_variables_are_looked_up_in_order(folder: Path) -> None:
    """First what the daemon sets, then the service's files, then what the daemon was started with."""
    (folder / "e").write_text("A=file\n")
    text = '[service.w]\nenvironment_files = ["e"]\ncommand = ["p", "${A}", "${B}", "${SERVICE}"]\n'
    spec = read(folder, text, {"A": "own", "B": "own", "SERVICE": "outer"}).services[0]
    assert spec.command == ("p", "file", "own", "w")


def test_a_command_may_come_from_a_variable_and_not_be_empty(folder: Path) -> None:
    """What is expanded to nothing names no program."""
    (found,) = problems(folder, '[service.w]\ncommand = "${A}"', {"A": ""})
    assert "names no program" in found


def test_a_cycle_is_named(folder: Path) -> None:
    """All services of a cycle stand in the message, in the order in which they wait."""
    found = problems(
        folder,
        '[service.a]\ncommand = "c"\nrequires = ["b"]\n[service.b]\ncommand = "c"\nafter = ["c"]\n'
        '[service.c]\ncommand = "c"\n[service.d]\ncommand = "c"\n[service.a2]\ncommand = "c"\n'
        "before = [\"c\"]\nafter = ['a']\n",
    )
    assert found == [
        ":4: service.a.requires[0]: closes a cycle, in which each waits for the next: a -> b -> c -> a2 -> a"
    ]


@pytest.mark.parametrize(
    ("groups", "problem"),
    [
        ('["db"]', "service.web.groups[0]: is the name of a service"),
        ('["web"]', "service.web.groups[0]: is the name of a service"),
        ('["all"]', 'service.web.groups[0]: "all" is not a name for a group; "all" means every service'),
        ('["a*"]', 'service.web.groups[0]: "a*" is not a name for a group; allowed'),
        ('["a:1"]', 'service.web.groups[0]: "a:1" is not a name for a group; ":" stands between'),
        ('"a"', "service.web.groups: a string where an array of names is wanted"),
    ],
)
def test_a_group_has_a_name_of_its_own(tmp_path: Path, groups: str, problem: str) -> None:
    """One that is a service's, or that commands would understand otherwise, is refused."""
    found = problems(
        tmp_path, f'[service.web]\ncommand = "x"\ngroups = {groups}\n[service.db]\ncommand = "x"\n'
    )
    assert any(problem in each for each in found), found


def test_no_service_is_called_all(tmp_path: Path) -> None:
    """Nobody could mean it alone."""
    [found] = problems(tmp_path, '[service.all]\ncommand = "x"\n')
    assert '"all" means every service' in found
