"""The picture of processes as text and as a graph."""

import re
from typing import Any

import pytest

from reaperd.cli import treedot
from reaperd.cli.render import Screen
from reaperd.cli.treefacts import only_below, tty_name, without_kernel_threads
from reaperd.cli.treetext import lines
from reaperd.model import ProcessTable, Seen
from reaperd.track.portrait import document

FACTS = {"kernel": False, "age": 60.0, "cpu": 1.5, "memory": 2 * 1024 * 1024, "thread_list": []}


def picture(*look: Seen, **facts: object) -> dict[str, Any]:
    """Return a picture of processes, with some figures for each."""
    table = ProcessTable(Seen(0, 0, 0, 0, 0), -1)
    table.snapshot(look)
    made = document(table, "scan", table)
    for session in made["items"]:
        for group in session["groups"]:
            for item in group["processes"]:
                item.update(FACTS, command=f"program {item['pid']}", **facts)
    return made


def seen(pid: int, ppid: int, pgid: int, sid: int, *, comm: str = "x", state: str = "S") -> Seen:
    """Return one process."""
    return Seen(pid, ppid, pgid, sid, pid * 10, comm, state)


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (136 << 8, "pts/0"),
        (136 << 8 | 255, "pts/255"),
        (137 << 8 | 1, "pts/1048577"),
        (136 << 8 | 1 << 20, "pts/256"),
        (4 << 8 | 1, "tty1"),
        (4 << 8 | 64, "ttyS0"),
        (5 << 8 | 1, "5:1"),
    ],
)
def test_a_terminal_is_named_by_its_device_number(number: int, name: str) -> None:
    """The minor number has twelve bits above the major one."""
    assert tty_name(number) == name


def test_children_stand_under_their_parents_in_ascending_order() -> None:
    """Depth first; a parent in another group starts over; each with its figures."""
    made = picture(seen(1, 0, 1, 1), seen(9, 1, 1, 1), seen(3, 1, 1, 1), seen(5, 3, 1, 1), seen(4, 5, 4, 1))
    assert list(lines(made, Screen())) == [
        "session 1\n",
        "  group 1\n",
        "    1 [init] S 1m 00s cpu 1.50s 2.0MiB program 1\n",
        "      3 S 1m 00s cpu 1.50s 2.0MiB program 3\n",
        "        5 S 1m 00s cpu 1.50s 2.0MiB program 5\n",
        "      9 S 1m 00s cpu 1.50s 2.0MiB program 9\n",
        "  group 4\n",
        "    4 (child of 5) S 1m 00s cpu 1.50s 2.0MiB program 4\n",
    ]


def test_what_is_special_is_marked() -> None:
    """Services, orphans, subreapers, and a zombie with what keeps it; threads have lines of their own."""
    made = picture(
        seen(7, 0, 7, 7, state="Z"), service="web", adopted=True, subreaper=True, cause="never-waits"
    )
    (line,) = [each for each in lines(made, Screen()) if "program" in each]
    assert line.startswith("    7 [zombie: never-waits] [subreaper] [web, adopted] Z ")
    threads = [{"tid": 7, "name": "x", "state": "S", "age": 1.0, "cpu": 0.0}]
    threads.append({"tid": 8, "name": "pool", "state": "R", "age": 1.0, "cpu": 0.25})
    made = picture(seen(7, 0, 7, 7), thread_list=threads, threads=2)
    assert list(lines(made, Screen()))[3:] == ["      thread 8 R 1s cpu 0.25s pool\n"]


def test_a_process_that_is_gone_by_now_keeps_its_place() -> None:
    """What only /proc could tell is left out."""
    made = picture(seen(7, 0, 7, 7), age=None, cpu=None, memory=None)
    assert list(lines(made, Screen()))[2] == "    7 S program 7\n"


def test_lines_are_cut_to_the_terminal() -> None:
    """Never wider, and the cut is marked."""
    assert list(lines(picture(seen(1, 0, 1, 1)), Screen(width=16)))[2] == "    1 [init] ...\n"


def test_only_headings_are_bold_where_all_is_well() -> None:
    """Without colour nothing is painted."""
    shown = list(lines(picture(seen(1, 0, 1, 1)), Screen(colour=True)))
    assert shown[0] == "\x1b[1msession 1\x1b[0m\n"
    assert "\x1b" not in shown[2]


def test_a_part_of_the_picture_is_one_process_and_all_below_it() -> None:
    """Whatever their groups; None where there is no such process."""
    made = picture(seen(1, 0, 1, 1), seen(2, 1, 2, 2), seen(3, 2, 3, 3), seen(4, 1, 4, 4))
    below = only_below(made, 2)
    assert below is not None
    assert [session["sid"] for session in below["items"]] == [2, 3]
    assert only_below(made, 9) is None


def test_sessions_of_nothing_but_kernel_threads_go_with_them() -> None:
    """What is left out leaves no empty heading."""
    assert without_kernel_threads(picture(seen(2, 0, 0, 0), kernel=True))["items"] == []


def test_a_graph_holds_every_process_once_and_every_parent() -> None:
    """Names are quoted, whatever they are; braces balance."""
    made = picture(seen(1, 0, 1, 1), seen(2, 1, 2, 1, comm='a"; b -> c {\\'), seen(3, 2, 3, 3, state="Z"))
    graph = treedot.graph(made)
    bare = re.sub(r'"(\\.|[^"\\])*"', "", graph)
    assert bare.count("{") == bare.count("}") == 1 + 2 + 3
    assert re.findall(r"p(\d+) \[label=", graph) == ["1", "2", "3"]
    assert re.findall(r"p(\d+) -> p(\d+);", bare) == [("1", "2"), ("2", "3")]
    assert "color=red" in graph
