import ast
from pathlib import Path
from typing import Final

from reaperd.zombies import careless, unable
from reaperd.zombies.specimens import KINDS

# Causes that no specimen has by itself, and where they are shown on real zombies.
ELSEWHERE: Final = {
    "in-transit": "test_zombie_causes.py: every specimen is at first",
}


def _names() -> set[str]:
    """Return the first words of all causes in the source."""
    found = set[str]()
    for module in (careless, unable):
        for node in ast.walk(ast.parse(Path(module.__file__ or "").read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Cause":
                constants = (each for each in ast.walk(node.args[0]) if isinstance(each, ast.Constant))
                found |= {str(each.value) for each in constants}
    return found


def test_every_cause_has_a_specimen() -> None:
    """No cause is told that no real zombie has, and no specimen is of a cause that is never told."""
    made = {kind.cause for kind in KINDS.values()} - {None}
    assert made | ELSEWHERE.keys() == _names()
