from pathlib import Path
from typing import Final

from reaperd.policy import diagram
from reaperd.policy.decide import TABLE
from reaperd.policy.words import State

PAGE: Final = Path(__file__).parents[3] / "docs/reference/states.md"


def test_the_page_shows_the_table() -> None:
    """The reference is not stale; the named command writes it anew."""
    text = PAGE.read_text()
    assert text == diagram.refreshed(text), f"run: python -m reaperd.policy.diagram {PAGE}"


def test_every_pair_and_every_state_is_drawn() -> None:
    """Each handled pair leads somewhere, and each state is described, reached and left."""
    drawn = diagram.edges()
    for state, kind in TABLE:
        assert any(kind.__name__ in names for (before, _), names in drawn.items() if before is state)
    for state in State:
        assert f"| `{state.value}` |" in PAGE.read_text()
        assert any(after is state is not before for before, after in drawn)
        assert any(before is state is not after for before, after in drawn)
