"""The forms of `stdout` and `stderr`."""

import json
import tomllib
from pathlib import Path

import pytest

from reaperd.config.outputs import FILE, STDERR, STDOUT
from reaperd.config.parse import load
from reaperd.config.report import Report, Site, Source
from reaperd.config.resolved import resolved
from reaperd.config.spec import SECOND_NS, LogFile, Sink
from reaperd.errors import ConfigError

WHOLE = """
stderr = { file = "/var/log/err" }
[service.web.stdout]
file = "log/web.log"
max_size = "10MiB"
max_age = "1d"
keep = 2
compress = true
max_line = "1KiB"
buffer = "2MiB"
"""


def read(folder: Path, text: str) -> tuple[object, object]:
    """Return what a service's table says of its outputs."""
    source = folder / "c.toml"
    source.write_text(f'[service.web]\ncommand = "x"\n{text}')
    (spec,) = load(source).services
    return spec.stdout, spec.stderr


def test_every_key_of_a_file_reaches_its_field(tmp_path: Path) -> None:
    """A path is relative to the configuration's directory."""
    stdout, stderr = read(tmp_path, WHOLE)
    path = str(tmp_path / "log/web.log")
    day_ns = 86_400 * SECOND_NS
    assert stdout == LogFile(path, 10 << 20, day_ns, 2, compress=True, max_line=1024, buffer=2 << 20)
    assert stderr == LogFile("/var/log/err")


def test_a_file_is_told_as_it_is_written(tmp_path: Path) -> None:
    """With the keys of the configuration, sizes in bytes and durations in seconds."""
    source = tmp_path / "c.toml"
    source.write_text(f'[service.web]\ncommand = "x"\n{WHOLE}')
    services = json.loads(json.dumps(resolved(load(source))))["services"]
    assert services[0]["stdout"] == {
        "file": str(tmp_path / "log/web.log"),
        "max_size": 10 << 20,
        "max_age": 86400.0,
        "keep": 2,
        "compress": True,
        "max_line": 1024,
        "buffer": 2 << 20,
    }


@pytest.mark.parametrize("sink", [sink for sink in Sink if sink is not Sink.STDOUT])
def test_the_words_mean_places(tmp_path: Path, sink: Sink) -> None:
    """For both outputs alike; only the standard error can join the other one."""
    assert read(tmp_path, f'stdout = "{sink.value}"\nstderr = "{sink.value}"') == (sink, sink)
    assert read(tmp_path, 'stderr = "stdout"') == (Sink.INHERIT, Sink.STDOUT)


def test_the_documented_defaults_are_the_defaults() -> None:
    """What a row says holds without the key is what the record holds without it."""
    site = Site(Report(), Source(Path("/c.toml"), ""))
    for key in FILE:
        default = None if key.required else getattr(LogFile("f"), key.field or key.name)
        found = key.kind.read(tomllib.loads(f"x = {key.default}")["x"], site) if key.default else None
        assert found == default
    assert STDOUT.keys == STDERR.keys == FILE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('stdout = "file"', 'stdout: "file" is none of'),
        ('stdout = "stdout"', 'stdout: "stdout" is none of'),
        ("stdout = { keep = 1 }", "stdout.file: is missing; wanted: a path"),
        ('stdout = { file = "f", size = 1 }', "stdout.size: unknown key"),
        (
            'stdout = { file = "f", max_size = "1B" }',
            "stdout.max_size: 1B is out of range; allowed: 1KiB to 1TiB",
        ),
        (
            'stdout = { file = "f", max_size = 1.5 }',
            'stdout.max_size: a float where a size, such as "64MiB", is wanted',
        ),
        (
            'stdout = { file = "f", max_age = "1ms" }',
            "stdout.max_age: 1ms is too short; at least 1s is allowed",
        ),
        ('stdout = { file = "f", max_line = "1GiB" }', "stdout.max_line: 1GiB is out of range"),
        (
            'stdout = { file = "f", buffer = "1B" }',
            "stdout.buffer: 1B is out of range; allowed: 1KiB to 1GiB",
        ),
        (
            'stdout = { file = "f", compress = 1 }',
            "stdout.compress: an integer where true or false is wanted",
        ),
        ('stderr = { file = "" }', "stderr.file: is empty"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, message: str) -> None:
    """With what is allowed."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    (problem,) = caught.value.problems
    assert f"service.web.{message}" in f"{problem.path}: {problem.what}"
