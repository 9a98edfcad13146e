"""The values of a compose file: commands, durations, variables and the like, in our words."""

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from reaperd.config.importers.draft import Draft, literal
from reaperd.config.limits import LIMITS
from reaperd.units import format_duration, parse_duration

_VARIABLE: Final = re.compile(
    r"\$(?:(\$)|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?+])([^{}$]*))?\})"
)
_LONGEST_NS: Final = 86_400_000_000_000
_MOST_WORDS: Final = 10_000
_LIMITS: Final = frozenset(key.name for key in LIMITS)


@dataclass(frozen=True, slots=True)
class Item:
    """One service of the compose file and what becomes of it."""

    table: Mapping[str, Any]  # Any: YAML
    draft: Draft


def variable(item: Item, key: str, value: str) -> str:
    """Return `value` for a command or an environment: compose's variables as ours, other dollars literal."""

    def one(match: re.Match[str]) -> str:
        dollar, bare, name, form, word = match.groups()
        if dollar:
            return "$$"
        if bare or not form or form.endswith("?"):
            return f"${{{bare or name}}}"
        if form.endswith("-"):
            return f"${{{name}:-{word}}}"
        item.draft.lose(f"{key}: {match[0]} has no counterpart, and is left as it stands")
        return literal(match[0])

    parts, at = [], 0
    for match in _VARIABLE.finditer(value):
        parts += [literal(value[at : match.start()]), one(match)]
        at = match.end()
    return "".join([*parts, literal(value[at:])])


def text(item: Item, key: str, value: object) -> str | None:
    """Return a plain value, with variables as they are set now; None where it cannot be had."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        item.draft.lose(f"{key}: is no text")
        return None
    missing = False

    def one(match: re.Match[str]) -> str:
        nonlocal missing
        dollar, bare, name, form, word = match.groups()
        if dollar:
            return "$"
        found = os.environ.get(bare or name)
        if found is None and form in {"-", ":-"}:
            return str(word)
        missing = missing or found is None
        return found or ""

    done = _VARIABLE.sub(one, _plain(value))
    if missing:
        item.draft.lose(f"{key} = {value}: a variable in it is not set here")
        return None
    return done


def words(item: Item, key: str, value: object) -> list[str]:
    """Return the words of a command, given as a list or as one text that is split."""
    if isinstance(value, str):
        try:
            parts = shlex.split(value)
        except ValueError as error:
            item.draft.lose(f"{key}: cannot be split into words ({error})")
            return []
    elif isinstance(value, list) and len(value) <= _MOST_WORDS:
        parts = [_plain(each) for each in value if isinstance(each, str | int | float)]
        if len(parts) < len(value):
            item.draft.lose(f"{key}: some of its words are no text")
    else:
        item.draft.lose(f"{key}: is neither a text nor a list")
        return []
    return [variable(item, key, part) for part in parts]


def command(item: Item) -> bool:
    """Carry the entry point and the command over; tell whether there is something to run."""
    line: list[str] = []
    for key in ("entrypoint", "command"):
        if item.table.get(key) is not None:
            line += words(item, key, item.table[key])
    if line and "entrypoint" not in item.table:
        item.draft.lose("command: the entry point of its image is not known here, and not run")
    if line and line[0]:
        item.draft.keys["command"] = line
        return True
    return False


def environment(item: Item, value: object) -> None:
    """Carry the variables over; one without a value is the daemon's, which services get by themselves."""
    pairs: dict[str, str] = {}
    entries: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        entries = list(value.items())
    elif isinstance(value, list):
        entries = [_pair(each) for each in value]
    else:
        item.draft.lose("environment: is neither a table nor a list")
    for name, content in entries:
        if not isinstance(name, str) or not name or "\0" in name or "=" in name:
            item.draft.lose("environment: has a name that is none")
        elif name == "SERVICE" or name.startswith("REAPERD_"):
            item.draft.lose(f"environment {name}: the daemon sets that itself")
        elif isinstance(content, str | int | float):
            pairs[name] = variable(item, f"environment {name}", _plain(content))
        elif content is not None:
            item.draft.lose(f"environment {name}: is no text")
    if pairs:
        item.draft.keys["environment"] = pairs


def _pair(entry: object) -> tuple[str | None, str | None]:
    if not isinstance(entry, str):
        return None, None
    name, equals, content = entry.partition("=")
    return name, content if equals else None


def _plain(value: str | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.replace("\0", "") if isinstance(value, str) else f"{value:.20g}"


def paths(item: Item, key: str, value: object) -> list[str]:
    """Return paths: one, or a list of texts or of tables with `path`."""
    entries = value if isinstance(value, list) else [value]
    found = []
    for each in entries[:_MOST_WORDS]:
        path = text(item, key, each.get("path") if isinstance(each, dict) else each)
        if path:
            found.append(path)
    return found


def names_of(item: Item, key: str) -> Iterator[tuple[str, str, bool]]:
    """Give each service that is depended on, in what condition it must be, and whether it is needed."""
    value = item.table.get(key, [])
    if isinstance(value, list):
        yield from ((each, "service_started", True) for each in value if isinstance(each, str))
    elif isinstance(value, dict):
        for name, table in value.items():
            said = table if isinstance(table, dict) else {}
            if said.get("restart"):
                item.draft.lose(f"{key} {name}: restart: it is not restarted with what it needs")
            yield (
                str(name),
                str(said.get("condition", "service_started"))[:64],
                said.get("required") is not False,
            )
    else:
        item.draft.lose(f"{key}: is neither a list nor a table")


def duration(item: Item, key: str, table: Mapping[str, Any] | None = None) -> str | None:
    """Return a duration in our words; None where there is none or a wrong one."""
    value = (item.table if table is None else table).get(key)
    if value is None:
        return None
    written = text(item, key, value)
    try:
        # Go's durations end a part with a unit too; its "µs" is our "us".
        return None if written is None else format_duration(parse_duration(written.replace("µ", "u")))
    except ValueError as error:
        item.draft.lose(f"{key}: {error}")
        return None


def healthcheck(item: Item, value: object) -> None:
    """Carry a health check over: as there, a container that is not healthy is only reported."""
    table: Mapping[str, Any] = value if isinstance(value, dict) else {}
    test = table.get("test")
    if table.get("disable") is True or test in (["NONE"], "NONE"):
        return
    line = _test(item, test)
    if not line:
        item.draft.lose("healthcheck: its command is in the image, or in a form that is not known")
        return
    retries = table.get("retries", 3)
    is_number = isinstance(retries, int) and not isinstance(retries, bool) and 1 <= retries <= 1000
    failures = retries if is_number else 3
    interval = _positive(item, "interval", table)
    item.draft.keys["health"] = {
        "exec": line,
        "interval": interval,
        "timeout": _positive(item, "timeout", table),
        "failures": failures,
        "action": "report",
    }
    start = duration(item, "start_period", table) or "0s"
    longest_ns = parse_duration(start) + parse_duration(interval) * failures
    item.draft.ready_timeout = format_duration(min(longest_ns, _LONGEST_NS))
    if start != "0s":
        item.draft.lose(
            f"healthcheck.start_period = {start}: checks begin when it is ready; see the key ready"
        )


def _positive(item: Item, key: str, table: Mapping[str, Any]) -> str:
    """Return a duration of a check; of none, and of one of 0, that which there is by default."""
    found = duration(item, key, table)
    return found if found and parse_duration(found) > 0 else "30s"


def _test(item: Item, test: object) -> list[str]:
    if isinstance(test, str):
        return ["/bin/sh", "-c", variable(item, "healthcheck", test)]
    if isinstance(test, list) and len(test) > 1:
        if test[0] == "CMD":
            return words(item, "healthcheck", test[1:])
        if test[0] == "CMD-SHELL" and isinstance(test[1], str):
            return ["/bin/sh", "-c", variable(item, "healthcheck", test[1])]
    return []


def limits(item: Item, value: object) -> None:
    """Carry resource limits over: a number, or a soft and a hard one."""
    found: dict[str, Any] = {}
    for name, limit in (value if isinstance(value, dict) else {}).items():
        ends = limit if isinstance(limit, dict) else {"soft": limit, "hard": limit}
        pair = {end: _limit(ends.get(end)) for end in ("soft", "hard")}
        if name not in _LIMITS or None in pair.values():
            item.draft.lose(f"ulimits {name}: is no limit that reaperd knows, or no number")
        else:
            found[name] = pair["soft"] if pair["soft"] == pair["hard"] else pair
    if found:
        item.draft.keys["limits"] = found


def _limit(value: object) -> int | str | None:
    if isinstance(value, bool) or not isinstance(value, int) or not -1 <= value < 1 << 63:
        return None
    return "unlimited" if value == -1 else value
