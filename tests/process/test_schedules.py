import re
import signal
import sys
import time
from datetime import datetime
from importlib import import_module
from pathlib import Path

import pytest

from tests.support.daemons import Running, daemon
from tests.support.processes import call_in_process, wait_until

TIMERFD = "anon_inode:[timerfd]"
# Runs until the file is there.
BLOCKED = 'command = ["sh", "-c", "until [ -e {file} ]; do sleep 0.02; done"]'


def _reload(running: Running, folder: Path, old: str, new: str) -> None:
    source = folder / "reaperd.toml"
    text = source.read_text()
    assert old in text
    source.write_text(text.replace(old, new))
    running.ask("reload")


def _wait_state(running: Running, name: str, state: str) -> None:
    wait_until(lambda: running.row(name)["state"] == state, f"{name} to be {state}")


def test_every_runs_again_and_again_and_never_early(tmp_path: Path) -> None:
    """A job a second apart runs first after a second, then after two, then after three."""
    with daemon(tmp_path, '[service.tick]\ncommand = "true"\nschedule = { every = "1s" }') as running:
        began_s = running.event("daemon.started")["time"]
        for nth in (1, 2, 3):
            started = running.event("service.starting", nth=nth, service="tick")["time"]
            assert (
                _seconds_between(began_s, started) > nth - 0.1
            )  # the clock of the log is not that of `every`
        assert running.row("tick")["restarts"] == 0


def _seconds_between(before: str, after: str) -> float:
    from datetime import datetime  # noqa: PLC0415 - only here

    return (datetime.fromisoformat(after) - datetime.fromisoformat(before)).total_seconds()


def test_cron_runs_by_the_clock(tmp_path: Path) -> None:
    """Six fields begin with seconds: a job of every second runs again and again, requirements and all."""
    services = """
    [service.once]
    command = "true"
    oneshot = true
    [service.tick]
    command = "true"
    requires = ["once"]
    schedule = { cron = "* * * * * *" }
    """
    with daemon(tmp_path, services) as running:
        running.event("service.finished", nth=2, service="tick")
        assert running.log.index(running.event("service.finished", service="once")) < running.log.index(
            running.event("service.starting", service="tick")
        )


def test_a_failed_job_waits_for_its_next_time(tmp_path: Path) -> None:
    """A job that may not be restarted and fails runs again by its schedule, and says how it ended."""
    services = '[service.bad]\ncommand = "false"\nrestart = "never"\nschedule = { every = "1s" }'
    with daemon(tmp_path, services) as running:
        running.event("service.failed", service="bad")
        assert re.fullmatch(r"exited with 1; next run at .*", running.row("bad")["why"] or "between")
        running.event("service.failed", nth=2, service="bad")


def test_without_schedules_there_is_no_timer_and_no_timeout(tmp_path: Path) -> None:
    """A daemon has a timer of the wall clock only while a schedule is armed, and polls without a timeout."""
    services = """
    process_connector = "no"  # others' forks would wake it, and leave a timeout for a moment
    [service.web]
    command = "sleep 1000"
    backoff = { reset_after = "1ms" }
    [service.nightly]
    command = "true"
    schedule = { cron = "30 2 * * *" }
    """
    with daemon(tmp_path, services) as running:
        running.event("service.running", service="web")
        assert running.fds().count(TIMERFD) == 1
        wait_until(lambda: _polls_for_ever(running.pid), "a poll without a timeout")
        running.ask("stop", "nightly")
        assert running.row("nightly")["next"] is None
        assert TIMERFD not in running.fds()
        running.ask("start", "nightly")
        assert running.fds().count(TIMERFD) == 1
        assert running.row("nightly")["next"] is not None


def _polls_for_ever(pid: int) -> bool:
    """Tell whether the process waits in a system call whose fourth argument is -1: epoll_wait(2), proc(5)."""
    try:
        words = Path(f"/proc/{pid}/syscall").read_text().split()
    except (FileNotFoundError, PermissionError) as error:
        pytest.skip(f"cannot see what a process waits in: {error}")
    return len(words) > 4 and int(words[4], 16) & 0xFFFFFFFF == 0xFFFFFFFF


def _imported_by_the_daemon() -> bool:
    import_module("reaperd.daemon")

    return "cronsim" in sys.modules


def test_who_has_no_schedule_by_the_clock_does_not_pay_for_it() -> None:
    """The daemon's modules alone do not bring the library that reads crontab(5)."""
    assert not call_in_process(_imported_by_the_daemon)


def test_a_start_by_hand_runs_a_job_now(tmp_path: Path) -> None:
    """A job that waits for its time runs when somebody starts it, and then waits for the same time."""
    services = '[service.nightly]\ncommand = "true"\nschedule = { cron = "30 2 * * *" }'
    with daemon(tmp_path, services) as running:
        before = running.row("nightly")
        assert (before["state"], before["want"]) == ("waiting", "up")
        running.ask("start", "nightly")
        running.event("service.finished", service="nightly")
        _wait_state(running, "nightly", "waiting")
        assert running.row("nightly")["next"] == before["next"]


def test_a_time_that_comes_too_soon_is_left_out(tmp_path: Path) -> None:
    """With `skip` a job that still runs at its next time is not run again for it."""
    file = tmp_path / "go"
    services = f'[service.slow]\n{BLOCKED.format(file=file)}\nschedule = {{ every = "1s" }}'
    with daemon(tmp_path, services) as running:
        running.event("service.skipped", service="slow")
        _reload(running, tmp_path, '"1s"', '"1h"')
        file.touch()
        running.event("service.finished", service="slow")
        _wait_state(running, "slow", "waiting")
        assert len(running.events("service.starting", service="slow")) == 1


def test_a_time_that_comes_too_soon_is_made_up_for(tmp_path: Path) -> None:
    """With `queue` a job that still runs at its next times runs once more right after."""
    file = tmp_path / "go"
    services = f"""
    [service.slow]
    {BLOCKED.format(file=file)}
    schedule = {{ every = "1s", overlap = "queue" }}
    [service.clock]
    command = "true"
    schedule = {{ every = "1s" }}
    """
    with daemon(tmp_path, services) as running:
        running.event("service.starting", nth=3, service="clock")  # so two times of the other came as well
        _reload(running, tmp_path, '"1s", overlap', '"1h", overlap')
        file.touch()
        running.event("service.finished", nth=2, service="slow")
        _wait_state(running, "slow", "waiting")
        assert len(running.events("service.starting", service="slow")) == 2
        assert running.events("service.skipped", service="slow") == []


def test_a_reload_changes_the_times(tmp_path: Path) -> None:
    """A changed schedule is followed at once, from far to near and back."""
    services = '[service.tick]\ncommand = "true"\nschedule = { every = "1h" }'
    with daemon(tmp_path, services) as running:
        far = running.row("tick")["next"]
        _reload(running, tmp_path, 'every = "1h"', 'every = "1s"')
        running.event("service.finished", service="tick")
        _reload(running, tmp_path, 'every = "1s"', 'cron = "0 0 1 1 *"')
        _wait_state(running, "tick", "waiting")
        assert running.row("tick")["next"] > far
        assert "-01-01 00:00:00" in running.row("tick")["why"]


def test_a_reload_of_something_else_leaves_the_times_alone(tmp_path: Path) -> None:
    """The time to the next run goes on, whichever other keys change meanwhile."""
    services = '[service.tick]\ncommand = "true"\nschedule = { every = "1h" }\nstop.timeout = "1s"\nnice = 1'
    with daemon(tmp_path, services) as running:
        before = datetime.fromisoformat(running.row("tick")["next"])
        until, keys = time.monotonic() + 2.5, [('"1s"', '"2s"'), ("nice = 1", "nice = 2")]
        while time.monotonic() < until:  # a schedule that began anew would be later by as much
            for old, new in keys:
                _reload(running, tmp_path, old, new)
            keys = [(new, old) for old, new in keys]
        after = datetime.fromisoformat(running.row("tick")["next"])
        assert abs((after - before).total_seconds()) < 1


def test_a_service_becomes_a_job_by_a_reload_and_back(tmp_path: Path) -> None:
    """A running service that gets a schedule waits for its times from then on; one that loses it runs."""
    services = '[service.web]\ncommand = ["sleep", "1000"]\n# here'
    with daemon(tmp_path, services) as running:
        running.event("service.running", service="web")
        _reload(running, tmp_path, "# here", 'schedule = { cron = "30 2 * * *" }')
        wait_until(lambda: running.row("web")["next"] is not None, "a next time")
        running.ask("start", "web")
        _reload(running, tmp_path, "schedule", "# schedule")
        _wait_state(running, "web", "running")
        assert running.row("web")["next"] is None
        assert TIMERFD not in running.fds()


def test_a_daemon_with_jobs_ends_at_once(tmp_path: Path) -> None:
    """Jobs that wait for their time hold up no shutdown."""
    services = '[service.nightly]\ncommand = "true"\nschedule = { cron = "30 2 * * *" }'
    with daemon(tmp_path, services) as running:
        running.process.send_signal(signal.SIGTERM)
        assert running.event("daemon.stopped")["status"] == 0


def test_a_reload_of_a_stopped_job_does_not_bring_its_times_back(tmp_path: Path) -> None:
    """Whoever wants it down hears of no next run, and the daemon does not wake up for one."""
    services = '[service.tick]\ncommand = "true"\nschedule = { every = "1h" }'
    with daemon(tmp_path, services) as running:
        running.ask("stop", "tick")
        _reload(running, tmp_path, '"1h"', '"2h"')
        assert (running.row("tick")["state"], running.row("tick")["next"]) == ("stopped", None)
        assert TIMERFD not in running.fds()
        running.ask("start", "tick")
        assert running.row("tick")["next"] is not None
