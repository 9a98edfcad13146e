from pathlib import Path

import pytest

from reaperd.config.envfile import read_environment_file
from reaperd.config.report import Report
from reaperd.errors import ConfigError

GOOD = """\
# a comment
A=1
 B = two words
export C="quoted # not a comment"  # but this is
D='single "double"'
E=
F=a#b=c

"""


def read(folder: Path, text: str) -> dict[str, str]:
    """Return the variables of a file with this text."""
    path = folder / "env"
    path.write_text(text)
    report = Report()
    variables = read_environment_file(path, report)
    report.raise_if_any()
    return dict(variables)


def test_the_forms_of_a_line(tmp_path: Path) -> None:
    """Comments, blank lines, export and quotes are understood; nothing is expanded."""
    assert read(tmp_path, GOOD) == {
        "A": "1",
        "B": "two words",
        "C": "quoted # not a comment",
        "D": 'single "double"',
        "E": "",
        "F": "a#b=c",
    }


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("A", '"A" is not NAME=value'),
        ("=x", '"" is no variable\'s name'),
        ("SERVICE=x", "SERVICE is set by the daemon"),
        ("A='x", "does not end with the quote"),
        ("A='x' y", "does not end with the quote"),
        ("A=\0", "holds a NUL byte"),
    ],
)
def test_a_wrong_line_has_its_number(line: str, what: str, tmp_path: Path) -> None:
    """What is wrong is reported at the line of the file, all lines at once."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"OK=1\n{line}\n{line} \n")
    assert [problem.where for problem in caught.value.problems] == [f"{tmp_path}/env:2", f"{tmp_path}/env:3"]
    assert what in caught.value.problems[0].what


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """The system's reason is passed on."""
    with pytest.raises(ConfigError, match="No such file"):
        read_environment_file(tmp_path / "none", Report())
