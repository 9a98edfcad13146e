"""What a service finds when it starts: nothing of the daemon's that it should not have."""

import json
import os
import resource
import signal
from pathlib import Path
from typing import Any, Final

from tests.support.daemon import daemon, sh
from tests.support.masks import signal_mask
from tests.support.processes import need_program, need_root, system_python

# Says as JSON what the kernel shows of the process that runs it.
REPORT: Final = """
import json, os, resource
links = {name: f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")}
fds = {name: os.readlink(link) for name, link in links.items() if os.path.lexists(link)}
print("report", json.dumps({
    "fds": fds,
    "nofile": resource.getrlimit(resource.RLIMIT_NOFILE),
    "pid": os.getpid(), "pgid": os.getpgid(0), "sid": os.getsid(0), "ppid": os.getppid(),
    "ids": [os.getresuid(), os.getresgid(), os.getgroups()],
    "environ": dict(os.environ),
    "cwd": os.getcwd(),
    "argv": open("/proc/self/cmdline").read().split("\\0")[:-1],
    "stdin": os.read(0, 10).decode(),
}), flush=True)
"""


def _report(
    tmp_path: Path, prefix: tuple[str, ...] = (), given: dict[str, str] | None = None, **keys: object
) -> dict[str, Any]:
    """Return what a service with these keys reports."""
    web = {"command": [system_python(), "-ISc", REPORT], "restart": "never", "directory": "/", **keys}
    with daemon(tmp_path, {"web": web}, prefix=prefix, environment=given) as reaperd:
        assert reaperd.wait_for("service.exited", service="web")["code"] == 0, reaperd.log.all()
        report: dict[str, Any] = json.loads(" ".join(reaperd.hear("report")))
        report["daemon"] = reaperd.pid
    return report


def _masks(tmp_path: Path, prefix: tuple[str, ...] = ()) -> dict[str, int]:
    """Return the signal masks of a service that changes none itself."""
    script = "echo masks $(grep -E '^Sig(Blk|Ign|Pnd)' /proc/self/status)"
    with daemon(tmp_path, {"web": sh(script, restart="never")}, prefix=prefix) as reaperd:
        words = iter(reaperd.hear("masks"))
    return {name.rstrip(":"): signal_mask(next(words)) for name in words}


def test_no_signal_is_blocked_or_ignored(tmp_path: Path) -> None:
    """Neither what the daemon blocks around its poll, nor what its interpreter ignores."""
    assert _masks(tmp_path) == {"SigBlk": 0, "SigIgn": 0, "SigPnd": 0}


def test_what_the_caller_blocks_stays_blocked(tmp_path: Path) -> None:
    """The mask is the caller's own: a program that relies on an inherited one finds it."""
    block = "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1});"
    prefix = (system_python(), "-ISc", f"{block} os.execvp(sys.argv[1], sys.argv[1:])")
    assert _masks(tmp_path, prefix)["SigBlk"] == 1 << (signal.SIGUSR1 - 1)


def test_what_the_caller_ignores_is_not_ignored(tmp_path: Path) -> None:
    """A daemon started by nohup does not hand that on: its services can be hung up and piped."""
    ignore = "trap '' HUP USR1 PIPE; exec \"$@\""
    assert _masks(tmp_path, ("sh", "-c", ignore, "sh"))["SigIgn"] == 0


def test_only_the_three_standard_descriptors_are_open(tmp_path: Path) -> None:
    """Standard input is /dev/null, output and errors are the daemon's, and there is nothing else."""
    fds = _report(tmp_path)["fds"]
    assert sorted(fds) == ["0", "1", "2"]
    assert fds["0"] == "/dev/null"
    assert fds["1"].startswith("pipe:")
    assert fds["2"].startswith("pipe:")


def test_a_descriptor_that_the_caller_left_open_is_not_handed_on(tmp_path: Path) -> None:
    """Whatever the shell that started the daemon had open is no business of its services."""
    leaky = 'exec 7</etc/passwd 9>/dev/null; exec "$@"'
    assert sorted(_report(tmp_path, prefix=("sh", "-c", leaky, "sh"))["fds"]) == ["0", "1", "2"]


def test_standard_input_is_at_its_end(tmp_path: Path) -> None:
    """A program that reads gets nothing, and does not wait."""
    assert _report(tmp_path)["stdin"] == ""


def test_the_limit_of_descriptors_is_the_caller_s(tmp_path: Path) -> None:
    """The daemon raised its own soft limit; each service gets the former one back."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    prefix = (need_program("prlimit"), f"--nofile=300:{min(hard, 4000)}", "--")
    assert _report(tmp_path, prefix=prefix)["nofile"] == [300, min(hard, 4000)]


def test_it_leads_a_session_and_a_group_of_its_own(tmp_path: Path) -> None:
    """And it is the daemon's child."""
    report = _report(tmp_path)
    assert report["sid"] == report["pgid"] == report["pid"]
    assert report["ppid"] == report["daemon"]


def test_the_environment_is_the_caller_s_with_marks(tmp_path: Path) -> None:
    """SERVICE and the run's marker are added, the service's own settings win, private ones are taken out."""
    given = {
        "FROM_CALLER": "1",
        "SHADOWED": "caller",
        "NOTIFY_SOCKET": "/x",
        "LISTEN_FDS": "1",
        "WATCHDOG_USEC": "9",
    }
    environ = _report(tmp_path, given=given, environment={"SHADOWED": "service"})["environ"]
    assert (environ["FROM_CALLER"], environ["SHADOWED"], environ["SERVICE"]) == ("1", "service", "web")
    assert environ["REAPERD_RUN"]
    assert not set(environ) & {"NOTIFY_SOCKET", "LISTEN_FDS", "WATCHDOG_USEC"}


def test_each_run_has_another_marker(tmp_path: Path) -> None:
    """So that an orphan of the last run is never taken for one of this."""
    web = {
        "command": ["sh", "-c", "echo run $REAPERD_RUN; exit 1"],
        "backoff": {"initial": "1ms", "max": "1ms"},
    }
    with daemon(tmp_path, {"one": web, "two": web}) as reaperd:
        runs = [reaperd.hear("run")[0] for _ in range(8)]
    assert len(set(runs)) == len(runs)


def test_user_and_groups_are_the_service_s(tmp_path: Path) -> None:
    """Real, effective and saved ids at once, and no group of the daemon's."""
    need_root()
    uids, gids, groups = _report(tmp_path, user="nobody")["ids"]
    assert len(set(uids)) == len(set(gids)) == 1
    assert 0 not in (uids[0], gids[0], *groups)


def test_a_plain_user_may_ask_for_himself(tmp_path: Path) -> None:
    """Naming one's own user takes no right, so it does not fail."""
    uids, _gids, _groups = _report(tmp_path, user=str(os.getuid()))["ids"]
    assert set(uids) == {os.getuid()}


def test_words_reach_the_program_as_they_are(tmp_path: Path) -> None:
    """Spaces, quotes, dollars and stars mean nothing: there is no shell."""
    words = ["", " ", "a b", "$HOME", "*", "'\"\\", "\u00e9"]
    report = _report(tmp_path, command=[system_python(), "-ISc", REPORT, *words])
    assert report["argv"][-len(words) :] == words


def test_the_directory_is_the_configured_one(tmp_path: Path) -> None:
    """And without one it is the daemon's."""
    assert _report(tmp_path, directory=str(tmp_path))["cwd"] == str(tmp_path)
