"""The container examples, run as far as a machine without a container engine can: under runc."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.init_container import Container, container
from tests.support.init_runs import ROOT, SYSTEM_PYTHON, wait_for

EXAMPLES = ROOT / "examples" / "container"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Container]:
    """A container that can be run."""
    with container(tmp_path) as made:
        yield made


def instructions(file: str) -> list[tuple[str, str]]:
    """Return the instructions of a container file, continued lines joined."""
    text = (EXAMPLES / file).read_text().replace("\\\n", " ")
    return [
        (word, rest)
        for word, _, rest in (line.partition(" ") for line in text.splitlines())
        if word.isupper()
    ]


@pytest.mark.parametrize("file", ["Dockerfile", "Dockerfile.migrate"])
def test_a_container_file_makes_an_image_that_runs(box: Container, file: str) -> None:
    """What the file installs and starts is an init that runs a command as PID 1."""
    words: dict[str, list[str]] = {}
    for instruction, rest in instructions(file):
        if instruction == "RUN" and "apt-get" not in rest:
            root = str(box.bundle / "root")
            subprocess.run(
                ["chroot", root, "sh", "-ec", rest.replace("ln -s ", "ln -sf ")], check=True, timeout=60
            )
        elif instruction in ("ENTRYPOINT", "CMD"):
            words[instruction] = json.loads(rest)
    ended = box.run(*words["ENTRYPOINT"], "sh", "-c", "test $PPID = 1 && exit 7")
    assert (ended.returncode, ended.stderr) == (7, "")
    assert words["CMD"]


def test_the_entrypoint_line_is_the_one_that_is_printed() -> None:
    """The line in the Dockerfile is what --print-entrypoint prints for Debian's interpreter."""
    line = dict(instructions("Dockerfile"))["ENTRYPOINT"]
    assert json.loads(line) == [SYSTEM_PYTHON, "-I", "-S", "/sbin/reaperd-init.pyc", "--"]
    assert line in (ROOT / "docs" / "how-to" / "container.md").read_text()


def test_the_pod_starts_and_its_probe_works(box: Container) -> None:
    """The pod's command serves, and its probe, run as exec does, finds it and leaves nothing behind."""
    text = (EXAMPLES / "pod.yaml").read_text()
    command, probe = (json.loads(found) for found in re.findall(r"command: (\[.*\])", text))
    (args,) = (json.loads(found) for found in re.findall(r"args: (\[.*\])", text))
    with box.running(*command, *args):
        wait_for(lambda: box.runc("exec", box.name, "true").returncode == 0)
        wait_for(lambda: box.runc("exec", box.name, *probe).returncode == 0)
        shown = box.runc("exec", box.name, "sh", "-c", "cat /proc/[0-9]*/stat").stdout
        assert not [line for line in shown.splitlines() if ") Z" in line]
        assert box.runc("kill", box.name, "KILL").returncode == 0
