import os
import resource
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reaperd.children.plan import DEFAULT_PATH, MARKER, Inheritance, make_plan
from reaperd.config.spec import ServiceSpec
from reaperd.errors import ReaperdError

SPEC = ServiceSpec("web", ("server", "--port", "80"))
CALLER = Inheritance({"PATH": "/bin:/usr/bin", "LANG": "C"}, nofile=(1024, 4096), mask=frozenset({1}))


def inheriting(**environment: str) -> Inheritance:
    """Return what a caller with this environment gives."""
    return replace(CALLER, environment=environment)


def test_words_become_bytes_as_they_are() -> None:
    """No word is split, expanded or dropped; bytes that are no UTF-8 survive."""
    words = ("server", "a b", "$HOME", "*", "", "ä", "\udcff")
    plan = make_plan(replace(SPEC, command=words), "r.1", CALLER)
    assert plan.argv == (b"server", b"a b", b"$HOME", b"*", b"", "ä".encode(), b"\xff")


@given(st.lists(st.sampled_from(["/bin", "bin", "", "/a b", "."]), max_size=5), st.booleans())
def test_a_name_is_looked_up_in_the_path_of_the_program(folders: list[str], own: bool) -> None:  # noqa: FBT001 - drawn
    """In its order, empty entries meaning the current directory; the service's own PATH goes first."""
    path = ":".join(folders)
    spec = replace(SPEC, environment=(("PATH", path),)) if own else SPEC
    plan = make_plan(spec, "r.1", inheriting(PATH="/other") if own else inheriting(PATH=path))
    assert plan.candidates == tuple(f"{folder or '.'}/server".encode() for folder in path.split(":"))
    assert plan.environment[b"PATH"] == path.encode()


@pytest.mark.parametrize("program", ["/bin/server", "./server", "bin/server"])
def test_a_path_is_the_only_candidate(program: str) -> None:
    """What has a slash is not looked up."""
    plan = make_plan(replace(SPEC, command=(program, "x")), "r.1", CALLER)
    assert plan.candidates == (program.encode(),)


def test_without_a_path_there_is_a_usual_one() -> None:
    """A daemon that was started without any still finds programs; the program itself is not given one."""
    plan = make_plan(SPEC, "r.1", inheriting())
    assert plan.candidates == tuple(f"{folder}/server".encode() for folder in DEFAULT_PATH.split(":"))
    assert b"PATH" not in plan.environment


def test_the_environment_is_the_callers_then_the_services_then_ours() -> None:
    """Later ones overrule; nobody can take another's name or marker."""
    spec = replace(SPEC, environment=(("LANG", "de"), ("SERVICE", "liar"), (MARKER, "liar"), ("X", "")))
    plan = make_plan(spec, "r.1", inheriting(LANG="C", HOME="/root", SERVICE="outer", REAPERD_RUN="outer.9"))
    assert plan.environment == {
        b"LANG": b"de",
        b"HOME": b"/root",
        b"X": b"",
        b"SERVICE": b"web",
        MARKER.encode(): b"r.1",
    }


def test_what_speaks_to_the_daemon_stays_with_it() -> None:
    """A service must not answer for the daemon, nor take its sockets for its own."""
    private = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID")
    plan = make_plan(SPEC, "r.1", inheriting(**dict.fromkeys(private, "1")))
    assert set(plan.environment) == {b"SERVICE", MARKER.encode()}


def test_a_service_may_set_such_a_name_itself() -> None:
    """Only what the daemon was given is withheld."""
    plan = make_plan(replace(SPEC, environment=(("NOTIFY_SOCKET", "/s"),)), "r.1", CALLER)
    assert plan.environment[b"NOTIFY_SOCKET"] == b"/s"


def test_limits_and_mask_are_the_callers() -> None:
    """The daemon's own larger limit and its blocked signals end with it."""
    plan = make_plan(SPEC, "r.1", CALLER)
    assert (dict(plan.limits), plan.mask) == ({resource.RLIMIT_NOFILE: CALLER.nofile}, CALLER.mask)


def test_directory_and_identity_are_none_where_nothing_is_said() -> None:
    """Then the child has nothing to change."""
    plan = make_plan(SPEC, "r.1", CALLER)
    assert (plan.directory, plan.identity) == (None, None)
    assert make_plan(replace(SPEC, directory="/tmp/ä"), "r.1", CALLER).directory == "/tmp/ä".encode()


def test_a_user_is_looked_up_before_the_fork() -> None:
    """The plan holds numbers."""
    identity = make_plan(replace(SPEC, user=str(os.getuid())), "r.1", CALLER).identity
    assert identity is not None
    assert identity.uid == os.getuid()


def test_a_user_that_is_gone_is_an_error_for_a_person() -> None:
    """It can be removed between one run and the next."""
    with pytest.raises(ReaperdError, match="no-such-user"):
        make_plan(replace(SPEC, user="no-such-user"), "r.1", CALLER)
