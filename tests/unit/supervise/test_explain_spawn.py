import errno
import os
import resource
import signal
from pathlib import Path
from typing import Final

import pytest

from reaperd.children.child import STAGES
from reaperd.config.spec import Limit, ServiceSpec
from reaperd.policy.words import Exited, NotSpawned
from reaperd.supervise.explain import cause_text
from reaperd.supervise.spawn_problem import spawn_problem

SPEC: Final = ServiceSpec(
    "web", ("/no/such",), user="www", group="wheel", directory="/srv", nice=-5, oom_score_adj=-500
)


@pytest.mark.parametrize(
    ("stage", "number", "problem", "hint"),
    [
        ("fork", errno.EAGAIN, "fork: Resource temporarily unavailable", "pids.max"),
        ("cgroup", errno.EAGAIN, "giving it a cgroup: Resource", "cgroup.max.descendants"),
        ("cgroup", errno.EBUSY, "giving it a cgroup: Device or resource busy", "takes no processes"),
        (
            "oom_score_adj",
            errno.EACCES,
            "setting its oom_score_adj to -500: Perm",
            "service.web.oom_score_adj",
        ),
        ("nice", errno.EACCES, "setting its nice value to -5: Permission denied", "CAP_SYS_NICE"),
        ("limits", errno.EPERM, "setting its limits: Operation not permitted", "service.web.limits"),
        ("user", errno.EPERM, "becoming user www with group wheel: Operation", "only root"),
        ("user", errno.EINVAL, "becoming user www with group wheel: Invalid", "uid_map"),
        ("user", errno.ENOENT, "becoming user www with group wheel: no such user or group", "getent"),
        ("directory", errno.ENOENT, "chdir to /srv: No such file or directory", "service.web.directory"),
        (
            "directory",
            errno.EACCES,
            "chdir to /srv: Permission denied",
            "user www with group wheel may not go there",
        ),
        ("descriptors", errno.EINVAL, "placing its descriptors: Invalid argument", "limits.nofile"),
        ("exec", errno.E2BIG, "exec of /no/such: Argument list too long", "too long"),
        ("exec", errno.EAGAIN, "exec of /no/such: Resource temporarily", "limits.nproc"),
        ("exec", errno.ENOENT, "exec of /no/such: No such file or directory", "service.web.command"),
    ],
)
def test_each_stage_says_what_it_was_about(stage: str, number: int, problem: str, hint: str) -> None:
    """What was to be done, why it could not, and what would mend it."""
    said, advice = spawn_problem(NotSpawned(stage, number), SPEC)
    assert said.startswith(problem)
    assert hint in (advice or "")


def test_every_stage_has_a_sentence() -> None:
    """None raises, and none is empty."""
    for stage in STAGES:
        said, _ = spawn_problem(NotSpawned(stage, errno.EPERM), SPEC)
        assert said.endswith(os.strerror(errno.EPERM))


def test_the_limit_that_is_too_high_is_named() -> None:
    """With what is allowed here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spec = ServiceSpec("web", ("x",), limits=(Limit(resource.RLIMIT_NOFILE, soft, hard + 1),))
    said, hint = spawn_problem(NotSpawned("limits", errno.EPERM), spec)
    assert said == f"setting its limit nofile to {hard + 1}: Operation not permitted"
    assert f"hard limit is {hard}" in (hint or "")
    assert "service.web.limits.nofile" in (hint or "")


def test_a_program_that_is_no_program_is_told(tmp_path: Path) -> None:
    """A script without an interpreter or without rights, a directory, a name that is nearly right."""
    script = tmp_path / "serve"
    script.write_text("#!/no/interpreter\n")
    script.chmod(0o755)

    def hint(program: Path, number: int) -> str:
        return spawn_problem(NotSpawned("exec", number), ServiceSpec("web", (str(program),)))[1] or ""

    assert "/no/interpreter" in hint(script, errno.ENOENT)
    script.chmod(0o644)
    assert "chmod +x" in hint(script, errno.EACCES)
    assert "directory" in hint(tmp_path, errno.EACCES)
    assert "serve" in hint(tmp_path / "srve", errno.ENOENT)


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (Exited(code=3), "exited with 3"),
        (Exited(signal=signal.SIGKILL), "ended by SIGKILL"),
        (Exited(signal=signal.SIGSEGV, core_dumped=True), "ended by SIGSEGV, core dumped"),
        (
            Exited(signal=signal.SIGKILL, out_of_memory=True),
            "ended by SIGKILL; the kernel had killed it, or one of its processes, for want of memory",
        ),
        (
            Exited(code=1, out_of_memory=True),
            "exited with 1; the kernel had killed it, or one of its processes, for want of memory",
        ),
    ],
)
def test_an_end_says_whose_doing_it_was(cause: Exited, text: str) -> None:
    """Code, signal, core and the kernel's want of memory are told apart."""
    assert cause_text(cause, SPEC) == text
