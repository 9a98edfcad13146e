# ruff: noqa: INP001 - a program that stands alone
"""CMD of the storm: double-fork COUNT orphans, BATCH of them given away at once, and wait for zero zombies.

Says the milliseconds from first fork to last zombie, the processor time that PID 1 took for it
in nanoseconds, and, where WATCH is 1, the most zombies seen at once, which costs time to look for.
"""

import os
import sys
import time

COUNT, BATCH, WATCH = (int(word) for word in sys.argv[1:4])
OURS = {"1", str(os.getpid())}


def others() -> list[str]:
    """Return everybody else in this PID namespace: orphans, living or zombies."""
    return [name for name in os.listdir("/proc") if name.isdigit() and name not in OURS]  # noqa: PTH208 - names


def spent_ns() -> int:
    """Return the processor time of PID 1: /proc/PID/schedstat, proc(5)."""
    fd = os.open("/proc/1/schedstat", os.O_RDONLY)
    try:
        return int(os.read(fd, 100).split()[0])
    finally:
        os.close(fd)


def zombies() -> int:
    """Count the zombies."""
    count = 0
    for name in others():
        try:
            fd = os.open(f"/proc/{name}/stat", os.O_RDONLY)
        except OSError:
            continue
        try:
            count += b") Z" in os.read(fd, 100)
        except ProcessLookupError:
            continue  # reaped between the two
        finally:
            os.close(fd)
    return count


def give_away() -> None:
    """Fork a process whose children outlive it: they all become orphans when it ends, and end in turn."""
    parent = os.fork()
    if parent == 0:
        for _ in range(BATCH):
            if os.fork() == 0:
                os._exit(0)
        os._exit(0)
    os.waitpid(parent, 0)


most = 0
before, begun = spent_ns(), time.monotonic_ns()
for _ in range(COUNT // BATCH):
    give_away()
    if WATCH:
        most = max(most, zombies())
while others():
    time.sleep(0.0005)
took_ms = (time.monotonic_ns() - begun) / 1e6
os.write(1, b"%f %d %d\n" % (took_ms, spent_ns() - before, most))
