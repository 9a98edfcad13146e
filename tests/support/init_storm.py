"""Double-fork COUNT orphans, wait until PID 1 has reaped them all, and say how many zombies are left.

Each orphan waits until the parent that forked it has ended, and then ends too. What is left then is
the init's to do, in its own time.
"""

import os
import sys
import time
from pathlib import Path

COUNT, BATCH = int(sys.argv[1]), 500


def zombies() -> int:
    """Count the zombies in this PID namespace."""
    count = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                count += (folder / "stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
            except OSError:
                continue
    return count


def make_orphans(count: int) -> None:
    """Fork a process that forks `count` processes and ends before them: they become orphans."""
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        for _ in range(count):
            if os.fork() == 0:
                os.close(writing)
                os.read(reading, 1)  # until the parent below has ended: then we are an orphan
                os._exit(0)
        os._exit(0)
    os.close(reading)
    os.waitpid(parent, 0)
    os.close(writing)


for _start in range(0, COUNT, BATCH):
    make_orphans(min(BATCH, COUNT - _start))

# Look until nothing is left, in growing pauses, but not for ever.
pause = 0.001
left = zombies()
while left and pause < 20:
    time.sleep(pause)
    pause *= 2
    left = zombies()
os.write(1, b"left %d\n" % left)
sys.exit(42)
