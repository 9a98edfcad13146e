import os
import signal
from pathlib import Path
from typing import Any

from reaperd.control.client import Client
from tests.support.daemons import Running, daemon, service
from tests.support.processes import wait_gone

WAIT = ["sleep", "1000"]
SLOW_STOP = "trap 'sleep 0.2; exit 0' TERM; while :; do sleep 0.05; done"


def order_of(running: Running, event: str, *names: str) -> list[str]:
    """Return these services in the order in which they had their first `event`."""
    for name in names:
        running.event(event, service=name)
    found = [each["service"] for each in running.events(event) if each["service"] in names]
    return list(dict.fromkeys(found))


def why(folder: Path, name: str) -> dict[str, Any]:
    """Return what `why` says of one service."""
    (item,) = Client(folder / "c.sock").ask("why", [name])["items"]
    return dict(item)


def at(running: Running, event: str, name: str) -> int:
    """Return how many events came before this one."""
    return running.log.index(running.event(event, service=name))


def test_services_start_in_the_order_of_their_needs(tmp_path: Path) -> None:
    """The one below is ready before the next is even forked, whatever the order of the file."""
    services = (
        service("web", WAIT, requires=["app"])
        + service("app", WAIT, requires=["db"], ready={"delay": "100ms"})
        + service("db", WAIT, ready={"delay": "200ms"})
    )
    with daemon(tmp_path, services) as running:
        running.event("service.running", service="web")
        assert order_of(running, "service.starting", "web", "app", "db") == ["db", "app", "web"]
        assert at(running, "service.running", "db") < at(running, "service.starting", "app")
        assert at(running, "service.running", "app") < at(running, "service.starting", "web")
        assert running.event("service.waiting", service="web")["waits_for"] == ["app"]


def test_what_does_not_wait_for_each_other_starts_together(tmp_path: Path) -> None:
    """Two that only need the third are both forked before either is ready."""
    services = service("db", WAIT) + "".join(
        service(name, WAIT, requires=["db"], ready={"delay": "300ms"}) for name in ("one", "two")
    )
    with daemon(tmp_path, services) as running:
        running.event("service.running", service="two")
        last = max(at(running, "service.starting", name) for name in ("one", "two"))
        assert last < min(at(running, "service.running", name) for name in ("one", "two"))


def test_the_end_takes_them_down_the_other_way_round(tmp_path: Path) -> None:
    """Nobody is asked to stop while one who needs or follows him has a process left."""
    services = (
        service("db", WAIT)
        + service("app", SLOW_STOP, requires=["db"])
        + service("web", SLOW_STOP, requires=["app"])
        + service("log", SLOW_STOP, after=["db"])
    )
    with daemon(tmp_path, services) as running:
        for name in ("web", "log"):
            running.event("service.running", service=name)
        assert running.end() == 0
        assert at(running, "service.stopped", "web") < at(running, "service.stopping", "app")
        assert at(running, "service.stopped", "app") < at(running, "service.stopping", "db")
        assert at(running, "service.stopped", "log") < at(running, "service.stopping", "db")


def test_a_stop_takes_along_who_requires_it_and_nobody_else(tmp_path: Path) -> None:
    """First the ones above; who merely comes after runs on."""
    services = (
        service("db", WAIT) + service("web", SLOW_STOP, requires=["db"]) + service("log", WAIT, after=["db"])
    )
    with daemon(tmp_path, services) as running:
        for name in ("web", "log"):
            running.event("service.running", service=name)
        running.ask("stop", "db")
        assert at(running, "service.stopped", "web") < at(running, "service.stopping", "db")
        assert [running.row(name)["state"] for name in ("db", "web", "log")] == [
            "stopped",
            "stopped",
            "running",
        ]


def test_a_stop_that_waits_for_others_says_so_and_can_be_taken_back(tmp_path: Path) -> None:
    """Until its turn comes the service runs on untouched; a start then keeps it."""
    stubborn = "trap '' TERM; echo trapped; while :; do sleep 0.05; done"
    services = service("db", WAIT) + service("web", stubborn, requires=["db"], ready={"log": "trapped"})
    with daemon(tmp_path, services) as running:
        running.event("service.running", service="web")
        pid = running.row("db")["pid"]
        running.ask("stop", "db", wait=False)
        row = running.row("db")
        assert (row["state"], row["waits_for"]) == ("running", ["web"])
        assert row["why"] == "stops once these are gone: web"
        running.ask("start", "db", wait=False)
        running.ask("stop", "web")  # asked again: it is killed
        row = running.row("db")
        assert (row["state"], row["pid"], row["waits_for"]) == ("running", pid, [])


def test_a_start_brings_what_is_required(tmp_path: Path) -> None:
    """Needs first; the answer comes when all is up."""
    services = service("db", WAIT, ready={"delay": "100ms"}) + service("web", WAIT, requires=["db"])
    with daemon(tmp_path, services) as running:
        running.event("service.running", service="web")
        running.ask("stop", "all")
        (item,) = running.ask("start", "web")["items"]
        assert (item["ok"], item["state"]) == (True, "running")
        assert running.row("db")["state"] == "running"


def test_a_failed_requirement_holds_and_is_named(tmp_path: Path) -> None:
    """The one above is never forked, and `why` names what would help; then it goes by itself."""
    mended = tmp_path / "mended"
    services = service(
        "db", f"test -e {mended} && exec sleep 1000", restart="never", ready={"delay": "200ms"}
    )
    services += service("app", WAIT, requires=["db"]) + service("web", WAIT, requires=["app"])
    with daemon(tmp_path, services) as running:
        running.event("service.failed", service="db")
        told = why(tmp_path, "web")
        assert (told["state"], told["why"]) == ("waiting", "waits for app (waiting)")
        assert [(held["name"], held["state"]) for held in told["held_by"]] == [
            ("app", "waiting"),
            ("db", "failed"),
        ]
        assert told["held_by"][1]["why"] == "exited with 1; restart = never"
        (item,) = running.ask("start", "web")["items"]  # tried once more, and answered: no more will come
        assert (item["ok"], item["state"]) == (False, "waiting")
        assert not running.events("service.starting", service="app")
        mended.touch()
        running.ask("start", "db")
        running.event("service.running", service="web")


def test_a_oneshot_that_ended_well_satisfies_and_is_not_run_again(tmp_path: Path) -> None:
    """The migration runs once before the application, and not with each start of that."""
    ran = tmp_path / "ran"
    services = service("migrate", f"sleep 0.1; echo x >> {ran}", oneshot=True)
    services += service("web", WAIT, requires=["migrate"])
    with daemon(tmp_path, services) as running:
        running.event("service.running", service="web")
        assert at(running, "service.finished", "migrate") < at(running, "service.starting", "web")
        running.ask("restart", "web")
        running.ask("stop", "web")
        running.ask("start", "web")
        assert ran.read_text() == "x\n"
        (item,) = running.ask("start", "migrate")["items"]
        assert (item["ok"], item["state"], ran.read_text()) == (True, "exited", "x\nx\n")


def test_a_crash_below_leaves_the_one_above_alone(tmp_path: Path) -> None:
    """A requirement is one of starting; what runs copes."""
    services = service("db", WAIT, backoff={"initial": "1ms"}) + service("web", WAIT, requires=["db"])
    with daemon(tmp_path, services) as running:
        running.event("service.running", service="web")
        web, db = running.row("web")["pid"], running.row("db")["pid"]
        os.kill(db, signal.SIGKILL)
        running.event("service.running", nth=2, service="db")
        assert running.row("web")["pid"] == web


def test_several_restart_from_the_top_down_and_the_bottom_up(tmp_path: Path) -> None:
    """Restarted together they stop and start in order."""
    services = service("db", WAIT, ready={"delay": "100ms"}) + service("web", SLOW_STOP, requires=["db"])
    with daemon(tmp_path, services) as running:
        running.event("service.running", service="web")
        running.ask("restart", "db", "web")
        up_again = running.log.index(running.event("service.running", nth=2, service="db"))
        assert at(running, "service.exited", "web") < at(running, "service.stopping", "db")
        web_again = running.log.index(running.event("service.starting", nth=2, service="web"))
        assert up_again < web_again


def test_a_start_limit_gives_up_and_says_so(tmp_path: Path) -> None:
    """After as many starts as are allowed the service has failed for good, until somebody asks."""
    limit = {"count": 3, "interval": "1m"}
    services = service("web", "exit 3", start_limit=limit, backoff={"initial": "1ms", "max": "1ms"})
    with daemon(tmp_path, services) as running:
        assert running.event("service.failed", service="web")["gave_up"]
        assert len(running.events("service.starting", service="web")) == 3
        assert running.row("web")["why"] == "exited with 3; gave up: started 3 times in 1m"
        running.ask("start", "web")
        running.event("service.failed", nth=2, service="web")
        assert len(running.events("service.starting", service="web")) == 6


def test_an_unready_instance_holds_and_all_of_them_are_meant(tmp_path: Path) -> None:
    """A name stands for every instance: as a requirement, and for a stop."""
    services = service(
        "worker",
        "test $REAPERD_INSTANCE = 1 || sleep 0.3; echo up; exec sleep 1000",
        instances=2,
        ready={"log": "up"},
    )
    services += service("web", WAIT, requires=["worker"])
    with daemon(tmp_path, services) as running:
        running.event("service.running", service="web")
        assert at(running, "service.running", "worker:2") < at(running, "service.starting", "web")
        pids = [running.row(f"worker:{number}")["pid"] for number in (1, 2)]
        items = running.ask("stop", "worker")["items"]
        assert [item["name"] for item in items] == ["worker:1", "worker:2"]
        for pid in pids:
            wait_gone(pid)
        assert running.row("web")["state"] == "stopped"
