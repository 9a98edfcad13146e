"""Groups, verdicts, metrics and trends, on made-up scans."""

import pytest

from reaperd.zombies.cause import Cause
from reaperd.zombies.container import NOWHERE, Place, place_of
from reaperd.zombies.digest import By, exposition, grouped, groups_as_json, verdict
from reaperd.zombies.ladder import Method, Offer, way_of
from reaperd.zombies.report import explanations
from reaperd.zombies.scan import Parent, Scan, Zombie
from reaperd.zombies.trend import Trends

ID = "0123456789abcdef" * 4
POD = "11111111-2222-3333-4444-555555555555"
CAUSE = Cause("parent-never-waits", "It does not care.", "nothing", "kill 7")
TRANSIT = Cause("in-transit", "A moment ago.", "young", "nothing", is_leak=False)
ZOMBIE = Zombie(
    pid=812,
    start_time=4711,
    name="worker",
    user="www-data",
    ppid=7,
    parent=Parent(7, "sh", "sh server.sh", "sleeping", 4000),
    started_at=1_700_000_000.25,
    at_most_s=3700.0,
    at_least_s=60.5,
    was_killed=False,
    exit_code=3,
    exit_signal=None,
    core_dumped=False,
    threads=1,
    cause=CAUSE,
    place=Place(f"/docker/{ID}", ID, None),
)
YOUNG = ZOMBIE._replace(pid=813, cause=TRANSIT, at_least_s=0.1)


def many(count: int) -> tuple[Zombie, ...]:
    """Return so many zombies of one parent."""
    return tuple(ZOMBIE._replace(pid=1000 + number) for number in range(count))


@pytest.mark.parametrize(
    ("cgroup", "container", "pod"),
    [
        ("/user.slice/user-1000.slice", None, None),
        (f"/docker/{ID}", ID, None),
        (f"/system.slice/docker-{ID}.scope", ID, None),
        (f"/machine.slice/libpod-{ID}.scope/container", ID, None),
        (f"/kubepods/burstable/pod{POD}/{ID}", ID, POD),
        (
            f"/kubepods.slice/kubepods-pod{POD.replace('-', '_')}.slice/cri-containerd-{ID}.scope",
            ID,
            POD,
        ),
        ("/lxc.payload.web/init.scope", "web", None),
        ("/lxc/web", "web", None),
        ("/machine.slice/systemd-nspawn@web.service/payload", "web", None),
    ],
)
def test_a_container_is_told_from_the_cgroup(cgroup: str, container: str | None, pod: str | None) -> None:
    """As each engine writes its path."""
    assert place_of(cgroup) == Place(cgroup, container, pod)


def test_no_cgroup_is_nowhere() -> None:
    """Rather that than a guess."""
    assert place_of(None) is NOWHERE


def test_groups_count_by_what_is_asked() -> None:
    """Largest first; leaks and the oldest apart."""
    found = (*many(3), YOUNG, ZOMBIE._replace(pid=9, user="root", place=NOWHERE))
    by_user = grouped(found, By.USER)
    assert [(group.key, group.count, group.leaks) for group in by_user] == [
        ("www-data", 4, 3),
        ("root", 1, 1),
    ]
    assert [group.key for group in grouped(found, By.CONTAINER)] == [ID, None]
    assert [group.key for group in grouped(found, By.PARENT)] == ["7 sh server.sh"]
    told = groups_as_json(by_user, By.USER)
    assert (told["schema"], told["by"]) == ("reaperd.zombies.by/1", "user")
    assert told["items"][0] == {"key": "www-data", "count": 4, "leaks": 3, "oldest": 60.5}


@pytest.mark.parametrize(
    ("count", "warn", "critical", "status", "word"),
    [
        (0, 0, 5, 0, "OK"),
        (1, 0, 5, 1, "WARNING"),
        (5, 0, 5, 1, "WARNING"),
        (6, 0, 5, 2, "CRITICAL"),
        (6, None, 5, 2, "CRITICAL"),
        (6, 7, None, 0, "OK"),
    ],
)
def test_a_threshold_is_the_most_that_is_fine(
    count: int, warn: int | None, critical: int | None, status: int, word: str
) -> None:
    """As the guidelines of monitoring plugins have it; zombies in transit do not count."""
    found, line = verdict(Scan((*many(count), YOUNG), is_complete=True), warn, critical)
    assert found == status
    assert line.startswith(f"ZOMBIES {word} - ")
    told, _, data = line.partition(" | ")
    limits = f"{'' if warn is None else warn};{'' if critical is None else critical}"
    assert data.startswith(f"leaks={count};{limits};0 zombies={count + 1};;;0 ")
    assert "|" not in told


def test_what_was_not_seen_is_not_fine() -> None:
    """An incomplete look without a leak is unknown, with one too many it is still critical."""
    assert verdict(Scan((), is_complete=False), 0, 5)[0] == 3
    assert verdict(Scan(many(6), is_complete=False), 0, 5)[0] == 2


def test_metrics_are_valid_exposition_text() -> None:
    """The format's own parser reads them, hostile names as they are."""
    parser = pytest.importorskip("prometheus_client.parser", reason="needs prometheus-client: make dev")
    assert ZOMBIE.parent is not None
    hostile = ZOMBIE._replace(pid=5, parent=ZOMBIE.parent._replace(name='a"b\\c\nd\udcff'))
    text = exposition(Scan((*many(2), hostile), is_complete=True), 1_700_000_000.5)
    families = {family.name: family for family in parser.text_string_to_metric_families(text)}
    assert {family.type for family in families.values()} == {"gauge"}
    found = {sample.labels["parent"]: sample.value for sample in families["reaperd_zombies"].samples}
    assert found == {"sh": 2, 'a"b\\c\nd\\xff': 1}
    assert text.endswith("\n")
    text.encode()
    assert 'reaperd_zombies{parent="sh",ppid="7",cause="parent-never-waits",leak="true"' in text
    assert "reaperd_zombies_scan_timestamp_seconds 1700000000.5\n" in text


def test_a_leak_is_told_from_a_constant_stock() -> None:
    """By what comes after the first look; zombies in transit never count."""
    trends = Trends()
    (first,) = trends.look((*many(3), YOUNG), 100.0)
    assert (first.count, first.per_minute, first.word) == (3, None, None)
    (same,) = trends.look(many(3), 130.0)
    assert (same.per_minute, same.word) == (0.0, "constant")
    (more,) = trends.look(many(5), 160.0)
    assert (more.count, more.per_minute, more.word) == (5, 2.0, "leak")


def test_who_comes_and_goes_is_changing() -> None:
    """New ones come, and as many go; what came five minutes ago is forgotten."""
    trends = Trends()
    trends.look(many(2), 0.0)
    (after,) = trends.look((ZOMBIE._replace(pid=1), ZOMBIE._replace(pid=2)), 60.0)
    assert (after.count, after.per_minute, after.word) == (2, 2.0, "changing")
    (later,) = trends.look((ZOMBIE._replace(pid=1), ZOMBIE._replace(pid=2)), 400.0)
    assert later.word == "constant"
    assert trends.look((), 401.0) == []


def test_the_explanation_names_the_container() -> None:
    """And the pid by which the zombie is known in there."""
    lines = explanations(Scan((ZOMBIE._replace(inner_pid=5),), is_complete=True))
    assert lines[0] == "812 (5 in its container): It does not care."
    assert lines[-1] == f"  in:    container {ID}"


@pytest.mark.parametrize(
    ("cause", "method", "rungs", "offer"),
    [
        ("parent-never-waits", Method.AUTO, ["inject"], None),
        ("handler-missed", Method.AUTO, ["nudge", "inject"], None),
        ("sigchld-signalfd", Method.AUTO, ["nudge", "inject"], None),
        ("parent-stopped", Method.AUTO, ["inject"], Offer.CONTINUE),
        ("parent-frozen", Method.AUTO, [], Offer.THAW),
        ("parent-traced", Method.INJECT, [], Offer.END_TRACER),
        ("parent-frozen", Method.ADOPT, ["adopt"], Offer.THAW),
        ("parent-outside", Method.ADOPT, [], None),
        ("parent-never-waits", Method.GDB, ["gdb"], None),
        ("parent-never-waits", Method.NUDGE, ["nudge"], None),
    ],
)
def test_the_ladder_of_each_cause(cause: str, method: Method, rungs: list[str], offer: Offer | None) -> None:
    """Gentlest first; what cannot run is offered its own cure, and nothing else is done to it."""
    zombie = ZOMBIE._replace(cause=CAUSE._replace(name=cause))
    way = way_of(zombie, method, has_gdb=True, knows_registers=True)
    assert [rung.method for rung in way.rungs] == rungs
    assert way.offer is offer
    assert (way.refusal is None) == bool(rungs)


def test_where_registers_are_not_known_gdb_is_the_last_rung() -> None:
    """If it is installed; if not, nothing is left."""
    for has_gdb, rungs in ((True, ["gdb"]), (False, [])):
        way = way_of(ZOMBIE, Method.AUTO, has_gdb=has_gdb, knows_registers=False)
        assert [rung.method for rung in way.rungs] == rungs


def test_a_tracer_collects_first() -> None:
    """Then the parent can."""
    held = ZOMBIE._replace(tracer=99, cause=CAUSE._replace(name="held-by-tracer"))
    way = way_of(held, Method.INJECT, has_gdb=False, knows_registers=True)
    assert [rung.actor for rung in way.rungs] == [99, 7]


def test_what_is_no_leak_is_refused() -> None:
    """With the sentence that says why."""
    way = way_of(YOUNG, Method.INJECT, has_gdb=True, knows_registers=True)
    assert way.rungs == ()
    assert way.refusal is not None
    assert "A moment ago." in way.refusal
