from pathlib import Path

import pytest

from reaperd.config.importers.choose import import_file
from reaperd.config.parse import load
from reaperd.errors import ConfigError


def test_lines_become_services(tmp_path: Path) -> None:
    """A shell runs what only a shell can; the release runs to its end before the others start."""
    (tmp_path / ".env").write_text("FROM_FILE=1\n")
    path = tmp_path / "Procfile"
    path.write_text(
        "# programs\nrelease: ./migrate --all\n\nweb: serve --port $PORT | tee log\nworker: work a b\n"
    )
    text, lost = import_file(path, None)
    assert [each.where for each in lost] == ["", "web"]
    (tmp_path / "r.toml").write_text(text)
    release, web, worker = load(tmp_path / "r.toml").services
    assert (release.command, release.oneshot) == (("./migrate", "--all"), True)
    assert web.command == ("/bin/sh", "-c", "serve --port $PORT | tee log")
    assert dict(web.environment) == {"FROM_FILE": "1", "PORT": "5100"}
    assert (worker.command, worker.requires) == (("work", "a", "b"), ("release",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("web serve\n", "Procfile:1: is no line of a Procfile"),
        ("# nothing\n", "has no service"),
        ("".join(f"w{n}: w\n" for n in range(1001)), "too many processes"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """With its line."""
    (tmp_path / "Procfile").write_text(text)
    with pytest.raises(ConfigError, match=said):
        import_file(tmp_path / "Procfile", None)


def test_the_kind_is_told_by_name_or_asked_for(tmp_path: Path) -> None:
    """A file that nothing is known of is not guessed at."""
    (tmp_path / "processes").write_text("web: serve\n")
    with pytest.raises(ConfigError, match="--from: supervisord, procfile, compose"):
        import_file(tmp_path / "processes", None)
    assert "[service.web]" in import_file(tmp_path / "processes", "procfile")[0]
