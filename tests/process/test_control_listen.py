import errno
import fcntl
import os
import socket
import stat
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest

from reaperd.control.listen import PATH_MAX_BYTES, listen, tidy
from reaperd.errors import ReaperdError
from tests.support.processes import call_in_process, owned_child, wait_until


def leave_stale(path: Path) -> None:
    """Leave a socket file behind that nobody listens to."""
    with closing(socket.socket(socket.AF_UNIX)) as gone:
        gone.bind(str(path))


def mode_of(path: Path) -> int:
    """Return the permission bits of `path`."""
    return stat.S_IMODE(path.lstat().st_mode)


def refusal(path: Path) -> str:
    """Return why `listen` refuses `path`; the message names it."""
    with pytest.raises(ReaperdError) as caught:
        listen(path)
    assert caught.value.message.startswith(f"cannot listen on {path}: ")
    assert caught.value.hint or "directory" in caught.value.message
    return caught.value.message.removeprefix(f"cannot listen on {path}: ")


def test_makes_directory_and_socket(tmp_path: Path) -> None:
    """Missing directories are made, and the socket is for its owner alone."""
    path = tmp_path / "a" / "b" / "c.sock"
    with closing(listen(path)) as listener:
        assert mode_of(path) == 0o600
        assert mode_of(path.parent) & 0o022 == 0
        assert not os.get_inheritable(listener.fileno())
        with closing(socket.socket(socket.AF_UNIX)) as client:
            client.connect(str(path))


def modes_under_umasks(folder: str) -> list[int]:
    """Return the modes that sockets get under several umasks."""
    modes = []
    for index, umask in enumerate((0, 0o022, 0o077, 0o777)):
        path = Path(folder) / f"{index}.sock"
        os.umask(umask)
        listen(path).close()
        modes.append(mode_of(path))
    return modes


def test_mode_whatever_the_umask(tmp_path: Path) -> None:
    """The socket's mode does not depend on the umask."""
    assert call_in_process(modes_under_umasks, str(tmp_path)) == [0o600] * 4


def test_mode_from_the_first_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Already bind gives the file its mode: there is no moment in which others could connect."""
    seen = []

    class Watched(socket.socket):
        def bind(self, address: object) -> None:
            super().bind(address)  # type: ignore[arg-type]  # the path, as listen gives it
            seen.append(mode_of(Path(str(address))))

    monkeypatch.setattr("reaperd.control.listen.socket.socket", Watched)
    listen(tmp_path / "c.sock").close()
    assert len(seen) == 1
    assert seen[0] & 0o177 == 0


def test_stale_socket_is_replaced(tmp_path: Path) -> None:
    """A socket file that a daemon left behind is taken away and bound anew."""
    path = tmp_path / "c.sock"
    leave_stale(path)
    with closing(listen(path)), closing(socket.socket(socket.AF_UNIX)) as client:
        client.connect(str(path))


def test_living_daemon_is_left_alone(tmp_path: Path) -> None:
    """Where another daemon answers, even one whose backlog is full, nothing is touched."""
    path = tmp_path / "c.sock"
    with closing(listen(path)) as listener:
        before = path.lstat().st_ino
        assert refusal(path) == "another daemon answers there"
        listener.listen(0)
        knocking = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for each in knocking:
            each.setblocking(False)
        assert [each.connect_ex(str(path)) for each in knocking][-1] == errno.EAGAIN
        assert refusal(path) == "another daemon answers there"
        for each in knocking:
            each.close()
        assert path.lstat().st_ino == before


def test_other_things_are_left_alone(tmp_path: Path) -> None:
    """A file, a directory or a symbolic link in the way is refused and stays."""
    stale = tmp_path / "stale.sock"
    leave_stale(stale)
    in_the_way = [tmp_path / "file", tmp_path / "folder", tmp_path / "link"]
    in_the_way[0].write_text("precious")
    in_the_way[1].mkdir()
    in_the_way[2].symlink_to(stale)
    for path in in_the_way:
        assert refusal(path) == "something that is no socket is there"
        tidy(path)
        assert os.path.lexists(path)
    assert stale.exists()


def test_path_too_long(tmp_path: Path) -> None:
    """A path that does not fit into a socket address is refused in bytes; the longest that fits works."""
    room = PATH_MAX_BYTES - len(str(tmp_path)) - 1
    if room < 2:
        pytest.skip("needs a shorter temporary directory")
    listen(tmp_path / ("x" * room)).close()
    assert refusal(tmp_path / ("x" * (room + 1))).startswith("the path has 108 bytes")
    assert refusal(tmp_path / ("\u00e9" * room)).startswith("the path has ")


def test_directory_that_cannot_be(tmp_path: Path) -> None:
    """A parent that is a file is refused in the kernel's words."""
    (tmp_path / "file").write_text("")
    assert refusal(tmp_path / "file" / "c.sock") in {"File exists", "Not a directory"}


def test_directory_without_rights(tmp_path: Path) -> None:
    """A directory that we may not write to is refused, with a hint."""
    if os.geteuid() == 0:
        pytest.skip("needs a plain user: root may write everywhere")
    tmp_path.chmod(0o500)
    assert refusal(tmp_path / "c.sock") == "Permission denied"
    tmp_path.chmod(0o700)


def test_tidy(tmp_path: Path) -> None:
    """Tidying takes a stale socket away, leaves a living one, and does not mind if nothing is there."""
    path = tmp_path / "c.sock"
    with closing(listen(path)):
        tidy(path)
        assert path.exists()
    tidy(path)
    assert not path.exists()
    tidy(path)
    tidy(tmp_path / "nowhere" / "c.sock")


def test_a_kept_lock_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who keeps the directory's lock cannot keep a daemon from saying so."""
    monkeypatch.setattr("reaperd.control.listen._LOCK_PATIENCE_S", 0.05)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        assert refusal(tmp_path / "c.sock") == "something keeps the lock of its directory"
    finally:
        os.close(fd)


def look_while_another_binds(path: str) -> str:
    """Hold the lock over a stale socket until another daemon waits for it; then let a living one be there."""
    place = Path(path)
    leave_stale(place)
    reading, writing = os.pipe()

    def come_second() -> None:
        try:
            listen(place).close()
            os.write(writing, b"bound")
        except ReaperdError as error:
            os.write(writing, error.message.encode())

    lock = os.open(place.parent, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with owned_child(come_second) as child:
        is_at_it = partial(holds_open, child, place.parent)
        wait_until(is_at_it, "the other one to come to the lock")
        place.unlink()
        with closing(socket.socket(socket.AF_UNIX)) as living:
            living.bind(path)
            living.listen()
            fcntl.flock(lock, fcntl.LOCK_UN)  # closing is not enough: the child has inherited it
            os.close(lock)
            return os.read(reading, 4096).decode()


def holds_open(pid: int, path: Path) -> bool:
    """Return whether process `pid` has `path` open a second time, besides what it inherited."""
    return [fd.readlink() for fd in Path(f"/proc/{pid}/fd").iterdir()].count(path) == 2


def test_look_and_bind_are_one_step(tmp_path: Path) -> None:
    """A daemon that comes while another binds looks only after that: it does not take its socket away."""
    said = call_in_process(look_while_another_binds, str(tmp_path.resolve() / "c.sock"))
    assert said.endswith("another daemon answers there")


def race_for(path: str) -> int:
    """Let twenty processes listen at once and go on listening; return how many of them do."""
    (reports, report), (start, starter), (end, ender) = os.pipe(), os.pipe(), os.pipe()

    def compete() -> None:
        os.close(starter)
        os.close(ender)
        os.write(report, b"?")
        os.read(start, 1)
        try:
            with closing(listen(Path(path))):
                os.write(report, b"!")
                os.read(end, 1)
        except ReaperdError:
            os.write(report, b"-")

    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(owned_child(compete))
        read_exactly(reports, 20)
        os.close(starter)
        said = read_exactly(reports, 20)
        os.close(ender)
    return said.count(b"!")


def read_exactly(fd: int, count: int) -> bytes:
    """Return `count` bytes."""
    data = b""
    while len(data) < count:
        data += os.read(fd, count - len(data))
    return data


def test_a_race_has_one_winner(tmp_path: Path) -> None:
    """Of many daemons that find the same stale socket at the same moment, exactly one gets it."""
    for _ in range(3):
        leave_stale(tmp_path / "c.sock")
        assert call_in_process(race_for, str(tmp_path / "c.sock")) == 1
        (tmp_path / "c.sock").unlink()
