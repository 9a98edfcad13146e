from tests.support.init_runs import PYTHON, ROOT, in_namespace, init_command, run
from tests.support.masks import signal_mask

STORM = str(ROOT / "tests" / "support" / "init_storm.py")


def test_a_storm_of_orphans_leaves_no_zombie() -> None:
    """20,000 double-forked orphans are all reaped, and CMD's status is passed through."""
    ended = run(in_namespace("-q", "--", PYTHON, "-S", STORM, "20000"))
    assert ended.stdout == "left 0\n"
    assert ended.returncode == 42


def test_a_subreaper_reaps_outside_a_namespace() -> None:
    """With -s an orphan comes to init, which is named by its death; without, it goes elsewhere."""
    # The orphan waits for its parent's end, then says whose child it is; its grandparent says whose it is.
    script = (
        "import os\nr, w = os.pipe()\no, p = os.pipe()\n"
        "if os.fork() == 0:\n"
        "  if os.fork() == 0:\n"
        "    os.close(w); os.read(r, 1); os.write(p, b'%d' % os.getppid())\n"
        "  os._exit(0)\n"
        "os.wait(); os.close(w); os.close(p)\n"
        "print(int(os.read(o, 9)) == os.getppid())"
    )
    assert run(init_command("-q", "-s", PYTHON, "-S", "-c", script)).stdout == "True\n"
    assert run(init_command("-q", PYTHON, "-S", "-c", script)).stdout == "False\n"


def test_sigchld_ignored_by_the_caller_does_no_harm() -> None:
    """Tini hangs for ever where its caller ignores SIGCHLD; init reaps, and CMD still finds it ignored."""
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN);"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = init_command("-q", "grep", "SigIgn", "/proc/self/status")
    ended = run([PYTHON, "-c", ignoring, *command])
    assert signal_mask(ended.stdout.split()[1]) == 1 << 16


def test_a_child_with_another_exit_signal_is_reaped() -> None:
    """A child inherited across init's own exec whose end raises no SIGCHLD is reaped too: __WALL."""
    # clone(2) with exit signal 0, then exec: the child belongs to init, and plain wait4 does not see it.
    inherit = (
        "import ctypes, os, sys, signal\n"
        "clone = ctypes.CDLL(None).syscall\n"
        "r, w = os.pipe()\n"
        "pid = clone(56, 0, 0, 0, 0, 0)\n"
        "if pid == 0:\n os.close(w); os.read(r, 1); os._exit(0)\n"
        "os.set_inheritable(w, False)\n"  # closed by the exec: the child ends once init has begun
        "os.environ['CHILD'] = str(pid)\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    check = "while test -e /proc/$CHILD; do kill -CHLD $PPID; done; echo gone"
    ended = run([PYTHON, "-c", inherit, *init_command("-q", "sh", "-c", check)])
    assert ended.stdout == "gone\n"
