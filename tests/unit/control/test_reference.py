import json
from pathlib import Path
from typing import Final

import pytest

from reaperd.cli.main import COMMANDS
from reaperd.control import openapi
from reaperd.control.routes import ROUTES

REFERENCE: Final = Path(__file__).parents[3] / "docs" / "reference"


def first_cells(page: str, start: str) -> set[str]:
    """Return what stands in the first column of a page's tables and starts with `start`."""
    rows = [line.split("|") for line in (REFERENCE / page).read_text().splitlines() if line.startswith("| `")]
    return {row[1].strip().strip("`") for row in rows if row[1].strip(" `").startswith(start)}


def test_every_route_is_documented() -> None:
    """The reference of the control socket lists exactly the routes there are."""
    listed = first_cells("control.md", "GET ") | first_cells("control.md", "POST ")
    assert listed == {f"{route.method} {route.path}" for route in ROUTES}


@pytest.mark.parametrize("page", ["openapi.json", "control.md"])
def test_the_generated_pages_are_fresh(page: str) -> None:
    """The document and the table of routes say what the code says."""
    text = (REFERENCE / page).read_text()
    fresh = openapi.as_text() if page.endswith("json") else openapi.refreshed(text)
    assert text == fresh, "run: make docs"


def test_the_pages_are_written_anew(tmp_path: Path) -> None:
    """By the command that `make docs` calls; what stands around the table stays."""
    page, described = tmp_path / "p.md", tmp_path / "o.json"
    page.write_text("before\n<!-- routes -->\nSTALE\n<!-- end of routes -->\nafter\n")
    openapi.main([str(page), str(described)])
    assert json.loads(described.read_text())["openapi"] == "3.1.0"
    assert page.read_text().startswith("before\n<!-- routes -->\n| request |")
    assert page.read_text().endswith("<!-- end of routes -->\nafter\n")
    assert "STALE" not in page.read_text()


def test_the_document_is_one_of_openapi() -> None:
    """As a validator of others' making sees it."""
    validator = pytest.importorskip("openapi_spec_validator", reason="needs openapi-spec-validator: make dev")
    validator.validate(openapi.document())


def test_the_document_says_what_the_routes_say() -> None:
    """Each route with its right, parameters and body, and none besides."""
    described = {
        (method.upper(), path): operation
        for path, methods in json.loads(openapi.as_text())["paths"].items()
        for method, operation in methods.items()
    }
    assert described.keys() == {(route.method, route.path) for route in ROUTES}
    for route in ROUTES:
        found = described[route.method, route.path]
        assert found["x-right"] == route.need.word
        parameters = {(each["in"], each["name"]) for each in found["parameters"]}
        in_path = {("path", "name")} if "{name}" in route.path else set()
        assert parameters == {("query", key) for key in route.query} | in_path
        body = found.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        assert set(body.get("properties", {})) == set(route.body)


def test_every_command_is_documented() -> None:
    """The reference of the command line lists exactly the commands there are."""
    assert {cell.split()[1] for cell in first_cells("cli.md", "reaperd ")} == set(COMMANDS)
