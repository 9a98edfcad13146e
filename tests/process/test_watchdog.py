"""What a service says of itself beyond being ready: that it lives, is busy, or has another main process."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.daemons import Running, daemon
from tests.support.processes import ROOT, state_of, wait_until

SAYER = f'"{sys.executable}", "-I", "-S", "{ROOT}/tests/support/sayer.py"'


def service(*words: str, more: str = "") -> str:
    """Return the configuration of a service that says `words`, and then nothing."""
    said = ", ".join(f"'{word}'" for word in words)
    return f"[service.web]\ncommand = [{SAYER}, {said}]\nready = {{ notify = true }}\n{more}"


QUICK = 'backoff = { initial = "10ms" }\n'


def test_a_service_that_falls_silent_is_restarted(tmp_path: Path) -> None:
    """It is ready, says once that it lives, and never again."""
    with daemon(tmp_path, service("READY=1", "WATCHDOG=1", more=f'watchdog = "1s"\n{QUICK}')) as running:
        running.event("service.running", service="web")
        first = running.row("web")["pid"]
        unhealthy = running.event("service.unhealthy", service="web")
        assert unhealthy["reason"] == "no WATCHDOG=1 for 1s"
        running.event("service.running", nth=2, service="web")
        row = running.row("web")
        assert row["pid"] != first
        assert "no WATCHDOG=1 for 1s" in row["why"]


def test_a_service_that_speaks_stays(tmp_path: Path) -> None:
    """Each word gives it the whole time anew; stopped by a signal, it is silent and is ended."""
    program = (
        "import os, socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
        's.connect(os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1)); s.send(b"READY=1"); n = 0\n'
        'assert os.environ["WATCHDOG_PID"] == str(os.getpid())\n'
        "while True:\n"
        ' s.send(b"WATCHDOG=1\\nSTATUS=%d" % n); n += 1; time.sleep(int(os.environ["WATCHDOG_USEC"]) / 8e6)\n'
    )
    text = f"[service.web]\ncommand = ['{sys.executable}', '-I', '-S', '-c', '''{program}''']\n"
    more = f'ready = {{ notify = true }}\nwatchdog = "2s"\nstop = {{ timeout = "100ms" }}\n{QUICK}'
    with daemon(tmp_path, text + more) as running:
        running.event("service.running", service="web")
        wait_until(lambda: int(running.row("web")["status"] or 0) > 20, "it to outlive two of its times")
        assert running.events("service.unhealthy") == []
        os.kill(running.row("web")["pid"], signal.SIGSTOP)
        running.event("service.unhealthy", service="web")
        running.event("service.running", nth=2, service="web")


def test_a_service_may_say_that_it_is_not_well(tmp_path: Path) -> None:
    """It is believed at once, long before its time is over."""
    text = service("READY=1", "WATCHDOG=trigger", more=f'watchdog = "1h"\n{QUICK}')
    with daemon(tmp_path, text) as running:
        assert "WATCHDOG=trigger" in running.event("service.unhealthy", service="web")["reason"]
        running.event("service.running", nth=2, service="web")


def test_a_service_may_ask_for_another_time(tmp_path: Path) -> None:
    """For this run; only one that has a watchdog."""
    text = service("READY=1", "WATCHDOG_USEC=300000", more=f'watchdog = "1h"\n{QUICK}')
    other = service("WATCHDOG_USEC=1", "READY=1").replace("[service.web]", "[service.other]")
    with daemon(tmp_path, text + other) as running:
        assert running.event("service.unhealthy", service="web")["reason"] == "no WATCHDOG=1 for 300ms"
        running.event("service.running", service="other")
        assert running.row("other")["state"] == "running"


def test_a_watchdog_alone_gives_a_service_its_socket(tmp_path: Path) -> None:
    """It need not be what makes the service ready."""
    text = f"[service.web]\ncommand = [{SAYER}, 'STATUS=alive']\nwatchdog = \"1h\"\n"
    with daemon(tmp_path, text) as running:
        wait_until(lambda: running.row("web")["status"] == "alive", "its word")


def test_before_it_is_ready_it_may_be_silent(tmp_path: Path) -> None:
    """The watchdog runs from then on; how long a start may take is another key."""
    with daemon(tmp_path, service("STATUS=slow", more='watchdog = "1ms"\nready_timeout = "2s"')) as running:
        running.event("service.not_ready", service="web")
        assert running.events("service.unhealthy") == []


def test_what_it_says_it_is_doing_is_shown(tmp_path: Path) -> None:
    """Until it says that it is ready again."""
    with daemon(tmp_path, service("READY=1", "RELOADING=1", "STATUS=said")) as running:
        wait_until(lambda: running.row("web")["status"] == "said", "its words")
        assert "reloading" in running.row("web")["why"]
        assert running.row("web")["state"] == "running"
    with daemon(tmp_path, service("READY=1", "RELOADING=1", "READY=1", "STATUS=said")) as running:
        wait_until(lambda: running.row("web")["status"] == "said", "its words")
        assert running.row("web")["why"] is None


@pytest.mark.parametrize("word", ["READY=1", "STATUS=asked"])
def test_a_service_may_have_more_time(tmp_path: Path, word: str) -> None:
    """A start that asked for it is not late by its key; what another service says changes nothing."""
    extended = "EXTEND_TIMEOUT_USEC=3600000000"
    slow = service(extended, "STATUS=asked", more='ready_timeout = "1s"\n')
    hasty = service(word, more='ready_timeout = "1s"').replace("[service.web]", "[service.hasty]")
    with daemon(tmp_path, slow + hasty) as running:
        if word == "READY=1":
            running.event("service.running", service="hasty")
        else:
            running.event("service.not_ready", service="hasty")
            assert running.row("web")["state"] == "starting"
        assert running.events("service.not_ready", service="web") == []


@pytest.mark.parametrize("has_asked", [True, False])
def test_a_service_may_have_more_time_to_stop(tmp_path: Path, has_asked: bool) -> None:  # noqa: FBT001 - a table
    """Who asks for it at his stop is not killed at the end of `stop.timeout`; who does not is."""
    ended = tmp_path / "ended"
    program = (
        "import os, pathlib, signal, socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
        's.connect(os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1)); '
        'signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}); s.send(b"READY=1"); '
        f"signal.sigwait({{signal.SIGTERM}}); {has_asked} and "
        's.send(b"STOPPING=1\\nEXTEND_TIMEOUT_USEC=3600000000"); '
        f"time.sleep(3); pathlib.Path('{ended}').touch()"
    )
    text = f"[service.web]\ncommand = ['{sys.executable}', '-I', '-S', '-c', '''{program}''']\n"
    with daemon(tmp_path, text + 'ready = { notify = true }\nstop = { timeout = "1s" }\n') as running:
        running.event("service.running", service="web")
        running.ask("stop", "web")
        assert ended.exists() is has_asked
        running.event("service.stopped", service="web")
        assert bool(running.events("service.killing")) is not has_asked


@pytest.mark.parametrize("ends", [True, False])
def test_a_service_that_says_that_it_stops_has_its_time(tmp_path: Path, ends: bool) -> None:  # noqa: FBT001 - a table
    """Who ends by then has got no signal, who does not gets the stop signal; the restart decides."""
    told = tmp_path / "told"
    program = (
        "import os, pathlib, signal, socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
        's.connect(os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1)); '
        f"signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path('{told}').touch(), os._exit(0))); "
        's.send(b"READY=1"); s.send(b"STOPPING=1"); '
        f"{ends} and signal.sigwait({{signal.SIGUSR1}}); {ends} or [signal.pause() for _ in iter(int, 1)]"
    )
    text = f"[service.web]\ncommand = ['{sys.executable}', '-I', '-S', '-c', '''{program}''']\n"
    text += f'stop = {{ timeout = "{"1h" if ends else "500ms"}" }}\nrestart = "always"\n'
    with daemon(tmp_path, text + "ready = { notify = true }\n") as running:
        main = running.event("service.spawned", service="web")["pid"]
        assert running.event("service.stopping", service="web")["by"] == "itself"
        if ends:
            assert running.row("web")["why"] == "says that it is stopping"
            os.kill(main, signal.SIGUSR1)
        running.event("service.exited", service="web", pid=main)
        assert told.exists() is not ends
        running.event("service.backoff", service="web")


def handed_over(running: Running) -> tuple[int, int]:
    """Return the main process before and after one has named another and left."""
    first = running.event("service.spawned", service="web")["pid"]
    changed = running.event("service.main_changed", service="web")["pid"]
    assert running.row("web")["pid"] == changed != first
    return first, changed


HANDOVER = (
    "import os, socket, signal; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
    's.connect(os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1)); child = os.fork()\n'
    "if child == 0:\n signal.pause()\n"
    's.send(b"READY=1\\nMAINPID=%d" % child)\n'
    "signal.sigwait({signal.SIGUSR1})\n"
)


def test_a_main_process_may_name_its_successor_and_leave(tmp_path: Path) -> None:
    """As daemons do that fork: the service stays up, and ends with the new one, by its exit."""
    text = f"""[service.web]
        command = ['{sys.executable}', '-I', '-S', '-c', '''{HANDOVER}''']
        ready = {{ notify = true }}
        restart = "never"
    """
    mask = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1}); "
    with daemon(tmp_path, text.replace("import os,", mask + "import os,")) as running:
        running.event("service.running", service="web")
        os.kill(running.row("web")["pid"], signal.SIGUSR1)
        first, second = handed_over(running)
        assert state_of(first) is None
        assert running.row("web")["state"] == "running"
        os.kill(second, signal.SIGKILL)
        exited = running.event("service.exited", service="web")
        assert (exited["pid"], exited["signal"]) == (second, 9)


def test_a_stranger_is_not_made_the_main_process(tmp_path: Path) -> None:
    """Whatever a service says: a pid of another's is refused, and the log says so."""
    with daemon(
        tmp_path, service("READY=1", f"MAINPID={os.getpid()}", "MAINPID=1", "STATUS=said")
    ) as running:
        refused = running.event("notify.no_main", service="web", pid=1)
        assert refused["reason"] == "not a process of this service"
        running.event("notify.no_main", service="web", pid=os.getpid())
        os.kill(running.row("web")["pid"], signal.SIGKILL)
        running.event("service.exited", service="web", signal=9)


def test_nonsense_changes_nothing(tmp_path: Path) -> None:
    """Errors that a service reports of itself, and words that nobody knows, are passed over."""
    words = ("ERRNO=2", "EXIT_STATUS=3", "BUSERROR=x", "MAINPID=-4", "WATCHDOG=2", "EXTEND_TIMEOUT_USEC=x")
    with daemon(tmp_path, service("READY=1", *words, "STATUS=said", more='watchdog = "1h"')) as running:
        wait_until(lambda: running.row("web")["status"] == "said", "the last word")
        assert running.row("web")["state"] == "running"
        assert running.row("web")["why"] is None


def test_a_storm_of_words_costs_one_timer(tmp_path: Path) -> None:
    """Each moves the same deadline."""
    program = (
        "import os, socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
        's.connect(os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1)); s.send(b"READY=1")\n'
        'for _ in range(20000):\n s.send(b"WATCHDOG=1")\n'
        's.send(b"STATUS=done")\ntime.sleep(1000)\n'
    )
    text = f"[service.web]\ncommand = ['{sys.executable}', '-I', '-S', '-c', '''{program}''']\n"
    with daemon(tmp_path, f'{text}ready = {{ notify = true }}\nwatchdog = "1h"\n') as running:
        wait_until(lambda: running.row("web")["status"] == "done", "all words to be read", within_s=120)
        assert running.row("web")["state"] == "running"
