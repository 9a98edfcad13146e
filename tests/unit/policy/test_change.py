from dataclasses import fields, replace
from typing import Any

import pytest

from reaperd.config.listener import Listener, Transport
from reaperd.config.spec import (
    Backoff,
    DelayCheck,
    Essential,
    Every,
    Health,
    Limit,
    NotifyAccess,
    Reload,
    Restart,
    Schedule,
    ServiceSpec,
    Sink,
    StartLimit,
    Stop,
    TcpCheck,
    Zombies,
)
from reaperd.policy.change import Change, Follow, change, needs_restart
from reaperd.policy.words import Awaits, Run, State, Want

SPEC = ServiceSpec("web", ("web",))
TIMED = replace(SPEC, schedule=Schedule(Every(60)))
NEW_PROCESS: dict[str, Any] = {
    "name": "web:1",
    "command": ("other",),
    "directory": "/d",
    "user": "root",
    "group": "root",
    "environment": (("A", "b"),),
    "base": "web",
    "instance": 1,
    "supplementary_groups": (),
    "umask": 0,
    "nice": 1,
    "oom_score_adj": 1,
    "clear_environment": True,
    "ready": DelayCheck(1),
    "limits": (Limit(1, 2, 3),),
    "stdout": Sink.NULL,
    "stderr": Sink.NULL,
    "oneshot": True,
    "notify_access": NotifyAccess.MAIN,
    "watchdog_ns": 1,
    "sockets": (Listener(Transport.UNIX, "@x"),),
}
SAME_PROCESS: dict[str, Any] = {
    "restart": Restart.ALWAYS,
    "backoff": Backoff(1),
    "stop": Stop(9),
    "requires": ("db",),
    "groups": ("backend",),
    "after": ("db",),
    "before": ("db",),
    "start_limit": StartLimit(),
    "success_exit_codes": (1,),
    "success_signals": (15,),
    "ready_timeout_ns": 1,
    "health": Health(TcpCheck("h", 1)),
    "reload": Reload(1),
    "essential": Essential.EXIT,
    "on_failure": ("page",),
    "on_exit": ("page",),
    "schedule": Schedule(Every(1)),
    "zombies": Zombies(),
    "memory_max": 1,
    "cpu_weight": 1,
    "pids_max": 1,
}


def up(state: State, **more: Any) -> Run:
    """Return a run that is wanted up."""
    return replace(Run(state, Want.UP), **more)


def test_every_key_needs_a_new_process_or_does_not() -> None:
    """No field of a spec is forgotten here."""
    assert NEW_PROCESS.keys() | SAME_PROCESS.keys() == {each.name for each in fields(ServiceSpec)}
    assert not NEW_PROCESS.keys() & SAME_PROCESS.keys()


@pytest.mark.parametrize("name", [*NEW_PROCESS, *SAME_PROCESS])
def test_each_key_needs_a_new_process_or_does_not(name: str) -> None:
    """What shapes a process needs another one, what is decided later does not."""
    new = replace(SPEC, **{name: {**NEW_PROCESS, **SAME_PROCESS}[name]})
    assert new != SPEC
    assert needs_restart(SPEC, new) is (name in NEW_PROCESS)
    assert not needs_restart(new, new)


OTHER = replace(SPEC, command=("other",))
CALM = replace(SPEC, backoff=Backoff(1))
ROWS: list[tuple[State, ServiceSpec, ServiceSpec, Follow]] = [
    (State.WAITING, SPEC, OTHER, Follow.NOW),
    (State.STARTING, SPEC, OTHER, Follow.RESTART),
    (State.RUNNING, SPEC, OTHER, Follow.RESTART),
    (State.STOPPING, SPEC, OTHER, Follow.RESTART),
    (State.BACKOFF, SPEC, OTHER, Follow.AFRESH),
    (State.EXITED, SPEC, OTHER, Follow.AFRESH),
    (State.FAILED, SPEC, OTHER, Follow.AFRESH),
    *((state, SPEC, CALM, Follow.NOW) for state in State if state is not State.FAILED),
    (State.FAILED, SPEC, CALM, Follow.AFRESH),
    *((state, SPEC, TIMED, Follow.AFRESH) for state in State),
    *((state, TIMED, SPEC, Follow.AFRESH) for state in State),
    (State.WAITING, TIMED, replace(TIMED, command=("other",)), Follow.NOW),
    (State.RUNNING, TIMED, replace(TIMED, command=("other",)), Follow.NEXT),
    (State.BACKOFF, TIMED, replace(TIMED, command=("other",)), Follow.AFRESH),
]


@pytest.mark.parametrize(("state", "old", "new", "follow"), ROWS)
def test_each_state_follows_in_its_way(
    state: State, old: ServiceSpec, new: ServiceSpec, follow: Follow
) -> None:
    """With as little as possible."""
    assert change(up(state), old, new).follow is follow


@pytest.mark.parametrize("state", State)
def test_what_is_wanted_down_stays_as_it_is(state: State) -> None:
    """Its next run follows the new spec, whenever somebody starts it."""
    for new in (OTHER, CALM, TIMED):
        assert change(Run(state, Want.DOWN), SPEC, new) == Change(Follow.NEXT)


def test_a_schedule_and_a_health_check_begin_anew_where_they_changed() -> None:
    """And nowhere else: a schedule that is the same keeps its next time."""
    later = replace(TIMED, schedule=Schedule(Every(120)))
    waiting = up(State.WAITING, awaits=Awaits.SCHEDULE)
    assert change(waiting, TIMED, later) == Change(Follow.NOW, schedule=True)
    assert change(up(State.RUNNING), TIMED, later) == Change(Follow.NOW, schedule=True)
    assert not change(waiting, TIMED, replace(TIMED, command=("other",))).schedule
    asked = replace(SPEC, health=Health(TcpCheck("h", 1)))
    for old, new in ((SPEC, asked), (asked, SPEC)):
        assert change(up(State.RUNNING), old, new) == Change(Follow.NOW, health=True)
        assert not change(up(State.STARTING), old, new).health
