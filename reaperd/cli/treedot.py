"""The picture of processes as a graph in the language of Graphviz: https://graphviz.org/doc/info/lang.html.

Sessions and groups are clusters within each other, processes are nodes, and an edge goes from each parent to
its child. What processes call themselves is quoted, so that no name can be anything but text.
"""

from collections.abc import Iterator
from typing import Any

from reaperd.cli.render import printable
from reaperd.cli.treefacts import Picture, processes


def graph(picture: Picture) -> str:
    """Return the whole graph."""
    return "\n".join([*_lines(picture), ""])


def _lines(picture: Picture) -> Iterator[str]:
    yield "digraph processes {"
    yield "  rankdir=LR; node [shape=box];"
    for session in picture["items"]:
        yield f"  subgraph cluster_s{session['sid']} {{"
        yield f"    label={_quoted('session', session['sid'], session['tty'] or '')};"
        for group in session["groups"]:
            yield f"    subgraph cluster_s{session['sid']}_g{group['pgid']} {{"
            yield f"      label={_quoted('group', group['pgid'])};"
            for item in group["processes"]:
                yield f"      p{item['pid']} [label={_label(item)}{_style(item)}];"
            yield "    }"
        yield "  }"
    pids = {item["pid"] for item in processes(picture)}
    for item in processes(picture):
        if item["ppid"] in pids:
            yield f"  p{item['ppid']} -> p{item['pid']};"
    yield "}"


def _label(item: dict[str, Any]) -> str:
    service = f"({item['service']})" if item["service"] else ""
    return _quoted(item["pid"], item["state"], item["name"], service)


def _style(item: dict[str, Any]) -> str:
    if item["zombie"]:
        return ", color=red"
    return ", style=dashed" if item["adopted"] else ""


def _quoted(*words: object) -> str:
    text = printable(" ".join(str(word) for word in words if word != ""))
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
