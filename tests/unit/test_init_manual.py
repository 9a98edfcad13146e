import shutil
import subprocess

import pytest

from reaperd import pid1
from tests.support.init_manual import MANUAL, renewed


def test_the_manual_has_the_programs_options() -> None:
    """The options of reaperd-init(1) are those of the program, word for word."""
    page = MANUAL.read_text()
    assert renewed(page) == page, "run: python -m tests.support.init_manual"
    for row in pid1.OPTIONS:
        assert row[1].replace("-", "\\-") in page


def test_the_manual_is_good_roff() -> None:
    """The page formats without a warning."""
    if shutil.which("groff") is None:
        pytest.skip("needs groff")
    formatted = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", str(MANUAL)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert formatted.stderr == ""
    assert "REAPERD-INIT" in formatted.stdout
