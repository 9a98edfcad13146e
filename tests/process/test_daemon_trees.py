"""Whole trees: what a service leaves behind, whose it is, and that none of it survives a stop."""

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.support.daemon import REST, Daemon, Services, daemon, sh, sleeper
from tests.support.processes import (
    need_root,
    owned,
    pidfd,
    state_of,
    system_python,
    wait_gone,
    wait_readable,
    wait_until,
)

# Without the kernel's word, by which the daemon knows every descendant from its birth.
UNHEARD: Final = {"process_connector": "no"}

# Each says "escaped PID" once it is what its name says; the main process says "main PID".
ESCAPES: Final = {
    "child": "sh -c 'echo escaped $$; exec sleep 1000' &",
    "setsid": "setsid sh -c 'echo escaped $$; exec sleep 1000' &",
    "double-forked": "(sh -c 'echo escaped $$; exec sleep 1000' &)",
    "double-forked and setsid": "(setsid sh -c 'echo escaped $$; exec sleep 1000' &)",
    "setsid twice": "(setsid sh -c '(setsid sh -c \"echo escaped \\$\\$; exec sleep 1000\" &)' &)",
    "deaf": "(trap '' TERM; setsid sh -c 'echo escaped $$; exec sleep 1000' &)",
}

DAEMONIZE: Final = """
import os
if os.fork():
    os.wait()
    os._exit(0)
os.setsid()
if pid := os.fork():
    os.write(1, b"escaped %d\\n" % pid)
    os._exit(0)
os.chdir("/")
os.umask(0)
null = os.open("/dev/null", os.O_RDWR)
for fd in (0, 1, 2): os.dup2(null, fd)
os.execvp("sleep", ["sleep", "1000"])
"""

SOON: Final = {"initial": "5ms", "max": "10ms"}


Start = Callable[[Path, Services], AbstractContextManager[Daemon]]


@pytest.fixture(params=[True, False], ids=["cgroups", "none"])
def start(request: pytest.FixtureRequest) -> Start:
    """Start daemons whose runs have cgroups, and such as tell processes apart without."""
    return partial(daemon, cgroups=request.param)


def _with(escape: str, rest: str = "exec sleep 1000") -> str:
    return f"echo main $$\n{ESCAPES[escape]}\n{rest}"


@pytest.mark.parametrize("escape", ESCAPES)
def test_stop_leaves_no_descendant(tmp_path: Path, start: Start, escape: str) -> None:
    """When a stop is answered, nothing of the service's tree is left, wherever it went."""
    with start(tmp_path, {"web": sh(_with(escape), stop={"timeout": "50ms"})}) as reaperd:
        escaped = reaperd.hear_pid("escaped")
        reaperd.ask("stop", "web")
        assert state_of(escaped) is None
        assert reaperd.ask("status")["unclaimed"] == []


@pytest.mark.parametrize("escape", ESCAPES)
def test_a_main_process_that_dies_takes_its_tree_with_it(tmp_path: Path, start: Start, escape: str) -> None:
    """Before a service runs again, nothing of its last run is left."""
    web = sh(_with(escape), stop={"timeout": "50ms"}, backoff=SOON)
    with start(tmp_path, {"web": web}) as reaperd:
        first, main = reaperd.hear_pid("escaped"), reaperd.hear_pid("main")
        os.kill(main, signal.SIGKILL)
        assert reaperd.hear_pid("main") != main
        assert state_of(first) is None


def test_a_program_that_daemonizes_is_ended_with_its_service(tmp_path: Path, start: Start) -> None:
    """Both forks, a session and closed descriptors: the service's main process is gone, and so is it."""
    web = {"command": [system_python(), "-ISc", DAEMONIZE], "restart": "never"}
    with start(tmp_path, {"web": web}) as reaperd:
        escaped = reaperd.hear_pid("escaped")
        wait_gone(escaped)
        reaperd.wait_for("service.exited", service="web", code=0)
        wait_until(lambda: state_of(escaped) is None, "the daemonized program to be reaped")
        wait_until(lambda: reaperd.state("web") == "exited", "the service to be over")


def test_each_of_two_services_has_its_own_escapees(tmp_path: Path, start: Start) -> None:
    """Stopping one leaves the other's alone, though both are setsid orphans of the same parent now."""
    services = {name: sh(_tagged(name)) for name in ("one", "two")}
    with start(tmp_path, services) as reaperd:
        escaped = {name: reaperd.hear_pid(f"escaped-{name}") for name in services}
        for pid in escaped.values():
            wait_until(lambda pid=pid: _parent(pid) == reaperd.pid, "the orphan to be adopted")  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        reaperd.ask("stop", "one")
        assert state_of(escaped["one"]) is None
        assert state_of(escaped["two"]) == "S"
        assert reaperd.state("two") == "running"
        assert reaperd.ask("status")["unclaimed"] == []
        reaperd.ask("stop", "two")
        assert state_of(escaped["two"]) is None


def _tagged(name: str) -> str:
    return f"(setsid sh -c 'echo escaped-{name} $$; exec sleep 1000' &) ; exec sleep 1000"


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_services_that_crash_over_and_over_never_lose_the_others_escapees(
    tmp_path: Path, start: Start
) -> None:
    """Runs come and go with their orphans, next to a service whose own orphan stays."""
    crashing = sh("(setsid sleep 1000 &); exit 1", backoff={"initial": "1ms", "max": "2ms"})
    with start(tmp_path, {"calm": sh(_tagged("calm")), "crashing": crashing}) as reaperd:
        calm = reaperd.hear_pid("escaped-calm")
        for _ in range(25):
            reaperd.wait_for("service.backoff", service="crashing")
        assert state_of(calm) == "S"
        reaperd.ask("stop", "crashing")
        assert _sleepers_below(reaperd.pid) == {calm, reaperd.main_pid("calm")}


def _sleepers_below(pid: int) -> set[int]:
    return {int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_who_is_forked_during_a_stop_gets_the_stop_signal_too(tmp_path: Path, start: Start) -> None:
    """A service whose last act is to leave an orphan behind is down long before the deadline."""
    script = f"trap 'trap - TERM; (setsid sleep 1000 &); exit 0' TERM; echo listening; {REST}"
    with start(tmp_path, {"web": sh(script, stop={"timeout": "10m"})}) as reaperd:
        reaperd.hear("listening")
        reaperd.ask("stop", "web")
        assert not reaperd.events("service.killing")


def test_a_process_gets_the_stop_signal_once(tmp_path: Path, start: Start) -> None:
    """Orphans that come later in a stop are told, and who was told before is not told again."""
    (tmp_path / "below").write_text(
        "trap 'echo told' TERM; (trap '' TERM; exec sleep 1000) & echo below; wait; wait"
    )
    script = f"trap 'exit 0' TERM; sh {tmp_path}/below & echo listening; {REST}"
    with start(tmp_path, {"web": sh(script, stop={"timeout": "200ms"})}) as reaperd:
        reaperd.hear("listening")
        reaperd.hear("below")
        reaperd.ask("stop", "web")
    assert [line for line in reaperd.said.all() if line == "told\n"] == ["told\n"]


# --- unclaimed ------------------------------------------------------------------------------------------

# Cleared of the marker, in a session of its own, and a chain of parents that is gone before anybody looks.
CLEARED: Final = (
    "setsid env -i sh -c '{0}(setsid sh -c \"echo nameless \\$\\$; exec sleep 1000\" &)' & wait\n"
    "exec sleep 1000"
)
# And rid of the tag among the limits.
NAMELESS: Final = CLEARED.format("prlimit --pid $$ --locks=unlimited; ")


def test_an_orphan_without_anything_but_its_limits_is_known(tmp_path: Path) -> None:
    """Without control group, environment, session or parents it goes with its service all the same."""
    web = sh(CLEARED.format(""))
    with daemon(tmp_path, {"web": web}, cgroups=False, settings=UNHEARD) as reaperd:
        nameless = reaperd.hear_pid("nameless")
        reaperd.ask("stop", "web")
        assert state_of(nameless) is None
        assert reaperd.ask("status")["unclaimed"] == []


def test_an_orphan_that_nobody_can_name_is_listed_and_ended_at_shutdown(tmp_path: Path) -> None:
    """It survives the stop of its service, stands in the status, and goes with the daemon."""
    with daemon(tmp_path, {"web": sh(NAMELESS)}, cgroups=False, settings=UNHEARD) as reaperd:
        nameless = reaperd.hear_pid("nameless")
        reaperd.ask("stop", "web")
        assert reaperd.ask("status")["unclaimed"] == [nameless]
        assert state_of(nameless) == "S"
        with pidfd(nameless) as fd:
            reaperd.end()
            wait_readable(fd, 0, "the unclaimed orphan")


def test_an_unclaimed_orphan_that_dies_is_reaped_and_forgotten(tmp_path: Path) -> None:
    """Nobody has to ask for it."""
    with daemon(tmp_path, {"web": sh(NAMELESS)}, cgroups=False, settings=UNHEARD) as reaperd:
        nameless = reaperd.hear_pid("nameless")
        os.kill(nameless, signal.SIGKILL)
        wait_until(lambda: state_of(nameless) is None, "the orphan to be reaped")
        assert reaperd.ask("status")["unclaimed"] == []
        assert reaperd.state("web") == "running"


def test_an_orphan_that_has_lost_its_tag_is_known_by_its_marker(tmp_path: Path) -> None:
    """A program that sets all its limits anew, as a login does, leaves the environment as it was."""
    below = 'sh -c "echo below \\$\\$; exec sleep 1000" & wait'
    script = (
        f"setsid sh -c 'prlimit --pid $$ --locks=unlimited; echo middle $$; {below}' & wait; exec sleep 1000"
    )
    with daemon(tmp_path, {"web": sh(script)}, cgroups=False, settings=UNHEARD) as reaperd:
        above_it, below_it = reaperd.hear_pid("middle"), reaperd.hear_pid("below")
        os.kill(above_it, signal.SIGKILL)
        wait_until(lambda: _parent(below_it) == reaperd.pid, "the orphan to be adopted")
        reaperd.ask("stop", "web")
        assert state_of(below_it) is None


def test_an_orphan_seen_below_its_service_is_known_without_its_marker(tmp_path: Path) -> None:
    """A second stop of the same tree knows by the chain of parents what the environment does not tell."""
    script = (
        "trap '' TERM; setsid env -i sh -c 'trap \"\" TERM; echo middle $$; "
        'sh -c "echo below \\$\\$; exec sleep 1000"\' & '
        "while :; do sleep 1000; done"
    )
    with daemon(tmp_path, {"web": sh(script, stop={"timeout": "10m"})}, cgroups=False) as reaperd:
        middle, below = reaperd.hear_pid("middle"), reaperd.hear_pid("below")
        reaperd.ask("stop", "web", wait=False)  # walks the tree, which ignores the signal
        os.kill(middle, signal.SIGKILL)
        wait_until(lambda: _parent(below) == reaperd.pid, "the orphan to be adopted")
        assert reaperd.ask("status")["unclaimed"] == []
        reaperd.ask("stop", "web")
        assert state_of(below) is None


# --- storms ---------------------------------------------------------------------------------------------

# Every process forks two more until the budget is used up; all are deaf and in sessions of their own.
BOMB: Final = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(1, b"armed\\n")
for _ in range(%d):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        signal.alarm(60)
"""

# A chain: each one forks its successor and goes, so that no pid lives for long.
CHAIN: Final = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.write(1, b"armed\\n")
for _ in range(%d):
    if os.fork():
        os._exit(0)
    os.setsid()
"""


def test_a_service_that_forks_faster_than_it_is_killed_ends(tmp_path: Path, start: Start) -> None:
    """A storm that ignores SIGTERM, leaves every session and doubles is stopped, then killed, to the last."""
    script = BOMB % 7 + "\nwhile True: signal.pause()\n"
    storm = {"command": [system_python(), "-ISc", script], "stop": {"timeout": "1ms"}, "restart": "never"}
    with start(tmp_path, {"storm": storm, "calm": sleeper()}) as reaperd:
        reaperd.hear("armed")
        reaperd.ask("stop", "storm")
        assert reaperd.state("storm") == "stopped"
        assert _sleepers_below(reaperd.pid) == {reaperd.main_pid("calm")}


def test_a_service_that_hops_from_pid_to_pid_ends(tmp_path: Path, start: Start) -> None:
    """A chain of processes that each fork one and leave is over to its last when it is said to be."""
    script = CHAIN % 400
    chain = {"command": [system_python(), "-ISc", script], "stop": {"timeout": "1ms"}, "restart": "never"}
    with start(tmp_path, {"chain": chain, "calm": sleeper()}) as reaperd:
        reaperd.wait_for("service.running", service="calm")
        reaperd.hear("armed")
        reaperd.ask("stop", "chain")
        assert reaperd.state("chain") in ("stopped", "exited")
        assert _sleepers_below(reaperd.pid) == {reaperd.main_pid("calm")}


def test_many_zombies_at_once_are_all_reaped(tmp_path: Path, start: Start) -> None:
    """A process that leaves three thousand zombies and dies hands them over under a single SIGCHLD."""
    script = (
        "import os, signal\n"
        "for _ in range(3000):\n"
        "    if os.fork() == 0: os._exit(0)\n"
        "os.write(1, b'full %d\\n' % os.getpid())\n"
        "signal.pause()\n"
    )
    web = {"command": [system_python(), "-ISc", script], "restart": "never"}
    with start(tmp_path, {"web": web}) as reaperd:
        pid = reaperd.hear_pid("full", within_s=40)
        os.kill(pid, signal.SIGKILL)
        reaperd.wait_for("service.failed", service="web")
        assert _sleepers_below(reaperd.pid) == set()
        assert sum(each["count"] for each in reaperd.events("orphans.reaped")) == 3000


# --- strangers ------------------------------------------------------------------------------------------


def test_a_process_that_was_never_ours_is_left_alone(tmp_path: Path, start: Start) -> None:
    """One that carries a run's marker without being below the daemon gets no signal from it."""
    with start(tmp_path, {"web": sleeper()}) as reaperd:
        reaperd.wait_for("service.running", service="web")
        environ = Path(f"/proc/{reaperd.main_pid('web')}/environ").read_bytes().split(b"\0")
        marker = (
            next(each for each in environ if each.startswith(b"REAPERD_RUN=")).partition(b"=")[2].decode()
        )
        with owned(["sleep", "1000"], env={**os.environ, "REAPERD_RUN": marker}) as stranger:
            reaperd.ask("stop", "web")
            reaperd.end()
            assert stranger.poll() is None


def test_a_service_that_took_another_user_is_ended_as_a_whole(tmp_path: Path, start: Start) -> None:
    """Root's daemon ends what runs as somebody else, and an orphan of his as well."""
    need_root()
    python = system_python()
    escapee = "import os\nif os.fork() == 0:\n os.setsid()\n os.write(1, b'escaped %d\\n' % os.getpid())\n"
    escapee += "os.execvp('sleep', ['sleep', '1000'])\n"
    web = {"command": [python, "-ISc", escapee], "user": "nobody", "directory": "/"}
    with start(tmp_path, {"web": web}) as reaperd:
        escaped = reaperd.hear_pid("escaped")
        assert Path(f"/proc/{escaped}").stat().st_uid != 0
        reaperd.ask("stop", "web")
        assert state_of(escaped) is None


def test_a_service_may_end_itself_as_a_whole_group(tmp_path: Path, start: Start) -> None:
    """`kill 0` within a service reaches its own group and nobody else: it leads a session of its own."""
    web = sh("sleep 1000 & kill -TERM 0; sleep 1000", restart="never")
    with start(tmp_path, {"web": web, "calm": sleeper()}) as reaperd:
        assert reaperd.wait_for("service.exited", service="web")["signal"] == signal.SIGTERM
        reaperd.wait_for("service.running", service="calm")
        assert reaperd.state("calm") == "running"
