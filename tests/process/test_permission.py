"""Which rule forbids to trace a process, on real ones that are forbidden."""

import os
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from reaperd.kernel import procfs
from reaperd.zombies.permission import why_denied
from tests.support.processes import (
    ROOT,
    call_in_process,
    need_program,
    need_root,
    owned,
    owned_child,
    sleep_forever,
    system_python,
    unprivileged,
    wait_state,
)

ASK: Final = """
import sys
from reaperd.zombies.permission import why_denied
print(*why_denied(int(sys.argv[1])), sep="|")
"""
PROTECTED: Final = """
import ctypes, time
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
print("ready", flush=True)
time.sleep(1000)
"""


def _asked_by_nobody(pid: int) -> list[str]:
    words = unprivileged([system_python(), "-B", "-c", ASK, str(pid)])
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip().split("|")


def test_another_users_process() -> None:
    """Root may."""
    need_root()
    with owned(["sleep", "1000"]) as process:
        why, hint = _asked_by_nobody(process.pid)
    assert "belongs to another user (uid 0)" in why
    assert hint.startswith("run as root")


def test_a_process_that_protects_itself() -> None:
    """The same user is not enough where it may not be dumped."""
    need_root()
    words = unprivileged([system_python(), "-c", PROTECTED])
    with owned(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        why, _ = _asked_by_nobody(process.pid)
    assert "has protected itself" in why


def test_a_process_with_more_capabilities() -> None:
    """The same user is not enough where it may do more."""
    need_root()
    setpriv = need_program("setpriv")
    caps = ["--inh-caps=+net_raw", "--ambient-caps=+net_raw"]
    words = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", *caps, "sleep", "1000"]
    with owned(words) as process:
        wait_state(process.pid, "S")
        if int((procfs.read_status(process.pid) or {}).get("CapPrm", "0"), 16) == 0:
            pytest.skip("no capability can be handed on here")
        why, _ = _asked_by_nobody(process.pid)
    assert "has capabilities that we lack" in why or "protected itself" in why


def test_a_thread_of_the_kernel() -> None:
    """Nobody may trace those."""
    threads = [pid for pid in procfs.list_pids() if (stat := procfs.read_stat(pid)) and stat.is_kernel_thread]
    if not threads:
        pytest.skip("no thread of the kernel can be seen here")
    assert "is a thread of the kernel" in why_denied(threads[0])[0]


def _of_a_child() -> Any:
    with owned_child(sleep_forever) as child:
        return why_denied(child)[0]


def test_who_is_not_forbidden_by_any_known_rule() -> None:
    """What is left is said to be left: a security module."""
    need_root()
    if Path("/proc/sys/kernel/yama/ptrace_scope").exists() or _has_seccomp():
        pytest.skip("another rule applies here")
    assert "security module" in call_in_process(_of_a_child)


def _has_seccomp() -> bool:
    return (procfs.read_status(os.getpid()) or {}).get("Seccomp") != "0"
