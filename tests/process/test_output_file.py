"""What services write reaches their files: whole, once, in order, whatever happens to the file."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemons import DAEMON, Running, daemon, service
from tests.support.processes import wait_until
from tests.support.written import assert_sequence, content, parts


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A pipe with a name: who opens it for reading waits until `open_gate`."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


def open_gate(gate: Path) -> None:
    """Let the service go on."""
    with gate.open("w") as file:
        file.write("\n")


def file(log: Path, **keys: Any) -> dict[str, object]:
    """Return the form of an output that is a file."""
    return {"file": str(log), **keys}


def once(name: str, command: list[str] | str, log: Path, *, stream: str = "stdout", **keys: Any) -> str:
    """Return a service that writes into a log until it ends by itself."""
    return service(name, command, oneshot=True, **{stream: file(log, **keys)})


def wait_content(log: Path, wanted: bytes) -> None:
    """Return once a log holds exactly this."""
    wait_until(lambda: content(log) == wanted, f"{log} to hold {wanted!r}")


def wait_rotation(log: Path) -> None:
    """Return once a log has one more old file than now."""
    before = len(parts(log))
    wait_until(lambda: len(parts(log)) > before, f"{log} to be rotated")


# --- much ---------------------------------------------------------------------------------------------------


def test_two_hundred_megabytes_arrive(tmp_path: Path) -> None:
    """Every line of 200 MB is in the rotated files once, whole and in order, and no file is too large."""
    log, last = tmp_path / "log/web.log", 23_500_000
    text = once("web", ["seq", str(last)], log, max_size="16MiB", keep=100)
    with daemon(tmp_path, text) as running:
        running.event("service.finished", within_s=60)
    assert sum(path.stat().st_size for path in parts(log)) > 200_000_000
    assert max(path.stat().st_size for path in parts(log)) <= 16 << 20
    assert_sequence(log, last)


def test_a_hundred_services_at_once_each_have_their_lines(tmp_path: Path) -> None:
    """With small files that are rotated all the time, and compressed meanwhile."""
    logs = [tmp_path / f"log/{number}.log" for number in range(100)]
    tables = [
        once(f"s{number}", ["seq", "5000"], log, max_size="5KiB", keep=100, compress=number < 5)
        for number, log in enumerate(logs)
    ]
    with daemon(tmp_path, "\n".join(tables)) as running:
        running.event("service.finished", nth=100, within_s=60)
        wait_until(lambda: not any(_plain(log) for log in logs[:5]), "old files to be compressed", 60)
        assert not running.events("helper.failed")
    for log in logs:
        assert len(parts(log)) >= 5
        assert_sequence(log, 5000)


def _plain(log: Path) -> list[Path]:
    return [path for path in parts(log)[:-1] if path.suffix != ".gz"]


def test_services_that_share_a_file_do_not_mix_their_lines(tmp_path: Path) -> None:
    """Each line is whole, and each service's lines are in order."""
    log = tmp_path / "all.log"
    tables = [once(f"s{n}", f"seq -f 's{n} %.0f' 20000", log, max_size="256KiB", keep=100) for n in range(5)]
    with daemon(tmp_path, "\n".join(tables)) as running:
        running.event("service.finished", nth=5)
    found: dict[bytes, list[int]] = {}
    for line in content(log).splitlines():
        name, number = line.split()
        found.setdefault(name, []).append(int(number))
    assert found == {f"s{n}".encode(): list(range(1, 20001)) for n in range(5)}


def test_nothing_is_lost_across_restarts_and_reloads(tmp_path: Path) -> None:
    """Runs that are stopped while they write leave whole lines without a gap, in the order of the runs."""
    log = tmp_path / "web.log"
    script = "i=0; while :; do i=$((i+1)); echo $i; done"
    to = file(log, max_size="8KiB", keep=10_000)
    with daemon(tmp_path, service("web", script, stdout=to)) as running:
        for number in range(1, 5):
            running.event("service.running", nth=number)
            wait_rotation(log)
            if number % 2:
                running.ask("restart", "web")
            else:
                running.configure(service("web", script, umask=f"02{number}", stdout=to))
                running.process.send_signal(signal.SIGHUP)
        running.event("service.running", nth=5)
    runs: list[int] = []
    for number in map(int, content(log).splitlines()):
        if number == 1:
            runs.append(0)
        assert number == runs[-1] + 1
        runs[-1] = number
    assert len(runs) == 5


def test_both_outputs_in_their_order_or_apart(tmp_path: Path) -> None:
    """Standard error joins the standard output's pipe, or has a file of its own."""
    script = "for i in 1 2 3; do echo out$i; echo err$i >&2; done"
    joined, out, err = (tmp_path / f"{name}.log" for name in ("joined", "out", "err"))
    text = service("both", script, oneshot=True, stdout=file(joined), stderr="stdout") + service(
        "apart", script, oneshot=True, stdout=file(out), stderr=file(err)
    )
    with daemon(tmp_path, text) as running:
        running.event("service.finished", nth=2)
    assert content(joined) == b"out1\nerr1\nout2\nerr2\nout3\nerr3\n"
    assert (content(out), content(err)) == (b"out1\nout2\nout3\n", b"err1\nerr2\nerr3\n")


# --- what is no line ----------------------------------------------------------------------------------------


def test_what_hooks_and_commands_say_is_in_the_log_of_their_service(tmp_path: Path) -> None:
    """Each line marked with who said it, the standard error where the service's goes."""
    log, other = tmp_path / "web.log", tmp_path / "err.log"
    text = service(
        "web",
        "trap 'echo caught; exit 3' USR1; echo up; while :; do sleep 0.05; done",
        restart="never",
        stdout=file(log),
        stderr=file(other),
        ready={"log": "up"},
        stop={"command": ["sh", "-c", "echo stopping; kill -USR1 $MAINPID"]},
        reload={"command": ["sh", "-c", "printf 'two\\nlines without end'"]},
        on_exit=["sh", "-c", "echo cleaned; echo but >&2"],
    )
    with daemon(tmp_path, text) as running:
        running.event("service.running")
        running.ask("reload-services", "web")
        running.event("helper.ended", errand="reload")
        wait_content(log, b"up\n[reload] two\n[reload] lines without end\n")
        running.ask("stop", "web")
        running.event("helper.ended", errand="on_exit")
        said = b"up\n[reload] two\n[reload] lines without end\n[stop] stopping\ncaught\n[on_exit] cleaned\n"
        wait_content(log, said)
        wait_content(other, b"[on_exit] but\n")


def test_helpers_leave_no_pipe_and_write_nowhere_where_their_service_does(tmp_path: Path) -> None:
    """Of a service that is run again and again; one that is silent has silent hooks."""
    hook = ["sh", "-c", "echo hook; echo hook >&2"]
    log = tmp_path / "web.log"
    text = service("web", "exec sleep 1000", stdout=file(log), stderr="stdout", on_exit=hook)
    text += service("mute", "exec sleep 1000", stdout="null", stderr="null", on_exit=hook)
    with daemon(tmp_path, text, stdout=subprocess.PIPE) as running:
        left: list[int] = []
        for _ in range(5):
            running.ask("start", "all")
            running.ask("stop", "all")
            running.event("helper.ended", errand="on_exit", service="mute", nth=len(left) + 1)
            running.event("helper.ended", errand="on_exit", service="web", nth=len(left) + 1)
            wait_content(log, b"[on_exit] hook\n[on_exit] hook\n" * (len(left) + 1))
            wait_until(lambda: len(pipes(running)) <= min(left, default=99), "every pipe to be closed")
            left.append(len(pipes(running)))
        running.process.send_signal(signal.SIGTERM)
        assert running.process.stdout is not None
        assert running.process.stdout.read() == b""


def test_an_output_without_a_line_break_becomes_a_line_at_its_end(tmp_path: Path) -> None:
    """So that what the next run writes does not go on in it."""
    log = tmp_path / "web.log"
    text = service("web", "printf abc", restart="always", backoff={"initial": "1ms"}, stdout=file(log))
    with daemon(tmp_path, text) as running:
        running.event("service.exited", nth=3)
        wait_until(lambda: content(log).startswith(b"abc\nabc\nabc\n"), "three lines")


def test_binary_output_does_no_harm(tmp_path: Path) -> None:
    """Every byte of it arrives, and what follows is a line as any other."""
    log, data = tmp_path / "web.log", tmp_path / "data"
    data.write_bytes(os.urandom(3_000_000) + b"\0\n")
    text = once("web", f"cat {data}; echo end", log, max_size="100KiB", keep=1000, max_line="1MiB")
    with daemon(tmp_path, text) as running:
        running.event("service.finished")
    assert content(log) == data.read_bytes() + b"end\n"


def test_a_line_that_is_too_long_is_cut_and_marked(tmp_path: Path) -> None:
    """The lines around it are whole."""
    log = tmp_path / "web.log"
    script = "echo before; head -c 1000000 /dev/zero | tr '\\0' x; echo; echo after"
    with daemon(tmp_path, once("web", script, log)) as running:
        running.event("service.finished")
    before, long, after = content(log).splitlines()
    assert (before, after) == (b"before", b"after")
    assert long == b"x" * 65536 + b" [reaperd: 934464 bytes cut]"


# --- pipes that outlive ------------------------------------------------------------------------------------


def pipes(running: Running) -> list[str]:
    """Return the pipes that the daemon holds."""
    return [fd for fd in running.fds() if fd.startswith("pipe:")]


def test_who_inherits_or_writes_nowhere_has_no_pipe(tmp_path: Path) -> None:
    """The daemon takes no part in it."""
    sleep = ["sleep", "1000"]
    with daemon(tmp_path, service("web", sleep)) as running:
        running.event("service.running")
        running.configure(service("web", sleep) + service("db", sleep, stdout="null", stderr="stdout"))
        before = len(pipes(running))
        running.process.send_signal(signal.SIGHUP)
        running.event("service.running", nth=2)
        assert len(pipes(running)) == before


def test_a_service_may_close_its_output_and_its_child_go_on(tmp_path: Path, gate: Path) -> None:
    """What a child of it writes arrives; once nobody has the pipe it is closed."""
    log = tmp_path / "web.log"
    script = f"echo main; (read _ <{gate}; echo child) & exec sleep 1000 >&-"
    text = service("web", script, stdout=file(log))
    with daemon(tmp_path, text) as running:
        running.event("service.running")
        wait_content(log, b"main\n")
        with_pipe = len(pipes(running))
        open_gate(gate)
        wait_content(log, b"main\nchild\n")
        wait_until(lambda: len(pipes(running)) == with_pipe - 1, "the pipe to be closed")
        assert running.row("web")["state"] == "running"


def test_a_pipe_may_outlive_its_run(tmp_path: Path) -> None:
    """Who has it open from outside is heard after the run, and in the next one, until he closes it."""
    log = tmp_path / "web.log"
    with daemon(tmp_path, service("web", "echo up; exec sleep 1000", stdout=file(log))) as running:
        running.event("service.running")
        wait_content(log, b"up\n")
        with Path(f"/proc/{running.row('web')['pid']}/fd/1").open("wb", buffering=0) as stranger:
            running.ask("stop", "web")
            assert running.row("web")["state"] == "stopped"
            stranger.write(b"after the end\n")
            wait_content(log, b"up\nafter the end\n")
            running.ask("start", "web")
            wait_content(log, b"up\nafter the end\nup\n")
            stranger.write(b"still here\n")
            wait_content(log, b"up\nafter the end\nup\nstill here\n")
            with_both = len(pipes(running))
        wait_until(lambda: len(pipes(running)) == with_both - 1, "the stranger's pipe to be closed")


def test_restarts_leave_no_descriptor(tmp_path: Path) -> None:
    """Each run's pipes end with it."""
    keys = {"restart": "always", "backoff": {"initial": "1ms", "max": "1ms", "jitter": 0.0}}
    text = service("web", "echo up", **keys, stdout=file(tmp_path / "o"), stderr=file(tmp_path / "e"))
    with daemon(tmp_path, text) as running:
        running.event("service.exited", nth=10)
        before = len(running.fds())
        running.event("service.exited", nth=100, within_s=60)
        assert len(running.fds()) <= before + 5


# --- files that come and go ---------------------------------------------------------------------------------


def test_a_directory_that_is_removed_is_made_again(tmp_path: Path, gate: Path) -> None:
    """What is written from then on is there, whoever removed what."""
    log = tmp_path / "deep/down/web.log"
    other = tmp_path / "other"  # once the first was read from it may not be closed yet
    os.mkfifo(other)
    script = f"echo one; read _ <{gate}; echo two; read _ <{other}; echo three; exec sleep 1000"
    with daemon(tmp_path, service("web", script, stdout=file(log))) as running:
        running.event("service.running")
        wait_content(log, b"one\n")
        shutil.rmtree(tmp_path / "deep")
        open_gate(gate)
        wait_content(log, b"two\n")
        log.rename(tmp_path / "moved.log")
        open_gate(other)
        wait_content(log, b"three\n")
    assert (tmp_path / "moved.log").read_bytes() == b"two\n"


def test_a_file_that_was_emptied_goes_on_from_its_beginning(tmp_path: Path, gate: Path) -> None:
    """No hole is left where its content was."""
    log = tmp_path / "web.log"
    script = f"echo one; read _ <{gate}; echo two; exec sleep 1000"
    with daemon(tmp_path, service("web", script, stdout=file(log))) as running:
        running.event("service.running")
        wait_content(log, b"one\n")
        os.truncate(log, 0)
        open_gate(gate)
        wait_content(log, b"two\n")


def test_half_a_line_that_a_killed_daemon_left_is_ended(tmp_path: Path) -> None:
    """Otherwise the first line of the next one would be its second half."""
    log = tmp_path / "web.log"
    log.write_text("half")
    with daemon(tmp_path, once("web", "echo whole", log)) as running:
        running.event("service.finished")
    assert content(log) == b"half\nwhole\n"


@pytest.mark.parametrize("what", ["a link", "a directory", "a pipe"])
def test_what_is_no_file_is_refused_and_harms_nobody(tmp_path: Path, what: str) -> None:
    """It is said, the service runs, and once there can be a file everything is in it."""
    log, elsewhere = tmp_path / "web.log", tmp_path / "elsewhere"
    match what:
        case "a link":
            log.symlink_to(elsewhere)
        case "a directory":
            log.mkdir()
        case _:
            os.mkfifo(log)
    with daemon(tmp_path, service("web", "echo up; exec sleep 1000", stdout=file(log))) as running:
        assert running.event("output.failing")["to"] == str(log)
        running.event("service.running")
        shutil.rmtree(log) if what == "a directory" else log.unlink()
        assert running.event("output.recovered")["dropped_lines"] == 0
        wait_content(log, b"up\n")
    assert not elsewhere.exists()


@pytest.mark.parametrize(("stream", "to"), [("stdout", 1), ("stderr", 2)])
def test_an_old_file_is_set_aside_for_its_age(tmp_path: Path, stream: str, to: int) -> None:
    """Without another line being written, and only once."""
    log = tmp_path / "web.log"
    text = service("web", f"echo up >&{to}; exec sleep 1000", **{stream: file(log, max_age="1s")})
    with daemon(tmp_path, text) as running:
        wait_until(lambda: len(parts(log)) == 2, "the old file")
        running.event("service.running")
        assert Path(f"{log}.000001").read_bytes() == b"up\n"
        wait_content(log, b"up\n")
        assert log.read_bytes() == b""


@pytest.mark.parametrize(("stream", "to"), [("stdout", 1), ("stderr", 2)])
def test_no_more_than_so_many_old_files_are_kept(tmp_path: Path, stream: str, to: int) -> None:
    """The newest of them, and the log itself."""
    log = tmp_path / "web.log"
    text = once("web", f"seq 10000 >&{to}", log, stream=stream, max_size="1KiB", keep=3)
    with daemon(tmp_path, text) as running:
        running.event("service.finished")
    assert len(parts(log)) == 4
    numbers = [int(line) for line in content(log).splitlines()]
    assert numbers == list(range(numbers[0], 10001))


# --- a full disk --------------------------------------------------------------------------------------------


def small_disk(folder: Path) -> tuple[str, ...]:
    """Return the words before a command that has 64 KiB left on a disk there, in its own mount namespace."""
    script = (
        """mount -t tmpfs -o size=4m disk "$0" && head -c 4128768 /dev/zero >"$0/ballast" && exec "$@" """
    )
    words = ("unshare", "-m" if os.geteuid() == 0 else "-Urm", "sh", "-c", script, str(folder))
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no mount namespace with a tmpfs")
    return words


def enlarge(running: Running, folder: Path) -> None:
    """Let there be room on the daemon's small disk."""
    seen(running, folder / "ballast").unlink()


def seen(running: Running, path: Path) -> Path:
    """Return a path as the daemon sees it."""
    return Path(f"/proc/{running.pid}/root{path}")


def test_a_full_disk_that_recovers_loses_nothing_that_the_buffer_holds(tmp_path: Path, gate: Path) -> None:
    """The service is not held up meanwhile, and goes on as if nothing had been."""
    disk = tmp_path / "disk"
    disk.mkdir()
    log = disk / "web.log"
    text = service("web", f"seq 50000; read _ <{gate}; seq 50001 60000; exec sleep 1000", stdout=file(log))
    with daemon(tmp_path, text, program=(*small_disk(disk), *DAEMON)) as running:
        assert running.event("output.failing")["problem"] == "No space left on device"
        open_gate(gate)  # the service came that far
        enlarge(running, disk)
        assert running.event("output.recovered")["dropped_lines"] == 0
        inside = seen(running, log)
        wait_until(lambda: inside.read_bytes().endswith(b"\n60000\n"), "the last line")
        assert_sequence(inside, 60000)


@pytest.mark.parametrize(
    ("stream", "to", "max_size"), [("stdout", 1, None), ("stdout", 1, "16KiB"), ("stderr", 2, None)]
)
def test_what_a_full_disk_drops_is_counted_and_marked(
    tmp_path: Path, gate: Path, stream: str, to: int, max_size: str | None
) -> None:
    """Written and dropped lines are all there were, and a line stands for those that are missing."""
    disk = tmp_path / "disk"
    disk.mkdir()
    log = disk / "web.log"
    more = {} if max_size is None else {"max_size": max_size, "keep": 1000}
    script = f"exec >&{to}; seq 200000; read _ <{gate}; echo 200001; exec sleep 1000"
    text = service("web", script, **{stream: file(log, buffer="32KiB", **more)})
    with daemon(tmp_path, text, program=(*small_disk(disk), *DAEMON)) as running:
        running.event("output.failing")
        wait_until(lambda: running.row("web")["dropped"] > 100_000, "lines to be dropped")
        enlarge(running, disk)
        told = running.event("output.recovered")["dropped_lines"]
        open_gate(gate)
        inside = seen(running, log)
        wait_until(lambda: inside.exists() and inside.read_bytes().endswith(b"200001\n"), "the last line")
        lines = content(inside).splitlines()
    number = dropped = 0
    for line in lines:
        if line.startswith(b"reaperd: "):
            dropped += int(line.split()[1])
            number += int(line.split()[1])
            assert line.endswith(b" lines were dropped here: No space left on device")
        else:
            number += 1
            assert int(line) == number
    assert (number, dropped) == (200_001, told)


def test_the_log_says_what_is_lost_when_the_daemon_ends_before_the_disk_recovers(tmp_path: Path) -> None:
    """The number of lines that were held or dropped."""
    disk = tmp_path / "disk"
    disk.mkdir()
    text = service("web", "seq 50000; exec sleep 1000", stdout=file(disk / "web.log"))
    with daemon(tmp_path, text, program=(*small_disk(disk), *DAEMON)) as running:
        running.event("output.failing")
        assert running.end() == 0
        (lost,) = running.events("output.lost")
    assert lost["to"] == str(disk / "web.log")
    assert 0 < lost["lines"] < 50000
