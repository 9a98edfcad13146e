# ruff: noqa: INP001, T201 - a program that stands alone and prints its figures
"""Measure the model of processes: a whole look at ten thousand, what one costs, and a storm that is followed.

Each figure is printed with its target and whether it was met. Needs root, the machine's first namespaces for
the process connector, and a calm machine with two processors.

Usage: bench/model.py [--processes N] [--seconds S]
"""

import argparse
import ctypes
import gc
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import tracemalloc

from reaperd.errors import KernelError
from reaperd.kernel import prctl, procfs
from reaperd.kernel.procconn import Connector
from reaperd.model import ProcessTable, Seen
from reaperd.track import look
from reaperd.track.tracker import Tracker

TIMES_OF_RAW = 2.0
MOST_BYTES = 2048
MESSAGES_A_SECOND = 40_000
ROUNDS = 5

_libc = ctypes.PyDLL(None, use_errno=True)


def row(what: str, value: str, target: str, *, is_met: bool) -> None:
    """Print one figure."""
    print(f"{what:<58} {value:>16}   {target:<12} {'met' if is_met else 'MISSED'}")


def start_sleepers(count: int) -> int:
    """Start so many processes below one that can be killed with all of them; return its pid.

    They end with us, however we do: each waits for the end of a pipe that nobody else holds.
    """
    reading, writing = os.pipe()
    leash, held = os.pipe()  # ours stays open
    top = os.fork()
    if top == 0:
        try:
            os.setsid()
            os.close(reading)
            os.close(held)
            for _ in range(count):
                if os.fork() == 0:
                    os.close(writing)
                    os.read(leash, 1)
                    os._exit(0)
            os.write(writing, b"x")
            os.read(leash, 1)
        finally:
            os._exit(1)
    os.close(writing)
    os.close(leash)
    os.read(reading, 1)
    os.close(reading)
    return top


def end(top: int) -> None:
    """Kill and reap a process and the group that it leads; its children come to us."""
    os.killpg(top, signal.SIGKILL)
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        pass


def measure_looks() -> None:
    """Compare a resync of the tracker with the raw reads alone; the best of some rounds of each in turn."""
    tracker = Tracker(connector=Connector())
    raw, whole = [], []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for pid in procfs.list_pids():
            procfs.read_stat_bytes(pid)
        raw.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        tracker.refresh()
        whole.append(time.perf_counter() - begun)
    processes = len(tracker.table)
    tracker.close()
    ratio = min(whole) / min(raw)
    what = f"resync of {processes} processes, over the raw reads ({min(raw) * 1e3:.0f} ms)"
    row(
        what,
        f"{min(whole) * 1e3:.0f} ms, {ratio:.2f} x",
        f"<= {TIMES_OF_RAW} x",
        is_met=ratio <= TIMES_OF_RAW,
    )


def measure_memory() -> None:
    """Count the bytes that a table of the processes seen takes."""
    kernel = Seen(pid=0, ppid=0, pgid=0, sid=0, start_time=0)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    table = ProcessTable(kernel)
    table.snapshot(look.everybody())
    gc.collect()
    each = (tracemalloc.get_traced_memory()[0] - before) / len(table)
    tracemalloc.stop()
    row(
        f"memory of a process, of {len(table)}",
        f"{each:.0f} bytes",
        f"<= {MOST_BYTES}",
        is_met=each <= MOST_BYTES,
    )


_STORM = r"""
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static int leave(void *unused) { (void)unused; _exit(0); }
int main(void) {
    static char stack[16384] __attribute__((aligned(16)));
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (;;) {
        for (int i = 0; i < 105; i++) { /* two messages each, every 5 ms: 42,000 a second */
            int pid = clone(leave, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, 0);
            if (pid > 0) waitpid(pid, 0, 0);
        }
        next.tv_nsec += 5000000;
        if (next.tv_nsec >= 1000000000) { next.tv_nsec -= 1000000000; next.tv_sec++; }
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, 0);
    }
}
"""


def measure_storm(seconds: float) -> None:
    """Follow a program that forks and reaps 21,000 times a second, at the pace of the daemon.

    Each has a processor of its own, where there are two: the storm would not reach its pace otherwise.
    """
    ours, *others = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/storm"
        subprocess.run(["cc", "-O2", "-x", "c", "-", "-o", program], input=_STORM.encode(), check=True)
        tracker = Tracker(connector=Connector())
        storm = subprocess.Popen([program])
        os.sched_setaffinity(storm.pid, others[:1] or {ours})
        os.sched_setaffinity(0, {ours})
        poll = select.poll()
        poll.register(tracker.fd or -1, select.POLLIN)
        begun, used = time.perf_counter(), time.process_time()
        while time.perf_counter() - begun < seconds:
            poll.poll(1000)
            while tracker.hear() and tracker.has_more:
                pass
            time.sleep(0.02)  # as supervise.tracking does
        took, used = time.perf_counter() - begun, time.process_time() - used
        standing = tracker.standing()
        storm.kill()
        storm.wait()
        os.sched_setaffinity(0, {ours, *others})
        tracker.close()
    rate = standing.messages / took
    cost = used / max(standing.messages, 1) * 1e6
    row(
        f"messages followed a second, {cost:.1f} us each",
        f"{rate:.0f}",
        f">= {MESSAGES_A_SECOND}",
        is_met=rate >= MESSAGES_A_SECOND,
    )
    capacity = 1e6 / cost
    row(
        "messages that one processor could follow a second",
        f"{capacity:.0f}",
        f">= {MESSAGES_A_SECOND}",
        is_met=capacity >= MESSAGES_A_SECOND,
    )
    row("losses", str(standing.losses), "0", is_met=standing.losses == 0)


def main() -> int:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    asked = parser.parse_args()
    prctl.set_child_subreaper(True)
    try:
        Connector().close()
    except KernelError as error:
        print(f"cannot measure here: {error.message}", file=sys.stderr)
        return 1
    measure_storm(asked.seconds)
    top = start_sleepers(asked.processes)
    try:
        measure_looks()
        measure_memory()
    finally:
        end(top)
    return 0


if __name__ == "__main__":
    sys.exit(main())
