"""Between fork and exec: what each stage does to the program, and how each fails by its own name."""

import errno
import os
import resource
import signal
from pathlib import Path
from typing import Any, Final

import pytest

from reaperd.children.child import StageFailed
from reaperd.config.spec import Limit
from reaperd.kernel import prctl, procfs
from tests.support.masks import signal_mask
from tests.support.nursery import nursery, read_line
from tests.support.processes import call_in_process, need_root, wait_state

NOBODY: Final = 65534
PR_SET_DUMPABLE: Final = 4


def _become_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    # A change of user makes /proc/self root's until the next exec: a daemon that was started so has none.
    prctl._prctl(PR_SET_DUMPABLE, 1)


def _said(script: str, keys: dict[str, Any]) -> str:  # Any: keys of a spec, as JSON
    """Return the line that a shell of these keys writes to descriptor 3."""
    read, write = os.pipe()
    for name in ("supplementary_groups", "environment"):
        if name in keys:
            keys[name] = tuple(tuple(each) if isinstance(each, list) else each for each in keys[name])
    if "limits" in keys:
        keys["limits"] = tuple(Limit(*each) for each in keys["limits"])
    with nursery(cgroups=False) as kids:
        kids.start(["/bin/sh", "-c", f"exec >&3; {script}"], descriptors=((write, 3),), **keys)
        return read_line(read)


def _shows(script: str, said: str, **keys: object) -> None:
    assert call_in_process(_said, script, keys) == said


# --- what the program finds -----------------------------------------------------------------------------


def test_limits_are_set() -> None:
    """Soft and hard, each limit by its own."""
    limits = [[resource.RLIMIT_NOFILE, 50, 60], [resource.RLIMIT_CORE, 0, 0]]
    _shows("echo $(ulimit -Sn) $(ulimit -Hn) $(ulimit -c)", "50 60 0", limits=limits)


def test_the_score_is_set() -> None:
    """A program may be made the first to be killed for memory."""
    _shows("echo $(cat /proc/self/oom_score_adj)", "700", oom_score_adj=700)


def test_the_nice_value_is_set() -> None:
    """It is the value itself, not one on top of the daemon's."""
    _shows("nice", "7", nice=7)


def test_the_umask_is_set() -> None:
    """Files that it makes do not get these modes."""
    _shows("umask", "0027", umask=0o027)


def test_the_directory_is_entered() -> None:
    """Before the program is looked for."""
    _shows("pwd", "/proc", directory="/proc")


def test_user_and_groups_are_taken() -> None:
    """All of them, saved ones too, and no group of the daemon's is left."""
    need_root()
    keys = {"user": str(NOBODY), "group": "12", "supplementary_groups": ["7", "3"]}
    script = "echo $(sed -n -e 's/^[UG]id:\\|^Groups://p' /proc/self/status)"
    _shows(script, f"{NOBODY} {NOBODY} {NOBODY} {NOBODY} 12 12 12 12 3 7", **keys)


def test_the_environment_is_the_users() -> None:
    """His home, not root's."""
    need_root()
    _shows("echo $USER $LOGNAME $SERVICE", "nobody nobody web", user="nobody")


def _like_the_caller() -> list[object]:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    with nursery(cgroups=False) as kids:
        _, pid = kids.start(["sleep", "1000"])
        wait_state(pid, "S")  # it opens its libraries, and closes them, before it sleeps
        status = procfs.read_status(pid) or {}
        names = sorted(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names are all that is wanted
        sets = [signal_mask(status[name]) for name in ("SigBlk", "SigIgn", "SigCgt")]
        return [sets, names, os.getsid(pid) == os.getpgid(pid) == pid]


def test_a_program_starts_with_clean_hands() -> None:
    """No signal is blocked, ignored or caught, no descriptor is left open, and the session is its own."""
    assert call_in_process(_like_the_caller) == [[0, 0, 0], ["0", "1", "2"], True]


# --- how a stage fails ----------------------------------------------------------------------------------


def _fails(command: list[str], keys: dict[str, Any], plain: bool) -> list[object]:  # noqa: FBT001 # Any: JSON
    if plain and os.getuid() == 0:
        _become_nobody()
    if "limits" in keys:
        keys["limits"] = tuple(Limit(*each) for each in keys["limits"])
    descriptors = tuple(tuple(each) for each in keys.pop("descriptors", ()))
    for name in ("supplementary_groups", "environment"):
        if name in keys:
            keys[name] = tuple(tuple(each) if isinstance(each, list) else each for each in keys[name])
    with nursery(cgroups=False) as kids:
        _, failed = kids.try_start(command, descriptors=descriptors, **keys)
        return [failed.stage, failed.errno] if isinstance(failed, StageFailed) else ["none", failed]


def _refused(stage: str, number: int, *command: str, plain: bool = False, **keys: object) -> None:
    words = list(command) or ["/bin/true"]
    assert call_in_process(_fails, words, keys, plain) == [stage, number]


def test_a_score_below_the_daemons_needs_a_right() -> None:
    """Without CAP_SYS_RESOURCE it is EACCES, and no program runs."""
    _refused("oom_score_adj", errno.EACCES, plain=True, oom_score_adj=-500)


def test_a_nice_value_below_the_daemons_needs_a_right() -> None:
    """Without CAP_SYS_NICE it is EACCES, and no program runs."""
    _refused("nice", errno.EACCES, plain=True, nice=-5)


def test_a_limit_above_the_daemons_needs_a_right() -> None:
    """Without CAP_SYS_RESOURCE it is EPERM, and no program runs."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    _refused("limits", errno.EPERM, plain=True, limits=[[resource.RLIMIT_NOFILE, 10, hard + 1]])


def test_another_user_needs_a_right() -> None:
    """A plain user cannot become another one, nor take another's groups."""
    _refused("user", errno.EPERM, plain=True, user="4711", group="4711")
    _refused("user", errno.EPERM, plain=True, supplementary_groups=["4711"])


def test_a_plain_user_may_ask_for_himself() -> None:
    """No right is needed for no change; his groups stay as they are."""
    stage, pid = call_in_process(
        _fails, ["/bin/true"], {"user": str(NOBODY if os.getuid() == 0 else os.getuid())}, True
    )
    assert (stage, pid > 0) == ("none", True)


@pytest.mark.parametrize(("directory", "number"), [("/no/such", errno.ENOENT), ("/dev/null", errno.ENOTDIR)])
def test_a_directory_must_be_one(directory: str, number: int) -> None:
    """Missing and not a directory are told apart."""
    _refused("directory", number, directory=directory)


def test_a_directory_is_entered_by_the_rights_of_the_user(tmp_path: Path) -> None:
    """One that root alone may enter is refused to whom the program runs as."""
    need_root()
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    _refused("directory", errno.EACCES, directory=str(secret), user=str(NOBODY), group=str(NOBODY))


def test_a_descriptor_needs_room() -> None:
    """A limit below the number that it is to have is EINVAL."""
    _refused("descriptors", errno.EINVAL, descriptors=[[0, 30]], limits=[[resource.RLIMIT_NOFILE, 20, 20]])


def _file(path: Path, text: str, mode: int) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_a_program_must_be_one(tmp_path: Path) -> None:
    """Missing, without the right to run, without or with a missing interpreter: each by its number."""
    _refused("exec", errno.ENOENT, "/no/such")
    _refused("exec", errno.ENOENT, "no-such-program-in-path", environment=[["PATH", "/usr/bin:/bin"]])
    _refused("exec", errno.ENOTDIR, "/dev/null/x")
    _refused("exec", errno.EACCES, str(tmp_path))
    _refused("exec", errno.EACCES, _file(tmp_path / "plain", "#!/bin/sh\n", 0o644))
    _refused("exec", errno.ENOENT, _file(tmp_path / "orphan", "#!/no/interpreter\n", 0o755))
    _refused("exec", errno.ENOEXEC, _file(tmp_path / "text", "echo\n", 0o755))


def _too_long() -> list[object]:
    return _fails(["/bin/true", "x" * 140_000], {}, False)


def test_words_can_be_too_long() -> None:
    """One of more than 128 KiB is: execve(2)."""
    assert call_in_process(_too_long) == ["exec", errno.E2BIG]


def _second_process() -> list[object]:
    with nursery(cgroups=False) as kids:
        kids.start(["sleep", "1000"], user="4711", group="4711")
        none = (Limit(resource.RLIMIT_NPROC, 0, 0),)
        _, failed = kids.try_start(["sleep", "1000"], user="4711", group="4711", limits=none)
        return [failed.stage, failed.errno] if isinstance(failed, StageFailed) else ["none", failed]


def test_processes_of_a_user_are_limited_at_the_exec() -> None:
    """A change of user lets one above his limit live, execve does not: EAGAIN, setuid(2)."""
    need_root()
    assert call_in_process(_second_process) == ["exec", errno.EAGAIN]


def _collected(command: list[str]) -> list[object]:
    with nursery(cgroups=False) as kids:
        run_id, failed = kids.try_start(command)
        kids.wait_empty(run_id)
        (ended,) = kids.ended
        return [isinstance(failed, StageFailed), os.waitstatus_to_exitcode(ended.status)]


def test_a_child_that_failed_is_collected() -> None:
    """It leaves as a shell would: 127 for a missing program, 126 for one that cannot be run."""
    assert call_in_process(_collected, ["/no/such"]) == [True, 127]
    assert call_in_process(_collected, ["/dev"]) == [True, 126]
