"""Which test proves which key of the configuration: it fails where the key has no effect."""

from collections.abc import Iterator
from typing import Final

from reaperd.config.daemon_keys import DAEMON
from reaperd.config.keys import SERVICE, USE
from reaperd.config.limits import LIMITS
from reaperd.config.outputs import FILE
from reaperd.config.table import Key
from tests.support.processes import ROOT

KEYS: Final = "process/test_keys.py"
LIFE, TREE, ORDER = "process/test_daemon_life.py", "process/test_children_tree.py", "process/test_order.py"
READY, HEALTH, FILES = "process/test_readiness.py", "process/test_health.py", "process/test_output_file.py"
TRACKING: Final = "process/test_tracking.py"
CONTROL, ZOMBIES, SOCKETS = (
    "process/test_control_rights.py",
    "process/test_daemon_zombies.py",
    "process/test_listeners.py",
)
HELPERS, SCHEDULES, ENDS = "process/test_helpers.py", "process/test_schedules.py", "process/test_essential.py"


def _of_both(proofs: dict[str, str]) -> dict[str, str]:
    """Return the proofs of keys that both outputs have; each test is about both."""
    return {f"{stream}.{name}": proof for stream in ("stdout", "stderr") for name, proof in proofs.items()}


PROVED_BY: Final[dict[str, str]] = {
    "daemon.socket": "process/test_daemon_faults.py::test_a_second_daemon_on_the_same_socket_is_refused",
    "daemon.state_dir": "process/test_daemon_faults.py::test_a_second_daemon_on_the_same_lock_is_refused",
    "daemon.include": f"{KEYS}::test_files_are_included",
    "daemon.log.level": f"{KEYS}::test_a_level_leaves_lines_out",
    "daemon.log.format": f"{KEYS}::test_lines_of_the_log_look_as_they_are_asked_to",
    "daemon.shutdown_timeout": f"{ENDS}::test_services_that_do_not_end_in_time_are_killed",
    "daemon.cgroup": f"{KEYS}::test_no_run_has_a_cgroup_of_its_own_where_that_is_said",
    "daemon.forward_signals": f"{ENDS}::test_signals_are_handed_on_to_the_services_named",
    "use": "unit/config/test_services.py::test_a_template_gives_what_the_service_leaves_out",
    "command": f"{LIFE}::test_a_missing_program_fails_at_exec",
    "user": f"{KEYS}::test_user_and_groups_are_taken_from_the_keys",
    "group": f"{KEYS}::test_user_and_groups_are_taken_from_the_keys",
    "supplementary_groups": f"{KEYS}::test_user_and_groups_are_taken_from_the_keys",
    **dict.fromkeys(
        (
            *("directory", "umask", "nice", "oom_score_adj", "environment", "environment_files"),
            "clear_environment",
        ),
        f"{KEYS}::test_a_process_is_what_its_keys_say",
    ),
    "requires": f"{ORDER}::test_a_failed_requirement_holds_and_is_named",
    "after": f"{KEYS}::test_order_alone_holds_until_the_other_is_ready",
    "before": f"{KEYS}::test_order_alone_holds_until_the_other_is_ready",
    "instances": f"{ORDER}::test_an_unready_instance_holds_and_all_of_them_are_meant",
    "restart": f"{LIFE}::test_the_restart_policy_decides_what_follows_an_end",
    "backoff.initial": f"{LIFE}::test_a_killed_service_waits_for_its_backoff_and_no_longer",
    "backoff.factor": f"{KEYS}::test_each_wait_is_so_much_longer_than_the_last",
    "backoff.max": f"{LIFE}::test_a_crash_loop_backs_off",
    "backoff.jitter": f"{LIFE}::test_a_crash_loop_backs_off",
    "backoff.reset_after": f"{KEYS}::test_a_run_that_proved_stable_ends_the_count",
    "start_limit.count": f"{ORDER}::test_a_start_limit_gives_up_and_says_so",
    "start_limit.interval": f"{KEYS}::test_starts_of_long_ago_do_not_count_for_the_limit",
    "success_exit_codes": f"{KEYS}::test_what_counts_as_success_does",
    "success_signals": f"{KEYS}::test_what_counts_as_success_does",
    "ready.notify": "process/test_notify.py::test_a_stranger_is_ignored",
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
    "stop.timeout": f"{KEYS}::test_a_stop_takes_as_long_as_it_may",
    "stop.command": f"{HELPERS}::test_a_stop_command_stops_in_place_of_the_signal",
    "stop.scope": f"{KEYS}::test_a_stop_signals_as_far_as_its_scope",
    "reload.signal": "process/test_reload.py::test_services_reload_themselves_as_they_say",
    "reload.command": "process/test_reload.py::test_services_reload_themselves_as_they_say",
    "daemon.process_connector": f"{TRACKING}::test_without_the_connector_the_clock_finds_an_adoption",
    "essential": f"{ENDS}::test_its_end_ends_the_daemon_with_its_status",
    **{f"limits.{name}": f"{KEYS}::test_each_limit_is_set" for name in (key.name for key in LIMITS)},
    **dict.fromkeys(
        ("memory_max", "cpu_weight", "pids_max"),
        # Where the controllers are missing they have another effect, and this is seen everywhere.
        "process/test_shares.py::test_limits_without_effect_are_said_once_and_the_service_runs",
    ),
    "stdout": f"{FILES}::test_nothing_is_lost_across_restarts_and_reloads",
    "stderr": f"{ENDS}::test_outputs_go_where_they_are_sent",
    **_of_both(
        {
            "file": f"{FILES}::test_both_outputs_in_their_order_or_apart",
            "max_size": f"{FILES}::test_no_more_than_so_many_old_files_are_kept",
            "max_age": f"{FILES}::test_an_old_file_is_set_aside_for_its_age",
            "keep": f"{FILES}::test_no_more_than_so_many_old_files_are_kept",
            "compress": f"{KEYS}::test_old_files_are_compressed_where_that_is_said",
            "max_line": f"{KEYS}::test_a_line_is_cut_where_that_is_said",
            "buffer": f"{FILES}::test_what_a_full_disk_drops_is_counted_and_marked",
        }
    ),
    "on_failure": f"{HELPERS}::test_hooks_are_told_of_the_end",
    "on_exit": f"{HELPERS}::test_hooks_are_told_of_the_end",
    "oneshot": f"{ORDER}::test_a_oneshot_that_ended_well_satisfies_and_is_not_run_again",
    "schedule.cron": f"{SCHEDULES}::test_cron_runs_by_the_clock",
    "schedule.every": f"{SCHEDULES}::test_every_runs_again_and_again_and_never_early",
    "schedule.overlap": f"{SCHEDULES}::test_a_time_that_comes_too_soon_is_made_up_for",
    "notify_access": "process/test_notify.py::test_with_access_for_main_a_child_is_a_stranger",
    "groups": "process/test_names.py::test_every_command_takes_groups_and_patterns",
    "watchdog": "process/test_watchdog.py::test_a_service_that_falls_silent_is_restarted",
    "sockets.listen": f"{SOCKETS}::test_a_service_finds_its_sockets_in_order",
    "sockets.name": f"{SOCKETS}::test_a_service_finds_its_sockets_in_order",
    "sockets.mode": f"{SOCKETS}::test_a_file_has_the_mode_and_the_owner_that_are_asked_for",
    "sockets.user": f"{SOCKETS}::test_a_file_has_the_mode_and_the_owner_that_are_asked_for",
    "sockets.group": f"{SOCKETS}::test_a_file_has_the_mode_and_the_owner_that_are_asked_for",
    "sockets.backlog": f"{SOCKETS}::test_as_many_may_wait_as_are_allowed",
    "zombies.age": f"{ZOMBIES}::test_zombies_that_stay_are_an_event_and_a_column",
    "zombies.limit": f"{ZOMBIES}::test_a_limit_restarts_the_service",
    "zombies.action": f"{ZOMBIES}::test_a_limit_may_only_be_reported",
    "daemon.zombies": f"{ZOMBIES}::test_a_nudge_clears_what_a_handler_missed",
    "daemon.heal_interval": f"{TRACKING}::test_without_the_connector_the_clock_finds_an_adoption",
    "daemon.track": f"{TRACKING}::test_a_daemon_can_follow_the_whole_machine",
    "daemon.control.mode": f"{CONTROL}::test_the_socket_has_the_mode_that_is_asked_for",
    "daemon.control.group": f"{CONTROL}::test_rights_change_with_a_reload",
    "daemon.control.read": f"{CONTROL}::test_every_route_by_every_right",
    "daemon.control.operate": f"{CONTROL}::test_every_route_by_every_right",
    "daemon.control.admin": f"{CONTROL}::test_every_route_by_every_right",
    "daemon.control.tcp": f"{CONTROL}::test_over_tcp_a_token_decides",
    "daemon.control.token_file": f"{CONTROL}::test_over_tcp_a_token_decides",
}


def _paths(keys: tuple[Key, ...], before: str = "") -> Iterator[str]:
    for key in keys:
        path = before + key.name
        if not key.kind.keys or key.kind.keys is FILE:
            yield path
        yield from _paths(key.kind.keys, f"{path}.")


def test_each_key_has_a_test_that_exists() -> None:
    """A new key needs a row, and a test that is renamed takes its rows along."""
    assert set(PROVED_BY) == {*_paths((USE, *SERVICE)), *_paths(DAEMON, "daemon.")}
    for proof in PROVED_BY.values():
        path, _, name = proof.partition("::")
        text = (ROOT / "tests" / path).read_text()
        assert not name or f"def {name}(" in text, proof
