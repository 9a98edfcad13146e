"""A program that does not collect its children; run as a file, so it imports the standard library alone.

    python -I -S leaky.py never|once COUNT

It makes so many zombies, says "ready", and sleeps. With "once" it has a handler of SIGCHLD that waits once;
with "never" it has none.
"""

import os
import signal
import sys
from types import FrameType


def _wait_once(_number: int, _frame: FrameType | None) -> None:
    os.waitpid(-1, os.WNOHANG)


def main(kind: str, count: int) -> None:
    """Leak, say so, and sleep on."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    if kind == "once":
        signal.signal(signal.SIGCHLD, _wait_once)
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    while True:
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
