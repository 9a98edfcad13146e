"""A real OCI container for the init's tests: runc on a bundle whose root is an overlay of this machine's."""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.init_runs import PATIENCE_S, PID1, SYSTEM_PYTHON


class Container:
    """One container, created but not yet run."""

    def __init__(self, bundle: Path, name: str) -> None:
        self.bundle = bundle
        self.name = name

    def command(self, *words: str) -> list[str]:
        """Return a runc command line with a state directory of this container's own."""
        return ["runc", "--root", str(self.bundle / "state"), *words]

    def configure(self, args: Sequence[str], *, terminal: bool = False, limits: dict[str, object]) -> None:
        """Write config.json."""
        path = self.bundle / "config.json"
        path.unlink(missing_ok=True)
        subprocess.run(["runc", "spec"], cwd=self.bundle, check=True, timeout=PATIENCE_S)
        config = json.loads(path.read_text())
        config["process"].update({"args": list(args), "terminal": terminal})
        config["root"] = {"path": str(self.bundle / "root"), "readonly": False}
        config["linux"]["cgroupsPath"] = f"/{self.name}"
        config["linux"]["resources"].update(limits)
        path.write_text(json.dumps(config))

    def run(self, *args: str, limits: dict[str, object] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command as PID 1, to its end."""
        self.configure(args, limits=limits or {})
        return subprocess.run(
            self.command("run", "--bundle", str(self.bundle), self.name),
            capture_output=True, text=True, timeout=PATIENCE_S, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    @contextmanager
    def running(self, *args: str) -> Iterator[subprocess.Popen[str]]:
        """Run a command as PID 1 in the background."""
        self.configure(args, limits={})
        process = subprocess.Popen(
            self.command("run", "--bundle", str(self.bundle), self.name),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        try:
            with process:
                yield process
        finally:
            self.runc("delete", "--force", self.name)

    def runc(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another runc command."""
        return subprocess.run(
            self.command(*words), capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )


INIT = ["/sbin/reaperd-init", "--"]


@contextmanager
def container(folder: Path) -> Iterator[Container]:
    """Make a bundle with the init installed in it, or skip where this machine cannot run one."""
    if os.geteuid() != 0 or shutil.which("runc") is None:
        pytest.skip("needs root and runc")
    if not os.access(SYSTEM_PYTHON, os.X_OK):
        pytest.skip("needs /usr/bin/python3")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "reaperd-test", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount here: {mounted.stderr.strip()}")
    try:
        for name in ("upper", "work", "root"):
            (folder / name).mkdir()
        layers = f"lowerdir=/,upperdir={folder}/upper,workdir={folder}/work"
        overlaid = subprocess.run(
            ["mount", "-t", "overlay", "-o", layers, "reaperd-test", str(folder / "root")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if overlaid.returncode:
            pytest.skip(f"no overlay here: {overlaid.stderr.strip()}")
        try:
            install = ["chroot", str(folder / "root"), SYSTEM_PYTHON, "-I", "-S", "/tmp/pid1.py"]
            (folder / "root" / "tmp").mkdir(exist_ok=True)
            (folder / "root" / "tmp" / "pid1.py").write_bytes(PID1.read_bytes())
            subprocess.run([*install, "--install", INIT[0]], check=True, timeout=PATIENCE_S)
            made = Container(folder, f"reaperd-test-{uuid.uuid4().hex[:12]}")
            tried = made.run("/bin/true")
            if tried.returncode:
                pytest.skip(f"runc cannot run a container here: {tried.stderr.strip()}")
            yield made
        finally:
            subprocess.run(["umount", "--lazy", str(folder / "root")], check=False)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)
