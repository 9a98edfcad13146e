import pytest

from reaperd.telemetry.metrics import TABLE, Facts, ServiceFacts, render

HOSTILE = 'a"b\\c\nd'
FULL = Facts(
    version="1.2",
    uptime_s=1.5,
    states=("running", "failed"),
    services=(
        ServiceFacts("web:1", "running", 3, 7, 2.25, 0.5, 1 << 40, 4),
        ServiceFacts(HOSTILE, "failed", 0, 0),
    ),
    exits={("web:1", "signal", "KILL"): 2, (HOSTILE, "exit", "1"): 1},
    reaped={"main": 3, "orphan": 2},
    adopted=2,
    refusals={"full": 9},
    slow_clients=1,
    zombies=(("web:1", HOSTILE, 4),),
)


def test_openmetrics_is_read_by_its_own_parser() -> None:
    """Every family, with names that would break the format were they not escaped."""
    parser = pytest.importorskip(
        "prometheus_client.openmetrics.parser", reason="needs prometheus-client: make dev"
    )
    families = {
        family.name: family
        for family in parser.text_string_to_metric_families(render(FULL, openmetrics=True))
    }
    assert families.keys() == {metric.name for metric in TABLE}
    assert {family.type for family in families.values()} == {"counter", "gauge", "info"}
    exits = {
        tuple(sample.labels.values()): sample.value for sample in families["reaperd_service_exits"].samples
    }
    assert exits == {("web:1", "signal", "KILL"): 2, (HOSTILE, "exit", "1"): 1}
    states = {sample.labels["state"]: sample.value for sample in families["reaperd_services"].samples}
    assert states == {"running": 1, "failed": 1}
    [zombies] = families["reaperd_service_zombies"].samples
    assert (zombies.labels, zombies.value) == ({"service": "web:1", "parent": HOSTILE}, 4)
    [memory] = families["reaperd_service_memory_bytes"].samples
    assert memory.value == 1 << 40


def test_the_older_format_is_read_by_its_own_parser() -> None:
    """With the same samples."""
    parser = pytest.importorskip("prometheus_client.parser", reason="needs prometheus-client: make dev")
    text = render(FULL, openmetrics=False)
    assert "# EOF" not in text
    samples = [
        (sample.name, tuple(sample.labels.items()), sample.value)
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    ]
    assert ("reaperd_service_restarts_total", (("service", "web:1"),), 3.0) in samples
    assert ("reaperd_build_info", (("version", "1.2"),), 1.0) in samples


def test_nothing_is_said_of_what_is_not_known() -> None:
    """A service that does not run has no uptime rather than none of 0."""
    text = render(Facts("1", 0, ("stopped",), (ServiceFacts("off", "stopped", 0, 0),)), openmetrics=True)
    assert 'reaperd_service_up{service="off"} 0' in text
    assert "reaperd_service_uptime_seconds{" not in text
    assert text.endswith("# EOF\n")


def test_names_are_as_they_should_be() -> None:
    """A unit ends the name, a counter's name has no suffix of its own, and each stands once."""
    names = [metric.name for metric in TABLE]
    assert len(set(names)) == len(names)
    for metric in TABLE:
        assert metric.name.startswith("reaperd_")
        assert metric.name.endswith(metric.unit)
        assert not metric.name.endswith(("_total", "_info"))
        assert metric.help.endswith(".")
