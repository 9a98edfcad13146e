"""`make install` and `make uninstall` in a scratch root: what is there before, between and after."""

import subprocess
from pathlib import Path

import pytest

from tests.support.processes import ROOT, need_program, system_python


def everything(root: Path) -> set[str]:
    """Return every path below a directory."""
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def make(target: str, root: Path) -> None:
    """Call make with a scratch root; skip where what it installs cannot be fetched."""
    words = [
        "make",
        "-C",
        str(ROOT),
        target,
        f"DESTDIR={root}",
        "PREFIX=/opt/reaper",
        f"PYTHON={system_python()}",
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode and "No matching distribution" in done.stdout + done.stderr:
        pytest.skip(f"nothing can be fetched here: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_install_leaves_nothing_behind(tmp_path: Path) -> None:
    """Not after an upgrade either; what others put beside it stays, and it works in between."""
    need_program("make")
    if not (ROOT / ".venv/bin/python").exists():
        pytest.skip("the checkout has no virtual environment of its own: make dev")
    root = tmp_path / "root"
    (root / "opt/reaper/bin").mkdir(parents=True)
    (root / "opt/reaper/bin/other").write_text("another's")
    before = everything(root)
    make("install", root)
    prefix = root / "opt/reaper"
    unit = (prefix / "lib/systemd/system/reaperd.service").read_text()
    assert "ExecStart=/opt/reaper/bin/reaperd run" in unit
    assert str((prefix / "bin/reaperd").readlink()) == "/opt/reaper/lib/reaperd/bin/reaperd"
    assert (
        (prefix / "lib/reaperd/bin/reaperd").read_text().startswith("#!/opt/reaper/lib/reaperd/bin/python\n")
    )
    assert str(tmp_path) not in (prefix / "lib/reaperd/pyvenv.cfg").read_text()
    for page in ("man1/reaperd-init.1", "man5/reaperd.toml.5", "man8/reaperd.8"):
        assert (prefix / "share/man" / page).exists()
    version = subprocess.run(
        [prefix / "lib/reaperd/bin/python", "-m", "reaperd", "--version"],
        capture_output=True, text=True, cwd="/", timeout=60, check=True,
    )  # fmt: skip
    assert "0." in version.stdout
    installed = everything(root)

    # An older version had a page and a directory that are no more.
    old = "share/doc/reaperd-old"
    (prefix / old).mkdir(parents=True)
    (prefix / old / "page").write_text("old")
    with (prefix / "lib/reaperd/installed").open("a") as manifest:
        manifest.write(f"/opt/reaper/{old}/page\n/opt/reaper/{old}/\n/opt/reaper/share/doc/\n")
    make("install", root)
    upgraded = everything(root)
    assert not (prefix / old / "page").exists()
    assert upgraded - installed <= {"opt/reaper/share/doc", f"opt/reaper/{old}"}
    assert installed <= upgraded

    make("uninstall", root)
    assert everything(root) == before
    assert (root / "opt/reaper/bin/other").read_text() == "another's"
