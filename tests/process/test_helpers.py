import os
import resource
import signal
import time
from pathlib import Path
from uuid import uuid4

import pytest

from reaperd.children.children import Children
from reaperd.children.fork import Forked
from reaperd.children.plan import Inheritance
from reaperd.config.spec import SECOND_NS, Reload, ServiceSpec
from reaperd.loop.poller import Poller
from reaperd.loop.timers import Timers
from reaperd.policy.words import NotSpawned, Run
from reaperd.supervise.helper import Errand, Finished, Order
from reaperd.supervise.helpers import Helpers
from reaperd.supervise.service import Service
from reaperd.supervise.world import World
from tests.support.daemons import IMPATIENT, alive, daemon, service, sleeper, wait_none
from tests.support.processes import call_in_process, need_root, wait_gone, wait_until


def environment(path: Path) -> dict[str, str]:
    """Return what `env` has written."""
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)


def test_a_stop_command_stops_in_place_of_the_signal(tmp_path: Path) -> None:
    """It knows the main process, and how that then ends is its own doing."""
    stop = {"command": ["sh", "-c", "kill -USR1 $MAINPID"]}
    text = service(
        "web", "trap 'exit 5' USR1; echo up; while :; do sleep 0.05; done", stop=stop, ready={"log": "up"}
    )
    with daemon(tmp_path, text) as running:
        running.event("service.running")
        running.ask("stop", "web")
        assert running.event("service.exited")["code"] == 5
        running.event("helper.started", errand="stop")
        running.event("helper.ended", errand="stop")
        assert not running.events("service.killing")


def test_a_stop_command_that_hangs_is_killed_with_the_service(tmp_path: Path) -> None:
    """Once the times of the command and of the signal are over, both trees go."""
    mark = uuid4().hex
    deaf = "trap '' TERM; echo up; while :; do sleep 0.05; done"
    stop = {"command": sleeper(mark), "timeout": "300ms"}
    with daemon(tmp_path, service("web", deaf, stop=stop, ready={"log": "up"})) as running:
        running.event("service.running")
        running.ask("stop", "web")
        running.event("service.insisting")
        running.event("service.killing")
        assert running.event("service.exited")["signal"] == signal.SIGKILL
        wait_none(mark)


@pytest.mark.parametrize(
    ("command", "event"), [("false", "helper.failed"), ("/no/such/program", "helper.not_spawned")]
)
def test_a_stop_command_that_fails_is_followed_by_the_signal_at_once(
    tmp_path: Path, command: str, event: str
) -> None:
    """Its problem stands in the log, and nobody waits until its time is over."""
    stop = {"command": [command], "timeout": "1h", "signal": "INT"}
    trap = "trap 'exit 5' INT; echo up; while :; do sleep 0.05; done"
    with daemon(tmp_path, service("web", trap, stop=stop, ready={"log": "up"})) as running:
        running.event("service.running")
        running.ask("stop", "web")
        running.event(event, errand="stop")
        running.event("service.insisting")
        assert running.event("service.exited")["code"] == 5
        assert not running.events("service.killing")


def test_a_stop_command_that_does_nothing_is_followed_by_the_signal_in_time(tmp_path: Path) -> None:
    """It ended well, and so the service had the rest of the time to act on it."""
    stop = {"command": ["true"], "timeout": "300ms"}
    with daemon(tmp_path, service("web", ["sleep", "1000"], stop=stop)) as running:
        running.event("service.running")
        running.ask("stop", "web")
        assert running.event("service.exited")["signal"] == signal.SIGTERM
        events = [each["event"] for each in running.log]
        assert events.index("helper.ended") < events.index("service.insisting")
        assert "service.killing" not in events


def test_an_orphan_that_comes_while_the_stop_command_works_gets_no_signal(tmp_path: Path) -> None:
    """Nor does anybody else: what ends them is the command's business."""
    script = (
        "trap 'echo told' TERM; trap 'go=1' USR1; echo up; while [ -z $go ]; do sleep 0.05; done; "
        "(setsid sleep 1000 &); (setsid true &); echo orphaned; while :; do sleep 0.05; done"
    )
    gate = tmp_path / "gate"
    end = f"kill -USR1 $MAINPID; while [ ! -e {gate} ]; do sleep 0.05; done; kill -KILL $MAINPID"
    stop = {"command": ["sh", "-c", end], "timeout": "1h"}
    said = tmp_path / "said"
    text = service("web", f"exec >{said}; {script}", stop=stop)
    with daemon(tmp_path, text) as running:
        wait_until(lambda: said.exists() and "up" in said.read_text(), "the service to be up")
        running.ask("stop", "web", wait=False)
        running.event("orphan.adopted", service="web")
        wait_until(lambda: "orphaned" in said.read_text(), "its orphans")
        running.ask("status")
        gate.touch()
        running.event("service.stopped")
        assert "told" not in said.read_text()


def test_the_next_run_does_not_meet_the_stop_command_of_the_last(tmp_path: Path) -> None:
    """A restart waits until the stop command has done all that it does."""
    trace = tmp_path / "trace"
    stop = {"command": ["sh", "-c", f"kill $MAINPID; sleep 0.3; echo cleaned >>{trace}"]}
    text = service("web", f"echo up >>{trace}; exec sleep 1000", stop=stop)
    with daemon(tmp_path, text) as running:
        wait_until(trace.exists, "the first run")
        running.ask("restart", "web")
        wait_until(lambda: trace.read_text().count("up") == 2, "the second run")
        assert trace.read_text().split() == ["up", "cleaned", "up"]


def test_a_second_stop_hurries_the_stop_command_too(tmp_path: Path) -> None:
    """Asked again, nobody waits for the command any more."""
    mark = uuid4().hex
    with daemon(tmp_path, service("web", ["sleep", "1000"], stop={"command": sleeper(mark)})) as running:
        running.event("service.running")
        running.ask("stop", "web", wait=False)
        wait_until(lambda: alive(mark) != [], "the stop command")
        running.ask("stop", "web", wait=False)
        assert running.event("service.exited")["signal"] == signal.SIGTERM
        assert alive(mark), "the signal is the next rung, and the command may go on beside it"
        running.ask("stop", "web")
        wait_none(mark)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("exit 7", {"EXIT_CODE": "7", "REAPERD_CAUSE": "exited with 7"}),
        ("kill -TERM $$", {"EXIT_SIGNAL": "SIGTERM", "REAPERD_CAUSE": "ended by SIGTERM"}),
    ],
)
def test_hooks_are_told_of_the_end(tmp_path: Path, command: str, told: dict[str, str]) -> None:
    """They know the service and how it ended, and no variable that does not apply."""
    hooks = {
        name: ["sh", "-c", f"env >{tmp_path}/{name}.part; mv {tmp_path}/{name}.part {tmp_path}/{name}"]
        for name in ("on_exit", "on_failure")
    }
    text = service("web", command, restart="never", instances=1, **hooks)
    with daemon(tmp_path, text) as running:
        for name in hooks:
            running.event("helper.ended", errand=name)
            seen = environment(tmp_path / name)
            assert told.items() <= seen.items()
            assert seen["SERVICE"] == "web:1"
            assert seen["REAPERD_INSTANCE"] == "1"
            assert {"EXIT_CODE", "EXIT_SIGNAL"} - seen.keys() == {"EXIT_CODE", "EXIT_SIGNAL"} - told.keys()


def test_a_good_end_runs_no_hook_for_failures(tmp_path: Path) -> None:
    """Only `on_exit` is run for a service that did what it should."""
    text = service("web", ["true"], restart="never", on_exit=["true"], on_failure=["true"])
    with daemon(tmp_path, text) as running:
        running.event("helper.ended", errand="on_exit")
        running.event("service.finished")
        assert not running.events("helper.started", errand="on_failure")


def test_a_hook_that_never_ends_is_ended(tmp_path: Path) -> None:
    """When its time is over its whole tree is killed, and the service has gone on meanwhile."""
    mark = uuid4().hex
    hook = ["sh", "-c", f"setsid sh -c 'sleep 1000; :' {mark} & sleep 1000; :", mark]
    text = service(
        "web", "sleep 0.05", restart="always", on_exit=hook, backoff={"initial": "10ms", "max": "10ms"}
    )
    with daemon(tmp_path, text, program=IMPATIENT) as running:
        timed_out = running.event("helper.timed_out", errand="on_exit")
        assert timed_out["timeout"] == "300ms"
        running.event("helper.held")
        running.event("helper.skipped")
        running.event("helper.started", nth=2, errand="on_exit")
        running.ask("stop", "web")
        running.event("helper.timed_out", nth=running.log.count(timed_out) + 1)
        wait_none(mark)


def test_what_a_hook_leaves_behind_is_ended(tmp_path: Path) -> None:
    """A helper is over with its main process: an escapee that it started is found and killed."""
    mark = uuid4().hex
    hook = ["sh", "-c", f"setsid sh -c 'sleep 1000; :' {mark} & exit 0"]
    text = service("web", ["true"], restart="never", on_exit=hook)
    with daemon(tmp_path, text) as running:
        running.event("helper.ended", errand="on_exit")
        wait_none(mark)
        assert running.ask("status")["unclaimed"] == []


def test_a_hook_that_cannot_be_run_is_told_by_stage(tmp_path: Path) -> None:
    """A program that does not exist is named, and nothing else changes."""
    text = service("web", ["true"], restart="never", on_exit=["no/such/hook"])
    with daemon(tmp_path, text) as running:
        told = running.event("helper.not_spawned", errand="on_exit")
        assert told["stage"] == "exec"
        assert "no/such/hook" in told["problem"]
        running.event("service.finished")


def test_a_helper_is_as_its_service_is(tmp_path: Path) -> None:
    """User, directory and environment of a hook are those of the service."""
    need_root()
    folder = Path("/tmp") / uuid4().hex  # where every user may go
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    hook = ["sh", "-c", "{ id -u; pwd; echo $COLOUR; } >seen.part; mv seen.part seen"]
    text = service(
        "web",
        ["true"],
        restart="never",
        user="nobody",
        directory=str(folder),
        environment={"COLOUR": "red"},
        on_exit=hook,
    )
    try:
        with daemon(tmp_path, text) as running:
            running.event("helper.ended", errand="on_exit")
            uid, where, colour = (folder / "seen").read_text().split()
            assert (int(uid), where, colour) == ((folder / "seen").stat().st_uid, str(folder), "red")
            assert int(uid) != 0
    finally:
        (folder / "seen").unlink(missing_ok=True)
        folder.rmdir()


def test_the_end_of_the_daemon_ends_its_helpers(tmp_path: Path) -> None:
    """A hook has a moment to finish once all services are down; then it is killed like everything else."""
    mark = uuid4().hex
    done = tmp_path / "done"
    text = service(
        "web", ["sleep", "1000"], on_exit=["sh", "-c", f"sleep 0.3; echo >{done}; sleep 1000; :", mark]
    )
    with daemon(tmp_path, text) as running:
        pid = running.event("service.running")["pid"]
        assert running.end() == 0
        assert done.exists()
        wait_gone(pid)
        wait_none(mark)


def test_helpers_leave_no_descriptor(tmp_path: Path) -> None:
    """A hundred ends with two hooks each, and a check that fails each time, leave nothing open."""
    text = service(
        "web",
        ["sh", "-c", "sleep 0.02; exit 1"],
        restart="always",
        backoff={"initial": "1ms", "max": "1ms"},
        ready={"exec": ["false"]},
        on_exit=["true"],
        on_failure=["no/such/hook"],
    )
    with daemon(tmp_path, text) as running:
        running.event("service.exited", nth=5)
        running.ask("stop", "web")
        few = len(running.fds())
        running.ask("start", "web", wait=False)
        running.event("service.exited", nth=105, within_s=60)
        running.ask("stop", "web")
        wait_until(lambda: len(running.fds()) <= few, "no more descriptors than before")


def world_of(lines: list[str]) -> World:
    """Return a world with real children, whose log notes the names of events in `lines`."""

    def log(name: str, /, **keys: object) -> None:
        del keys
        lines.append(name)

    inherited = Inheritance(dict(os.environ), resource.getrlimit(resource.RLIMIT_NOFILE), frozenset())
    return World(Children(inherited), Poller(), Timers(), time.monotonic_ns, log)


def run_as_nobody_there() -> list[object]:
    """Run a helper as a user that does not exist; return what was told, and what is left of it."""
    lines: list[str] = []
    told: list[Finished] = []
    world = world_of(lines)
    helpers = Helpers(world, told.append)
    before = len(list(Path("/proc/self/fd").iterdir()))
    spec = ServiceSpec("web", ("true",), user="nobody-has-this-name")
    for errand in (Errand.HEALTH, Errand.EXIT):
        helpers.run(Order("web", errand, spec, SECOND_NS))
    left = len(list(Path("/proc/self/fd").iterdir())) - before
    outcomes = [finished.outcome for finished in told]
    stages = [outcome.stage for outcome in outcomes if isinstance(outcome, NotSpawned)]
    return [stages, lines, left, len(world.timers), list(helpers.run_ids())]


def test_a_helper_whose_user_is_gone_is_told_at_once() -> None:
    """Nothing was forked, so nothing is left: no descriptor, no timer, no run."""
    assert call_in_process(run_as_nobody_there) == [["user", "user"], ["helper.not_spawned"], 0, 0, []]


def test_a_service_is_asked_to_reload_by_signal_or_by_command(tmp_path: Path) -> None:
    """The signal goes to the main process alone; the command knows that process, and is a helper."""
    assert call_in_process(reload_both, str(tmp_path)) == ["HUP\n", "helper.started", "helper.ended"]


def reload_both(folder: str) -> list[str]:
    """Ask two services to reload, as the daemon's own parts do, and return what came of it."""
    lines: list[str] = []
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    world = world_of(lines)
    children = world.children
    helpers = Helpers(world, lambda _finished: None)
    out = Path(folder) / "out"
    script = (
        f"trap 'echo HUP >{out}.part; mv {out}.part {out}' HUP; echo >{out}.up; while :; do sleep 0.05; done"
    )
    spec = ServiceSpec("web", ("sh", "-c", script), reload=Reload(signal=signal.SIGHUP))
    forked = children.spawn(spec, "run")
    assert isinstance(forked, Forked)
    wait_until(Path(f"{out}.up").exists, "the service")
    service = Service(spec, Run(), run_id="run", main=forked.pid)
    helpers.reload(service)
    wait_until(out.exists, "the signal")
    service.spec = ServiceSpec("web", ("x",), reload=Reload(command=("sh", "-c", "kill -KILL $MAINPID")))
    helpers.reload(service)
    while helpers.run_ids() or not children.is_empty("run"):
        children.reaper.handle(0, None)
        for ended in children.apply():
            helpers.ended(ended)
        helpers.tidy()
    os.close(forked.report_fd)
    return [out.read_text(), *lines]
