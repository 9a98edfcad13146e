import os
import pwd
import resource
from dataclasses import replace
from typing import Final

import pytest

from reaperd.children.plan import DEFAULT_PATH, Inheritance, make_plan
from reaperd.config.spec import Limit, ServiceSpec
from reaperd.errors import ReaperdError
from reaperd.kernel.credentials import Identity

SPEC: Final = ServiceSpec("web:2", ("serve", "now"), base="web", instance=2)
GIVEN: Final = {"HOME": "/given", "USER": "giver", "SHELL": "/bin/given", "LANG": "C", "PATH": "/a::/b"}


def _environment(spec: ServiceSpec, given: dict[str, str] = GIVEN) -> dict[str, str]:
    plan = make_plan(spec, "r.1", Inheritance(given, (5, 6), frozenset()))
    return {os.fsdecode(name): os.fsdecode(value) for name, value in plan.environment.items()}


def test_a_program_gets_what_the_daemon_was_given() -> None:
    """On top of it stand its own variables, and what the daemon says of the run."""
    spec = replace(SPEC, environment=(("LANG", "de"), ("PORT", "80")))
    told = {"SERVICE": "web:2", "REAPERD_INSTANCE": "2", "REAPERD_RUN": "r.1"}
    assert _environment(spec) == {**GIVEN, "LANG": "de", "PORT": "80", **told}


def test_the_only_one_has_no_instance() -> None:
    """A service without instances has no number, not even an inherited one."""
    environment = _environment(replace(SPEC, name="web", instance=None))
    assert "REAPERD_INSTANCE" not in environment


def test_what_speaks_to_the_daemon_is_kept_from_its_services() -> None:
    """A program that answered the daemon's manager would be taken for the daemon."""
    private = dict.fromkeys(
        ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"), "1"
    )
    assert not _environment(SPEC, private).keys() & private.keys()


def test_a_cleared_environment_holds_what_was_asked_for() -> None:
    """Nothing of the daemon's own is left, and the program is looked for where execvp would."""
    spec = replace(SPEC, clear_environment=True, environment=(("PORT", "80"),))
    told = {"SERVICE": "web:2", "REAPERD_INSTANCE": "2", "REAPERD_RUN": "r.1"}
    assert _environment(spec) == {"PORT": "80", **told}
    plan = make_plan(spec, "r.1", Inheritance(GIVEN, (5, 6), frozenset()))
    assert plan.candidates == tuple(os.fsencode(f"{each}/serve") for each in DEFAULT_PATH.split(":"))


def test_a_program_is_looked_for_in_its_own_path() -> None:
    """An empty entry means the directory it starts in; a name with a slash is taken as it is."""
    inherited = Inheritance(GIVEN, (5, 6), frozenset())
    assert make_plan(SPEC, "r.1", inherited).candidates == (b"/a/serve", b"./serve", b"/b/serve")
    own = replace(SPEC, environment=(("PATH", "/own"),))
    assert make_plan(own, "r.1", inherited).candidates == (b"/own/serve",)
    assert make_plan(replace(SPEC, command=("bin/x",)), "r.1", inherited).candidates == (b"bin/x",)


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
    inherited = Inheritance({}, (5, 6), frozenset())
    nofile, core = resource.RLIMIT_NOFILE, resource.RLIMIT_CORE
    assert make_plan(SPEC, "r.1", inherited).limits == ((nofile, (5, 6)),)
    cored = replace(SPEC, limits=(Limit(core, 0, -1),))
    assert dict(make_plan(cored, "r.1", inherited).limits) == {nofile: (5, 6), core: (0, -1)}
    own = replace(SPEC, limits=(Limit(nofile, 7, 8),))
    assert make_plan(own, "r.1", inherited).limits == ((nofile, (7, 8)),)


def test_groups_that_are_named_take_the_place_of_the_users() -> None:
    """Also none at all, and also without a user."""
    inherited = Inheritance({}, (5, 6), frozenset())
    plan = make_plan(
        replace(SPEC, user="65534", group="12", supplementary_groups=("7", "3", "7")), "r", inherited
    )
    assert plan.identity == Identity(65534, 12, (3, 7))
    plan = make_plan(replace(SPEC, supplementary_groups=()), "r", inherited)
    assert plan.identity == Identity(os.getuid(), os.getgid(), ())


def test_a_group_that_is_gone_stops_the_plan() -> None:
    """It was there when the configuration was read."""
    with pytest.raises(ReaperdError, match="cannot find group"):
        make_plan(
            replace(SPEC, supplementary_groups=("nonesuch",)), "r", Inheritance({}, (5, 6), frozenset())
        )
