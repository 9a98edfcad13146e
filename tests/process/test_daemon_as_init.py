"""The daemon as PID 1 of a PID namespace, as it is in a container: signals in, its own status out."""

import signal
from pathlib import Path
from typing import Final

import pytest

from tests.support.daemon import daemon_as_init, sh, sleeper

LOOP: Final = "while :; do sleep 0.05; done"
HEARS: Final = f"trap 'echo one' USR1; trap 'echo two' USR2; trap 'echo three' WINCH; echo up; {LOOP}"


def test_signals_are_handed_on_as_they_are_told_to(tmp_path: Path) -> None:
    """Each to the services named; and one that no service is named for is dropped."""
    settings = {"forward_signals": {"USR1": ["web"], "USR2": ["web", "other"], "WINCH": []}}
    other = sh(f"trap 'echo four' USR2; echo stands; {LOOP}")
    with daemon_as_init(tmp_path, {"web": sh(HEARS), "other": other}, settings=settings) as reaperd:
        reaperd.hear("up")
        reaperd.hear("stands")
        pids = reaperd.main_pid("web"), reaperd.main_pid("other")
        reaperd.send(signal.SIGWINCH)
        reaperd.send(signal.SIGUSR1)
        reaperd.hear("one")
        reaperd.send(signal.SIGUSR2)
        reaperd.hear("two")
        reaperd.hear("four")
        assert not [line for line in reaperd.said.all() if line.strip() == "three"]
        assert (reaperd.main_pid("web"), reaperd.main_pid("other")) == pids


def test_a_hangup_is_its_own_and_means_to_reload(tmp_path: Path) -> None:
    """The file is followed; a service that nothing changed for hears nothing of it."""
    web = sh(f"trap 'echo hung-up' HUP; echo up; {LOOP}")
    with daemon_as_init(tmp_path, {"web": web}) as reaperd:
        reaperd.hear("up")
        reaperd.reload({"web": web, "more": sleeper()})
        reaperd.wait_for("service.running", service="more")
        assert not [line for line in reaperd.said.all() if line.strip() == "hung-up"]


@pytest.mark.parametrize(
    ("end", "status"), [("exit 7", 7), ("kill -KILL $$", 137), ("kill -TERM $$", 143), ("exit 0", 0)]
)
def test_its_exit_status_says_what_ended_it(tmp_path: Path, end: str, status: int) -> None:
    """That of the essential service, with 128 and its number for a signal; orphans and others go with it."""
    web = sh(f"(setsid sleep 1000 &); {end}", essential="exit", restart="never")
    with daemon_as_init(tmp_path, {"calm": sleeper(), "web": web}) as reaperd:
        assert (reaperd.wait_end(), reaperd.left) == (status, [])


def test_a_stop_from_outside_is_no_failure(tmp_path: Path) -> None:
    """However the services then end: who stops a container wants to see 0."""
    web = sh(f"trap 'exit 9' TERM; echo up; {LOOP}", essential="failure")
    with daemon_as_init(tmp_path, {"web": web}) as reaperd:
        reaperd.hear("up")
        reaperd.end()
