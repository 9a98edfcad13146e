import json

from reaperd.telemetry.events import MOST, Following, Ring, Told


def rows(data: bytes | None) -> list[dict[str, object]]:
    """Return the objects in some lines."""
    assert data is not None
    return [json.loads(line) for line in data.splitlines()]


def ring_of(count: int, most: int = MOST) -> Ring:
    """Return a ring with so many events."""
    ring = Ring(most=most, wall=lambda: 1_700_000_000_123_456_789)
    for number in range(count):
        ring.put("service.spawned", {"service": f"s{number % 2}", "pid": number})
    return ring


def test_a_stream_names_its_schema_and_ends() -> None:
    """Unless it is followed: then there is nothing for now."""
    ring = ring_of(2)
    reader = Following(ring, 1, follow=False)
    first, *events = rows(reader.read(1 << 20))
    assert first == {"schema": "reaperd.events/1", "kind": "daemon", "next": 3}
    assert events[1] == {
        "seq": 2,
        "time": "2023-11-14T22:13:20.123Z",
        "level": "info",
        "event": "service.spawned",
        "service": "s1",
        "pid": 1,
    }
    assert reader.read(1 << 20) is None
    follower = Following(ring, 3, follow=True)
    assert len(rows(follower.read(1))) == 1
    assert follower.read(1) == b""
    ring.put("service.running", {"service": "s0"})
    assert [row["seq"] for row in rows(follower.read(1))] == [3]


def test_who_is_slow_is_told_how_many_are_lost() -> None:
    """And goes on with the oldest that is there; the ring never holds more than it may."""
    ring = ring_of(1, most=10)
    follower = Following(ring, 1, follow=True)
    assert len(rows(follower.read(1 << 20))) == 2
    for number in range(100):
        ring.put("service.spawned", {"pid": number})
    lost, *events = rows(follower.read(1 << 20))
    assert lost == {"seq": 92, "event": "events.lost", "lost": 90}
    assert [row["seq"] for row in events] == list(range(92, 102))


def test_pieces_are_bounded_and_none_is_left_out() -> None:
    """Whatever the size of a piece."""
    ring = ring_of(500)
    reader = Following(ring, 1, follow=False, is_meant=lambda event: event.keys["service"] == "s1")
    seen: list[object] = []
    while (data := reader.read(1000)) is not None:
        assert len(data) < 1500
        seen += [row["seq"] for row in rows(data) if "seq" in row]
    assert seen == list(range(2, 501, 2))


def test_long_values_are_shortened() -> None:
    """So that what is kept is bounded, whatever processes say of themselves."""
    ring = Ring()
    ring.put("daemon.turn_failed", {"traceback": "x" * 10**6, "pids": list(range(10**5))})
    [event] = ring.since(1)
    assert len(str(event.keys["traceback"])) < 3000
    assert len(event.keys["pids"]) == 64  # type: ignore[arg-type] # a list


def test_exits_are_counted_by_what_ended_them() -> None:
    """Whatever the log writes of them."""
    told = Told(lambda _name, /, **_keys: None)
    for code, signal, memory in (
        (0, None, False),
        (3, None, False),
        (None, "KILL", False),
        (None, "KILL", True),
    ):
        told(
            "service.exited", service="web", pid=1, code=code, signal=signal, core=False, out_of_memory=memory
        )
    told("service.spawn_failed", service="web", stage="exec", errno=2)
    assert told.exits == {
        ("web", "exit", "0"): 1,
        ("web", "exit", "3"): 1,
        ("web", "signal", "KILL"): 1,
        ("web", "out-of-memory", "KILL"): 1,
        ("web", "not-started", "exec"): 1,
    }
