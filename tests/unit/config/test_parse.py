import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reaperd.config.parse import load
from reaperd.config.read import MAX_BYTES, parse_toml, read_source
from reaperd.config.report import Source
from reaperd.errors import ConfigError

GOOD = '[service.web]\ncommand = "sleep 60"\n'


def problems(path: Path) -> list[str]:
    """Return what is wrong with a file, a line each."""
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [str(problem) for problem in caught.value.problems]


def problems_of(raw: bytes, folder: Path) -> list[str]:
    """Return what is wrong with a content, without the name of its file."""
    path = folder / "c.toml"
    path.write_bytes(raw)
    return [problem.removeprefix(str(path)) for problem in problems(path)]


def test_a_good_file_is_read(tmp_path: Path) -> None:
    """A file with one service gives a configuration that knows where it came from."""
    path = tmp_path / "reaperd.toml"
    path.write_text(GOOD)
    config = load(path)
    assert config.source == path
    assert [spec.command for spec in config.services] == [("sleep", "60")]


def test_a_file_that_is_not_there_is_one_problem(tmp_path: Path) -> None:
    """The system's reason is passed on, under the name that the user gave."""
    path = tmp_path / "none.toml"
    assert problems(path) == [f"{path}: cannot be read: No such file or directory"]


def test_a_name_that_no_file_can_have_is_one_problem() -> None:
    """A NUL byte within the path is a problem of the path."""
    assert problems(Path("a\0b")) == ["a\0b: cannot be read: its name holds a NUL byte"]


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    """A directory, a pipe that nobody writes to and a device are named as what they are."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert problems(tmp_path) == [f"{tmp_path}: is a directory, not a file"]
    assert problems(pipe) == [f"{pipe}: is a pipe, not a file"]
    assert problems(Path("/dev/null")) == ["/dev/null: is a device, not a file"]


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", ": is empty; a configuration needs at least one [service.NAME] with a command"),
        (
            b"\n# only a comment\n",
            ": is empty; a configuration needs at least one [service.NAME] with a command",
        ),
        (b"#" * (MAX_BYTES + 1), ": is too large; at most 1024 KiB are allowed"),
        (b"\xef\xbb\xbfa = 1", ":1: begins with a byte order mark; save it as UTF-8 without one"),
        (b"a = 1\nb = '\xff'", ":2: is not UTF-8: byte 0xff cannot stand here"),
        (b"a = 1\n b 2", ":2:4: is not valid TOML: expected '=' after a key in a key/value pair"),
        (b"a = 1\nb = [", ":2:6: is not valid TOML: invalid value; allowed: text in quotes, a number"),
        (b"[a.b]\n[a.b]", ":2:5: is not valid TOML: cannot declare a.b twice"),
        (b"a = 1\na = 2", ":2:6: is not valid TOML: cannot overwrite a value"),
        (b"a = " + b"[" * 100_000, ": is not valid TOML: arrays or tables are nested too deeply"),
        (b"a = " + b"9" * 5000, "is not valid TOML: exceeds the limit"),
    ],
)
def test_what_cannot_be_read_says_why_and_where(raw: bytes, problem: str, tmp_path: Path) -> None:
    """Each way of not being a configuration has its own sentence, with line and column where there is one."""
    (found,) = problems_of(raw, tmp_path)
    assert problem in found


def test_the_largest_allowed_file_is_read(tmp_path: Path) -> None:
    """The limit itself is still allowed."""
    path = tmp_path / "c.toml"
    path.write_text(GOOD + "#" * (MAX_BYTES - len(GOOD)))
    assert len(read_source(path).text) == MAX_BYTES
    assert load(path).services


@given(st.text(max_size=60) | st.text(alphabet="[]{}=\"'.,#ab1 \n\\", max_size=60))
def test_any_text_is_a_configuration_or_a_list_of_problems(text: str) -> None:
    """No text ends in anything but tables or a problem that names the file first."""
    try:
        parse_toml(Source(Path("c.toml"), text))
    except ConfigError as error:
        assert all(problem.where.startswith("c.toml") for problem in error.problems)  # noqa: PT017  # both outcomes
