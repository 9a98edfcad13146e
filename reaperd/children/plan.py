"""All that the parent resolves before a fork, so that the child only makes system calls.

Between fork and exec nothing may allocate much, look anything up or take a lock: users, environment,
paths and limits are therefore plain values by then.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reaperd.config.spec import ServiceSpec
from reaperd.kernel.credentials import Identity, lookup

MARKER: Final = "REAPERD_RUN"  # in a run's environment; tells whose orphan a stray process is
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What speaks to the daemon and not to its services.
_PRIVATE: Final = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"}
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One child to be, down to the bytes."""

    argv: tuple[bytes, ...]
    candidates: tuple[bytes, ...]  # paths to exec, tried in order, as execvp(3) does
    environment: Mapping[bytes, bytes]
    directory: bytes | None
    identity: Identity | None
    nofile: tuple[int, int]  # soft and hard RLIMIT_NOFILE
    mask: frozenset[int]  # the signals that stay blocked in the program


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What the daemon's caller gave it, and every service gets back."""

    environment: Mapping[str, str]
    nofile: tuple[int, int]
    mask: frozenset[int]


def make_plan(spec: ServiceSpec, run_id: str, inherited: Inheritance) -> Plan:
    """Resolve `spec` into a plan.

    Raises:
        ReaperdError: the user or group does not exist (any more).
    """
    identity = lookup(spec.user, spec.group)
    environment = _environment(spec, run_id, inherited.environment)
    return Plan(
        argv=tuple(os.fsencode(word) for word in spec.command),
        candidates=_candidates(spec.command[0], environment.get("PATH", DEFAULT_PATH)),
        environment={os.fsencode(name): os.fsencode(value) for name, value in environment.items()},
        directory=None if spec.directory is None else os.fsencode(spec.directory),
        identity=identity,
        nofile=inherited.nofile,
        mask=inherited.mask,
    )


def _environment(spec: ServiceSpec, run_id: str, inherited: Mapping[str, str]) -> dict[str, str]:
    environment = {name: value for name, value in inherited.items() if name not in _PRIVATE}
    environment.update(spec.environment)
    environment["SERVICE"] = spec.name
    environment[MARKER] = run_id
    return environment


def _candidates(program: str, path: str) -> tuple[bytes, ...]:
    if "/" in program:
        return (os.fsencode(program),)
    # An empty entry of PATH means the current directory: execvp(3), environ(7).
    return tuple(os.fsencode(f"{folder or '.'}/{program}") for folder in path.split(":"))
