"""From the table of one service, and the template it uses, to the specs of its instances."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reaperd.config.accounts import has_entry, is_number
from reaperd.config.cycles import find_cycles
from reaperd.config.envfile import read_environment_file
from reaperd.config.keys import SERVICE, USE
from reaperd.config.report import Lookup, Site
from reaperd.config.spec import FdCheck, LogCheck, Restart, ServiceSpec, Sink
from reaperd.config.table import read_key, read_keys
from reaperd.config.templates import merged
from reaperd.errors import ConfigError
from reaperd.units import suggest

_KEYS: Final = (USE, *SERVICE)
_BY_NAME: Final = {key.name: key for key in _KEYS}
_NOT_IN_SPEC: Final = ("use", "instances", "environment_files")


@dataclass(frozen=True, slots=True)
class Entry:
    """A table of a service or a template, and where it stands."""

    table: Mapping[str, object]
    site: Site


def check_template(template: Entry) -> None:
    """Report what is wrong with a template, whether a service uses it or not."""
    read_keys(template.table, _KEYS, template.site, partial=True)


def with_their_own(templates: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return templates with the keys of those that they use themselves; those in a cycle are reported."""
    uses: dict[str, list[str]] = {}
    for name, template in templates.items():
        other = template.table.get("use")
        uses[name] = [other] if isinstance(other, str) and other in templates else []
        if isinstance(other, str) and not uses[name]:
            _report_unknown(template, other, templates)
    cycles = find_cycles(uses)
    for cycle in cycles:
        what = f"closes a cycle, in which each uses the next: {' -> '.join(cycle)}"
        templates[cycle[0]].site.at("use").problem(what)
    done = {name: templates[name] for cycle in cycles for name in cycle}
    for name in templates:
        chain = [name]
        while chain[-1] not in done and uses[chain[-1]]:
            chain.append(uses[chain[-1]][0])
        done.setdefault(chain[-1], templates[chain[-1]])
        for each in reversed(chain[:-1]):
            done[each] = _over(templates[each], done[uses[each][0]])
    return done


def whole(entry: Entry, templates: Mapping[str, Entry]) -> Entry:
    """Return a service's table with the keys of its template, itself whole, under its own."""
    name = entry.table.get("use")
    if not isinstance(name, str):
        return entry  # there is none, or its type is reported where the table is read
    if name not in templates:
        _report_unknown(entry, name, templates)
        return entry
    return _over(entry, templates[name])


def _over(entry: Entry, template: Entry) -> Entry:
    return Entry(merged(template.table, template.site, entry.table, entry.site, SERVICE), entry.site)


def _report_unknown(entry: Entry, name: str, templates: Mapping[str, Entry]) -> None:
    known = suggest(name, templates) or f"; there is {', '.join(templates) or 'none'}"
    entry.site.at("use").problem(f"there is no template of this name{known}")


def specs_of(
    name: str, entry: Entry, environ: Mapping[str, str], scaled: int | None
) -> Iterator[ServiceSpec]:
    """Give the spec of each instance; those with a problem are reported and left out.

    Args:
        name: the service's name in the file.
        entry: its whole table.
        environ: what the daemon was started with.
        scaled: the number of instances that holds in place of the one in the file.
    """
    variables = _file_variables(entry)
    count = instances_of(entry)
    if count is None:
        yield from _spec(name, None, entry, variables, environ)
        return
    for number in range(1, (count if scaled is None else scaled) + 1):
        yield from _spec(name, number, entry, variables, environ)


def instances_of(entry: Entry) -> int | None:
    """Return what a service's table says of its instances; None where it has none, or says it wrongly."""
    count = _one(entry, "instances")
    return count if isinstance(count, int) else None


def _one(entry: Entry, name: str) -> Any:  # noqa: ANN401  # what its row's reader returns
    """Return the value of one key, or None where there is none or a wrong one."""
    values: dict[str, Any] = {}
    if name in entry.table:
        read_key(_BY_NAME[name], entry.table[name], entry.site.inside(entry.table, name), values)
    return values.get(name)


def _file_variables(entry: Entry) -> dict[str, str]:
    variables: dict[str, str] = {}
    site = entry.site.inside(entry.table, "environment_files")
    for index, path in enumerate(_one(entry, "environment_files") or ()):
        try:
            variables.update(read_environment_file(Path(path), site.report))
        except ConfigError as error:
            for problem in error.problems:
                site.at(index).problem(f"{problem.where} {problem.what}")
    return variables


def _spec(
    base: str, number: int | None, entry: Entry, files: dict[str, str], environ: Mapping[str, str]
) -> Iterator[ServiceSpec]:
    name = base if number is None else f"{base}:{number}"
    site = entry.site.with_variables(_lookup(name, number, files, environ))
    before = site.report.count
    values = read_keys(entry.table, _KEYS, site)
    _check_user(values, entry)
    _check_oneshot(values, entry)
    _check_outputs(values, entry)
    _check_descriptors(values, entry)
    if site.report.count > before:
        return
    values["environment"] = tuple(sorted({**files, **dict(values.get("environment", ()))}.items()))
    if values.get("oneshot"):
        values.setdefault("restart", Restart.NEVER)
    for key in _NOT_IN_SPEC:
        values.pop(key, None)
    yield ServiceSpec(name=name, base="" if number is None else base, instance=number, **values)


def _lookup(name: str, number: int | None, files: Mapping[str, str], environ: Mapping[str, str]) -> Lookup:
    """Return how variables are looked up: what the daemon sets, then the files, then the daemon's own.

    What the daemon sets comes first, so that one within the service of another gives its own names.
    """
    own = {"SERVICE": name} if number is None else {"SERVICE": name, "REAPERD_INSTANCE": str(number)}

    def variables(wanted: str) -> str | None:
        if wanted in own or wanted.startswith("REAPERD_"):
            return own.get(wanted)
        return files.get(wanted, environ.get(wanted))

    return variables


def _check_user(values: Mapping[str, Any], entry: Entry) -> None:
    """Refuse a user by a number that nobody has, where no group is given: none can be told from it."""
    user = values.get("user", "")
    if is_number(user) and "group" not in values and not has_entry(user):
        what = f"user {user} has no entry on this machine to take a group from; set group too"
        _at(entry, "user").problem(what)


def _check_oneshot(values: Mapping[str, Any], entry: Entry) -> None:
    if not values.get("oneshot"):
        return
    if values.get("restart") is Restart.ALWAYS:
        what = 'a oneshot is meant to end, so "always" is not for it; allowed: "never", "on-failure"'
        _at(entry, "restart").problem(what)
    for name in ("ready", "health"):
        if name in values:
            _at(entry, name).problem("a oneshot is ready when it has ended well; leave this out")


def _check_outputs(values: Mapping[str, Any], entry: Entry) -> None:
    for name in ("stdout", "stderr"):
        if values.get(name) is Sink.NULL and isinstance(values.get("ready"), LogCheck):
            what = "nowhere is no place to look for a line, as ready.log does; leave one of them out"
            _at(entry, name).problem(what)


def _check_descriptors(values: Mapping[str, Any], entry: Entry) -> None:
    ready, count = values.get("ready"), len(values.get("sockets") or ())
    if isinstance(ready, FdCheck) and ready.fd < 3 + count:
        what = (
            f"descriptors 3 to {2 + count} are its sockets; choose {3 + count} or a larger one for ready.fd"
        )
        _at(entry, "ready").problem(what)


def _at(entry: Entry, name: str) -> Site:
    return entry.site.inside(entry.table, name)


def names_in(entry: Entry, key: str) -> Iterator[tuple[str, Site]]:
    """Give each name in a list of names, with its place; what is no name is reported elsewhere."""
    names = entry.table.get(key, [])
    site = _at(entry, key)
    for index, name in enumerate(names if isinstance(names, list) else []):
        if isinstance(name, str):
            yield name, site.at(index)
