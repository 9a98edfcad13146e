"""Times of the wall clock as crontab(5) writes them, in the zone of the daemon: the one home of cronsim.

Where clocks are set forward, a time of day that is left out (`30 2 * * *`) comes when the gap is over; where
they are set back, it comes the first time only. Times that come more often than daily go on as if nothing had
happened: through the gap, and through the hour that comes twice. So has Debian's cron(8) it.

The zone is the C library's (TZ, else /etc/localtime), as it was when the daemon started: tzset(3).
"""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from reaperd.units import shown

_SECOND_NS: Final = 1_000_000_000
_LONGEST: Final = 200  # characters
_HELP: Final = 'write five fields, as in crontab(5), like "*/5 * * * *"; six begin with seconds'


class _Local(tzinfo):
    """The C library's zone with all its rules; `datetime.astimezone` alone knows only today's offset."""

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        return None if dt is None else dt.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, dt: datetime | None) -> timedelta | None:
        del dt
        return None

    def tzname(self, dt: datetime | None) -> str | None:
        return None if dt is None else dt.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, dt: datetime) -> datetime:
        # A naive one from a timestamp is local, and knows whether its hour comes for the second time.
        local = datetime.fromtimestamp(dt.replace(tzinfo=UTC).timestamp())  # noqa: DTZ006 - meant to be local
        return local.replace(tzinfo=self)


LOCAL: Final[tzinfo] = _Local()


def check(expression: str) -> str:
    """Return the expression with single blanks, if it can be used.

    Raises:
        ValueError: it cannot be read, or names a time that never comes.
    """
    # Imported here: it costs 4.5 ms, and few configurations hold a schedule by the clock.
    from cronsim import CronSim, CronSimError  # noqa: PLC0415

    if len(expression) > _LONGEST or not expression.isprintable():
        raise ValueError(f"{shown(expression)} is not a schedule; {_HELP}")
    try:
        first = next(CronSim(expression, datetime.now(UTC)), None)
    except CronSimError as error:
        raise ValueError(f"{shown(expression)} is not a schedule: {str(error).lower()}; {_HELP}") from error
    if first is None:
        raise ValueError(f"{shown(expression)} never comes")
    return " ".join(expression.split())


def next_ns(expression: str, after_ns: int, zone: tzinfo = LOCAL) -> int | None:
    """Return the first time after `after_ns`; both are nanoseconds of the wall clock since 1970 in UTC.

    None where there is none for 50 years. `expression` has passed `check`.
    """
    from cronsim import CronSim  # noqa: PLC0415 - only who has such a schedule pays for it

    begin = datetime.fromtimestamp(after_ns // _SECOND_NS, zone)
    for moment in CronSim(expression, begin):
        at_ns = round(moment.timestamp()) * _SECOND_NS
        # In an hour that comes twice a time of day is given as it was the first time, and that is over.
        if at_ns > after_ns:
            return at_ns
    return None
