import sys
from pathlib import Path

import pytest

from reaperd.config.importers.choose import import_file
from reaperd.config.importers.draft import Lost
from reaperd.config.parse import load
from reaperd.config.spec import Config, ExecCheck, HealthAction, Restart, Scope, ServiceSpec
from reaperd.errors import ConfigError, ReaperdError

SITE = """\
x-all: &all
  environment: {A: "1", N: 3, ON: true, NONE: }
services:
  db:
    <<: *all
    image: postgres:16
    entrypoint: [postgres]
    command: ["-c", "x=$$HOME"]
    restart: unless-stopped
    healthcheck: {test: [CMD-SHELL, "pg_isready -U $$U"], interval: 5s, retries: 5}
  migrate:
    entrypoint: ./migrate --all
    depends_on: {db: {condition: service_healthy}}
  web:
    entrypoint: /app/run
    command: serve --port ${PORT:-8000} $HOME
    working_dir: /srv
    user: "0:0"
    restart: on-failure:3
    stop_signal: SIGINT
    stop_grace_period: 1m30s
    depends_on:
      db: {condition: service_healthy}
      migrate: {condition: service_completed_successfully}
      cache: {condition: service_started, required: false}
    deploy: {replicas: 2}
    ulimits: {nofile: {soft: 1024, hard: 2048}, nproc: 100}
    environment: [KEY=v=w, PASSED]
  cache:
    entrypoint: [redis-server]
"""


def imported(folder: Path, text: str) -> tuple[Config, list[Lost]]:
    """Return what the imported text means to the daemon, and what was lost."""
    (folder / "compose.yml").write_text(text)
    toml, lost = import_file(folder / "compose.yml", None)
    (folder / "reaperd.toml").write_text(toml)
    return load(folder / "reaperd.toml"), lost


def test_services_become_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key that has a counterpart arrives in the spec that the daemon follows."""
    monkeypatch.setenv("HOME", "/h")
    monkeypatch.delenv("PORT", raising=False)
    config, lost = imported(tmp_path, SITE)
    specs: dict[str, ServiceSpec] = {spec.name: spec for spec in config.services}
    assert list(specs) == ["db", "migrate", "web:1", "web:2", "cache"]
    assert [each.where for each in lost] == ["db"], "its image"
    db, migrate, web = specs["db"], specs["migrate"], specs["web:1"]
    assert db.command == ("postgres", "-c", "x=$HOME")
    assert db.environment == (("A", "1"), ("N", "3"), ("ON", "true"))
    assert db.restart is Restart.ALWAYS
    check = ExecCheck(("/bin/sh", "-c", "pg_isready -U $U"))
    assert db.health is not None
    assert (db.health.check, db.health.failures, db.health.action) == (check, 5, HealthAction.REPORT)
    assert db.ready == check
    assert (migrate.oneshot, migrate.requires, migrate.restart) == (True, ("db",), Restart.NEVER)
    assert web.command == ("/app/run", "serve", "--port", "8000", "/h")
    assert (web.directory, web.user, web.group) == ("/srv", "0", "0")
    assert web.restart is Restart.ON_FAILURE
    assert web.start_limit is not None
    assert web.start_limit.count == 4
    assert (web.stop.signal, web.stop.timeout_ns, web.stop.scope) == (2, 90_000_000_000, Scope.MAIN)
    assert (web.requires, web.after) == (("db", "migrate"), ("cache",))
    assert len(web.limits) == 2
    assert web.environment == (("KEY", "v=w"),)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ports: ['80:80']", "ports: reaperd has no such thing"),
        ("restart: sometimes", "is none of"),
        ("user: '${NOT_SET_AT_ALL}'", "is not set here"),
        ("working_dir: [1]", "is no text"),
        ("stop_signal: NOPE", "stop_signal"),
        ("stop_grace_period: soon", "stop_grace_period"),
        ("depends_on: [nobody]", "there is no such service here"),
        ("depends_on: [p]", "is the service itself"),
        ("depends_on: {q: {condition: odd}}", "condition = odd"),
        ("environment: {'A=B': 1}", "has a name that is none"),
        ("depends_on: 3", "neither a list nor a table"),
        ("environment: 3", "neither a table nor a list"),
        ("environment: {A: [1]}", "environment A: is no text"),
        ("environment: ['SERVICE=x']", "sets that itself"),
        ("environment: {A: '${B:+c}'}", "has no counterpart"),
        ("healthcheck: {test: [ODD, x]}", "healthcheck: its command"),
        ("ulimits: {odd: 3}", "ulimits odd"),
        ("ulimits: {nofile: many}", "ulimits nofile"),
        ("scale: -1", "no number of instances"),
        ("deploy: {mode: global}", "deploy.mode"),
        ("depends_on: {q: {condition: service_healthy}}", "has no healthcheck"),
    ],
)
def test_what_is_lost_is_said(tmp_path: Path, line: str, said: str) -> None:
    """And what is left of the service can be used."""
    config, lost = imported(
        tmp_path, f"services:\n  p:\n    entrypoint: [p]\n    {line}\n  q:\n    entrypoint: [q]\n"
    )
    assert [said in each.what for each in lost] == [True], lost
    assert len(config.services) == 2


def test_a_check_at_once_is_one_by_default(tmp_path: Path) -> None:
    """Where compose takes 0 for its default of 30 seconds."""
    check = "{test: [CMD, x], interval: 0s, timeout: 0s}"
    config, lost = imported(tmp_path, f"services: {{p: {{entrypoint: [p], healthcheck: {check}}}}}\n")
    health = config.services[0].health
    assert health is not None
    assert (health.interval_ns, health.timeout_ns, lost) == (30_000_000_000, 30_000_000_000, [])


def test_an_image_without_a_command_is_left_out(tmp_path: Path) -> None:
    """What it would run is not known; with nothing left there is nothing to write."""
    config, lost = imported(tmp_path, "services:\n  a: {image: redis}\n  b: {entrypoint: [b]}\n  c: 3\n")
    assert [spec.name for spec in config.services] == ["b"]
    assert [each.where for each in lost] == ["a", "c"]
    with pytest.raises(ConfigError, match="no service that could be carried over; a: left out"):
        imported(tmp_path, "services:\n  a: {image: redis}\n")


def merges(levels: int) -> str:
    """Return a text in which each level is nine times the one before."""
    lines = ["a0: &a0 {k0: 1, k1: 2, k2: 3, k3: 4, k4: 5, k5: 6, k6: 7, k7: 8, k8: 9}"]
    for level in range(1, levels):
        names = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} {{<<: [{names}]}}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "is not valid YAML"),
        ("a: \x01", "is not valid YAML"),
        ("[" * 100_000, "within a value|not valid YAML"),
        ("3", "no table of services"),
        ("services: [a]", "no table of services"),
        ("services: {1: {}}", "no table of services"),
        ("services: {a: &a [*a]}\nb: !!python/object:os.system x", "is not valid YAML"),
        ("services: " + "9" * 5000, "cannot be read"),
        ("a: &a 1\nb: [" + "*a," * 1001 + "]", "too many aliases"),
        (merges(10), "too large a mapping"),
        ("services:\n" + "".join(f"  s{n}: {{command: s}}\n" for n in range(1001)), "too many services"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """At once and in bounds, however much a few bytes would mean."""
    (tmp_path / "compose.yml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        import_file(tmp_path / "compose.yml", None)


def test_a_circle_of_dependencies_is_told_and_broken(tmp_path: Path) -> None:
    """At the link that closes it; all others stay, and what is written can be used."""
    text = """
services:
  a: {command: a, depends_on: [b, d]}
  b: {command: b, depends_on: {c: {condition: service_started, required: false}}}
  c: {command: c, depends_on: [a]}
  d: {command: d}
"""
    config, lost = imported(tmp_path, text)
    assert [(each.where, each.what) for each in lost if "depends_on" in each.what] == [
        ("c", "depends_on a: closes a circle (a -> b -> c -> a), and is left out")
    ]
    links = {spec.name: (spec.requires, spec.after) for spec in config.services}
    assert links == {"a": (("b", "d"), ()), "b": ((), ("c",)), "c": ((), ()), "d": ((), ())}


def test_shared_parts_are_never_written_out(tmp_path: Path) -> None:
    """A value that means gigabytes is no text, and only that is said of it."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    lines.append("services: {p: {entrypoint: [p, *a11], environment: {A: *a11}, user: *a11, odd: *a11}}")
    _, lost = imported(tmp_path, "\n".join(lines))
    assert sum(len(each.what) for each in lost) < 2000


def test_without_the_library_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    (tmp_path / "compose.yml").write_text(SITE)
    with pytest.raises(ReaperdError, match="PyYAML") as caught:
        import_file(tmp_path / "compose.yml", None)
    assert caught.value.hint is not None
    assert "reaperd[compose]" in caught.value.hint
