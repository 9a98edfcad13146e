import errno
import os
import select
import signal
import struct
from ctypes import addressof, c_long, c_size_t, c_void_p, create_string_buffer
from pathlib import Path
from typing import Final

import pytest

from reaperd.errors import KernelError
from reaperd.kernel import cgroup, libc
from tests.support.cgroups import need_cgroup, own_cgroup, own_v1_cgroup, write
from tests.support.processes import (
    call_in_process,
    fork_child,
    need_root,
    owned_child,
    sleep_forever,
    wait_gone,
    wait_until,
)

CLONE3: Final = 435  # the same on every architecture: clone(2)
CLONE_INTO_CGROUP: Final = 0x2_0000_0000
_CLONE_ARGS: Final = struct.Struct("11Q")


def _enter(directory: str) -> None:
    fd = cgroup.open_procs(directory)
    cgroup.enter(fd)
    os.close(fd)


def _inhabitant(directory: str) -> None:
    _enter(directory)
    sleep_forever()


def _wait_inside(directory: str, pid: int) -> None:
    wait_until(lambda: pid in cgroup.pids(directory), f"{pid} in {directory}")


# --- where ----------------------------------------------------------------------------------------------


def test_our_own_cgroup_holds_us() -> None:
    """The directory that is found has this process among its own."""
    own = need_cgroup()
    assert str(os.getpid()) in Path(own, "cgroup.procs").read_text().split()


def test_a_version_1_controller_has_a_hierarchy_of_its_own() -> None:
    """The directory that is found for it holds this process, too."""
    own = cgroup.find_own("memory")
    if own is None:
        pytest.skip("no version 1 memory controller is mounted")
    assert str(os.getpid()) in Path(own, "cgroup.procs").read_text().split()


def test_an_unknown_controller_has_no_cgroup() -> None:
    """There is no such hierarchy: an answer, not an error."""
    assert cgroup.find_own("nonesuch") is None


def test_who_is_gone_has_no_cgroup() -> None:
    """A pid that nobody has is an answer, not an error."""
    assert cgroup.path_of(2**22 + 1) is None


@pytest.mark.parametrize(
    ("word", "path"), [("/plain", "/plain"), (r"/a\040b", "/a b"), (r"/a\134b\011", "/a\\b\t")]
)
def test_mount_points_are_unescaped(word: str, path: str) -> None:
    """Space, tab, newline and backslash come as octal numbers."""
    assert cgroup._unescaped(word) == path


@pytest.mark.parametrize(
    ("path", "root", "inside"),
    [
        ("/a/b", "/", True),
        ("/a/b", "/a", True),
        ("/a/b", "/a/b", True),
        ("/ab", "/a", False),
        ("/", "/", True),
        ("/", "/..", False),
    ],
)
def test_a_mount_shows_a_part_of_the_hierarchy(path: str, root: str, inside: bool) -> None:  # noqa: FBT001 - a table
    """A path is found below the mount's root alone, and never by a part of a name."""
    assert cgroup._is_below(path, root) is inside


# --- one cgroup -----------------------------------------------------------------------------------------


def test_a_new_cgroup_is_empty_and_can_be_removed() -> None:
    """It is a domain without anybody; removed twice it is gone all the same."""
    with own_cgroup() as made:
        assert (cgroup.kind(made), cgroup.is_populated(made), cgroup.pids(made)) == ("domain", False, [])
        assert cgroup.remove(made)
        assert cgroup.remove(made)
        assert (cgroup.is_populated(made), cgroup.pids(made), cgroup.kill(made)) == (False, [], False)


def test_a_cgroup_that_exists_is_not_made_again() -> None:
    """The refusal has its number."""
    with own_cgroup() as made, pytest.raises(KernelError, match="cannot make cgroup") as caught:
        cgroup.make(made)
    assert caught.value.errno == errno.EEXIST


def _make_as_nobody(own: str) -> int:
    os.seteuid(65534)
    try:
        cgroup.make(f"{own}/forbidden")
    except KernelError as error:
        return error.errno
    return 0


def test_a_plain_user_cannot_divide_roots_cgroup() -> None:
    """The refusal is EACCES."""
    need_root()
    assert call_in_process(_make_as_nobody, need_cgroup()) == errno.EACCES


def _live_inside(directory: str) -> list[bool]:
    with owned_child(lambda: _inhabitant(directory)) as child:
        _wait_inside(directory, child)
        name = "/" + directory.rpartition("/")[2]
        facts = [
            cgroup.is_populated(directory),
            not cgroup.remove(directory),
            (cgroup.path_of(child) or "").endswith(name),
        ]
        os.kill(child, signal.SIGKILL)
        wait_gone(child)
        wait_until(lambda: not cgroup.is_populated(directory), "the kernel to count a zombie no more")
        facts += [(cgroup.path_of(child) or "").endswith(name), cgroup.remove(directory)]
        facts += [(cgroup.path_of(child) or "").endswith(name)]  # without the kernel's " (deleted)"
    return facts


def test_a_zombie_keeps_its_cgroup_and_does_not_hold_it() -> None:
    """While it lives the cgroup stays; dead it is still told where it was, even of a cgroup that is gone."""
    with own_cgroup() as made:
        assert call_in_process(_live_inside, made) == [True] * 6


def _escape(directory: str) -> list[bool]:
    read, write_end = os.pipe()

    def body() -> None:
        _enter(directory)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.write(write_end, b"%d\n" % os.getpid())
                sleep_forever()
            os._exit(0)
        sleep_forever()

    with owned_child(body) as child:
        escapee = int(os.read(read, 20))
        inside = {child, escapee} <= set(cgroup.pids(directory))
        killed = cgroup.kill(directory)
        wait_gone(child)
        wait_gone(escapee)
        return [inside, killed]


def test_no_fork_leaves_a_cgroup_and_one_kill_ends_all() -> None:
    """A daemon that forked twice and has a session of its own is still inside."""
    with own_cgroup() as made:
        assert call_in_process(_escape, made) == [True, True]


def _below(directory: str) -> bool:
    below = f"{directory}/below"
    cgroup.make(below)
    with owned_child(lambda: _inhabitant(below)) as child:
        _wait_inside(below, child)
        return cgroup.pids(directory) == [child] and cgroup.is_populated(directory)


def test_who_is_below_counts() -> None:
    """A cgroup that a program makes in its own does not hide anybody; all are removed together."""
    with own_cgroup() as made:
        assert call_in_process(_below, made)
        assert cgroup.remove(made)


def _threaded(directory: str) -> bool:
    below = f"{directory}/below"
    cgroup.make(below)
    with owned_child(lambda: _inhabitant(directory)) as child:
        _wait_inside(directory, child)
        write(f"{below}/cgroup.type", "threaded")
        write(f"{below}/cgroup.threads", str(child))
        return cgroup.pids(directory) == [child]


def test_a_threaded_cgroup_does_not_hide_its_process() -> None:
    """It refuses to tell (EOPNOTSUPP); the domain above tells for it."""
    with own_cgroup() as made:
        assert call_in_process(_threaded, made)


def _frozen(directory: str) -> list[bool]:
    def body() -> None:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
        _inhabitant(directory)

    with owned_child(body) as child:
        _wait_inside(directory, child)
        told = cgroup.freeze(directory, True)
        wait_until(
            lambda: "frozen 1" in Path(directory, "cgroup.events").read_text(), f"{directory} to be frozen"
        )
        os.kill(child, signal.SIGTERM)
        alive = os.waitpid(child, os.WNOHANG) == (0, 0)
        killed = cgroup.kill(directory)
        wait_gone(child)
        return [told, alive, killed]


def test_a_frozen_cgroup_ends_by_a_kill_alone() -> None:
    """A signal with a handler waits until it goes on."""
    with own_cgroup() as made:
        assert call_in_process(_frozen, made) == [True, True, True]


def _watched(directory: str) -> list[object]:
    with owned_child(lambda: _inhabitant(directory)) as child:
        _wait_inside(directory, child)
        fd = cgroup.open_events(directory)
        assert fd is not None
        poll = select.epoll()
        poll.register(fd, select.EPOLLPRI)
        populated = cgroup.is_populated_by(fd)
        quiet = poll.poll(0)
        os.kill(child, signal.SIGKILL)
        woken = bool(poll.poll(20))
        wait_until(lambda: not cgroup.is_populated_by(fd), "the cgroup to be empty")
        poll.close()
        removed = cgroup.remove(directory)
        facts = [populated, quiet, woken, removed, cgroup.is_populated_by(fd)]
        os.close(fd)
        return facts


def test_the_last_one_wakes_who_watches() -> None:
    """A descriptor that was read polls EPOLLPRI at the next change; a cgroup that is gone is empty."""
    with own_cgroup() as made:
        assert call_in_process(_watched, made) == [True, [], True, True, False]


# --- the trap -------------------------------------------------------------------------------------------


def _clone_into(directory: str) -> int:
    """Make a child in a cgroup by clone3; it waits for a signal."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    words = create_string_buffer(
        _CLONE_ARGS.pack(CLONE_INTO_CGROUP, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, fd)
    )
    syscall = libc.declare("syscall", c_long, c_void_p, c_size_t)
    pid = syscall(CLONE3, addressof(words), _CLONE_ARGS.size)
    if pid == 0:
        try:
            sleep_forever()
        finally:
            os._exit(1)
    os.close(fd)
    return pid


def _is_killed(pid: int) -> bool:
    """Tell whether a child is killed at once; it is not alive afterwards."""
    fd = os.pidfd_open(pid)
    gone = bool(select.select([fd], [], [], 0.3)[0])
    os.close(fd)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return gone


def _reuse(directory: str) -> list[bool | None]:
    fresh = _clone_into(directory)
    if fresh < 0:
        return [None]
    first = _is_killed(fresh)
    cgroup.kill(directory)
    cloned = _is_killed(_clone_into(directory))
    forked = fork_child(lambda: _inhabitant(directory))
    _wait_inside(directory, forked)
    entered = _is_killed(forked)
    cgroup.remove(directory)
    cgroup.make(directory)
    again = _is_killed(_clone_into(directory))
    return [first, cloned, entered, again]


def test_a_killed_cgroup_is_not_used_again() -> None:
    """Who is cloned into it dies at once; who enters it, or comes into a new one of its name, lives."""
    with own_cgroup() as made:
        facts = call_in_process(_reuse, made)
    if facts == [None]:
        pytest.skip("clone3 is refused here")
    first, cloned, entered, again = facts
    assert [first, entered, again] == [False, False, False]
    if not cloned:
        pytest.skip("this kernel lets a clone into a killed cgroup live")


# --- memory and marks -----------------------------------------------------------------------------------


def test_without_the_controller_nobody_counts() -> None:
    """A cgroup whose memory is not accounted has no count, and one that is gone neither."""
    with own_cgroup() as made:
        if Path(made, "memory.events").exists():
            pytest.skip("the memory controller is enabled here")
        assert cgroup.oom_kills(made) is None
    assert cgroup.oom_kills(made) is None


def test_version_1_counts_too() -> None:
    """A new cgroup has had nobody killed."""
    with own_v1_cgroup("memory") as made:
        assert cgroup.oom_kills(made) == 0


@pytest.mark.parametrize("value", [b"1", b"0", None])
def test_systemds_mark_of_delegation_is_read(value: bytes | None) -> None:
    """An extended attribute says whether a cgroup was given away."""
    with own_cgroup() as made:
        if value is not None:
            try:
                os.setxattr(made, "user.delegate", value)
            except OSError as error:
                pytest.skip(f"no user attributes on cgroups: {error.strerror}")
        assert cgroup.is_delegated(made) is (value == b"1")
