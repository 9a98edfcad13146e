"""All that the parent resolves before a fork, so that the child only makes system calls.

Between fork and exec nothing may allocate much, look anything up or take a lock: users, environment,
paths and limits are therefore plain values by then.
"""

import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from reaperd.children import tags
from reaperd.config.spec import ServiceSpec, Sink
from reaperd.kernel.credentials import Account, Identity, is_ours, lookup

MARKER: Final = "REAPERD_RUN"  # in a run's environment, for processes that have lost their tag
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

FIRST_PASSED: Final = 3  # SD_LISTEN_FDS_START: sd_listen_fds(3)

# What is said to one process only, and the variable that names it: only the child knows its pid.
_NAMES: Final = (("LISTEN_FDS", "LISTEN_PID"), ("WATCHDOG_USEC", "WATCHDOG_PID"))

# What speaks to the daemon and not to its services.
_PRIVATE: Final = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"}
)
_LOGIN: Final = frozenset({"HOME", "USER", "LOGNAME", "SHELL"})
_NO_SHELL: Final = frozenset({"nologin", "false", "true"})

_encoded: Final = lru_cache(256)(os.fsencode)  # of variables: most are the same in each start

Descriptors = tuple[tuple[int, int], ...]  # of ours, and the number that the program finds each at


@dataclass(frozen=True, slots=True)
class Plan:
    """One child to be, down to the bytes."""

    argv: tuple[bytes, ...]
    candidates: tuple[bytes, ...]  # paths to exec, tried in order, as execvp(3) does
    environment: dict[bytes, bytes]
    directory: bytes | None
    identity: Identity | None  # None to stay who the daemon is
    limits: tuple[tuple[int, tuple[int, int]], ...]  # resource, soft and hard; RLIMIT_NOFILE always
    mask: frozenset[int]  # the signals that stay blocked in the program
    oom_score_adj: bytes | None = None
    nice: int | None = None
    umask: int | None = None
    descriptors: Descriptors = ()
    own_pid: tuple[bytes, ...] = ()  # variables that hold the child's pid
    silent: tuple[int, ...] = ()  # outputs that go nowhere
    stderr_to_stdout: bool = False


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What the daemon's caller gave it, and every service gets back."""

    environment: Mapping[str, str]
    nofile: tuple[int, int]
    mask: frozenset[int]


def find_identity(spec: ServiceSpec) -> Identity | None:
    """Look up in the databases of users and groups whom `spec` is to run as; None to stay who the daemon is.

    Where these are kept by a server this may block: nsswitch.conf(5).

    Raises:
        ReaperdError: the user or group does not exist (any more).
    """
    return lookup(spec.user, spec.group, spec.supplementary_groups)


def make_plan(
    spec: ServiceSpec,
    run_id: str,
    inherited: Inheritance,
    identity: Identity | None,
    descriptors: Descriptors = (),
) -> Plan:
    """Resolve `spec`, which runs as `identity`, into a plan."""
    account = identity.account if identity is not None else None
    environment = _environment(spec, run_id, inherited.environment, account)
    limits = {resource.RLIMIT_NOFILE: inherited.nofile}
    if (tagged := tags.limit(run_id)) is not None:
        limits[tags.RESOURCE] = tagged
    limits.update((limit.resource, (limit.soft, limit.hard)) for limit in spec.limits)
    return Plan(
        argv=tuple(os.fsencode(word) for word in spec.command),
        candidates=_candidates(spec.command[0], environment.get("PATH", DEFAULT_PATH)),
        environment={_encoded(name): _encoded(value) for name, value in environment.items()},
        directory=None if spec.directory is None else os.fsencode(spec.directory),
        identity=None if identity is not None and _is_no_change(identity, spec) else identity,
        limits=tuple(limits.items()),
        mask=inherited.mask,
        oom_score_adj=None if spec.oom_score_adj is None else b"%d" % spec.oom_score_adj,
        nice=spec.nice,
        umask=spec.umask,
        descriptors=descriptors,
        own_pid=tuple(os.fsencode(pid) for said, pid in _NAMES if said in environment),
        silent=tuple(fd for fd, sink in ((1, spec.stdout), (2, spec.stderr)) if sink is Sink.NULL),
        stderr_to_stdout=spec.stderr is Sink.STDOUT,
    )


def _is_no_change(identity: Identity, spec: ServiceSpec) -> bool:
    """Tell whether a plain user asks for himself; his groups stay those that his login gave him."""
    return spec.supplementary_groups is None and os.geteuid() != 0 and is_ours(identity)


def _environment(
    spec: ServiceSpec, run_id: str, inherited: Mapping[str, str], account: Account | None
) -> dict[str, str]:
    """Return the program's environment: later ones overrule earlier ones.

    What the daemon was given, unless that is to be cleared; with a `user`, what tells of one is taken out and
    what the user database says put in; the service's own; what the daemon says of the run.
    """
    environment: dict[str, str] = {}
    if not spec.clear_environment:
        private = _PRIVATE if spec.user is None else _PRIVATE | _LOGIN
        environment.update((name, value) for name, value in inherited.items() if name not in private)
    if account is not None:
        environment.update(_login(account))
    environment.update(spec.environment)
    environment["SERVICE"] = spec.name
    if spec.instance is not None:
        environment["REAPERD_INSTANCE"] = str(spec.instance)
    environment[MARKER] = run_id
    return environment


def _login(account: Account) -> dict[str, str]:
    """Return what a login would tell of a user, as systemd does: no home "/", no shell that is none."""
    variables = {"USER": account.name, "LOGNAME": account.name}
    if account.home.strip("/"):
        variables["HOME"] = account.home
    if account.shell and os.path.basename(account.shell) not in _NO_SHELL:  # noqa: PTH119 - a text
        variables["SHELL"] = account.shell
    return variables


def _candidates(program: str, path: str) -> tuple[bytes, ...]:
    if "/" in program:
        return (os.fsencode(program),)
    # An empty entry of PATH means the current directory: execvp(3), environ(7).
    return tuple(os.fsencode(f"{folder or '.'}/{program}") for folder in path.split(":"))
