"""When a service is started by itself: the forms of `schedule`."""

from typing import Any, Final

from reaperd import crontab
from reaperd.config.kinds import choice, duration, text_not_empty
from reaperd.config.report import Site
from reaperd.config.spec import Cron, Every, Overlap, Schedule
from reaperd.config.table import Key, Kind, one_of, table_of

_SECOND_NS: Final = 1_000_000_000


def _cron(value: object, _site: Site) -> str:
    return crontab.check(text_not_empty(value))


def _schedule(**values: Any) -> Schedule:  # noqa: ANN401  # each has the type that its row's reader returns
    name = one_of(values, ("cron", "every"))
    value = values.pop(name)
    return Schedule(Cron(value) if name == "cron" else Every(value), **values)


SCHEDULE: Final = (
    Key(
        "cron",
        Kind("a time table", _cron, schema={"type": "string"}),
        "By the wall clock, as crontab(5) writes it.",
    ),
    Key(
        "every",
        duration(_SECOND_NS),
        "By the time from one start to the next, the first after as long; at least 1s.",
    ),
    Key(
        "overlap",
        choice(Overlap),
        "What happens when the last run has not ended: the new one is left out, or waits.",
        '"skip"',
    ),
)

SCHEDULE_TABLE: Final = table_of(SCHEDULE, _schedule, merges=False)
