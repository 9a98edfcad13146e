"""When a service is started by itself: the forms of `schedule`."""

from typing import Any, Final

from reaperd.config.kinds import choice, duration, text_not_empty
from reaperd.config.report import Site
from reaperd.config.spec import Cron, Every, Overlap, Schedule
from reaperd.config.table import Key, Kind, one_of, table_of
from reaperd.units import shown

_SECOND_NS: Final = 1_000_000_000
_LONGEST: Final = 200  # characters
_HELP: Final = 'write five fields, as in crontab(5), like "*/5 * * * *"; six begin with seconds'


def _cron(value: object, _site: Site) -> str:
    # Imported here: it costs 4.5 ms, and few configurations hold a schedule by the clock.
    from datetime import UTC, datetime  # noqa: PLC0415

    from cronsim import CronSim, CronSimError  # noqa: PLC0415

    expression = text_not_empty(value)
    if len(expression) > _LONGEST or not expression.isprintable():
        raise ValueError(f"{shown(expression)} is not a schedule; {_HELP}")
    try:
        first = next(CronSim(expression, datetime.now(UTC)), None)
    except CronSimError as error:
        raise ValueError(f"{shown(expression)} is not a schedule: {str(error).lower()}; {_HELP}") from error
    if first is None:
        raise ValueError(f"{shown(expression)} never comes")
    return " ".join(expression.split())


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
    Key("every", duration(_SECOND_NS), "By the time from one start to the next; at least 1s."),
    Key(
        "overlap",
        choice(Overlap),
        "What happens when the last run has not ended: the new one is left out, or waits.",
        '"skip"',
    ),
)

SCHEDULE_TABLE: Final = table_of(SCHEDULE, _schedule, merges=False)
