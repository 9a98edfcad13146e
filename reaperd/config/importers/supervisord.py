"""supervisord.conf: its programs as our services, in the order of their priorities."""

import os
import platform
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from reaperd.config.importers import ini
from reaperd.config.importers.draft import MOST_SERVICES, Draft, Imported, Names, refuse
from reaperd.config.importers.supervisord_output import outputs
from reaperd.units import parse_signal

_YES: Final = frozenset({"true", "yes", "on", "1"})
_NO: Final = frozenset({"false", "no", "off", "0"})
_HANDLED: Final = frozenset(
    {
        "command", "process_name", "numprocs", "numprocs_start", "priority", "autostart", "startsecs",
        "startretries", "autorestart", "exitcodes", "stopsignal", "stopwaitsecs", "stopasgroup",
        "killasgroup", "user", "umask", "directory", "environment", "redirect_stderr", "stdout_logfile",
        "stderr_logfile",
        "stdout_logfile_maxbytes", "stderr_logfile_maxbytes", "stdout_logfile_backups",
        "stderr_logfile_backups", "stdout_syslog", "stderr_syslog",
    }
)  # fmt: skip
_OTHERS: Final = {
    "eventlistener": "is a listener to supervisord's own events; see reaperd events",
    "fcgi-program": "shares a socket that supervisord opens; let the program open it itself",
    "inet_http_server": "is supervisord's own control; reaperd's is a Unix socket",
    "unix_http_server": "is supervisord's own control; reaperd's socket is the key daemon.socket",
    "rpcinterface": "is an extension of supervisord",
    "supervisorctl": "is for supervisorctl; reaperd finds its daemon by itself",
    "ctlplugin": "is an extension of supervisorctl",
}
# supervisord knows no escapes: within quotes a backslash is one, and a quote ends them. Where that leaves no
# pair it refuses the file; then a quote behind a backslash is taken for the one that was meant.
_PAIR: Final = re.compile(
    r"""\s*(?P<name>[^=\s,]+)\s*=\s*
    (?: "(?P<double>[^"]*)" | '(?P<single>[^']*)'
      | "(?P<escaped>(?:[^"\\]|\\.)*)" | '(?P<escaped_single>(?:[^'\\]|\\.)*)'
      | (?P<plain>[^"',][^,]*?|) )\s*(?:,|$)""",
    re.VERBOSE | re.DOTALL,
)

_ESCAPED: Final = frozenset({"escaped", "escaped_single"})


class _Program:
    """One section, read key by key."""

    def __init__(self, section: ini.Section, draft: Draft, variables: Mapping[str, str | int]) -> None:
        self.section = section
        self.draft = draft
        self.variables = variables

    def text(self, key: str, *, ours: bool = False) -> str | None:
        """Return a key's text, expanded; with `ours` for a place where our own variables work."""
        if key not in self.section:
            return None
        try:
            return ini.expanded(self.section[key], self.variables, None if ours else os.environ)
        except ini.Unknown as error:
            self.draft.lose(f"{key} = {self.section[key]}: {error}")
            return None

    def number(self, key: str, default: int) -> int:
        """Return a whole number of a bounded size."""
        text = (self.text(key) or str(default)).strip()
        if text.isascii() and text.isdecimal() and len(text) <= 9:
            return int(text)
        self.draft.lose(f"{key} = {text}: is no number; {default} is taken")
        return default

    def flag(self, key: str) -> bool:
        """Return whether a key says yes; no where it says nothing."""
        text = (self.text(key) or "false").strip().lower()
        if text not in _YES | _NO:
            self.draft.lose(f"{key} = {text}: is neither true nor false")
        return text in _YES


def read(text: str, path: Path) -> Imported:
    """Return the services of a supervisord.conf and of what it includes.

    Raises:
        ConfigError: it cannot be read, or there is too much of it.
    """
    imported = Imported()
    sections = ini.read(text, path, imported)
    groups = _groups(sections)
    everywhere = _of_all(sections.get("supervisord", {}), path, imported)
    drafts: list[tuple[int, Draft]] = []
    names = Names()
    seen: set[str] = set()
    for title, section in sections.items():
        kind, _, name = title.partition(":")
        if kind == "program" and name:
            made = _program(name, section, groups, everywhere, names, path)
            drafts += made
            seen |= {name} if made else set()
            if len(drafts) > MOST_SERVICES:
                raise refuse(path, f"has too many processes; at most {MOST_SERVICES} are allowed")
        elif kind not in {"group", "supervisord", "include"}:
            imported.lose(title, _OTHERS.get(kind, "is no section that reaperd knows"))
    for title, section in sections.items():
        kind, _, name = title.partition(":")
        if kind == "group":
            _say_of_group(title, section, sections, imported)
        elif kind == "program" and name not in seen:
            imported.lose(title, "left out: it has no processes, as its numprocs says")
    drafts.sort(key=lambda pair: pair[0])  # reaperd starts in the order of the file what nothing holds
    imported.drafts = [draft for _, draft in drafts]
    return imported


def _groups(sections: ini.Sections) -> dict[str, str]:
    """Return each program's group."""
    groups = {}
    for title, section in sections.items():
        kind, _, name = title.partition(":")
        if kind == "group":
            programs = [each.strip() for each in section.get("programs", "").split(",") if each.strip()]
            groups.update(dict.fromkeys(programs, name))
    return groups


def _say_of_group(title: str, section: ini.Section, sections: ini.Sections, imported: Imported) -> None:
    for key in section.keys() - {"programs"}:
        imported.lose(title, f"{key} = {section[key]}")
    for each in section.get("programs", "").split(","):
        if each.strip() and f"program:{each.strip()}" not in sections:
            imported.lose(title, f"programs: there is no program {each.strip()}")


def _of_all(section: ini.Section, path: Path, imported: Imported) -> dict[str, str]:
    """Return the environment that supervisord gives to all programs."""
    for key in section.keys() - {"environment", "nodaemon", "pidfile", "logfile", "silent"}:
        imported.lose("supervisord", f"{key} = {section[key]}")
    draft = Draft("", "supervisord")
    variables = {"here": str(path.parent.absolute()), "host_node_name": platform.node()}
    environment = _environment(_Program(section, draft, variables))
    imported.lost += draft.lost
    return environment


def _program(  # noqa: PLR0913, PLR0917 - all that bears on a program
    name: str,
    section: ini.Section,
    groups: Mapping[str, str],
    everywhere: Mapping[str, str],
    names: Names,
    path: Path,
) -> list[tuple[int, Draft]]:
    """Return the services of one program, each with its priority."""
    variables: dict[str, str | int] = {
        "program_name": name,
        "group_name": groups.get(name, name),
        "host_node_name": platform.node(),
        "here": str(path.parent.absolute()),
        "process_num": 0,
    }
    # A group is a name beside those of services: none may be both.
    group = names.name_for(f"group:{groups[name]}", like=groups[name]) if name in groups else None
    first = _Program(section, Draft(name, f"program:{name}"), variables)
    count, start = first.number("numprocs", 1), first.number("numprocs_start", 0)
    if count > MOST_SERVICES:
        raise refuse(path, f"[program:{name}] has {count} processes; at most {MOST_SERVICES} are allowed")
    variables["numprocs"] = count
    told_apart = any("process_num" in value for key, value in section.items() if key != "process_name")
    made = []
    for number in range(start, start + count) if told_apart or count < 2 else [start]:
        variables["process_num"] = number
        program = _Program(section, Draft("", f"program:{name}"), variables)
        process = program.text("process_name") if count > 1 and told_apart else None
        program.draft.name = names.name_for(process or name)
        _fill(program, everywhere)
        if group is not None:
            program.draft.keys["groups"] = [group]
        if count > 1 and not told_apart:
            program.draft.keys["instances"] = count
        if number > start:
            program.draft.lost.clear()  # said of the first one
        made.append((program.number("priority", 999), program.draft))
    return made


def _fill(program: _Program, everywhere: Mapping[str, str]) -> None:
    for step in (_command, _where, _as_whom, _starting, _ending, _stopping):
        step(program)
    environment = {**everywhere, **_environment(program)}
    if environment:
        program.draft.keys["environment"] = environment
    program.draft.keys.update(outputs(program))
    for key in program.section.keys() - _HANDLED:
        program.draft.lose(f"{key} = {program.section[key]}")


def _command(program: _Program) -> None:
    line = program.text("command", ours=True) or ""
    try:
        words = shlex.split(line)
    except ValueError as error:
        program.draft.lose(f"command = {line}: cannot be split into words ({error})")
        words = []
    if not words:
        program.draft.lose("command: there is none; write it")
        words = ["false"]
    program.draft.keys["command"] = words


def _where(program: _Program) -> None:
    directory = program.text("directory")
    if directory:
        program.draft.keys["directory"] = str(Path(directory).expanduser()) if "~" in directory else directory
    umask = program.text("umask")
    if umask and re.fullmatch("[0-7]{1,4}", umask) and int(umask, 8) <= 0o777:
        program.draft.keys["umask"] = umask
    elif umask:
        program.draft.lose(f"umask = {umask}: is no mode")


def _as_whom(program: _Program) -> None:
    user = program.text("user")
    if user:
        program.draft.keys["user"] = user.strip()


def _starting(program: _Program) -> None:
    draft = program.draft
    if "autostart" in program.section and not program.flag("autostart"):
        draft.lose("autostart = false: it starts with the daemon; reaperd stop keeps it down until then")
    seconds, retries = program.number("startsecs", 1), program.number("startretries", 3)
    if seconds:
        draft.keys["ready"] = {"delay": f"{seconds}s"}
        if seconds >= 30:
            draft.keys["ready_timeout"] = f"{seconds + 10}s"
    # Its waits grow by a second a try, and each try takes startsecs at most.
    interval = (retries + 1) * seconds + retries * (retries + 1) // 2 + 1
    draft.keys["start_limit"] = {"count": retries + 1, "interval": f"{interval}s"}


def _ending(program: _Program) -> None:
    wanted = (program.text("autorestart") or "unexpected").strip().lower()
    if wanted not in _YES | _NO | {"unexpected"}:
        program.draft.lose(f"autorestart = {wanted}: is none of true, false, unexpected; unexpected is taken")
    restart = "always" if wanted in _YES else "never" if wanted in _NO else "on-failure"
    program.draft.keys["restart"] = restart
    codes = [code.strip() for code in (program.text("exitcodes") or "0").split(",") if code.strip()]
    good = [int(code) for code in codes if code.isascii() and code.isdecimal() and len(code) < 4]
    if len(good) < len(codes) or any(code > 255 for code in good):
        program.draft.lose(f"exitcodes = {', '.join(codes)}: not all are exit codes")
        good = [code for code in good if code < 256]
    if set(good) != {0}:
        program.draft.keys["success_exit_codes"] = sorted(set(good))


def _stopping(program: _Program) -> None:
    name = (program.text("stopsignal") or "TERM").strip()
    try:
        parse_signal(name)
    except ValueError as error:
        program.draft.lose(f"stopsignal = {name}: {error}")
        name = "TERM"
    as_group = program.flag("stopasgroup")
    program.draft.keys["stop"] = {
        "signal": name.upper().removeprefix("SIG"),
        "timeout": f"{program.number('stopwaitsecs', 10)}s",
        "scope": "group" if as_group else "main",
    }
    if "killasgroup" in program.section and not program.flag("killasgroup") and not as_group:
        program.draft.lose("killasgroup = false: what is left at the end of the timeout is killed, all of it")


def _environment(program: _Program) -> dict[str, str]:
    """Return the pairs of `environment`, as `KEY="value",KEY2=value`."""
    text = program.text("environment", ours=True)
    pairs: dict[str, str] = {}
    at = 0
    while text and text[at:].strip(" \t\n,"):
        match = _PAIR.match(text, at)
        if match is None:
            program.draft.lose(f"environment: cannot be read from here on: {text[at:].strip()}")
            break
        name, value = match["name"], match[match.lastgroup or "plain"]
        at = match.end()
        if name == "SERVICE" or name.startswith("REAPERD_"):
            program.draft.lose(f"environment {name}: the daemon sets that itself")
            continue
        if match.lastgroup in _ESCAPED:
            value = re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
            program.draft.lose(f"environment {name}: supervisord refuses escaped quotes; taken for {value}")
        pairs[name] = value
    return pairs
