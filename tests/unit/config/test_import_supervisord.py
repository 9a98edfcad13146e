from pathlib import Path

import pytest

from reaperd.config.importers.choose import import_file
from reaperd.config.parse import load
from reaperd.config.spec import Config, DelayCheck, LogFile, Restart, Scope, ServiceSpec, Sink
from reaperd.errors import ConfigError
from tests.support.processes import ROOT

WEB = """\
[program:web]
command=/usr/bin/env %(ENV_GREETING)s --dir "%(here)s/a b" price=5$ ${x} 100%% ; a comment
directory=%(ENV_PLACE)s
autorestart=true
exitcodes=0,2
startsecs=2
startretries=5
stopsignal=QUIT
stopwaitsecs=20
stopasgroup=true
user=root
umask=022
redirect_stderr=true
stdout_logfile=/var/log/web.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
environment=A="1,2",B=two,C='%(program_name)s'
"""


def imported(folder: Path, text: str, *, lost: int | None = None) -> Config:
    """Return what the imported text means to the daemon; `lost` is how much could not be carried over."""
    (folder / "s.conf").write_text(text)
    toml, left = import_file(folder / "s.conf", "supervisord")
    assert lost is None or len(left) == lost, left
    (folder / "reaperd.toml").write_text(toml)
    return load(folder / "reaperd.toml")


def service(config: Config, name: str) -> ServiceSpec:
    """Return one service."""
    return next(spec for spec in config.services if spec.name == name)


def test_a_program_becomes_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key that has a counterpart arrives in the spec that the daemon follows."""
    monkeypatch.setenv("GREETING", "hello")
    monkeypatch.setenv("PLACE", "/srv")
    web = service(imported(tmp_path, WEB, lost=0), "web")
    here = f"{tmp_path}/a b"
    assert web.command == ("/usr/bin/env", "hello", "--dir", here, "price=5$", "${x}", "100%")
    assert (web.directory, web.user, web.umask) == ("/srv", "root", 0o22)
    assert (web.restart, web.success_exit_codes) == (Restart.ALWAYS, (0, 2))
    assert web.ready == DelayCheck(2_000_000_000)
    assert web.start_limit is not None
    assert web.start_limit.count == 6
    assert (web.stop.signal, web.stop.timeout_ns, web.stop.scope) == (3, 20_000_000_000, Scope.GROUP)
    assert web.stdout == LogFile("/var/log/web.log", max_size=10 << 20, keep=3)
    assert web.stderr is Sink.STDOUT
    assert web.environment == (("A", "1,2"), ("B", "two"), ("C", "web"))


def test_processes_become_instances_or_services_of_their_own(tmp_path: Path) -> None:
    """Where a number tells them apart each has its own table; else they are instances."""
    config = imported(
        tmp_path,
        "[program:pool]\ncommand=pool\nnumprocs=3\nprocess_name=%(program_name)s_%(process_num)02d\n"
        "[program:w]\ncommand=w %(process_num)s\nnumprocs=2\nnumprocs_start=7\n"
        "process_name=%(program_name)s_%(process_num)02d\n",
        lost=0,
    )
    names = {spec.name: spec.command for spec in config.services}
    assert names == {
        "pool:1": ("pool",),
        "pool:2": ("pool",),
        "pool:3": ("pool",),
        "w_07": ("w", "7"),
        "w_08": ("w", "8"),
    }


def test_priorities_are_the_order_of_the_file(tmp_path: Path) -> None:
    """What nothing holds is started in the order of the file, and stopped in the reverse."""
    text = "[program:b]\ncommand=b\n[program:c]\ncommand=c\npriority=1\n[program:a]\ncommand=a\npriority=2\n"
    assert [spec.name for spec in imported(tmp_path, text).services] == ["c", "a", "b"]


def test_groups_stay_groups(tmp_path: Path) -> None:
    """By a name of their own, since none may be a service's too."""
    text = "[group:web]\nprograms=web,db\n[program:web]\ncommand=w\n[program:db]\ncommand=d\n"
    config = imported(tmp_path, text, lost=0)
    assert [(spec.name, spec.groups) for spec in config.services] == [("web_2", ("web",)), ("db", ("web",))]


def test_supervisords_environment_is_that_of_each(tmp_path: Path) -> None:
    """Under what the program itself sets."""
    text = '[supervisord]\nenvironment=A="1",B="2"\nloglevel=debug\n[program:p]\ncommand=p\nenvironment=B=3\n'
    config = imported(tmp_path, text, lost=1)
    assert service(config, "p").environment == (("A", "1"), ("B", "3"))


def test_included_files_are_read(tmp_path: Path) -> None:
    """By patterns from where the file is; one that cannot be read is said."""
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "more.conf").write_text("[program:more]\ncommand=more\n")
    (tmp_path / "conf.d" / "bad.conf").write_bytes(b"\xff")
    text = "[include]\nfiles = conf.d/*.conf\n[program:p]\ncommand=p\n"
    names = [spec.name for spec in imported(tmp_path, text, lost=1).services]
    assert sorted(names) == ["more", "p"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("autostart=false", "autostart = false"),
        ("priority=soon", "priority = soon"),
        ("startsecs=99999999999999999999", "is no number"),
        ("stopsignal=NOPE", "stopsignal = NOPE"),
        ("exitcodes=0,900", "not all are exit codes"),
        ("umask=999", "is no mode"),
        ("redirect_stderr=perhaps", "neither true nor false"),
        ("stdout_logfile=AUTO", "where the daemon's own output goes"),
        ("stdout_logfile=/f\nstdout_logfile_maxbytes=lots", "is no size"),
        ("environment=A=1,junk", "cannot be read from here on"),
        ("environment=REAPERD_X=1", "sets that itself"),
        (
            r'environment=A="say \"hi\", you",B=2',
            'environment A: supervisord refuses escaped quotes; taken for say "hi"',
        ),
        ("environment=A='it\\'s'", "taken for it's"),
        ('environment=A="b"c,B=2', 'cannot be read from here on: A="b"c'),
        ("directory=%(ENV_NOT_SET_AT_ALL)s", "is not set here"),
        ("directory=%(nobody)s", "means nothing here"),
        ("serverurl=AUTO", "serverurl = AUTO"),
        ("autorestart=maybe", "autorestart = maybe: is none of"),
        ("killasgroup=false", "killasgroup = false"),
    ],
)
def test_what_is_lost_is_said(tmp_path: Path, line: str, said: str) -> None:
    """On standard error and as a comment over the service, which can be used all the same."""
    (tmp_path / "s.conf").write_text(f"[program:p]\ncommand=p\n{line}\n")
    text, lost = import_file(tmp_path / "s.conf", None)
    assert [each.where for each in lost] == ["program:p"]
    assert said in lost[0].what
    assert "# not carried over: " in text
    (tmp_path / "r.toml").write_text(text)
    assert load(tmp_path / "r.toml").services


@pytest.mark.parametrize(
    ("line", "pairs"),
    [
        (r'A="C:\temp\",B="a\b"', {"A": "C:\\temp\\", "B": r"a\b"}),
        ("""A="it's",B='say "x, y"',C="",D=""", {"A": "it's", "B": 'say "x, y"', "C": "", "D": ""}),
        (r'A="say \"hi\", you",B=2', {"A": 'say "hi", you', "B": "2"}),
        (r"A='it\'s \\ so'", {"A": r"it's \ so"}),
    ],
)
def test_quotes_in_an_environment(tmp_path: Path, line: str, pairs: dict[str, str]) -> None:
    """They are read as supervisord does; what it would refuse is read as it was meant."""
    (tmp_path / "s.conf").write_text(f"[program:p]\ncommand=p\nenvironment={line}\n")
    text, _ = import_file(tmp_path / "s.conf", None)
    (tmp_path / "r.toml").write_text(text)
    assert dict(load(tmp_path / "r.toml").services[0].environment) == pairs


def test_what_is_lost_of_groups_and_of_nothing_is_said(tmp_path: Path) -> None:
    """A group's priority, a program that there is not, and one that has no processes."""
    text = "[program:p]\ncommand=p\n[program:q]\ncommand=q\nnumprocs=0\n[group:g]\nprograms=p,r\npriority=3\n"
    (tmp_path / "s.conf").write_text(text)
    _, lost = import_file(tmp_path / "s.conf", None)
    assert {(each.where, each.what.partition(" ")[0]) for each in lost} == {
        ("program:q", "left"),
        ("group:g", "priority"),
        ("group:g", "programs:"),
    }


def test_sections_that_are_no_programs_are_said(tmp_path: Path) -> None:
    """Listeners and servers have no counterpart."""
    sections = ("eventlistener:e", "fcgi-program:f", "inet_http_server", "rpcinterface:r", "odd")
    text = "".join(f"[{name}]\nx=1\n" for name in sections) + "[program:p]\ncommand=p\n"
    (tmp_path / "s.conf").write_text(text)
    _, lost = import_file(tmp_path / "s.conf", None)
    assert {each.where for each in lost} == set(sections)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no section", "no file of supervisord"),
        ("[program:p]\ncommand=p\0\n", "NUL byte"),
        ("[program:p]\ncommand=p\nnumprocs=999999\n", "at most 1000"),
        ("".join(f"[program:p{n}]\ncommand=p\n" for n in range(1001)), "too many processes"),
        ("[supervisord]\n", "has no service"),
        ("[include]\nfiles=" + "*.conf " * 300, "at most 200"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """With the reason, and in bounds."""
    (tmp_path / "s.conf").write_text(text)
    with pytest.raises(ConfigError, match=said):
        import_file(tmp_path / "s.conf", "supervisord")


def test_nothing_breaks_out_of_a_comment_or_a_string(tmp_path: Path) -> None:
    """Whatever a file holds, what comes of it is one TOML of the services that it names."""
    hostile = 'p"\\x\x1b]0;\x07\u2028\u202e%(here)1000000000s'
    (tmp_path / "s.conf").write_text(
        f"[program:p{hostile}]\ncommand=p '{hostile}'\nodd={hostile}\n[x{hostile}]\n"
    )
    text, _ = import_file(tmp_path / "s.conf", None)
    assert len(text) < 10_000
    (tmp_path / "r.toml").write_text(text)
    [spec] = load(tmp_path / "r.toml").services
    assert spec.command[1].startswith('p"\\x\x1b]0;\x07')
    assert "\x1b" not in text


def test_the_guide_shows_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session in docs/how-to/import.md is a real one."""
    guide = (ROOT / "docs/how-to/import.md").read_text()
    original = guide.partition("$ cat supervisord.conf\n")[2].partition("$ reaperd")[0]
    said = guide.partition("> reaperd.toml\n")[2].partition("$ cat")[0]
    monkeypatch.chdir(tmp_path)
    Path("supervisord.conf").write_text(original)
    text, lost = import_file(Path("supervisord.conf"), None)
    assert f"```toml\n{text}```" in guide
    assert [f"supervisord.conf: not carried over: {each.where}: {each.what}\n" for each in lost] == [said]
