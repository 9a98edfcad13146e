from pathlib import Path

import pytest

from reaperd.config.parse import load
from reaperd.errors import ConfigError


def write(folder: Path, **files: str) -> Path:
    """Write a main file, and others into conf.d."""
    drop_ins = folder / "conf.d"
    drop_ins.mkdir()
    for name, text in files.items():
        path = folder / "main.toml" if name == "main" else drop_ins / f"{name}.toml"
        path.write_text(text)
    return folder / "main.toml"


def problems(path: Path) -> list[str]:
    """Return the problems of all files, without the name of their folder."""
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    return [str(problem).replace(f"{path.parent}/", "") for problem in caught.value.problems]


VALUES = "allowed: text in quotes, a number, true or false, an [array], a { table }"
MAIN = '[daemon]\nsocket = "/s"\nstate_dir = "/d"\ninclude = ["conf.d/*.toml"]\n'


def service(name: str, lines: str = "") -> str:
    """Return a service as text."""
    return f'[service.{name}]\ncommand = "c"\n{lines}\n'


def test_included_files_add_services_and_templates(tmp_path: Path) -> None:
    """They come in the order of their names, and a relative path starts at the file that holds it."""
    path = write(
        tmp_path,
        main=MAIN + '[template.t]\ndirectory = "m"\n',
        b=service("b", 'use = "t"'),
        a=service("a", 'directory = "x"'),
    )
    config = load(path, {})
    assert [spec.name for spec in config.services] == ["a", "b"]
    assert [spec.directory for spec in config.services] == [f"{tmp_path}/conf.d/x", f"{tmp_path}/m"]
    assert config.files == (path, tmp_path / "conf.d/a.toml", tmp_path / "conf.d/b.toml")


def test_an_empty_drop_in_directory_is_well(tmp_path: Path) -> None:
    """A pattern that matches nothing includes nothing."""
    assert len(load(write(tmp_path, main=MAIN + service("a")), {}).services) == 1


def test_a_file_is_read_once(tmp_path: Path) -> None:
    """Whatever matches twice, or is the main file itself, is read once."""
    main = MAIN.replace('"conf.d/*.toml"', '"*.toml", "conf.d/*", "conf.d/a.toml"')
    assert len(load(write(tmp_path, main=main + service("m"), a=service("a")), {}).services) == 2


def test_a_name_without_a_wildcard_has_to_be_there(tmp_path: Path) -> None:
    """A file that is asked for by its name is missed."""
    path = write(tmp_path, main=MAIN.replace("*.toml", "x.toml") + service("a"))
    assert problems(path) == ["main.toml:4: daemon.include[0]: there is no file conf.d/x.toml"]


def test_what_is_no_list_of_patterns_is_reported_once(tmp_path: Path) -> None:
    """A wrong value includes nothing and is one problem."""
    path = write(tmp_path, main=MAIN.replace('["conf.d/*.toml"]', "3") + service("a"))
    assert problems(path) == [
        "main.toml:4: daemon.include: an integer where an array of file patterns is wanted"
    ]


def test_a_wrong_pattern_is_reported_once(tmp_path: Path) -> None:
    """An element that is no text is one problem."""
    path = write(tmp_path, main=MAIN.replace('["conf.d/*.toml"]', "[3]") + service("a"))
    assert problems(path) == [
        "main.toml:4: daemon.include[0]: an integer where a string is wanted; put it in quotes"
    ]


def test_problems_of_all_files_are_reported_together(tmp_path: Path) -> None:
    """A malformed file, a wrong value, a foreign table and a name that is taken are told at once."""
    path = write(
        tmp_path,
        main=MAIN + service("m", "nice = 99"),
        a="x = [",
        b='[daemon]\nsocket = "/x"\n' + service("m"),
        c=service("c", "nice = 99") + "[template]\nt = 3\n",
    )
    assert problems(path) == [
        f"conf.d/a.toml:1:6: is not valid TOML: invalid value; {VALUES}",
        "conf.d/b.toml:1: daemon: belongs in the main file, main.toml",
        "conf.d/b.toml:3: service.m: is already defined in main.toml:5",
        "conf.d/c.toml:3: service.c.nice: 99 is out of range; allowed: -20 to 19",
        "conf.d/c.toml:5: template.t: an integer where a table is wanted",
        "main.toml:7: service.m.nice: 99 is out of range; allowed: -20 to 19",
    ]


def test_a_daemon_that_is_no_table_includes_nothing(tmp_path: Path) -> None:
    """The problem is the table's, not the include's."""
    path = write(tmp_path, main="daemon = 1\n" + service("a"))
    assert problems(path)[0] == "main.toml:1: daemon: an integer where a table is wanted"
