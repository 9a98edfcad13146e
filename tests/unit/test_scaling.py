from pathlib import Path

import pytest

from reaperd.config.spec import Config
from reaperd.errors import ConfigError
from reaperd.scaling import Scaling


def write(folder: Path, count: int | None) -> Path:
    """Return a configuration whose service has so many instances, or no such key."""
    path = folder / "reaperd.toml"
    key = "" if count is None else f"instances = {count}\n"
    path.write_text(f'[daemon]\nsocket = "s"\nstate_dir = "d"\n[service.web]\ncommand = "web"\n{key}')
    return path


def follow(scaling: Scaling, path: Path, scale: tuple[str, int] | None = None) -> Config:
    """Read and follow a configuration, as a reload or a scale does."""
    config = scaling.load(path, scale)
    scaling.follow(config, scale)
    return config


def test_the_latest_number_holds_until_the_file_changes(tmp_path: Path) -> None:
    """Whoever spoke last, user or file, has the last word."""
    scaling = Scaling()
    assert len(follow(scaling, write(tmp_path, 2)).services) == 2
    assert len(follow(scaling, write(tmp_path, 2), ("web", 5)).services) == 5
    assert len(follow(scaling, write(tmp_path, 2)).services) == 5
    assert len(follow(scaling, write(tmp_path, 3)).services) == 3
    assert len(follow(scaling, write(tmp_path, 2)).services) == 2
    assert len(follow(scaling, write(tmp_path, 2), ("web", 0)).services) == 0
    assert follow(scaling, write(tmp_path, 2)).instances == (("web", 2),)


def test_a_number_that_was_only_read_is_not_remembered(tmp_path: Path) -> None:
    """Reading changes nothing, as in a dry run or where the file is bad."""
    scaling = Scaling()
    path = write(tmp_path, 2)
    assert len(scaling.load(path, ("web", 4)).services) == 4
    path.write_text("x")
    with pytest.raises(ConfigError):
        scaling.load(path, ("web", 4))
    assert len(follow(scaling, write(tmp_path, 2)).services) == 2


def test_a_service_that_lost_its_key_is_single_again(tmp_path: Path) -> None:
    """And what was asked for is forgotten."""
    scaling = Scaling()
    follow(scaling, write(tmp_path, 2), ("web", 4))
    assert [spec.name for spec in follow(scaling, write(tmp_path, None)).services] == ["web"]
    assert len(follow(scaling, write(tmp_path, 2)).services) == 2
