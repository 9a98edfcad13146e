import pytest

from reaperd.cli.render import Screen
from reaperd.cli.tree import Forest, Node, document, lines, tty_name
from reaperd.kernel import procfs
from reaperd.model.snapshot import Seen
from reaperd.model.table import ProcessTable


def _forest(*stats: procfs.Stat) -> Forest:
    table = ProcessTable(Seen(0, 0, 0, 0, 0))
    table.snapshot(Seen(stat.pid, stat.ppid, stat.pgid, stat.sid, stat.start_time) for stat in stats)
    return Forest(table, {stat.pid: Node(stat, f"program {stat.pid}", (), False) for stat in stats})


def _stat(pid: int, ppid: int, pgid: int, sid: int, tty_nr: int = 0) -> procfs.Stat:
    line = f"{pid} (x) S {ppid} {pgid} {sid} {tty_nr} -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {pid * 10} 0 0"
    return procfs.parse_stat(line.encode())


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


def test_a_session_on_a_terminal_says_which() -> None:
    """By any of its processes that has one."""
    forest = _forest(_stat(1, 0, 1, 1), _stat(7, 1, 7, 7), _stat(8, 7, 8, 7, 136 << 8 | 3))
    assert [item["tty"] for item in document(forest)["items"]] == [None, "pts/3"]
    assert "session 7 on pts/3\n" in list(lines(forest, Screen()))


def test_children_stand_under_their_parents_in_ascending_order() -> None:
    """Depth first; a parent in another group starts over."""
    forest = _forest(
        _stat(1, 0, 1, 1), _stat(9, 1, 1, 1), _stat(3, 1, 1, 1), _stat(5, 3, 1, 1), _stat(4, 5, 4, 1)
    )
    assert list(lines(forest, Screen())) == [
        "session 1\n",
        "  group 1\n",
        "    1 [init] program 1\n",
        "      3 program 3\n",
        "        5 program 5\n",
        "      9 program 9\n",
        "  group 4\n",
        "    4 (child of 5) program 4\n",
    ]


def test_lines_are_cut_to_the_terminal() -> None:
    """Never wider, and the cut is marked."""
    shown = list(lines(_forest(_stat(1, 0, 1, 1)), Screen(width=16)))
    assert shown[2] == "    1 [init] ...\n"


def test_only_headings_are_bold_where_all_is_well() -> None:
    """Without colour nothing is painted."""
    shown = list(lines(_forest(_stat(1, 0, 1, 1)), Screen(colour=True)))
    assert shown[0] == "\x1b[1msession 1\x1b[0m\n"
    assert "\x1b" not in shown[2]
