"""What becomes of those whose descriptors the kernel refuses to watch: epoll_ctl(2), ENOSPC and ENOMEM."""

import signal
import socket
import time
from pathlib import Path
from typing import Any, cast

import pytest

from reaperd.children.children import Children
from reaperd.config.spec import (
    Every,
    FdCheck,
    LogFile,
    NotifyCheck,
    Ready,
    Restart,
    Schedule,
    ServiceSpec,
    TcpCheck,
)
from reaperd.errors import KernelError
from reaperd.loop.poller import Poller
from reaperd.loop.timers import Timers
from reaperd.policy.words import Run, State, Timer
from reaperd.supervise.output import Outputs
from reaperd.supervise.schedules import Schedules
from reaperd.supervise.service import Service
from reaperd.supervise.supervisor import Supervisor
from reaperd.supervise.world import Pulse, World
from tests.support.nursery import nursery
from tests.support.processes import WITHIN_S, call_in_process
from tests.support.refusals import need_filter, refuse_watches


def _descriptors() -> list[str]:
    folder = Path("/proc/self/fd")
    return sorted(str(each.readlink()) for each in folder.iterdir() if each.is_symlink())


def _world(said: list[str], children: Children | None = None) -> World:
    def log(name: str, /, **_keys: object) -> None:
        said.append(name)

    return World(cast(Children, children), Poller(), Timers(), time.monotonic_ns, log)


def _arm_where_nothing_more_can_be_watched() -> dict[str, Any]:
    said: list[str] = []
    world = _world(said)
    schedules = Schedules(world, lambda _service, _event: None)
    service = Service(ServiceSpec("tick", ("x",), schedule=Schedule(Every(3600 * 10**9))), Run())
    refuse_watches()
    before = _descriptors()
    for _ in range(5):
        schedules.arm(service)
        schedules.due()
    return {
        "left": [each for each in _descriptors() if each not in before],
        "said": said,
        "next": service.next_run_ns is not None,
        "retries": world.timers.at_ns(("", Pulse.SCHEDULE)) is not None,
    }


def test_where_nothing_more_can_be_watched_a_schedule_stays_armed_and_leaves_no_descriptor() -> None:
    """The kernel refuses the timer's watch, as at fs.epoll.max_user_watches: told once, tried each second."""
    need_filter()
    found = call_in_process(_arm_where_nothing_more_can_be_watched)
    assert found == {"left": [], "said": ["schedule.no_timer"], "next": True, "retries": True}


def _open_outputs_where_nothing_more_can_be_watched(folder: str) -> dict[str, Any]:
    outputs = Outputs(_world([]), cast(Any, None), lambda _service: None)
    to = LogFile(f"{folder}/web.log")
    service = Service(ServiceSpec("web", ("x",), stdout=to, stderr=to), Run())
    refuse_watches()
    before = _descriptors()
    try:
        outputs.open(service)
    except KernelError as error:
        return {"left": [each for each in _descriptors() if each not in before], "hint": error.hint}
    return {}


def test_an_output_that_cannot_be_watched_leaves_no_descriptor(tmp_path: Path) -> None:
    """It is a failed start as any other, and neither pipe nor file stays open."""
    need_filter()
    found = call_in_process(_open_outputs_where_nothing_more_can_be_watched, str(tmp_path))
    assert found == {"left": [], "hint": "raise fs.epoll.max_user_watches"}


def _start_where_no_report_can_be_watched(command: list[str]) -> dict[str, Any]:
    said: list[str] = []
    with nursery(cgroups=False) as kids:
        world = _world(said, kids.children)
        supervisor = Supervisor(world)
        supervisor.wishes.add(ServiceSpec("web", tuple(command), restart=Restart.NEVER))
        supervisor.wishes.arrange(["web"])
        service = supervisor.services["web"]
        refuse_watches(world.poller._epoll.fileno())
        supervisor.start(["web"])
        supervisor.settle()
        deadline_s = time.monotonic() + WITHIN_S
        while service.run.state is State.STARTING and time.monotonic() < deadline_s:
            signal.sigtimedwait({signal.SIGCHLD}, 0.02)
            kids.children.reaper.handle(signal.SIGCHLD, None)
            supervisor.collect_exits()
            supervisor.due(world.timers.due(world.clock()))
            supervisor.settle()
        looks = world.timers.at_ns(("web", Pulse.REPORT)) is not None
        return {"state": service.run.state.value, "report": service.report_fd, "looks": looks, "said": said}


@pytest.mark.parametrize(
    ("command", "state", "told"),
    [(["sleep", "1000"], "running", "service.running"), (["/no/such"], "failed", "service.spawn_failed")],
)
def test_a_child_whose_report_cannot_be_watched_is_heard_all_the_same(
    command: list[str], state: str, told: str
) -> None:
    """A timeout looks at it until it has said whether it became its program, and no longer."""
    need_filter()
    found = call_in_process(_start_where_no_report_can_be_watched, command)
    assert (found["state"], found["report"], found["looks"]) == (state, None, False)
    assert told in found["said"]


def _await_where_nothing_more_can_be_watched(ready: str) -> dict[str, Any]:
    """Return what a service lacks that would say, or be asked, whether it is ready."""
    said: list[str] = []
    with nursery(cgroups=False) as kids, socket.create_server(("127.0.0.1", 0)) as server:
        checks: dict[str, Ready] = {
            "notify": NotifyCheck(),
            "fd": FdCheck(5),
            "tcp": TcpCheck(*server.getsockname()),
        }
        world = _world(said, kids.children)
        supervisor = Supervisor(world)
        supervisor.wishes.add(ServiceSpec("web", ("sleep", "1000"), ready=checks[ready]))
        supervisor.wishes.arrange(["web"])
        service = supervisor.services["web"]
        before = _descriptors()
        refuse_watches(world.poller._epoll.fileno())
        supervisor.start(["web"])
        supervisor.settle()
        deadline_s = time.monotonic() + WITHIN_S
        while service.unready is None and time.monotonic() < deadline_s:
            signal.sigtimedwait({signal.SIGCHLD}, 0.02)
            supervisor.due(world.timers.due(world.clock()))
            supervisor.settle()
        tries = world.timers.at_ns(("web", Pulse.TRY)) is not None
        late = world.timers.at_ns(("web", Timer.READY)) is not None
        left = [each for each in _descriptors() if each.startswith("socket:") and each not in before]
        return {"unready": service.unready, "tries": tries, "late": late, "sockets": len(left)}


@pytest.mark.parametrize(
    ("ready", "expected"),
    [
        ("notify", {"tries": False, "sockets": 1}),
        ("fd", {"tries": False, "sockets": 0}),
        ("tcp", {"tries": True, "sockets": 0}),
    ],
)
def test_what_a_service_lacks_is_told_where_its_answer_cannot_be_watched(
    ready: str, expected: dict[str, object]
) -> None:
    """It is asked again where it is asked; else the end of its time decides. No question leaves a socket."""
    need_filter()
    found = call_in_process(_await_where_nothing_more_can_be_watched, ready)
    told = "cannot watch a descriptor: epoll_ctl: No space left on device"
    assert found == {"unready": told, "late": True, **expected}
