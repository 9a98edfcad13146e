"""The classic failures of supervisors, each with the test of real processes that it does not happen here."""

from typing import Final

from tests.support.processes import ROOT

LIFE, TREES, FAULTS = "test_daemon_life.py", "test_daemon_trees.py", "test_daemon_faults.py"
RELOAD, LOAD, STAGES = "test_reload.py", "test_daemon_load.py", "test_spawn_stages.py"

CLASSICS: Final[tuple[tuple[str, str, str], ...]] = (
    ("grandchildren that survive a stop", TREES, "test_stop_leaves_no_descendant"),
    ("escapees by setsid and double fork", TREES, "test_each_of_two_services_has_its_own_escapees"),
    (
        "a program that forks faster than it is killed",
        TREES,
        "test_a_service_that_forks_faster_than_it_is_killed_ends",
    ),
    ("a program that hops from pid to pid", TREES, "test_a_service_that_hops_from_pid_to_pid_ends"),
    (
        "a death during a reload",
        RELOAD,
        "test_a_service_that_dies_during_a_reload_comes_back_as_the_new_one",
    ),
    ("a reload during a stop", RELOAD, "test_a_reload_during_a_stop_waits_for_it"),
    ("a stop during a backoff", LIFE, "test_stop_during_a_backoff_ends_the_wait"),
    ("a crash loop with zero uptime", LIFE, "test_a_crash_loop_backs_off"),
    ("a requirement that fails for good", "test_order.py", "test_a_failed_requirement_holds_and_is_named"),
    ("a fork that fails with EAGAIN", FAULTS, "test_a_fork_that_fails_is_tried_again"),
    (
        "a full table of descriptors",
        FAULTS,
        "test_a_daemon_without_descriptors_still_reaps_restarts_and_stops",
    ),
    ("a missing directory", LIFE, "test_a_missing_directory_fails_at_its_stage"),
    ("a user that may not be taken", LIFE, "test_another_user_needs_the_right_to_become_it"),
    ("a limit that may not be set", STAGES, "test_a_limit_above_the_daemons_needs_a_right"),
    ("a missing program", LIFE, "test_a_missing_program_fails_at_exec"),
    ("a missing interpreter", LIFE, "test_a_missing_interpreter_fails_at_exec"),
    ("a stop of a program that stands still", LIFE, "test_a_stopped_process_is_stopped_as_a_service"),
    ("a process in state D", "test_children_daemon.py", "test_one_that_cannot_be_killed_holds_up_nobody"),
    ("a pid that is used again at once", LOAD, "test_a_pid_that_is_used_again_at_once_confuses_nobody"),
    ("a check that hangs", "test_readiness.py", "test_a_check_that_hangs_ends_with_the_wait"),
    (
        "a stop command that fails",
        "test_helpers.py",
        "test_a_stop_command_that_fails_is_followed_by_the_signal_at_once",
    ),
    ("a notification from a stranger", "test_notify.py", "test_a_stranger_is_ignored"),
    (
        "the death of a child of nobody's",
        TREES,
        "test_an_unclaimed_orphan_that_dies_is_reaped_and_forgotten",
    ),
    ("ten thousand restarts", LOAD, "test_ten_thousand_restarts_of_one_service_leave_no_trace"),
    ("a thousand services", LOAD, "test_a_thousand_services_start_crash_come_back_and_stop"),
    (
        "a thousand services in a row",
        LOAD,
        "test_a_chain_of_a_thousand_starts_from_one_end_and_stops_from_the_other",
    ),
    # Nobody can be asked to set the clock of the machine that tests run on: here it is a clock of the test's.
    (
        "a clock that jumps by a day",
        "../unit/supervise/test_schedules.py",
        "test_a_jump_forward_by_a_day_comes_once",
    ),
    (
        "a clock that is set back by a day",
        "../unit/supervise/test_schedules.py",
        "test_a_jump_back_by_a_day_is_not_slept_through",
    ),
)


def test_each_classic_failure_has_a_test_that_exists() -> None:
    """Whoever renames or removes one is told what it stood for."""
    for failure, path, name in CLASSICS:
        text = (ROOT / "tests" / "process" / path).read_text()
        assert f"def {name}(" in text, failure
