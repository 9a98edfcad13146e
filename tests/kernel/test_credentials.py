import grp
import os
import pwd
import socket
from pathlib import Path

import pytest

from reaperd.errors import KernelError, ReaperdError
from reaperd.kernel.credentials import Identity, Peer, lookup, peer_of
from tests.support.processes import call_in_process, fork_child, need_root


def test_the_peer_of_a_socket_pair_is_ourselves() -> None:
    """The kernel records who made the connection."""
    left, right = socket.socketpair()
    with left, right:
        assert peer_of(left) == Peer(os.getpid(), os.getuid(), os.getgid())


def connect_as_another(path: str) -> list[int]:
    """Return pid, uid and gid of a client that has become uid 4711 and gid 4712, and that client's pid."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        Path(path).chmod(0o777)
        listener.listen()

        def client() -> None:
            os.setresgid(4712, 4712, 4712)
            os.setresuid(4711, 4711, 4711)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(path)
                connection.recv(1)

        child = fork_child(client)
        connection, _ = listener.accept()
        with connection:
            peer = peer_of(connection)
        os.waitpid(child, 0)
    Path(path).unlink()
    return [peer.pid, peer.uid, peer.gid, child]


def test_a_client_cannot_hide_who_it_is() -> None:
    """Pid, user and group are those of the process that connected."""
    need_root()
    pid, uid, gid, child = call_in_process(connect_as_another, f"/tmp/reaperd-peer-{os.getpid()}")
    assert (pid, uid, gid) == (child, 4711, 4712)


def test_a_socket_of_another_kind_knows_no_peer() -> None:
    """The refusal is a KernelError, or a peer that is nobody: never somebody."""
    with socket.socket(socket.AF_UNIX) as lonely:
        peer = peer_of(lonely)
        assert (peer.pid, peer.uid) == (0, 2**32 - 1)
    with pytest.raises(KernelError, match="cannot ask who is connected"):
        peer_of(_closed_socket())


def _closed_socket() -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.close()
    return connection


def test_nothing_given_is_nobody() -> None:
    """Without user and group a child stays who the daemon is."""
    assert lookup(None, None) is None


def test_a_user_is_found_by_name_and_by_number() -> None:
    """Both give the same identity: the user's own group and supplementary groups."""
    entry = pwd.getpwuid(0)
    groups = tuple(sorted(os.getgrouplist(entry.pw_name, entry.pw_gid)))
    assert lookup(entry.pw_name, None) == Identity(0, entry.pw_gid, groups)
    assert lookup("0", None) == Identity(0, entry.pw_gid, groups)


def test_a_group_takes_the_place_of_the_users_own() -> None:
    """By name or number, and it is one of the supplementary groups too."""
    group = grp.getgrall()[-1]
    for text in (group.gr_name, str(group.gr_gid)):
        found = lookup("root", text)
        assert found is not None
        assert found.gid == group.gr_gid
        assert group.gr_gid in found.groups


def test_a_group_alone_keeps_the_user() -> None:
    """The calling user and its supplementary groups stay."""
    assert lookup(None, "0") == Identity(os.getuid(), 0, tuple(sorted(os.getgroups())))


def test_a_number_without_entry_needs_a_group() -> None:
    """With one it has no supplementary groups; without one it is refused, and the hint says why."""
    assert lookup("3999999", "12") == Identity(3999999, 12, ())
    with pytest.raises(ReaperdError, match="cannot tell the group of user 3999999") as caught:
        lookup("3999999", None)
    assert caught.value.hint == "name a group too"


@pytest.mark.parametrize("name", ["nobdy", "no\0body", "-1", "٣", ""])
def test_an_unknown_user_is_refused(name: str) -> None:
    """Misspelt, impossible or empty: the message names it, and never is it taken for a number."""
    with pytest.raises(ReaperdError, match="cannot find user") as caught:
        lookup(name, None)
    assert caught.value.hint


def test_a_misspelt_name_gets_a_suggestion() -> None:
    """The nearest known name is offered."""
    with pytest.raises(ReaperdError) as caught:
        lookup("roott", None)
    assert caught.value.hint == "did you mean 'root'?"
    with pytest.raises(ReaperdError, match="cannot find group 'rooot'") as caught:
        lookup("root", "rooot")
    assert caught.value.hint == "did you mean 'root'?"


@pytest.mark.parametrize("number", ["4294967295", "4294967296", "9" * 5000])
def test_an_id_that_cannot_be_is_refused(number: str) -> None:
    """4294967295 means "leave as it is" to the kernel: a child would stay root."""
    with pytest.raises(ReaperdError, match="cannot use"):
        lookup(number, "0")
    with pytest.raises(ReaperdError, match="cannot use"):
        lookup("root", number)
