import os
import pwd
import resource
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reaperd.children import plan as plans
from reaperd.children import tags
from reaperd.children.plan import DEFAULT_PATH, MARKER, Inheritance, Plan
from reaperd.config.spec import Limit, ServiceSpec
from reaperd.errors import ReaperdError
from reaperd.kernel.credentials import Identity

SPEC: Final = ServiceSpec("web:2", ("serve", "now"), base="web", instance=2)
GIVEN: Final = {"HOME": "/given", "USER": "giver", "SHELL": "/bin/given", "LANG": "C", "PATH": "/a::/b"}
CALLER: Final = Inheritance(GIVEN, (5, 6), frozenset({1}))


def make_plan(spec: ServiceSpec, run_id: str, inherited: Inheritance) -> Plan:
    """Return the plan of a run whose user was just looked up."""
    return plans.make_plan(spec, run_id, inherited, plans.find_identity(spec))


def _environment(spec: ServiceSpec, inherited: dict[str, str] = GIVEN) -> dict[str, str]:
    plan = make_plan(spec, "r.1", replace(CALLER, environment=inherited))
    return {os.fsdecode(name): os.fsdecode(value) for name, value in plan.environment.items()}


def test_a_program_gets_what_the_daemon_was_given() -> None:
    """On top of it stand its own variables, and what the daemon says of the run."""
    spec = replace(SPEC, environment=(("LANG", "de"), ("PORT", "80")))
    told = {"SERVICE": "web:2", "REAPERD_INSTANCE": "2", "REAPERD_RUN": "r.1"}
    assert _environment(spec) == {**GIVEN, "LANG": "de", "PORT": "80", **told}


def test_nobody_can_take_anothers_name_or_marker() -> None:
    """Neither by what the daemon was given nor by what the service says: what we say of the run is last."""
    liar = (("SERVICE", "liar"), ("REAPERD_INSTANCE", "9"), (MARKER, "liar"), ("X", ""))
    environment = _environment(replace(SPEC, environment=liar), {"SERVICE": "outer", MARKER: "outer.9"})
    assert environment == {"X": "", "SERVICE": "web:2", "REAPERD_INSTANCE": "2", MARKER: "r.1"}


def test_the_only_one_has_no_instance() -> None:
    """A service without instances has no number."""
    environment = _environment(replace(SPEC, name="web", instance=None))
    assert "REAPERD_INSTANCE" not in environment


def test_what_speaks_to_the_daemon_is_kept_from_its_services() -> None:
    """A service must not answer for the daemon, nor take its sockets for its own."""
    private = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID")
    environment = _environment(SPEC, dict.fromkeys(private, "1"))
    assert environment.keys() == {"SERVICE", "REAPERD_INSTANCE", MARKER}


def test_a_service_may_set_such_a_name_itself() -> None:
    """Only what the daemon was given is withheld."""
    spec = replace(SPEC, environment=(("NOTIFY_SOCKET", "/s"),))
    assert _environment(spec)["NOTIFY_SOCKET"] == "/s"


def test_words_become_bytes_as_they_are() -> None:
    """No word is split, expanded or dropped; bytes that are no UTF-8 survive."""
    words = ("server", "a b", "$HOME", "*", "", "ä", "\udcff")
    plan = make_plan(replace(SPEC, command=words), "r.1", CALLER)
    assert plan.argv == (b"server", b"a b", b"$HOME", b"*", b"", "ä".encode(), b"\xff")


def test_a_cleared_environment_holds_what_was_asked_for() -> None:
    """Nothing of the daemon's own is left, and the program is looked for where execvp would."""
    spec = replace(SPEC, clear_environment=True, environment=(("PORT", "80"),))
    told = {"SERVICE": "web:2", "REAPERD_INSTANCE": "2", "REAPERD_RUN": "r.1"}
    assert _environment(spec) == {"PORT": "80", **told}
    plan = make_plan(spec, "r.1", CALLER)
    assert plan.candidates == tuple(os.fsencode(f"{each}/serve") for each in DEFAULT_PATH.split(":"))


@given(st.lists(st.sampled_from(["/bin", "bin", "", "/a b", "."]), max_size=5), st.booleans())
def test_a_name_is_looked_up_in_the_path_of_the_program(folders: list[str], own: bool) -> None:  # noqa: FBT001 - drawn
    """In its order, empty entries meaning the current directory; the service's own PATH goes first."""
    path = ":".join(folders)
    spec = replace(SPEC, environment=(("PATH", path),)) if own else SPEC
    plan = make_plan(spec, "r.1", replace(CALLER, environment={"PATH": "/other" if own else path}))
    assert plan.candidates == tuple(f"{folder or '.'}/serve".encode() for folder in path.split(":"))
    assert plan.environment[b"PATH"] == path.encode()


@pytest.mark.parametrize("program", ["/bin/server", "./server", "bin/server"])
def test_a_path_is_the_only_candidate(program: str) -> None:
    """What has a slash is not looked up."""
    plan = make_plan(replace(SPEC, command=(program, "x")), "r.1", CALLER)
    assert plan.candidates == (program.encode(),)


def test_without_a_path_there_is_a_usual_one() -> None:
    """A daemon that was started without any still finds programs; the program itself is not given one."""
    plan = make_plan(SPEC, "r.1", replace(CALLER, environment={}))
    assert plan.candidates == tuple(os.fsencode(f"{each}/serve") for each in DEFAULT_PATH.split(":"))
    assert b"PATH" not in plan.environment


def test_the_mask_is_the_callers() -> None:
    """The signals that the daemon blocks for itself are open again in its services."""
    assert make_plan(SPEC, "r.1", CALLER).mask == CALLER.mask


def test_directory_and_identity_are_none_where_nothing_is_said() -> None:
    """Then the child has nothing to change."""
    plan = make_plan(SPEC, "r.1", CALLER)
    assert (plan.directory, plan.identity) == (None, None)
    assert make_plan(replace(SPEC, directory="/tmp/ä"), "r.1", CALLER).directory == "/tmp/ä".encode()


def test_a_user_is_looked_up_before_the_fork() -> None:
    """The plan holds numbers; none where a plain user asks for himself."""
    identity = make_plan(replace(SPEC, user=str(os.getuid())), "r.1", CALLER).identity
    if os.geteuid() == 0:
        assert identity is not None
        assert identity.uid == os.getuid()
    else:
        assert identity is None


def test_a_user_that_is_gone_stops_the_plan() -> None:
    """He can be removed between one run and the next."""
    with pytest.raises(ReaperdError, match="no-such-user"):
        make_plan(replace(SPEC, user="no-such-user"), "r.1", CALLER)


def test_a_user_brings_his_own_login() -> None:
    """Name, home and shell are those of the user database, unless the service says otherwise."""
    entry = pwd.getpwnam("root")
    environment = _environment(replace(SPEC, user="root", environment=(("HOME", "/elsewhere"),)))
    assert [environment[name] for name in ("USER", "LOGNAME")] == ["root", "root"]
    assert environment["SHELL"] == entry.pw_shell
    assert environment["HOME"] == "/elsewhere"
    cleared = _environment(replace(SPEC, user="root", clear_environment=True))
    assert cleared["HOME"] == entry.pw_dir


def test_a_user_without_entry_has_no_login() -> None:
    """Nothing is known of him, and what the daemon was given is another's."""
    environment = _environment(replace(SPEC, user="3999999", group="12"))
    assert not environment.keys() & {"HOME", "USER", "LOGNAME", "SHELL"}


def test_a_shell_that_refuses_logins_is_none() -> None:
    """As systemd does it."""
    for entry in pwd.getpwall():
        if entry.pw_shell.endswith("/nologin"):
            assert "SHELL" not in _environment(replace(SPEC, user=entry.pw_name))
            return
    pytest.skip("every user here has a shell")


def test_the_callers_limit_of_descriptors_is_given_back() -> None:
    """Without a limit of its own; other limits change nothing about that."""
    nofile, core = resource.RLIMIT_NOFILE, resource.RLIMIT_CORE
    assert _untagged(make_plan(SPEC, "r.1", CALLER)) == {nofile: (5, 6)}
    cored = replace(SPEC, limits=(Limit(core, 0, -1),))
    assert _untagged(make_plan(cored, "r.1", CALLER)) == {nofile: (5, 6), core: (0, -1)}
    own = replace(SPEC, limits=(Limit(nofile, 7, 8),))
    assert _untagged(make_plan(own, "r.1", CALLER)) == {nofile: (7, 8)}


def _untagged(plan: Plan) -> dict[int, tuple[int, int]]:
    return {number: limit for number, limit in plan.limits if number != tags.RESOURCE}


def test_each_run_is_tagged_by_a_limit_that_is_its_own() -> None:
    """The soft one of RLIMIT_LOCKS: the same for the same run, below the hard limit, which stays."""
    unlimited = resource.RLIM_INFINITY
    if resource.getrlimit(tags.RESOURCE)[1] != unlimited:
        pytest.skip("the hard limit of file locks (ulimit -Hx) is not unlimited")
    runs = [f"r.{number}" for number in range(1000)]
    limits = [dict(make_plan(SPEC, run_id, CALLER).limits)[tags.RESOURCE] for run_id in runs]
    assert limits == [(tags.tag_for(run_id), unlimited) for run_id in runs]
    assert len(set(limits)) == len(runs)
    assert all(1 << 62 <= soft < 1 << 63 for soft, _hard in limits)


def test_groups_that_are_named_take_the_place_of_the_users() -> None:
    """Also none at all, and also without a user."""
    plan = make_plan(
        replace(SPEC, user="65534", group="12", supplementary_groups=("7", "3", "7")), "r", CALLER
    )
    assert plan.identity == Identity(65534, 12, (3, 7))
    plan = make_plan(replace(SPEC, supplementary_groups=()), "r", CALLER)
    assert plan.identity == Identity(os.getuid(), os.getgid(), ())


def test_a_group_that_is_gone_stops_the_plan() -> None:
    """It was there when the configuration was read."""
    with pytest.raises(ReaperdError, match="cannot find group"):
        make_plan(replace(SPEC, supplementary_groups=("nonesuch",)), "r", CALLER)
