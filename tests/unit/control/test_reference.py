from pathlib import Path
from typing import Final

from reaperd.cli.main import COMMANDS
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


def test_every_command_is_documented() -> None:
    """The reference of the command line lists exactly the commands there are."""
    assert {cell.split()[1] for cell in first_cells("cli.md", "reaperd ")} == set(COMMANDS)
