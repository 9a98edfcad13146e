"""Through a link by a peer's name init is that peer, compared side by side with the real one."""

import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.init_runs import (
    COVERED,
    PID1,
    children_of,
    init_command,
    is_covered,
    namespace_words,
    run,
    says,
    started,
    state_of,
    wait_for,
)

NAMES = ("tini", "dumb-init", "catatonit")


@pytest.fixture(scope="session")
def links(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Install the init once and link the peers' names to it."""
    folder = tmp_path_factory.mktemp("links")
    made = run(init_command("--install", str(folder / "reaperd-init")))
    assert made.returncode == 0, made.stderr
    for name in (*NAMES, "docker-init"):
        (folder / name).symlink_to("reaperd-init")
        if is_covered():
            # The same name, but run so that it is measured.
            (folder / f"{name}.d").mkdir()
            (folder / f"{name}.d" / name).symlink_to(PID1)
            words = [sys.executable, str(COVERED), str(folder / f"{name}.d" / name)]
            (folder / name).unlink()
            (folder / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
            (folder / name).chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def real(name: str) -> str:
    """Return the real peer, or skip."""
    path = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"needs the real {name} to compare with")
    return path


def plain(text: str) -> str:
    """Return a message without what differs from run to run: pids."""
    return re.sub(r"\d{2,}", "N", text)


BOTH = [
    ("tini", ["true"]),
    ("tini", ["--", "sh", "-c", "exit 3"]),
    ("tini", ["-s", "--", "sh", "-c", "kill -9 $$"]),
    ("tini", ["-e", "3", "--", "sh", "-c", "exit 3"]),
    ("tini", ["-e", "143", "--", "sh", "-c", "kill -15 $$"]),
    ("tini", ["no-such-program"]),
    ("tini", ["/etc/passwd"]),
    ("tini", ["/etc"]),
    ("tini", []),
    ("tini", ["-s", "--"]),
    ("tini", ["-Z", "true"]),
    ("tini", ["--foo", "true"]),
    ("tini", ["-e", "256", "true"]),
    ("tini", ["-p", "FOO", "true"]),
    ("tini", ["-p", "9", "true"]),
    ("dumb-init", ["true"]),
    ("dumb-init", ["-c", "sh", "-c", "exit 3"]),
    ("dumb-init", ["--single-child", "--", "sh", "-c", "kill -9 $$"]),
    ("dumb-init", ["no-such-program"]),
    ("dumb-init", ["/etc/passwd"]),
    ("dumb-init", []),
    ("dumb-init", ["-Z", "true"]),
    ("dumb-init", ["--foo", "true"]),
    ("dumb-init", ["-r", "15", "true"]),
    ("dumb-init", ["-r", "99:1", "true"]),
    ("dumb-init", ["-r", "TERM:1", "true"]),
    ("dumb-init", ["--rewrite", "15:3", "true"]),
    ("catatonit", ["true"]),
    ("catatonit", ["--", "sh", "-c", "exit 3"]),
    ("catatonit", ["--", "sh", "-c", "kill -9 $$"]),
    ("catatonit", ["no-such-program"]),
    ("catatonit", ["/etc/passwd"]),
    ("catatonit", []),
    ("catatonit", ["-Z"]),
]


@pytest.mark.parametrize(("name", "words"), BOTH)
def test_statuses_and_messages_are_the_peers(links: Path, name: str, words: list[str]) -> None:
    """Exit status and the first line of what is said are the real program's."""
    theirs = run(["env", "-i", "PATH=/bin:/usr/bin", real(name), *words])
    ours = run(["env", "-i", "PATH=/bin:/usr/bin", str(links / name), *words])
    assert ours.returncode == theirs.returncode

    def told(text: str) -> list[str]:
        lines = [
            plain(line).replace(real(name), name).replace(str(links / name), name)
            for line in text.splitlines()
        ]
        # The warning about not being PID 1 is worded anew; the usage text after the first line too.
        return [line for line in lines if "not running as PID 1" not in line and "ombie" not in line][:1]

    if any("zombie reaping" in line for line in theirs.stderr.splitlines()) or words[:1] == ["-s"]:
        theirs.stderr = "\n".join(line for line in theirs.stderr.splitlines() if line.startswith("[FATAL"))
    if not words or words == ["-s", "--"]:
        assert "sage" in ours.stderr
        return
    assert told(ours.stderr) == told(theirs.stderr)


@pytest.mark.parametrize("name", NAMES)
def test_help_and_version_leave_with_0(links: Path, name: str) -> None:
    """The help names every flag of the peer; version and license are answered."""
    shown = run([str(links / name), "-h"])
    assert shown.returncode == 0
    for flag in {"tini": "svwgpelh", "dumb-init": "crvhV", "catatonit": "ghLPV"}[name]:
        assert flag in shown.stdout
    version = "--version" if name == "tini" else "-V"
    assert "reaperd init" in run([str(links / name), version]).stdout
    if name != "dumb-init":
        assert "MIT" in run([str(links / name), "-l" if name == "tini" else "-L"]).stdout


def test_docker_init_is_tini(links: Path) -> None:
    """Docker calls its init docker-init; it is tini."""
    ended = run([str(links / "docker-init"), "-s", "--", "no-such"])
    assert (ended.returncode, ended.stderr[:13]) == (127, "[FATAL tini (")


# What CMD gets of each signal that is sent to the init, and whether init itself stops: name, words, sent.
STOPS = [signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU]


def wait_taken(pid: int, number: int) -> None:
    """Return once a process has fetched a signal that it blocks: what is sent later comes later."""
    bit = 1 << number - 1

    def is_taken() -> bool:
        status = Path(f"/proc/{pid}/status").read_text()
        return not any(
            int(line.split()[1], 16) & bit
            for line in status.splitlines()
            if line.startswith(("SigPnd", "ShdPnd"))
        )

    wait_for(is_taken)


@pytest.mark.parametrize("name", ["tini", "catatonit"])
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2, signal.SIGWINCH, *STOPS])
def test_what_is_passed_on_is_what_the_peer_passes_on(links: Path, name: str, number: int) -> None:
    """The same signals reach CMD, the same are dropped."""
    got = []
    for program in (real(name), str(links / name)):
        with started([program, "--", *says(signal.SIGTERM)], stderr=None) as init:
            init.line()
            init.signal(number)
            wait_taken(init.pid, number)
            init.signal(signal.SIGTERM)
            got.append(list(iter(init.line, "")))
    assert sorted(got[0]) == sorted(got[1])


@pytest.mark.parametrize("number", STOPS)
def test_dumb_init_stops_with_its_child(links: Path, number: int) -> None:
    """As dumb-init, a stop signal stops the child and then init; SIGCONT wakes both."""
    for program in (real("dumb-init"), str(links / "dumb-init")):
        with started([program, "sh", "-c", "echo ready; exec sleep 1000"]) as init:
            init.line()
            (cmd,) = children_of(init.pid)
            init.signal(number)
            os.waitid(os.P_PID, init.pid, os.WSTOPPED | os.WNOWAIT)
            wait_for(lambda cmd=cmd: state_of(cmd) == "T")  # type: ignore[misc]  # a default binds the pid
            init.signal(signal.SIGCONT)
            init.signal(signal.SIGTERM)
            assert init.end()[0] == 143


def place_of(pid: int) -> tuple[bool, bool]:
    """Return whether a process leads its session and its process group."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[3]) == pid, int(fields[2]) == pid


@pytest.mark.parametrize(
    ("name", "words", "environment"),
    [
        ("tini", [], {}),
        ("tini", ["-g"], {}),
        ("dumb-init", [], {}),
        ("dumb-init", ["-c"], {}),
        ("dumb-init", [], {"DUMB_INIT_SETSID": "0"}),
        ("catatonit", [], {}),
    ],
)
def test_cmd_is_placed_as_the_peer_places_it(
    links: Path, name: str, words: list[str], environment: dict[str, str]
) -> None:
    """Session and process group of CMD are those that the peer gives it."""
    places = []
    for program in (real(name), str(links / name)):
        command = [program, *words, *([] if name == "dumb-init" else ["--"]), *says()]
        with started(command, env={**os.environ, **environment}) as init:
            places.append(place_of(int(init.line().split()[1])))
    assert places[0] == places[1]


@pytest.mark.parametrize(
    ("name", "words", "environment"),
    [
        ("tini", ["-g"], {}),
        ("tini", [], {"TINI_KILL_PROCESS_GROUP": "1"}),
        ("tini", [], {}),
        ("dumb-init", [], {}),
        ("dumb-init", ["-c"], {}),
        ("dumb-init", [], {"DUMB_INIT_SETSID": "0"}),
        ("catatonit", ["-g"], {}),
        ("catatonit", [], {}),
    ],
)
def test_groups_are_signalled_as_the_peer_does(
    links: Path, name: str, words: list[str], environment: dict[str, str]
) -> None:
    """A worker in CMD's group gets the signal where the peer sends it to the group, and only there."""
    got = []
    worker = " ".join(says(signal.SIGTERM))
    script = f"trap 'kill $!; exit 0' USR2; trap '' USR1; {worker} & while :; do wait; done"
    for program in (real(name), str(links / name)):
        command = [program, *words, *([] if name == "dumb-init" else ["--"]), "sh", "-c", script]
        with started(command, env={**os.environ, **environment}, stderr=None) as init:
            init.line()
            init.signal(signal.SIGUSR1)
            init.signal(signal.SIGUSR2)
            lines = set(iter(init.line, ""))
            got.append(str(int(signal.SIGUSR1)) in lines)
    assert got[0] == got[1]


def test_dumb_init_ends_the_group_as_it_leaves(links: Path) -> None:
    """What is left of the group when CMD has ended gets SIGTERM, and is not waited for."""
    worker = " ".join(says(signal.SIGTERM))
    for program in (real("dumb-init"), str(links / "dumb-init")):
        with started([program, "sh", "-c", f"{worker} & read line; exit 4"], stdin=-1) as init:
            init.line()
            init.enter()
            assert init.line() == str(int(signal.SIGTERM))
            assert init.end()[0] == 4


def test_tini_verbosity_and_subreaper_come_from_the_environment(links: Path) -> None:
    """TINI_VERBOSITY and TINI_SUBREAPER stand for -v and -s."""
    program = str(links / "tini")
    said = run([program, "true"], env={**os.environ, "TINI_VERBOSITY": "3", "TINI_SUBREAPER": ""}).stderr
    assert "[INFO  tini (" in said
    assert "Spawned child process 'true' with pid" in said
    assert "Main child exited normally (with status '0')" in said
    assert "subreaper" not in said
    assert "subreaper" in run([program, "true"]).stderr
    assert run([program, "true"], env={**os.environ, "TINI_VERBOSITY": "0"}).stderr == ""


def test_tini_warns_of_each_orphan(links: Path) -> None:
    """-w warns of each orphan in tini's words."""
    command = [*namespace_words(), str(links / "tini"), "-w", "--", "sh", "-c", "(sleep 0.1 &); sleep 0.4"]
    assert "Reaped zombie process with pid=" in run(command).stderr


def test_dumb_init_debug_tells_the_same_story(links: Path) -> None:
    """DUMB_INIT_DEBUG=1 says, apart from the terminal and the start, what the real one says."""
    stories = []
    for program in (real("dumb-init"), str(links / "dumb-init")):
        env = {**os.environ, "DUMB_INIT_DEBUG": "1"}
        with started([program, "-r", "10:15", *says(signal.SIGTERM)], env=env) as init:
            init.line()
            init.signal(signal.SIGUSR1)
            said = init.end()[1]
        skipped = ("controlling tty", "Running in debug", "setsid complete")
        stories.append(
            [plain(line) for line in said.splitlines() if not any(word in line for word in skipped)]
        )
    assert stories[0] == stories[1]


def test_catatonit_pause(links: Path) -> None:
    """As catatonit -P runs nothing, reaps, and leaves at SIGINT."""
    command = [*namespace_words(), str(links / "catatonit"), "-P"]
    with started(command) as init:
        wait_for(lambda: bool(children_of(init.process.pid)))
        pid = init.pid
        # Until then the kernel would drop it; and a wait for signals shows them as not blocked.
        wait_for(lambda: b"-P" in Path(f"/proc/{pid}/cmdline").read_bytes() and state_of(pid) == "S")
        wait_for(lambda: "sigtimedwait" in Path(f"/proc/{pid}/wchan").read_text())
        os.kill(pid, signal.SIGINT)
        assert init.end()[0] == 0
