"""The picture of processes as lines for people."""

from collections.abc import Iterator
from typing import Any, Final

from reaperd.cli.render import BOLD, COLOURS, Screen, cells_of, printable, span
from reaperd.cli.treefacts import Picture
from reaperd.track.portrait import KERNEL

_MIB: Final = 1024 * 1024


def lines(picture: Picture, screen: Screen) -> Iterator[str]:
    """Yield the text line by line."""
    for session in picture["items"]:
        tty = f" on {session['tty']}" if session["tty"] else ""
        yield _line(f"session {session['sid']}{tty}{_leaderless(session)}", screen, BOLD)
        for group in session["groups"]:
            yield _line(f"  group {group['pgid']}{_leaderless(group)}", screen)
            yield from _members(group["processes"], screen)


def _members(members: list[dict[str, Any]], screen: Screen) -> Iterator[str]:
    depths: dict[int, int] = {}
    pids = {item["pid"] for item in members}
    for item in members:
        depth = depths[item["pid"]] = depths.get(item["ppid"], 1) + 1
        style = COLOURS["failed"] if item["zombie"] or item["dead_leader"] else None
        yield _line(f"{'  ' * depth}{_words(item, pids)}", screen, style)
        for thread in item["thread_list"]:
            if thread["tid"] != item["pid"]:
                yield _line(f"{'  ' * (depth + 1)}{_thread(thread)}", screen)


def _words(item: dict[str, Any], members: set[int]) -> str:
    """Return one process: pid, marks, parent where it is elsewhere, figures, command."""
    marks = "".join(f" [{mark}]" for mark in _marks(item))
    parent = "" if item["ppid"] in members or item["ppid"] == KERNEL else f" (child of {item['ppid']})"
    command = f"[{item['name']}]" if item["kernel"] else item["command"]
    return f"{item['pid']}{marks}{parent}{_figures(item)} {printable(command)}"


def _figures(item: dict[str, Any]) -> str:
    """Return state, age, processor time and memory, where they are known."""
    if item["age"] is None:
        return f" {item['state']}"
    memory = f" {item['memory'] / _MIB:.1f}MiB" if item["memory"] else ""
    return f" {item['state']} {span(item['age'])} cpu {item['cpu']:.2f}s{memory}"


def _thread(thread: dict[str, Any]) -> str:
    age, cpu = span(thread["age"]), f"{thread['cpu']:.2f}s"
    return f"thread {thread['tid']} {thread['state']} {age} cpu {cpu} {printable(thread['name'])}"


def _marks(item: dict[str, Any]) -> Iterator[str]:
    if item["dead_leader"]:
        yield f"first thread ended, {item['threads'] - 1} live"
    elif item["zombie"]:
        yield f"zombie: {item['cause']}" if item["cause"] else "zombie"
    elif item["threads"] > 1:
        yield f"{item['threads']} threads"
    if item["state"] in "Tt":
        yield "stopped" if item["state"] == "T" else "traced"
    if item["init"]:
        yield "init"
    if item["subreaper"]:
        yield "subreaper"
    if item["service"]:
        yield f"{printable(item['service'])}{', adopted' if item['adopted'] else ''}"
    elif item["adopted"]:
        yield "adopted"


def _leaderless(home: dict[str, Any]) -> str:
    return " (its leader is gone)" if home["leader"] is False else ""


def _line(text: str, screen: Screen, style: str | None = None) -> str:
    if screen.width is not None and cells_of(text) > screen.width:
        while cells_of(text) > max(screen.width - 3, 0):
            text = text[:-1]
        text += "..."
    return screen.painted(text, style) + "\n"
