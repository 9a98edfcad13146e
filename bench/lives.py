# ruff: noqa: INP001 - beside programs that stand alone
"""One life of a supervisor: started, asked, robbed of its services one by one and all at once, ended.

Times are taken by the services themselves, from the monotonic clock at their first instruction, so that it
does not matter when they are read here. That the last one has gone is seen by the end of the FIFO that all of
them hold open.
"""

import os
import select
import signal
import statistics
import subprocess
import time
from pathlib import Path

from contestants import Contestant
from tables import Sample

WITHIN_S = 120.0
SETTLED_S = 1.3  # s6 and runit wait for a second before they start again what lived for less than one
APART_S = 0.02  # between two crashes: longer than most take, far shorter than some
_LOOK_S = 0.002
MIB = 1 << 20

Starts = dict[int, tuple[int, int]]  # by number: pid, and nanoseconds


class Life:
    """A supervisor that runs, and its services.

    Raises:
        TimeoutError: from any method: something did not happen.
    """

    def __init__(self, contestant: Contestant) -> None:
        self.contestant = contestant
        os.mkfifo(contestant.fifo)
        contestant.prepare()
        self._fifo = os.open(contestant.fifo, os.O_RDONLY | os.O_NONBLOCK)
        self._rest = b""
        self.running: Starts = {}
        self.begun_ns = time.monotonic_ns()
        self.daemon = subprocess.Popen(
            contestant.command(),
            cwd=contestant.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def started(self, count: int) -> Starts:
        """Wait until so many services have started; return which."""
        found: Starts = {}
        deadline = time.monotonic() + WITHIN_S
        while len(found) < count:
            try:
                text = os.read(self._fifo, 1 << 16)
            except BlockingIOError:
                text = b""
            *lines, self._rest = (self._rest + text).split(b"\n")
            for line in lines:
                number, pid, when_ns = map(int, line.split())
                found[number] = (pid, when_ns)
            if not lines:
                if time.monotonic() > deadline or self.daemon.poll() is not None:
                    raise TimeoutError(f"{self.contestant.name}: {len(found)} of {count} services started")
                time.sleep(_LOOK_S)
        self.running |= found
        return found

    def kill(self, numbers: list[int]) -> int:
        """Kill services; return the time before."""
        begun_ns = time.monotonic_ns()
        for number in numbers:
            os.kill(self.running[number][0], signal.SIGKILL)
        return begun_ns

    def supervisors(self) -> list[int]:
        """Return the pids of the daemon and of all below it that are no services."""
        services = {pid for pid, _ in self.running.values()}
        found, ahead = [], [self.daemon.pid]
        while ahead:
            pid = ahead.pop()
            found.append(pid)
            below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            ahead += [child for child in map(int, below) if child not in services]
        return found

    def spent(self) -> tuple[int, int]:
        """Return the supervisors' processor time in nanoseconds and how often they gave it up: proc(5)."""
        time_ns = switches = 0
        for pid in self.supervisors():
            time_ns += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
            text = Path(f"/proc/{pid}/status").read_text()
            switches += int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
        return time_ns, switches

    def end(self) -> tuple[int, int]:
        """Tell the daemon to end; return how long the last service and it took, in nanoseconds."""
        begun_ns = time.monotonic_ns()
        self.daemon.send_signal(signal.Signals[f"SIG{self.contestant.signal}"])
        poll = select.poll()
        poll.register(self._fifo, 0)  # POLLHUP alone
        if not poll.poll(WITHIN_S * 1000):
            raise TimeoutError(f"{self.contestant.name}: does not stop its services")
        services_ns = time.monotonic_ns() - begun_ns
        self.daemon.wait(WITHIN_S)
        return services_ns, time.monotonic_ns() - begun_ns

    def close(self) -> None:
        """End and reap whatever is left: all are ours, for we are a subreaper."""
        os.close(self._fifo)
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            ours = [int(child) for child in children if os.getsid(int(child)) != os.getsid(0)]
            if not ours:
                return
            if self.daemon.poll() is None:
                self.daemon.kill()
                self.daemon.wait()
            for pid in ours:
                _kill_and_reap(pid)


def _kill_and_reap(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def measure(contestant: Contestant, crashes: int, answers: int) -> Sample:
    """Live one life; return its figures, times in milliseconds and memory in MiB."""
    count = contestant.count
    numbers = list(range(count))
    life = Life(contestant)
    try:
        found: Sample = {"start": _last(life.started(count), life.begun_ns)}
        time.sleep(SETTLED_S)
        found["start_cpu"] = life.spent()[0] / 1e6
        found |= memory(life.supervisors())
        found |= _answers(contestant, answers)
        begun = {}
        for number in [numbers[turn % count] for turn in range(min(crashes, count))]:
            begun[number] = life.kill([number])
            time.sleep(APART_S)
        back = life.started(len(begun))
        each = sorted((back[number][1] - begun[number]) / 1e6 for number in begun)
        found |= {
            "crash": statistics.median(each),
            "crash99": each[(len(each) - 1) * 99 // 100],
        }
        time.sleep(SETTLED_S)
        spent_ns, begun_ns = life.spent()[0], life.kill(numbers)
        found["mass"] = _last(life.started(count), begun_ns)
        time.sleep(SETTLED_S)
        found["mass_cpu"] = (life.spent()[0] - spent_ns) / 1e6
        services_ns, daemon_ns = life.end()
        return found | {"stop": services_ns / 1e6, "gone": daemon_ns / 1e6}
    finally:
        life.close()


def _last(starts: Starts, begun_ns: int) -> float:
    return (max(when_ns for _, when_ns in starts.values()) - begun_ns) / 1e6


def _answers(contestant: Contestant, times: int) -> Sample:
    raw = contestant.ask(times)
    found: Sample = {"raw": statistics.median(raw) * 1e3} if raw else {}
    whole = []
    for _ in range(max(times // 4, 1)):
        begun = time.perf_counter()
        done = subprocess.run(contestant.status(), stdout=subprocess.PIPE, check=False)
        whole.append((time.perf_counter() - begun) * 1e3)
        assert done.stdout, contestant.name
    return found | {"whole": statistics.median(whole)}


def memory(pids: list[int]) -> Sample:
    """Return what processes hold: resident, and with what is shared divided; and how many they are."""
    found: Sample = {"rss": 0.0, "pss": 0.0, "processes": float(len(pids))}
    for pid in pids:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        for key, name in (("rss", "\nRss:"), ("pss", "\nPss:")):
            found[key] += int(text.partition(name)[2].split()[0]) * 1024 / MIB
    return found


def idle(contestants: list[Contestant], settle_s: float, seconds: float) -> dict[str, Sample]:
    """Let all of them do nothing at the same time; return their processor time and how often they ran."""
    lives = []
    try:
        for contestant in contestants:
            lives.append(Life(contestant))
            lives[-1].started(contestant.count)
        time.sleep(settle_s)
        before = [life.spent() for life in lives]
        time.sleep(seconds)
        after = [life.spent() for life in lives]
        for life in lives:
            life.end()
    finally:
        for life in lives:
            life.close()
    return {
        one.name: {"idle_cpu": (late[0] - early[0]) / 1e6, "idle_switches": float(late[1] - early[1])}
        for one, early, late in zip(contestants, before, after, strict=True)
    }
