"""Keys that shape a process or its fate, each seen to have its effect; and what proves the others."""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest

from reaperd.config.keys import DAEMON, SERVICE, USE
from reaperd.config.outputs import FILE
from reaperd.config.table import Key
from tests.support.daemons import daemon, service
from tests.support.processes import ROOT, need_root, system_python, wait_until

# Writes what a program finds itself to be, into the file that it is given.
MIRROR: Final = """
import json, os, resource, sys
names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
umask = os.umask(0)
found = {
    "directory": os.getcwd(),
    "ids": [os.getuid(), os.getgid(), sorted(os.getgroups())],
    "umask": umask,
    "nice": os.nice(0),
    "score": int(open("/proc/self/oom_score_adj").read()),
    "environment": dict(os.environ),
    "limits": {name[7:].lower(): resource.getrlimit(getattr(resource, name)) for name in names},
}
with open(sys.argv[1] + ".part", "w") as file:
    json.dump(found, file)
os.rename(sys.argv[1] + ".part", sys.argv[1])
"""
# Below what the daemon has, so that no right is needed. Soft ones, and where they are not given hard ones.
LIMITS: Final[dict[str, tuple[int, int]]] = {
    "as": (1 << 38, 1 << 39),
    "core": (0, 4096),
    "cpu": (1000, 2000),
    "data": (1 << 38, 1 << 39),
    "fsize": (1 << 30, 1 << 31),
    "memlock": (4096, 8192),
    "msgqueue": (4096, 8192),
    "nice": (0, 0),
    "nofile": (50, 60),
    "nproc": (400, 500),
    "rss": (1 << 38, 1 << 39),
    "rtprio": (0, 0),
    "rttime": (5000, 6000),
    "sigpending": (40, 50),
    "stack": (1 << 20, 1 << 21),
}


def _seen(tmp_path: Path, out: Path | None = None, **keys: object) -> dict[str, Any]:  # Any: as JSON has it
    """Return what a program of a service with these keys finds itself to be."""
    out = out or tmp_path / "out"
    command = [system_python(), "-I", "-S", "-c", MIRROR, str(out)]
    with daemon(tmp_path, service("web", command, oneshot=True, **keys)) as running:
        ended = running.event("service.exited")
        assert ended["code"] == 0, running.row("web")["why"]
        found: dict[str, Any] = json.loads(out.read_text())
        return found


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_each_limit_is_set(tmp_path: Path, name: str) -> None:
    """Soft and hard, by its own name."""
    soft, hard = LIMITS[name]
    seen = _seen(tmp_path, limits={name: {"soft": soft, "hard": hard}})
    assert seen["limits"][name] == [soft, hard]
    unlike = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))
    assert unlike != (soft, hard) or hard == 0, "it would be so without"


def test_a_process_is_what_its_keys_say(tmp_path: Path) -> None:
    """Directory, umask, nice value, score, and an environment of files and keys without the daemon's."""
    (tmp_path / "one.env").write_text("A=file\nB=file\n")
    nicer = min(os.nice(0) + 3, 19)
    seen = _seen(
        tmp_path,
        directory=str(tmp_path),
        umask="037",
        nice=nicer,
        oom_score_adj=600,
        environment_files=[str(tmp_path / "one.env")],
        environment={"B": "key"},
        clear_environment=True,
    )
    assert (seen["directory"], seen["umask"], seen["nice"], seen["score"]) == (
        str(tmp_path),
        0o37,
        nicer,
        600,
    )
    assert (seen["environment"]["A"], seen["environment"]["B"]) == ("file", "key")
    assert set(seen["environment"]) <= {"A", "B", "SERVICE", "REAPERD_RUN", "LC_CTYPE"}


def test_user_and_groups_are_taken_from_the_keys(tmp_path: Path) -> None:
    """By numbers, which need no entry."""
    need_root()
    folder = Path(tempfile.mkdtemp())  # pytest's own cannot be entered by others
    try:
        folder.chmod(0o777)
        out = folder / "out"
        seen = _seen(tmp_path, out=out, user="65534", group="7", supplementary_groups=["8", "9"])
    finally:
        shutil.rmtree(folder)
    assert seen["ids"] == [65534, 7, [8, 9]]


@pytest.mark.parametrize(
    ("script", "keys"),
    [("exit 3", {"success_exit_codes": [0, 3]}), ("kill -USR1 $$", {"success_signals": ["USR1"]})],
)
def test_what_counts_as_success_does(tmp_path: Path, script: str, keys: dict[str, object]) -> None:
    """It is no failure, and so not started again; without the key it is."""
    backoff = {"initial": "1h", "max": "1h"}
    text = service("web", script, backoff=backoff, **keys) + service("other", script, backoff=backoff)
    with daemon(tmp_path, text) as running:
        running.event("service.finished", service="web")
        running.event("service.backoff", service="other")
        assert running.row("web")["state"] == "exited"


@pytest.mark.parametrize(("late", "early"), [({"after": ["early"]}, {}), ({}, {"before": ["late"]})])
def test_order_alone_holds_until_the_other_is_ready(
    tmp_path: Path, late: dict[str, object], early: dict[str, object]
) -> None:
    """Whichever of the two says so; in the file the late one comes first."""
    text = service("late", "exec sleep 1000", **late)
    text += service("early", "exec sleep 1000", ready={"delay": "300ms"}, **early)
    with daemon(tmp_path, text) as running:
        running.event("service.running", service="late")
        told = [(each["event"], each.get("service")) for each in running.log]
        assert told.index(("service.running", "early")) < told.index(("service.starting", "late"))


def test_each_wait_is_so_much_longer_than_the_last(tmp_path: Path) -> None:
    """By the factor, from the initial one on."""
    backoff = {"initial": "10ms", "factor": 3, "max": "1h", "jitter": 0}
    with daemon(tmp_path, service("web", "exit 1", backoff=backoff)) as running:
        delays = [running.event("service.backoff", nth)["delay"] for nth in (1, 2, 3)]
        assert delays == [0.01, 0.03, 0.09]


def test_a_run_that_proved_stable_ends_the_count(tmp_path: Path) -> None:
    """After so long; the next failure is the first one again."""
    backoff = {"initial": "10ms", "max": "10ms", "reset_after": "50ms"}
    with daemon(tmp_path, service("web", "sleep 0.5; exit 1", backoff=backoff)) as running:
        assert [running.event("service.backoff", nth)["failures"] for nth in (1, 2)] == [1, 1]


def test_starts_of_long_ago_do_not_count_for_the_limit(tmp_path: Path) -> None:
    """Long ago is longer than the interval."""
    keys = {"start_limit": {"count": 2, "interval": "10ms"}, "backoff": {"initial": "50ms", "max": "50ms"}}
    with daemon(tmp_path, service("web", "exit 1", **keys)) as running:
        running.event("service.backoff", failures=4)
        assert running.events("service.failed") == []


def test_a_stop_takes_as_long_as_it_may(tmp_path: Path) -> None:
    """And no longer, where the service is deaf."""
    deaf = "trap '' TERM; echo up; while :; do sleep 0.05; done"
    text = service("web", deaf, ready={"log": "up"}, stop={"timeout": "50ms"})
    with daemon(tmp_path, text) as running:
        running.event("service.running")
        running.ask("stop", "web")
        moments = [running.event(f"service.{each}")["time"] for each in ("stopping", "killing")]
        asked, killed = map(datetime.fromisoformat, moments)
        assert (killed - asked).total_seconds() < 5


def test_a_narrow_scope_leaves_the_others_to_the_main_process(tmp_path: Path) -> None:
    """They get no signal as long as it lives; here it ends them itself."""
    said = tmp_path / "said"
    loop = "while :; do sleep 0.05; done"
    script = (
        f"(trap 'echo child >>{said}' TERM; echo up; {loop}) & child=$!; "
        f"trap 'echo main >>{said}; sleep 0.2; kill -KILL $child; exit 0' TERM; {loop}"
    )
    with daemon(tmp_path, service("web", script, ready={"log": "up"}, stop={"scope": "main"})) as running:
        running.event("service.running")
        running.ask("stop", "web")
        assert said.read_text() == "main\n"


def test_a_line_is_cut_where_that_is_said(tmp_path: Path) -> None:
    """After so many bytes, in the file."""
    file = tmp_path / "log"
    text = service("web", f"echo {'x' * 200}", oneshot=True, stdout={"file": str(file), "max_line": "80B"})
    with daemon(tmp_path, text) as running:
        running.event("service.finished")
        wait_until(lambda: "x" * 70 in file.read_text(), "the line to be written")
        assert "x" * 81 not in file.read_text()


def test_no_run_has_a_cgroup_of_its_own_where_that_is_said(tmp_path: Path) -> None:
    """It stays in the daemon's, while by default it has one wherever the machine allows it."""
    places = []
    for setting in ("auto", "no"):
        folder = tmp_path / setting
        folder.mkdir()
        with daemon(folder, f'cgroup = "{setting}"\n' + service("web", "exec sleep 1000")) as running:
            pid = running.event("service.running")["pid"]
            places.append([Path(f"/proc/{each}/cgroup").read_text() for each in (pid, running.pid)])
    if places[0][0] == places[0][1]:
        pytest.skip("needs a cgroup (version 2) that the daemon may divide")
    assert places[1][0] == places[1][1]


def test_files_are_included(tmp_path: Path) -> None:
    """Their services run like those of the main file."""
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "more.toml").write_text(service("more", "exec sleep 1000"))
    text = 'include = ["conf.d/*.toml"]\n' + service("web", "exec sleep 1000")
    with daemon(tmp_path, text) as running:
        running.event("service.running", service="more")


@pytest.mark.parametrize(("log", "begins"), [("console", ""), ("journal", "<6>"), ("json", "{")])
def test_lines_of_the_log_look_as_they_are_asked_to(tmp_path: Path, log: str, begins: str) -> None:
    """For people, for the journal, or as objects."""
    lines = _first_lines(tmp_path, f'log = {{ format = "{log}" }}\n')
    assert lines
    assert all(line.startswith(begins) for line in lines)
    assert any(line.startswith("{") for line in lines) == (log == "json")


def test_a_level_leaves_lines_out(tmp_path: Path) -> None:
    """A service that comes and goes is none of them; a failure is."""
    lines = _first_lines(tmp_path, 'log = { level = "error", format = "json" }\n', "/no/such/program")
    assert {json.loads(line)["level"] for line in lines} == {"error"}


def _first_lines(tmp_path: Path, settings: str, program: str = "true") -> list[str]:
    """Return what a daemon writes from its start to its end, which its one service brings about."""
    config = tmp_path / "c.toml"
    keys = f'[daemon]\nsocket = "{tmp_path}/c.sock"\nstate_dir = "{tmp_path}/state"\n{settings}'
    config.write_text(keys + service("web", [program], restart="never", essential="exit"))
    done = subprocess.run(
        [sys.executable, "-m", "reaperd.daemon", "--", config],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stderr.splitlines()


# --- what proves the others -----------------------------------------------------------------------------

HERE: Final = "process/test_keys.py"
LIFE, TREE, ORDER = "process/test_daemon_life.py", "process/test_children_tree.py", "process/test_order.py"
READY, HEALTH, FILES = "process/test_readiness.py", "process/test_health.py", "process/test_output_file.py"
HELPERS, SCHEDULES, ENDS = "process/test_helpers.py", "process/test_schedules.py", "process/test_essential.py"

PROVED_BY: Final[dict[str, str]] = {
    "socket": "process/test_daemon_faults.py::test_a_second_daemon_on_the_same_socket_is_refused",
    "state_dir": "process/test_daemon_faults.py::test_a_second_daemon_on_the_same_lock_is_refused",
    "include": f"{HERE}::test_files_are_included",
    "log.level": f"{HERE}::test_a_level_leaves_lines_out",
    "log.format": f"{HERE}::test_lines_of_the_log_look_as_they_are_asked_to",
    "shutdown_timeout": f"{ENDS}::test_services_that_do_not_end_in_time_are_killed",
    "cgroup": f"{HERE}::test_no_run_has_a_cgroup_of_its_own_where_that_is_said",
    "forward_signals": f"{ENDS}::test_signals_are_handed_on_to_the_services_named",
    "use": "unit/config/test_services.py::test_a_template_gives_what_the_service_leaves_out",
    "command": f"{LIFE}::test_a_missing_program_fails_at_exec",
    "user": f"{HERE}::test_user_and_groups_are_taken_from_the_keys",
    "group": f"{HERE}::test_user_and_groups_are_taken_from_the_keys",
    "supplementary_groups": f"{HERE}::test_user_and_groups_are_taken_from_the_keys",
    **dict.fromkeys(
        (
            *("directory", "umask", "nice", "oom_score_adj", "environment", "environment_files"),
            "clear_environment",
        ),
        f"{HERE}::test_a_process_is_what_its_keys_say",
    ),
    "requires": f"{ORDER}::test_a_failed_requirement_holds_and_is_named",
    "after": f"{HERE}::test_order_alone_holds_until_the_other_is_ready",
    "before": f"{HERE}::test_order_alone_holds_until_the_other_is_ready",
    "instances": f"{ORDER}::test_an_unready_instance_holds_and_all_of_them_are_meant",
    "restart": f"{LIFE}::test_the_restart_policy_decides_what_follows_an_end",
    "backoff.initial": f"{LIFE}::test_a_killed_service_waits_for_its_backoff_and_no_longer",
    "backoff.factor": f"{HERE}::test_each_wait_is_so_much_longer_than_the_last",
    "backoff.max": f"{LIFE}::test_a_crash_loop_backs_off",
    "backoff.jitter": f"{LIFE}::test_a_crash_loop_backs_off",
    "backoff.reset_after": f"{HERE}::test_a_run_that_proved_stable_ends_the_count",
    "start_limit.count": f"{ORDER}::test_a_start_limit_gives_up_and_says_so",
    "start_limit.interval": f"{HERE}::test_starts_of_long_ago_do_not_count_for_the_limit",
    "success_exit_codes": f"{HERE}::test_what_counts_as_success_does",
    "success_signals": f"{HERE}::test_what_counts_as_success_does",
    "ready.notify": "process/test_notify.py::test_any_process_of_the_service_may_say_that_it_is_ready",
    "ready.fd": f"{READY}::test_a_line_in_its_descriptor_makes_it_ready",
    "ready.log": f"{READY}::test_a_matching_line_of_its_output_makes_it_ready",
    "ready.delay": f"{READY}::test_a_delay_makes_it_ready",
    "ready.tcp": f"{READY}::test_a_port_is_tried_until_it_is_there",
    "ready.http": f"{READY}::test_a_page_that_is_there_makes_it_ready",
    "ready.exec": f"{READY}::test_a_command_that_succeeds_makes_it_ready",
    "ready_timeout": f"{READY}::test_a_check_that_hangs_ends_with_the_wait",
    "health.tcp": f"{HEALTH}::test_a_connection_that_hangs_is_a_failure",
    "health.http": f"{HEALTH}::test_a_page_is_asked_for",
    "health.exec": f"{HEALTH}::test_failures_in_a_row_restart_the_service",
    "health.interval": f"{HEALTH}::test_failures_in_a_row_restart_the_service",
    "health.timeout": f"{HEALTH}::test_a_check_that_hangs_is_a_failure",
    "health.failures": f"{HEALTH}::test_who_only_wants_to_know_is_told_once_each_way",
    "health.action": f"{HEALTH}::test_who_only_wants_to_know_is_told_once_each_way",
    "stop.signal": f"{LIFE}::test_the_configured_stop_signal_is_sent",
    "stop.timeout": f"{HERE}::test_a_stop_takes_as_long_as_it_may",
    "stop.command": f"{HELPERS}::test_a_stop_command_stops_in_place_of_the_signal",
    "stop.scope": f"{HERE}::test_a_narrow_scope_leaves_the_others_to_the_main_process",
    "reload.signal": "process/test_reload.py::test_services_reload_themselves_as_they_say",
    "reload.command": "process/test_reload.py::test_services_reload_themselves_as_they_say",
    "process_connector": "process/test_tracking.py::test_without_the_connector_the_clock_finds_an_adoption",
    "essential": f"{ENDS}::test_its_end_ends_the_daemon_with_its_status",
    **{f"limits.{name}": f"{HERE}::test_each_limit_is_set" for name in LIMITS},
    **dict.fromkeys(
        ("memory_max", "cpu_weight", "pids_max"),
        "process/test_shares.py::test_each_instance_has_its_limits_and_a_reload_changes_them",
    ),
    "stdout": f"{FILES}::test_nothing_is_lost_across_restarts_and_reloads",
    "stderr": f"{ENDS}::test_outputs_go_where_they_are_sent",
    "stdout.file": f"{FILES}::test_nothing_is_lost_across_restarts_and_reloads",
    "stdout.max_size": f"{FILES}::test_no_more_than_so_many_old_files_are_kept",
    "stdout.max_age": f"{FILES}::test_an_old_file_is_set_aside_for_its_age",
    "stdout.keep": f"{FILES}::test_no_more_than_so_many_old_files_are_kept",
    "stdout.compress": "process/test_logs.py::test_the_rotated_set_is_shown_as_one",
    "stdout.max_line": f"{HERE}::test_a_line_is_cut_where_that_is_said",
    "stdout.buffer": f"{FILES}::test_what_a_full_disk_drops_is_counted_and_marked",
    "on_failure": f"{HELPERS}::test_hooks_are_told_of_the_end",
    "on_exit": f"{HELPERS}::test_hooks_are_told_of_the_end",
    "oneshot": f"{ORDER}::test_a_oneshot_that_ended_well_satisfies_and_is_not_run_again",
    "schedule.cron": f"{SCHEDULES}::test_cron_runs_by_the_clock",
    "schedule.every": f"{SCHEDULES}::test_every_runs_again_and_again_and_never_early",
    "schedule.overlap": f"{SCHEDULES}::test_a_time_that_comes_too_soon_is_made_up_for",
    "notify_access": "process/test_notify.py::test_with_access_for_main_a_child_is_a_stranger",
}
# Proved where they are at home: who may ask what, and what watches over processes.
ELSEWHERE: Final = ("control", "groups", "zombies", "heal_interval", "track", "sockets", "watchdog")


def _paths(keys: tuple[Key, ...], before: str = "") -> Iterator[str]:
    for key in keys:
        path = before + key.name
        if path in ELSEWHERE or path.startswith("stderr."):
            continue
        if not key.kind.keys or key.kind.keys is FILE:
            yield path
        yield from _paths(key.kind.keys, f"{path}.")


def test_each_key_has_a_test_that_exists() -> None:
    """A new key needs a row, and a test that is renamed takes its rows along."""
    assert set(PROVED_BY) == set(_paths((USE, *DAEMON, *SERVICE)))
    for proof in PROVED_BY.values():
        path, _, name = proof.partition("::")
        text = (ROOT / "tests" / path).read_text()
        assert not name or f"def {name}(" in text, proof
