"""The examples of the guide, each run exactly as it is printed, and every answer held to its schema."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from reaperd.control.client import Client
from reaperd.control.openapi import document
from reaperd.control.routes import ROUTES
from tests.support.control_plane import request
from tests.support.daemons import daemon
from tests.support.hostile import ask
from tests.support.processes import ROOT, need_program

GUIDE: Final = (ROOT / "docs/how-to/curl.md").read_text()
SERVICES: Final = "".join(re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL))
EXAMPLES: Final = re.findall(r"^\$ (curl .*)$", GUIDE, re.MULTILINE)
REFUSED: Final = 22  # curl's word for a status of 400 and more
TIME_OVER: Final = 28  # curl's word for --max-time


def run(example: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run one example as a person would."""
    return subprocess.run(
        ["sh", "-c", example],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "REAPERD_SOCKET": str(folder / "c.sock")},
    )


def test_each_example_works_as_printed(tmp_path: Path) -> None:
    """In the order of the guide, by a real curl, against the services that the guide shows."""
    need_program("curl")
    assert len(EXAMPLES) >= 12
    with daemon(tmp_path, SERVICES) as running:
        running.event("service.running", service="worker:2")
        for example in EXAMPLES:
            done = run(example, tmp_path)
            expected = REFUSED if "fail-with-body" in example else TIME_OVER if "max-time" in example else 0
            assert done.returncode == expected, (example, done.stdout, done.stderr)
            if "/metrics" in example:
                assert "reaperd_" in done.stdout
                continue
            body = next(json.loads(line) for line in done.stdout.splitlines())
            assert ("error" in body) == (expected == REFUSED), (example, body)
            assert "schema" in body or "openapi" in body or "error" in body, example
        assert len(running.ask("status", "worker")["items"]) == 3


def test_every_answer_is_as_the_document_says(tmp_path: Path) -> None:
    """Of each route, good and refused, by a validator of others' making."""
    jsonschema = pytest.importorskip("jsonschema", reason="needs openapi-spec-validator: make dev")
    described: Any = document()
    seen = 0
    with daemon(tmp_path, SERVICES + '\n[service.bad]\ncommand = "false"\nrestart = "never"\n') as running:
        running.event("service.running", service="worker:2")
        running.event("service.failed", service="bad")
        for route in sorted(ROUTES, key=lambda each: each.verb == "shutdown"):
            for name in ("worker", "bad", "nobody"):
                given = {"names": [name], "instances": 2, "signal": "WINCH", "dry_run": name == "bad"}
                fields = {key: value for key, value in given.items() if key in route.body}
                target = route.path.replace("{name}", name)
                data = request(route.method, target, json.dumps(fields).encode() if fields else b"")
                if route.schema in {"metrics", "reaperd.events/1"} or (
                    route.verb == "shutdown" and name != "nobody"
                ):
                    continue
                status, body = ask(tmp_path / "c.sock", data)
                responses = described["paths"][route.path][route.method.lower()]["responses"]
                assert str(status) in responses, (route, status, body)
                schema = responses[str(status)]["content"]["application/json"]["schema"]
                whole = {**schema, "components": described["components"]}
                jsonschema.Draft202012Validator(whole).validate(body)
                seen += 1
        running.process.wait(20)
    assert seen > 40


REFUSALS: Final = {
    400: request("GET", "/v1/services?nmae=web"),
    404: request("GET", "/v1/servces"),
    405: request("DELETE", "/v1/services"),
    409: request("POST", "/v1/services/bad/scale", b'{"instances": 2}'),
    413: b"POST /v1/stop HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
    431: b"GET /" + b"x" * 20_000,
}


def test_every_refusal_has_the_form_of_refusals(tmp_path: Path) -> None:
    """Whatever is wrong: a code for programs, a sentence that begins with "cannot", and a hint or null."""
    jsonschema = pytest.importorskip("jsonschema", reason="needs openapi-spec-validator: make dev")
    components: Any = document()["components"]
    with daemon(tmp_path, '\n[service.bad]\ncommand = "false"\nrestart = "never"\n') as running:
        running.event("service.failed", service="bad")
        for expected, data in REFUSALS.items():
            status, body = ask(tmp_path / "c.sock", data)
            assert status == expected, body
            whole = {"$ref": "#/components/schemas/error", "components": components}
            jsonschema.Draft202012Validator(whole).validate(body)
            assert body["error"]["message"].startswith("cannot ")


def test_every_line_of_the_stream_is_as_the_document_says(tmp_path: Path) -> None:
    """The first one, events of all levels, and those of a follower; monitoring gets a text."""
    jsonschema = pytest.importorskip("jsonschema", reason="needs openapi-spec-validator: make dev")
    components: Any = document()["components"]
    whole = {"$ref": "#/components/schemas/events", "components": components}
    validator = jsonschema.Draft202012Validator(whole)
    with daemon(tmp_path, SERVICES + '\n[service.bad]\ncommand = "false"\nrestart = "never"\n') as running:
        running.event("service.running", service="worker:2")
        running.event("service.failed", service="bad")
        client = Client(tmp_path / "c.sock")
        lines = [json.loads(line) for line in client.lines("events", follow=False)]
        for line in lines:
            validator.validate(line)
        assert lines[0]["schema"] == "reaperd.events/1"
        assert {line["level"] for line in lines[1:]} >= {"info", "error"}
        assert not validator.is_valid({"seq": 1, "event": "no.time"})
        jsonschema.Draft202012Validator(components["schemas"]["metrics"]).validate(client.text("metrics"))
