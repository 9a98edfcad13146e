# ruff: noqa: INP001, T201 - a program that stands alone and prints its figures
"""Draw how the cost of starting grows with the number of services, and judge what may not grow.

Usage: bench/growth.py PLOT.svg TABLE.json ...      tables as bench/supervisors.py --json writes them
"""

import json
import math
import sys
from pathlib import Path

from contestants import Reaperd
from tables import Table

MOST_KIB = 8.0  # of resident memory a service
MOST_GROWTH = 1.2  # of what one service costs among 1,000, over what it costs among 100
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 420, 70, 20, 130, 50
COLOURS = ("#888888", "#bbbbbb", "#555555", "#d62728", "#2ca02c", "#1f77b4", "#9467bd", "#ff7f0e")

Points = list[tuple[int, float]]


def read(paths: list[Path]) -> dict[int, Table]:
    """Return the tables by number of services, the fewest first."""
    found = [json.loads(path.read_text()) for path in paths]
    return {each["services"]: each["table"] for each in sorted(found, key=lambda each: each["services"])}


def curves(tables: dict[int, Table], key: str) -> dict[str, Points]:
    """Return each contestant's figures over the number of services."""
    names = {name: None for table in tables.values() for name in table}
    return {
        name: [(count, table[name][key]) for count, table in tables.items() if key in table.get(name, {})]
        for name in names
    }


def draw(lines: dict[str, Points], title: str) -> str:
    """Return a plot with both axes logarithmic, as SVG."""
    across = [count for points in lines.values() for count, _ in points]
    up = [value for points in lines.values() for _, value in points]
    low, high = math.floor(math.log10(min(up))), math.ceil(math.log10(max(up)))
    widest = math.log10(max(across)) or 1.0

    def place(count: float, value: float) -> tuple[float, float]:
        x = LEFT + math.log10(count) / widest * (WIDTH - LEFT - RIGHT)
        return x, TOP + (high - math.log10(value)) / ((high - low) or 1) * (HEIGHT - TOP - BOTTOM)

    head = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {head}>',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for power in range(low, high + 1):
        _, y = place(1, 10.0**power)
        parts += [
            f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>',
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>',
        ]
    for count in sorted(set(across)):
        x, _ = place(count, 1)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{count}</text>')
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 10}">{title}</text>')
    labels = _apart(sorted((place(*points[-1])[1], name) for name, points in lines.items() if points))
    for (name, points), colour in zip(lines.items(), COLOURS, strict=False):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        width = 3 if name == Reaperd.name else 1.5
        parts += [
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>',
            f'<text x="{WIDTH - RIGHT + 8}" y="{labels[name] + 4:.1f}" fill="{colour}">{name}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def _apart(places: list[tuple[float, str]]) -> dict[str, float]:
    """Move labels down where they would lie on each other."""
    found: dict[str, float] = {}
    last = -math.inf
    for y, name in places:
        last = found[name] = max(y, last + 13)
    return found


def judge(tables: dict[int, Table]) -> None:
    """Print what a service costs, and whether that grows."""
    ours = {count: table[Reaperd.name] for count, table in tables.items()}
    if {1, 1000} <= ours.keys():
        each = (ours[1000]["rss"] - ours[1]["rss"]) * 1024 / 999
        _say(each <= MOST_KIB, f"memory of a service, RSS, KiB: {each:.1f}, at most {MOST_KIB} is asked for")
    if not {1, 100, 1000} <= ours.keys():
        return
    for key, what in (("start_cpu", "a start"), ("mass_cpu", "a restart")):
        few = (ours[100][key] - ours[1][key]) / 99
        many = (ours[1000][key] - ours[100][key]) / 900
        text = f"processor time of {what}, ms: {many:.2f} beyond 100 services, {few:.2f} up to 100"
        _say(many <= few * MOST_GROWTH, f"{text}, at most {few * MOST_GROWTH:.2f} is asked for")


def _say(is_met: bool, text: str) -> None:  # noqa: FBT001 - the verdict
    print(f"{'met   ' if is_met else 'MISSED'} {Reaperd.name}: {text}")


def main() -> int:
    """Draw and judge."""
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    tables = read([Path(name) for name in sys.argv[2:]])
    lines = curves(tables, "start")
    Path(sys.argv[1]).write_text(draw(lines, "services; exec of the daemon until all run, ms"))
    for name, points in lines.items():
        print(f"{name:14}" + "".join(f"{value / count:12.2f} ms each of {count}" for count, value in points))
    judge(tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
