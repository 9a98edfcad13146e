"""Whom services run as is looked up when the configuration is read, and not again for each start."""

import os
import pwd
import signal
from pathlib import Path

from tests.support.daemon import Daemon, daemon, sleeper
from tests.support.processes import need_program


def _lookups(trace: Path) -> int:
    """Return how often the daemon itself has opened the user database."""
    return trace.read_text().count('"/etc/passwd"')


def _restart(reaperd: Daemon, times: int) -> None:
    for _ in range(times):
        os.kill(reaperd.main_pid("web"), signal.SIGKILL)
        reaperd.wait_for("service.running", service="web")


def test_users_are_looked_up_once_for_each_reading_of_the_files(tmp_path: Path) -> None:
    """A user database that hangs can hold up a reload, and no restart of a service."""
    trace = tmp_path / "trace"
    prefix = [need_program("strace"), "-o", str(trace), "-e", "trace=openat"]
    name = pwd.getpwuid(os.getuid()).pw_name
    web = sleeper(user=name, backoff={"initial": "1ms", "max": "1ms"})
    with daemon(tmp_path, {"web": web}, prefix=prefix) as reaperd:
        reaperd.wait_for("service.running", service="web")
        before = _lookups(trace)
        assert before, "they are looked up at all"
        _restart(reaperd, 3)
        assert _lookups(trace) == before
        reaperd.ask("reload", wait=True)
        assert _lookups(trace) > before
        after = _lookups(trace)
        _restart(reaperd, 1)
        assert _lookups(trace) == after
