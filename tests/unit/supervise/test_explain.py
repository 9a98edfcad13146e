import errno
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reaperd.config.spec import Restart, ServiceSpec, Stop
from reaperd.policy.stop import LAST_RUNG, SIGNAL_RUNG
from reaperd.policy.words import Cause, Exited, NotSpawned, Run, State, Want
from reaperd.supervise.explain import cause_text, unkillable, why
from reaperd.supervise.spawn_problem import spawn_problem

S = 1_000_000_000
SPEC = ServiceSpec("web", ("/srv/web", "-x"), restart=Restart.ON_FAILURE, stop=Stop(signal=15))
GONE = "it is gone since the configuration was read: getent passwd and getent group list all"
NOT_ROOT = "only root (CAP_SETUID, CAP_SETGID) may change to another user or group"
Write = Callable[..., Path]


def said(run: Run, *, next_ns: int | None = None, stuck: bool = False) -> str | None:
    """Return the sentence at second 100."""
    return why(run, SPEC, now_ns=100 * S, next_ns=next_ns, stuck=stuck)


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (None, "never ran"),
        (Exited(code=0), "exited with 0"),
        (Exited(code=137), "exited with 137"),
        (Exited(signal=9), "ended by SIGKILL"),
        (Exited(signal=11, core_dumped=True), "ended by SIGSEGV, core dumped"),
        (Exited(signal=signal.SIGRTMIN + 2), "ended by SIGRTMIN+2"),
        (NotSpawned("exec", errno.ENOENT), "exec of /srv/web: No such file or directory"),
        (NotSpawned("fork", errno.EAGAIN), "fork: Resource temporarily unavailable"),
    ],
)
def test_how_it_ended(cause: Cause | None, text: str) -> None:
    """Half a sentence for each end."""
    assert cause_text(cause, SPEC) == text


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (Run(), None),
        (Run(state=State.STOPPED, cause=Exited(code=1)), None),
        (Run(state=State.STARTING), None),
        (Run(state=State.RUNNING), None),
        (Run(state=State.RUNNING, cause=Exited(code=1)), "before that: exited with 1"),
        (Run(state=State.STARTING, cause=Exited(signal=9)), "before that: ended by SIGKILL"),
        (Run(state=State.STOPPING), None),
        (Run(state=State.STOPPING, rung=LAST_RUNG), "SIGTERM was not enough; SIGKILL sent"),
        (Run(state=State.STOPPING, rung=SIGNAL_RUNG), None),
        (
            Run(state=State.RUNNING, cause=Exited(signal=15), as_asked=True),
            "before that: stopped as asked (ended by SIGTERM)",
        ),
        (Run(state=State.EXITED, cause=Exited(code=0)), "exited with 0; restart = on-failure"),
        (Run(state=State.FAILED, cause=Exited(code=1)), "exited with 1; restart = on-failure"),
    ],
)
def test_each_state_says_what_its_name_does_not(run: Run, sentence: str | None) -> None:
    """And nothing where there is nothing to add."""
    assert said(run) == sentence


@pytest.mark.parametrize(
    ("left_ns", "shown"), [(1_540_000_000, "1s500ms"), (90 * S, "1m30s"), (0, "0s"), (-5 * S, "0s")]
)
def test_a_wait_says_how_long_it_still_is(left_ns: int, shown: str) -> None:
    """To a tenth of a second, and never below zero."""
    run = Run(state=State.BACKOFF, failures=3, cause=Exited(code=1))
    assert said(run, next_ns=100 * S + left_ns) == f"exited with 1; failure 3 in a row, next try in {shown}"


def test_a_wait_whose_timer_has_just_come_due_says_so() -> None:
    """Between the timer and the decision there is no deadline to read."""
    run = Run(state=State.BACKOFF, failures=1, cause=Exited(code=1))
    assert said(run) == "exited with 1; failure 1 in a row, next try in 0s"


def test_a_tree_that_cannot_be_killed_says_what_to_do() -> None:
    """Rather than that SIGKILL was sent."""
    sentence = said(Run(state=State.STOPPING, rung=LAST_RUNG), stuck=True)
    assert sentence == "its processes fork faster than they can be stopped; stop it again to go on trying"


def test_a_stop_that_went_beyond_its_command_says_so() -> None:
    """And only while the signal has its time."""
    commanded = replace(SPEC, stop=Stop(command=("bye",)))
    run = Run(state=State.STOPPING, rung=SIGNAL_RUNG, as_asked=True)
    assert (
        why(run, commanded, now_ns=0, next_ns=None, stuck=False) == "after its stop command SIGTERM was sent"
    )


@pytest.mark.parametrize(
    ("channel", "end"),
    [
        ("kernel_clone", "(waits in the kernel at kernel_clone), where no signal reaches it; it ends once"),
        ("__refrigerator", "at __refrigerator), where no signal reaches it; its cgroup is frozen: thaw that"),
        (None, "(waits in the kernel), where no signal reaches it; it ends once that wait is over"),
    ],
)
def test_who_cannot_be_killed_is_named_with_what_it_waits_for(channel: str | None, end: str) -> None:
    """Its pid and name, its state, and the function of the kernel where that is known."""
    sentence = unkillable(4711, "nfs", channel)
    assert sentence.startswith("SIGKILL sent, and pid 4711 (nfs) cannot end: it is in state D")
    assert end in sentence


STAGES = st.sampled_from(["fork", "session", "user", "directory", "exec"])
CAUSES = st.one_of(
    st.none(),
    st.builds(Exited, code=st.integers(0, 255)),
    st.builds(Exited, signal=st.integers(1, 64), core_dumped=st.booleans()),
    st.builds(
        NotSpawned, st.sampled_from(["fork", "session", "user", "directory", "exec"]), st.integers(1, 140)
    ),
)


@given(CAUSES, st.sampled_from(State), st.sampled_from(Want), st.integers(0, LAST_RUNG), st.booleans())
def test_there_is_a_sentence_for_everything(
    cause: Cause | None,
    state: State,
    want: Want,
    rung: int,
    stuck: bool,  # noqa: FBT001 - drawn
) -> None:
    """No cause, state or error number is without words."""
    sentence = said(Run(state, want, cause, failures=1, rung=rung), stuck=stuck)
    assert sentence is None or (sentence.strip() == sentence and sentence)


# --- why a child did not become its program -------------------------------------------------------------


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a program and returns its path."""

    def write_program(name: str, text: str, mode: int = 0o755) -> Path:
        path = tmp_path / name
        path.write_text(text)
        path.chmod(mode)
        return path

    return write_program


def hint_for(command: str | Path, number: int, **more: str) -> str | None:
    """Return the hint for an exec that failed."""
    spec = replace(SPEC, command=(str(command),), **more)  # type: ignore[arg-type] # its own fields
    return spawn_problem(NotSpawned("exec", number), spec)[1]


def test_a_name_that_path_does_not_have() -> None:
    """Points at the key."""
    assert hint_for("web", errno.ENOENT) == "not in PATH (service.web.command)"


@pytest.mark.parametrize("number", [errno.ENOEXEC, errno.EIO])
def test_a_name_that_was_found_is_not_said_to_be_missing(number: int) -> None:
    """What failed then was something else."""
    assert hint_for("web", number) is None


def test_a_path_that_is_not_there(write: Write) -> None:
    """Suggests what is beside it, or at least names the key."""
    path = write("server", "")
    assert hint_for(path.with_name("sevrer"), errno.ENOENT) == 'did you mean "server"? (service.web.command)'
    assert hint_for(path.with_name("zzz"), errno.ENOENT) == "service.web.command"
    assert hint_for(path.with_name("no") / "way", errno.ENOENT) == "service.web.command"


def test_a_relative_path_is_looked_for_where_the_program_would_start(write: Write) -> None:
    """In the service's directory, not in the daemon's."""
    path = write("server", "")
    hint = hint_for("./sevrer", errno.ENOENT, directory=str(path.parent))
    assert hint == 'did you mean "server"? (service.web.command)'


def test_a_directory(tmp_path: Path) -> None:
    """Is no program."""
    assert hint_for(tmp_path, errno.EACCES) == "that is a directory"


@pytest.mark.parametrize("text", ["#!/bin/sh\n", "\x7fELF", ""])
def test_a_file_that_is_not_executable(write: Write, text: str) -> None:
    """Is to be made executable, script or not: its interpreter line has no part in it."""
    path = write("server", text, mode=0o644)
    assert hint_for(path, errno.EACCES) == f"make it executable: chmod +x {path}"


def test_an_interpreter_that_is_missing(write: Write) -> None:
    """The script itself is there, so its first line is shown."""
    path = write("server", "#!/usr/bin/pyhton3\nimport os\n")
    assert hint_for(path, errno.ENOENT) == "check its interpreter line: '#!/usr/bin/pyhton3'"


def test_a_script_without_an_interpreter_line(write: Write) -> None:
    """The kernel does not know what to do with it, and there is no shell that would guess."""
    assert hint_for(write("server", "echo hello\n"), errno.ENOEXEC) == (
        "a script begins with a line like #!/bin/sh"
    )


def test_other_failures_of_a_good_program_have_no_hint(write: Write) -> None:
    """None is better than a wrong one."""
    assert hint_for(write("server", "\x7fELF"), errno.EIO) is None


@pytest.mark.parametrize("command", ["web", "/srv/web"])
def test_what_the_machine_lacks_is_not_the_programs_fault(command: str) -> None:
    """Whether the name was looked up or not."""
    assert hint_for(command, errno.ENOMEM) == (
        "the machine is short of memory, or limits.as is too small for it"
    )


@pytest.mark.parametrize(
    ("stage", "number", "more", "problem", "hint"),
    [
        (
            "directory",
            errno.ENOENT,
            {"directory": "/srv"},
            "chdir to /srv: No such file or directory",
            "service.web.directory",
        ),
        (
            "user",
            errno.EPERM,
            {"user": "www"},
            "becoming user www: Operation not permitted",
            f"{NOT_ROOT} (service.web.user)",
        ),
        (
            "user",
            errno.ENOENT,
            {"user": "www"},
            "becoming user www: no such user or group",
            f"{GONE} (service.web.user)",
        ),
        (
            "user",
            errno.ENOENT,
            {"group": "www"},
            "becoming group www: no such user or group",
            f"{GONE} (service.web.group)",
        ),
        (
            "user",
            errno.EPERM,
            {"supplementary_groups": ("www",)},
            "becoming supplementary groups www: Operation not permitted",
            f"{NOT_ROOT} (service.web.supplementary_groups)",
        ),
        (
            "user",
            errno.EAGAIN,
            {"user": "www"},
            "becoming user www: Resource temporarily unavailable",
            "service.web.user",
        ),
        ("session", errno.EPERM, {}, "session: Operation not permitted", None),
    ],
)
def test_the_other_stages(
    stage: str, number: int, more: dict[str, Any], problem: str, hint: str | None
) -> None:
    """Each names what it was about, and the key that says so."""
    spec = replace(SPEC, **more)
    assert spawn_problem(NotSpawned(stage, number), spec) == (problem, hint)
