"""Compare what commands print with what they did print, and JSON with the schema that it names.

The files are in tests/golden. After a change that was meant, write them anew and look at the difference:

    REAPERD_GOLDEN=renew .venv/bin/python -m pytest tests/process/test_golden*.py && git diff tests/golden
"""

import json
import os
from collections.abc import Collection
from typing import Any, Final

import jsonschema

from reaperd.control.schemas import COMPONENTS, name_of_schema
from tests.support.processes import ROOT

PUBLISHED: Final = ROOT / "docs/reference/schemas"


def compare(name: str, text: str) -> None:
    """Hold a text against the file of that name, or write the file anew where that is asked for."""
    path = ROOT / "tests/golden" / name
    if os.environ.get("REAPERD_GOLDEN") == "renew":
        path.write_text(text)
    assert text == path.read_text(), "if this was meant: REAPERD_GOLDEN=renew, see tests/support/golden.py"


def validate(text: str) -> None:
    """Hold an object, or each line of a stream, against the schema that it names."""
    try:
        documents = [json.loads(text)]
    except ValueError:
        documents = [json.loads(line) for line in text.splitlines()]
    schema = schema_of(documents[0]["schema"])
    for document in documents:
        jsonschema.Draft202012Validator(schema).validate(document)


def schema_of(name: str) -> Any:
    """Return the published schema of an answer such as `reaperd.status/1`."""
    path = PUBLISHED / f"{name.removeprefix('reaperd.').replace('/', '-')}.json"
    return json.loads(path.read_text()) if path.exists() else COMPONENTS[name_of_schema(name)]


def normal(value: Any, changing: Collection[str]) -> Any:
    """Return JSON in which the values of some keys are replaced by the names of these, as PID for `pid`."""
    if isinstance(value, dict):
        return {
            key: key.upper() if key in changing else normal(each, changing) for key, each in value.items()
        }
    return [normal(each, changing) for each in value] if isinstance(value, list) else value
