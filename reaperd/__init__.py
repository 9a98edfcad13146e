"""reaperd: a supervisor, container init and zombie hunter for Linux."""

import posix
import sys

__version__ = "0.1.0"

caller_parent = posix.getppid()  # as early as that: one that ends before cannot be told from the next

# The kernel drops a signal to a PID 1 that neither blocks nor handles it. So where this interpreter is being
# started as `reaperd init`, every signal is blocked here, before any other import; entry.py hands the mask of
# the caller on. Whoever imports reaperd as a library, in whatever program, keeps his mask: in
# sys.orig_argv the word that starts us stands right before the program's own arguments.
_place = len(sys.orig_argv) - len(sys.argv)
_script = sys.orig_argv[_place].rpartition("/")[2] if sys.argv and 0 <= _place < len(sys.orig_argv) else ""
_as_module = sys.argv[:1] == ["-m"] and sys.orig_argv[_place - 1 : _place + 1] == ["-m", "reaperd"]
_as_command = _script == "reaperd" and sys.argv[:1] != ["-m"]
_as_peer = _script in ("tini", "docker-init", "dumb-init", "catatonit")
if _as_peer or (sys.argv[1:2] == ["init"] and (_as_module or _as_command)):
    import _signal  # type: ignore[import-not-found]  # the C half of signal, which has no stub of its own

    caller_mask: frozenset[int] | None = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
else:
    caller_mask = None
