"""reaperd signal, by the real daemon and real processes."""

from pathlib import Path

from tests.process.test_cli_verbs import reaperd
from tests.support.daemons import daemon, service
from tests.support.processes import state_of, wait_until

WAIT = ["sleep", "1000"]
_TELLS = (
    "trap 'echo {0} >> $OUT' USR1; (trap 'echo {0}-child >> $OUT' USR1; while :; do sleep 0.02; done) & "
    "while :; do wait; done"
)


def test_a_signal_reaches_main_process_or_tree(tmp_path: Path) -> None:
    """As the scope says, all instances of a name; the daemon says that it was sent."""
    out = tmp_path / "out"
    tell = service("tell", _TELLS.format("main").replace("$OUT", str(out)))
    with daemon(tmp_path, tell + service("idle", WAIT)) as running:
        running.event("service.running", service="tell")
        wait_until(lambda: _has_child(running.row("tell")["pid"]), "the child to be there")
        done = reaperd(tmp_path, "signal", "USR1", "tell")
        assert (done.returncode, done.stdout) == (0, "tell: running\n"), done.stderr
        assert running.event("service.signalled", service="tell") | {"signal": "USR1", "scope": "main"}
        wait_until(lambda: out.exists() and out.read_text() == "main\n", "the main process alone to say so")
        assert reaperd(tmp_path, "signal", "SIGUSR1", "--scope", "tree", "tell").returncode == 0
        wait_until(lambda: sorted(out.read_text().split()) == ["main", "main", "main-child"], "both")


def _has_child(pid: int) -> bool:
    return bool(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def test_a_signal_and_nothing_besides(tmp_path: Path) -> None:
    """What STOP stops stays stopped, also when another signal comes, until CONT."""
    with daemon(tmp_path, service("web", WAIT)) as running:
        pid = running.event("service.running", service="web")["pid"]
        for word, state in (("STOP", "T"), ("WINCH", "T"), ("CONT", "S")):
            assert reaperd(tmp_path, "signal", word, "web").returncode == 0
            wait_until(lambda state=state: state_of(pid) == state, f"{state} after {word}")  # type: ignore[misc]


def test_who_does_not_run_gets_none(tmp_path: Path) -> None:
    """It is said of each; a wrong signal is refused before anything is sent."""
    with daemon(tmp_path, service("web", WAIT) + service("off", WAIT)) as running:
        running.event("service.running", service="web")
        running.ask("stop", "off")
        done = reaperd(tmp_path, "signal", "WINCH", "web", "off")
        assert (done.returncode, done.stdout) == (1, "web: running\n")
        assert done.stderr == 'reaperd: cannot signal "off": it does not run\n'
        wrong = reaperd(tmp_path, "signal", "NOSUCH", "web")
        assert wrong.returncode == 1
        assert "NOSUCH" in wrong.stderr
        assert len(running.events("service.signalled", service="web")) <= 1
