# ruff: noqa: INP001, T201 - beside programs that stand alone and print their figures
"""What the benchmarks share: turns in which everybody is measured once, tables, and targets met or missed."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Sample = dict[str, float]
Table = dict[str, Sample]
Row = tuple[str, str, int]  # key, title, digits after the point
One = TypeVar("One")


def rounds(who: Mapping[str, One], count: int, measure: Callable[[One], Sample]) -> Table:
    """Measure everybody `count` times, in turns; return medians."""
    samples: dict[str, list[Sample]] = {name: [] for name in who}
    for _ in range(count):
        for name, one in who.items():
            samples[name].append(measure(one))
    return {name: medians(taken) for name, taken in samples.items()}


def medians(samples: Sequence[Sample]) -> Sample:
    """Return the median of each figure."""
    return {key: statistics.median(sample[key] for sample in samples) for key in samples[0]}


def merge(table: Table, more: Table) -> None:
    """Add columns of figures."""
    for name, sample in more.items():
        table[name].update(sample)


def show(table: Table, rows: Iterable[Row], floor: str) -> None:
    """Print the table, with ratios to the floor under each figure."""
    names = list(table)
    print(f"{'':46}" + "".join(f"{name:>14}" for name in names))
    for key, title, digits in rows:
        cells = "".join(_cell(table[name].get(key), digits) for name in names)
        print(f"{title:46}{cells}")
        least = table[floor].get(key)
        if least:
            print(f"{'':46}" + "".join(_cell(_ratio(table[name].get(key), least), 2, "x") for name in names))


def _cell(value: float | None, digits: int, unit: str = "") -> str:
    return f"{'-':>14}" if value is None else f"{value:{14 - len(unit)}.{digits}f}{unit}"


def _ratio(value: float | None, least: float) -> float | None:
    return None if value is None else value / least


@dataclass(frozen=True)
class Target:
    """At most `factor` times the best of `whom`, and `plus`; where `whom` is empty, `plus` alone."""

    key: str
    who: str
    whom: tuple[str, ...] = ()
    factor: float = 1.0
    plus: float = 0.0


def judge(table: Table, rows: Iterable[Row], targets: Iterable[Target]) -> None:
    """Print each target with met or missed."""
    titles = {key: title for key, title, _ in rows}
    for target in targets:
        there = [table[name][target.key] for name in target.whom if target.key in table.get(name, {})]
        if target.key not in table.get(target.who, {}) or (target.whom and not there):
            continue
        value = table[target.who][target.key]
        limit = min(there, default=0.0) * target.factor + target.plus
        met = "met   " if value <= limit else "MISSED"
        print(f"{met} {target.who}: {titles[target.key]}: {value:.2f}, at most {limit:.2f} is asked for")
