import re
import time
from datetime import UTC, datetime

from reaperd.children.tally import Tally
from reaperd.config.spec import ServiceSpec
from reaperd.loop.timers import Timers
from reaperd.moments import rfc3339
from reaperd.policy.words import Exited, Run, State, Timer, Want
from reaperd.supervise.gates import Gates
from reaperd.supervise.service import Service
from reaperd.supervise.status import rows
from reaperd.supervise.world import Deadline

S = 1_000_000_000
SPEC = ServiceSpec("web", ("web",))


def test_a_row_says_what_is_known() -> None:
    """Under names that programs may rely on; absent values are None."""
    run = Run(State.RUNNING, Want.UP, failures=1, restarts=2, since_ns=40 * S)
    web = Service(
        SPEC, run, since_wall_ns=1_500_000_000, latest=7, main=7, said="all well", next_run_ns=2 * S
    )
    web.run_id = "a.1"
    [row] = rows([web], Gates(), Timers(), 100 * S + 500_000_000, {"a.1": Tally(4096, 0)})
    assert row == {
        "name": "web",
        "state": "running",
        "want": "up",
        "pid": 7,
        "restarts": 2,
        "failures": 1,
        "since": "1970-01-01T00:00:01.500Z",
        "uptime": 60.5,
        "status": "all well",
        "next": "1970-01-01T00:00:02.000Z",
        "waits_for": [],
        "log_files": {"stdout": None, "stderr": None},
        "dropped": 0,
        "zombies": None,
        "sockets": [],
        "unlimited": None,
        "why": None,
        "memory": 4096,
    }


def test_since_stays_as_it_is() -> None:
    """It is the moment that was noted: nothing is reckoned from one clock to the other."""
    web = Service(SPEC, Run(State.RUNNING, since_ns=S), since_wall_ns=1_234_567_890)
    said = {rows([web], Gates(), Timers(), now_ns)[0]["since"] for now_ns in range(S, 3 * S, 7_654_321)}
    assert said == {"1970-01-01T00:00:01.234Z"}


def test_only_a_running_service_has_an_uptime() -> None:
    """And a pid only while the main process is not reaped, whatever the latest one was."""
    for state in set(State) - {State.RUNNING}:
        [row] = rows([Service(SPEC, Run(state), latest=7)], Gates(), Timers(), S)
        assert (row["state"], row["uptime"], row["pid"]) == (state.value, None, None)


def test_a_waiting_service_says_when_it_is_tried_again() -> None:
    """From its own timer, not from another service's or another one of its own."""
    timers: Timers[Deadline] = Timers()
    timers.arm(("web", Timer.BACKOFF), 103 * S)
    timers.arm(("web", Timer.STABLE), 101 * S)
    timers.arm(("db", Timer.BACKOFF), 102 * S)
    run = Run(State.BACKOFF, Want.UP, Exited(code=1), failures=2)
    [row] = rows([Service(SPEC, run)], Gates(), timers, 100 * S)
    assert row["why"] == "exited with 1; failure 2 in a row, next try in 3s"


def test_times_are_in_utc_to_the_millisecond() -> None:
    """As RFC 3339 has them."""
    assert rfc3339(1_500_000_000) == "1970-01-01T00:00:01.500Z"
    now = rfc3339(time.time_ns())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", now)
    assert datetime.fromisoformat(now).tzinfo is UTC
