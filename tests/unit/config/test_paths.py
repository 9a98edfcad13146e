import os
import pwd
from pathlib import Path

import pytest

from reaperd.config.paths import default_socket, default_state_dir, make_folder
from reaperd.errors import ReaperdError

ME = os.geteuid()
USER = 1000 if ME == 0 else ME  # a user who is not root


@pytest.fixture(name="shared")
def shared_directory(tmp_path: Path) -> Path:
    """Give a directory like /tmp."""
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    return shared


def own(path: Path, mode: int = 0o700) -> Path:
    """Make a directory that belongs to USER."""
    path.mkdir()
    path.chmod(mode)
    if ME == 0:
        os.chown(path, USER, USER)
    return path


def test_root_has_the_system_directories() -> None:
    """The environment does not move what root's daemon and clients agree on."""
    environ = {"XDG_RUNTIME_DIR": "/run/user/0", "XDG_STATE_HOME": "/x", "TMPDIR": "/y"}
    assert default_socket(environ, uid=0) == Path("/run/reaperd/control.sock")
    assert default_state_dir(environ, uid=0) == Path("/var/lib/reaperd")


def test_a_user_has_the_runtime_directory_of_the_session(tmp_path: Path) -> None:
    """XDG_RUNTIME_DIR is used where it is the user's own."""
    runtime = own(tmp_path / "runtime")
    assert default_socket({"XDG_RUNTIME_DIR": str(runtime)}, USER) == runtime / "reaperd/control.sock"


@pytest.mark.parametrize("runtime", ["", "relative", "/nowhere/at/all", "/proc"])
def test_without_a_runtime_directory_there_is_the_temporary_one(runtime: str, shared: Path) -> None:
    """A runtime directory that is unset, relative, missing or somebody else's is not used."""
    found = default_socket({"XDG_RUNTIME_DIR": runtime, "TMPDIR": str(shared)}, USER)
    assert found == shared / f"reaperd-{USER}" / "control.sock"
    assert not found.parent.exists()


def test_the_temporary_directory_is_tmp_where_nothing_else_is_said() -> None:
    """Without TMPDIR it is /tmp."""
    assert default_socket({}, 54321) == Path("/tmp/reaperd-54321/control.sock")


def test_a_directory_of_ones_own_is_trusted(shared: Path) -> None:
    """The user's closed directory within the temporary one is used."""
    folder = own(shared / f"reaperd-{USER}")
    assert default_socket({"TMPDIR": str(shared)}, USER) == folder / "control.sock"


@pytest.mark.parametrize("mode", [0o701, 0o770, 0o755])
def test_a_directory_that_is_open_to_others_is_refused(mode: int, shared: Path) -> None:
    """Others could have put a socket of theirs there."""
    own(shared / f"reaperd-{USER}", mode)
    with pytest.raises(ReaperdError, match=r"others may enter it \(mode 07"):
        default_socket({"TMPDIR": str(shared)}, USER)


def test_a_directory_of_somebody_else_is_refused(shared: Path) -> None:
    """Another user's directory under our name is a trap."""
    (shared / "reaperd-54321").mkdir(mode=0o700)
    with pytest.raises(ReaperdError, match=f"user {ME} owns it") as caught:
        default_socket({"TMPDIR": str(shared)}, 54321)
    assert caught.value.hint is not None


def test_a_link_is_refused(shared: Path, tmp_path: Path) -> None:
    """A symbolic link would be somebody else's choice of the directory, even to one of ours."""
    target = own(tmp_path / "target")
    (shared / f"reaperd-{USER}").symlink_to(target)
    with pytest.raises(ReaperdError, match="it is not a directory"):
        default_socket({"TMPDIR": str(shared)}, USER)


def test_a_parent_without_the_sticky_bit_is_refused(tmp_path: Path) -> None:
    """Where others may rename, a check says nothing about the next moment."""
    parent = tmp_path / "tmp"
    parent.mkdir()
    parent.chmod(0o777)
    with pytest.raises(ReaperdError, match="no sticky bit"):
        default_socket({"TMPDIR": str(parent)}, USER)


def test_a_parent_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """The owner of a directory may rename what is in it, sticky or not."""
    if ME == 0:
        os.chown(tmp_path, 12345, 12345)
    with pytest.raises(ReaperdError, match="owns it"):
        default_socket({"TMPDIR": str(tmp_path)}, 54321)


def test_a_parent_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """The system's reason is passed on."""
    with pytest.raises(ReaperdError, match="No such file or directory"):
        default_socket({"TMPDIR": str(tmp_path / "none")}, USER)


def test_a_name_too_long_to_look_at_is_refused(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be looked at cannot be trusted."""

    def refuse(_path: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "lstat", refuse)
    with pytest.raises(ReaperdError, match="cannot look at"):
        default_socket({"TMPDIR": str(shared)}, USER)


def test_the_state_of_a_user() -> None:
    """XDG_STATE_HOME if it is absolute, else the home directory's place for state."""
    assert default_state_dir({"XDG_STATE_HOME": "/s"}, USER) == Path("/s/reaperd")
    assert default_state_dir({"XDG_STATE_HOME": "s", "HOME": "/h"}, USER) == Path("/h/.local/state/reaperd")


def test_a_user_without_a_home_gets_a_hint() -> None:
    """A number without an account has no home directory; the hint says what to set."""
    with pytest.raises(ReaperdError, match="has no home directory") as caught:
        default_state_dir({}, 3_999_999_999)
    assert caught.value.hint == "set HOME, or state_dir in [daemon]"


def test_a_home_is_looked_up_where_the_environment_has_none() -> None:
    """The account's entry says where home is."""
    account = next(entry for entry in pwd.getpwall() if entry.pw_uid)
    home = Path(pwd.getpwuid(account.pw_uid).pw_dir)
    assert default_state_dir({}, account.pw_uid) == home / ".local/state/reaperd"


def test_a_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    """It is closed to others, and making it again changes nothing."""
    folder = tmp_path / "a/b/c"
    make_folder(folder)
    folder.chmod(0o750)
    make_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o750


def test_a_folder_that_somebody_was_faster_to_make_is_refused(shared: Path) -> None:
    """In a shared directory what is there already is looked at, not taken for what we made."""
    (shared / "x").mkdir()
    (shared / "x").chmod(0o777)
    with pytest.raises(ReaperdError, match="others may enter it"):
        make_folder(shared / "x")


def test_a_folder_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    """A file in the way is named by the system's reason."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ReaperdError, match=r"cannot make the directory .*: Not a directory"):
        make_folder(tmp_path / "file" / "x")
