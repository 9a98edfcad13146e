"""What the benchmarks' quick form says must not be far from what it said before.

Other tests run at the same time, so what is judged is processor time and memory, in ratios to a floor that is
measured beside it, and only gross loss fails.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.processes import ROOT, need_program

GROSS: Final = 3.0
# What it was, in times of the fork floor's, but for memory: MiB. Processor time of both doubles under load.
USUAL: Final = {"mass_cpu": 15.0, "start_cpu": 25.0, "rss": 27.0}


def test_fifty_services_cost_no_gross_multiple_of_what_they_did(tmp_path: Path) -> None:
    """To start them all and to start them all again, in processor time, and to hold them, in memory.

    The harness lives a whole life of each, and fails where a service does not come or stays.
    """
    need_program("cc")
    found = tmp_path / "table.json"
    words = ["--services", "50", "--rounds", "3", "--idle", "0", "--crashes", "10", "--answers", "4"]
    command = [sys.executable, str(ROOT / "bench" / "supervisors.py"), *words, "--json", str(found)]
    subprocess.run(
        [*command, "--only", "fork floor,reaperd"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    table = json.loads(found.read_text())["table"]
    ours, floor = table["reaperd"], table["fork floor"]
    costs = {"rss": ours["rss"], **{key: ours[key] / floor[key] for key in ("mass_cpu", "start_cpu")}}
    lost = {key: cost for key, cost in costs.items() if cost > GROSS * USUAL[key]}
    assert not lost, f"usual are {USUAL}"


def test_the_report_is_made_of_what_the_benchmarks_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line that says met or missed, first or last, is a row of the targets."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    import report  # type: ignore[import-not-found]  # noqa: PLC0415 - a program beside the package

    text = "a table\nmet    reaperd: it is 1 | fast\nscan  12 0.3 <= 0.5  missed\n"
    written = report.document({"zombies": text})
    assert "1 of 2 are met" in written
    assert "| Zombies | reaperd: it is 1 / fast | met |" in written
    assert "| Zombies | scan 12 0.3 <= 0.5 | missed |" in written
    assert "a table\n" in written


def test_the_plot_has_a_line_for_each_contestant(tmp_path: Path) -> None:
    """And what a service costs among many is judged by what it costs among few."""
    tables = []
    for count in (1, 100, 1000):
        figures = {
            "start": 10.0 * count,
            "start_cpu": 5.0 * count,
            "mass_cpu": 1.0 * count,
            "rss": 20 + count / 1024,
        }
        path = tmp_path / f"{count}.json"
        path.write_text(json.dumps({"services": count, "table": {"reaperd": figures, "runit": figures}}))
        tables.append(str(path))
    plot = tmp_path / "plot.svg"
    words = [sys.executable, str(ROOT / "bench" / "growth.py"), str(plot), *tables]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert plot.read_text().count("<polyline") == 2
    assert said.count("met    reaperd:") == 3
