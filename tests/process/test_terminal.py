"""What commands show at a real terminal: colours, its width, and what a wait waits for."""

import re
from pathlib import Path

from tests.process.test_completion import at_prompt
from tests.process.test_control_cli import Server, serving
from tests.support.processes import wait_until


def _settle(server: Server) -> None:
    """Let the daemon settle what waits."""
    server.script.write(b"\n")
    server.script.flush()


def test_a_table_has_colours_and_the_terminals_width(tmp_path: Path) -> None:
    """Wide enough it has all columns; in a narrow one spare ones go, and the last one is cut."""
    with serving(tmp_path, "web", "failed") as server, at_prompt("bash", tmp_path, server.path, 90) as screen:
        screen.type("reaperd status; echo D''ONE\n")
        shown = screen.wait("DONE")
        assert "NAME    STATE     PID  UPTIME  RESTARTS  MEMORY  ZOMBIES  WHY" in shown
        coloured = screen.shown(codes=True)
        assert re.search(r"\x1b\[32m *running", coloured)
        assert re.search(r"\x1b\[31m *failed", coloured)
        screen.type("clear; NO_COLOR=1 reaperd status; echo E''ND\n")
        screen.wait("END")
        assert "\x1b[32m" not in screen.shown(codes=True)


def test_a_narrow_terminal(tmp_path: Path) -> None:
    """No line is longer than the terminal is wide: none is wrapped."""
    with serving(tmp_path, "web", "failed") as server, at_prompt("bash", tmp_path, server.path, 38) as screen:
        screen.type("clear; reaperd status; echo D''ONE\n")
        shown = screen.wait("\nDONE")
        lines = shown.partition("NAME")[2].partition("DONE")[0].splitlines()
        assert lines[0].split() == ["STATE", "PID", "WHY"]
        assert [line.split()[0] for line in lines[1:]] == ["web", "failed"]
        assert lines[2].endswith("...")


def test_a_wait_shows_what_it_waits_for(tmp_path: Path) -> None:
    """A line that moves, of which nothing is left once it is over."""
    with (
        serving(tmp_path, "starting", "web", "--slow") as server,
        at_prompt("bash", tmp_path, server.path, 80) as screen,
    ):
        screen.type("clear; reaperd start starting; echo left=$?\n")
        first = screen.wait("s: starting starting")
        wait_until(lambda: screen.shown() != first, "the line to move")
        _settle(server)
        shown = screen.wait("left=0")
        assert "starting: running\nleft=0" in shown
        assert "s: starting" not in shown


def test_an_interrupted_wait_leaves_a_clean_line(tmp_path: Path) -> None:
    """Ctrl-C ends it, with 130; what it drew is gone."""
    with (
        serving(tmp_path, "starting", "--slow") as server,
        at_prompt("bash", tmp_path, server.path, 80) as screen,
    ):
        screen.type("clear; reaperd start starting || echo left=$?\n")
        screen.wait("s: starting starting")
        screen.type("\x03")
        shown = screen.wait("left=130")
        assert "s: starting" not in shown
        _settle(server)


def test_no_line_where_nobody_sees_it(tmp_path: Path) -> None:
    """With standard error elsewhere nothing of it is written."""
    said = tmp_path / "said"
    with (
        serving(tmp_path, "starting", "--slow") as server,
        at_prompt("bash", tmp_path, server.path, 80) as screen,
    ):
        screen.type(f"reaperd start starting 2>{said} & sleep 1.5; echo w''aited\n")
        screen.wait("\nwaited")
        assert said.read_text() == ""
        _settle(server)
        screen.wait("starting: running")
        assert said.read_text() == ""
