"""The session that README shows, held against a real daemon: what can be the same is."""

import re
from pathlib import Path

from tests.process.test_control_cli import reaperd
from tests.support.daemons import daemon, service
from tests.support.processes import ROOT

README = (ROOT / "README.md").read_text()


def shown(command: str) -> list[str]:
    """Return the lines below a command in README."""
    below = README.partition(f"$ .venv/bin/reaperd {command}\n")[2]
    return re.split(r"^(?:\$|```)", below, maxsplit=1, flags=re.MULTILINE)[0].splitlines()


def test_the_session_is_a_real_one(tmp_path: Path) -> None:
    """The head and each row of the table, and what `why` says of a crash, in today's words."""
    services = (
        service("web", ["sleep", "1000"])
        + service("crasher", "kill -SEGV $$", backoff={"initial": "1h", "max": "1h"})
        + service("litterer", ["sleep", "1000"])
    )
    with daemon(tmp_path, services) as running:
        for name in ("web", "litterer"):
            running.event("service.running", service=name)
        running.event("service.backoff", service="crasher")
        status = reaperd("status", socket=tmp_path / "c.sock").stdout.splitlines()
        why = reaperd("why", "crasher", socket=tmp_path / "c.sock").stdout.splitlines()
    head, web, _, litterer = shown("status")
    assert head.split() == status[0].split()
    rows = {line.split()[0]: line for line in status[1:]}
    for line in (web, litterer):
        ours = rows[line.split()[0]]
        assert re.sub(r"\S*\d\S*", "N", line).split() == re.sub(r"\S*\d\S*", "N", ours).split()
    assert why[1:] == shown("why crasher")[1:]
    assert why[0].partition(";")[0] == shown("why crasher")[0].partition(";")[0]
