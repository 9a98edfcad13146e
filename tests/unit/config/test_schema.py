import json
from typing import Any

from reaperd.config.daemon_keys import DAEMON
from reaperd.config.keys import SERVICE, USE
from reaperd.config.reference import rows
from reaperd.config.schema import schema


def properties(value: dict[str, Any], prefix: str = "") -> set[str]:
    """Return the dotted names of all properties that a schema allows."""
    names = set()
    for form in value.get("oneOf", [value]):
        for name, inner in form.get("properties", {}).items():
            names |= {prefix + name} | properties(inner, f"{prefix}{name}.")
    return names


def test_the_schema_is_plain_json() -> None:
    """It can be written down and read back."""
    assert json.loads(json.dumps(schema())) == schema()


def test_the_schema_allows_what_the_table_allows() -> None:
    """Each row is a property with its text, and there is no other."""
    whole: Any = schema()["properties"]
    service = next(iter(whole["service"]["patternProperties"].values()))
    template = next(iter(whole["template"]["patternProperties"].values()))
    assert properties(whole["daemon"]) == {name for name, _ in rows(DAEMON)}
    assert properties(service) == {name for name, _ in rows((USE, *SERVICE))}
    assert properties(template) == {name for name, _ in rows(SERVICE)}
    assert service["properties"]["command"]["description"] == SERVICE[0].doc


def test_nothing_else_is_allowed_anywhere() -> None:
    """An unknown key is marked by an editor as it is by the program, in every table of keys."""

    def check(value: Any) -> None:
        if isinstance(value, dict):
            assert "properties" not in value or value.get("additionalProperties") is False or "$ref" in value
            for inner in value.values():
                check(inner)
        elif isinstance(value, list):
            for inner in value:
                check(inner)

    check(schema())
