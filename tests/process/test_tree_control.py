"""The daemon's picture of processes as it goes out: raw, by right and scope, watched, and as a graph."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

import jsonschema
import pytest

from reaperd.control.openapi import document
from reaperd.kernel import prctl
from tests.process.test_control_rights import need_root, open_folder
from tests.support.control_plane import request
from tests.support.daemon import Daemon, daemon, sh, sleeper
from tests.support.hostile import ask, become
from tests.support.processes import call_in_pid_namespace, call_in_process, owned, owned_child, wait_gone

TREE: Final = (sys.executable, "-c", "from reaperd.cli.main import main; main()", "tree")
READER, STRANGER = 61001, 61004
CONTROL: Final = {"control": {"read": [str(READER)]}}
HOSTILE: Final = '"]; x\\'  # as long as a name may be is not needed: each character that means something is


def picture_for(socket: str, uid: int | None, target: str = "/v1/tree") -> tuple[int, Any]:
    """Ask for the picture as somebody."""
    if uid is not None:
        become(uid, uid, [])
    return ask(Path(socket), request("GET", target))


def items_of(picture: Any) -> dict[int, dict[str, Any]]:
    """Return the processes in a picture by pid, each of which is in it once."""
    groups = [group for session in picture["items"] for group in session["groups"]]
    found = [item for group in groups for item in group["processes"]]
    assert len({item["pid"] for item in found}) == len(found)
    return {item["pid"]: item for item in found}


def validate(picture: Any) -> None:
    """Hold a picture to its published schema."""
    components = document()["components"]
    schema = {"$ref": "#/components/schemas/tree", "components": components}
    jsonschema.Draft202012Validator(schema).validate(picture)


def see_scope(reaperd: Daemon, scope: str, picture: Any) -> None:
    """Check who is in a picture of this scope, and where."""
    validate(picture)
    assert picture["source"] == "daemon"
    found, main = items_of(picture), reaperd.main_pid("web")
    assert (found[main]["service"], found[main]["ppid"]) == ("web", reaperd.pid)
    assert found[reaperd.pid]["subreaper"] is True
    assert (1 in found) == (scope == "all")
    inside, latest = set[int](), {reaperd.pid}
    while latest:
        inside |= latest
        latest = {pid for pid, item in found.items() if item["ppid"] in latest}
    assert (inside == found.keys()) == (scope == "descendants")


@pytest.mark.parametrize("scope", ["descendants", "all"])
def test_whoever_may_read_gets_the_whole_picture(scope: str) -> None:
    """Of the daemon's own processes, or of all there are; who has no right gets a sentence alone."""
    need_root()
    settings = {**CONTROL, "track": scope}
    with open_folder() as folder, daemon(folder, {"web": sleeper()}, settings=settings) as reaperd:
        reaperd.wait_for("service.running", service="web")
        status, picture = call_in_process(picture_for, str(reaperd.socket), READER)
        assert status == 200
        see_scope(reaperd, scope, picture)
        status, refusal = call_in_process(picture_for, str(reaperd.socket), STRANGER)
        assert (status, refusal.keys()) == (403, {"error"})


@pytest.mark.parametrize("scope", ["descendants", "all"])
def test_without_the_connector_the_picture_is_the_same(scope: str, tmp_path: Path) -> None:
    """Whoever asks makes the daemon look."""
    settings = {"track": scope, "process_connector": "no"}
    script = "sleep 1000 & echo child $!; wait"
    with daemon(tmp_path, {"web": sh(script)}, settings=settings) as reaperd:
        child = reaperd.hear_pid("child")
        status, picture = picture_for(str(reaperd.socket), None)
        assert status == 200
        see_scope(reaperd, scope, picture)
        assert items_of(picture)[child]["service"] == "web"


def test_the_picture_takes_no_parameters(tmp_path: Path) -> None:
    """One that it does not have is named, with a hint."""
    with daemon(tmp_path, {"web": sleeper()}) as reaperd:
        reaperd.wait_for("service.running", service="web")
        status, refusal = picture_for(str(reaperd.socket), None, "/v1/tree?scope=all")
    assert status == 400
    assert "scope" in refusal["error"]["message"]


def test_a_watched_picture_goes_on_without_the_daemon(tmp_path: Path) -> None:
    """One object a look, each held to the schema: the daemon's while that is there, then of a scan."""
    with daemon(tmp_path, {"web": sleeper()}) as reaperd:
        reaperd.wait_for("service.running", service="web")
        words: list[str | Path] = [
            *TREE,
            "--socket",
            reaperd.socket,
            "--watch",
            "--json",
            "--interval",
            "50ms",
        ]
        with owned(words, stdout=subprocess.PIPE) as watch:
            assert watch.stdout is not None
            first = reaperd.main_pid("web")
            assert items_of(next_of(watch.stdout, "daemon"))[first]["service"] == "web"
            reaperd.ask("restart", "web")
            second = reaperd.main_pid("web")
            while second not in items_of(next_of(watch.stdout, "daemon")):
                pass
            reaperd.end()
            assert items_of(next_of(watch.stdout, "scan"))[watch.pid]["service"] is None


def next_of(stream: IO[bytes], source: str) -> Any:
    """Return the next picture that comes from there."""
    for line in stream:
        picture = json.loads(line)
        validate(picture)
        if picture["source"] == source:
            return picture
    raise AssertionError(f"it ended without a picture of {source}")


# --- as a graph -----------------------------------------------------------------------------------------


def hostile_graph() -> list[Any]:
    """Return pid and name of a process that is called what a graph could be broken by, and both pictures."""

    def body() -> None:
        prctl.set_name(HOSTILE)

    with owned_child(body) as child:
        wait_gone(child)
        graph, text = (
            subprocess.run([*TREE, "--scan", form], capture_output=True, text=True, check=True).stdout
            for form in ("--dot", "--json")
        )
        return [child, graph, text]


Graph = tuple[dict[str, str], set[tuple[str, str]]]  # labels of nodes by their names, and edges


def by_graphviz(graph: str) -> Graph:
    """Let dot(1) read the graph."""
    done = subprocess.run(["dot", "-Tjson0"], input=graph, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    objects = json.loads(done.stdout)
    nodes = {each["_gvid"]: each for each in objects["objects"] if "nodes" not in each}
    edges = {(nodes[each["tail"]]["name"], nodes[each["head"]]["name"]) for each in objects.get("edges", ())}
    return {each["name"]: each["label"] for each in nodes.values()}, edges


def by_hand(graph: str) -> Graph:
    """Read the graph as far as we write that language: whatever line is none of these breaks it."""
    string = r'"((?:[^"\\]|\\.)*)"'
    node = re.compile(rf"(p\d+) \[label={string}(?:, (?:color=red|style=dashed))?\];")
    edge = re.compile(r"(p\d+) -> (p\d+);")
    other = re.compile(
        rf"digraph processes \{{|subgraph cluster_s\d+(?:_g\d+)? \{{|label={string};|\}}"
        r"|rankdir=LR; node \[shape=box\];"
    )
    labels, edges, depth = {}, set(), 0
    for line in map(str.strip, graph.splitlines()):
        if found := node.fullmatch(line):
            labels[found[1]] = re.sub(r"\\(.)", r"\1", found[2])
        elif found := edge.fullmatch(line):
            edges.add((found[1], found[2]))
        else:
            assert other.fullmatch(line), line
            depth += line.endswith("{") - (line == "}")
    assert depth == 0
    return labels, edges


@pytest.mark.parametrize("reader", [by_graphviz, by_hand])
def test_a_graph_says_what_the_picture_does(reader: Callable[[str], Graph]) -> None:
    """Read by others: a node for each process, an edge for each parent, and names that are but text."""
    if reader is by_graphviz and shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed")
    child, graph, text = call_in_pid_namespace(hostile_graph)
    labels, edges = reader(graph)
    found = items_of(json.loads(text))
    there = {name for name in labels if int(name[1:]) in found}
    assert {f"p{child}", "p1"} <= there  # the commands themselves are in their own pictures alone
    assert labels[f"p{child}"].replace("\\\\", "\\") == f"{child} Z {HOSTILE}"
    assert ("p1", f"p{child}") in edges
    assert {name for edge in edges for name in edge} <= labels.keys()
