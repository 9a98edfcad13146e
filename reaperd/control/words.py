"""What is said between the control plane and the daemon: one ask, one answer, and who answers.

Routes are thin doors to verbs: whatever the front (HTTP today, others later), the daemon sees an `Ask` and
gives an `Answer`. An ask has a ticket, a number that is never used twice; an answer that cannot be given at
once is given later under the same ticket.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from reaperd.config.spec import Scope
from reaperd.kernel.credentials import Peer
from reaperd.units import suggest

Verb = Literal[
    "openapi",
    "events",
    "metrics",
    "status",
    "why",
    "tree",
    "start",
    "stop",
    "restart",
    "signal",
    "scale",
    "reload-services",
    "reload",
    "shutdown",
]


@dataclass(frozen=True, slots=True)
class Remote:
    """Who came over TCP."""

    address: str  # "127.0.0.1:4242"


Caller = Peer | Remote


def name_of(caller: Caller) -> str:
    """Return what to call somebody in a message."""
    return caller.address if isinstance(caller, Remote) else f"user {caller.uid}"


@dataclass(frozen=True, slots=True)
class Window:
    """Which events are wanted, of those that there are and those to come.

    Attributes:
        follow: go on with what comes.
        since_s: what is not older, in seconds of the wall clock.
        ago_s: the same, as so many seconds ago.
        after: what has a greater number; what is lost of that is told.
        last: the last so many.
        of_kernel: what changes among processes, rather than what the daemon does.
    """

    follow: bool = False
    since_s: float | None = None
    ago_s: float | None = None
    after: int | None = None
    last: int | None = None
    of_kernel: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, understood.

    Attributes:
        verb: what is asked for.
        names: services; for `status` and `why` none means every one, while `start`, `stop`, `restart`,
            `signal` and `reload-services` always have names or the single one `EVERY`, and `scale` one name.
            Whether a name is known, only the daemon can tell.
        wait: answer when all is settled, rather than at once.
        peer: who asks; its right to do so has been checked.
    """

    verb: Verb
    names: tuple[str, ...]
    wait: bool
    peer: Caller
    dry_run: bool = False  # of `reload`: say what would change, and change nothing
    instances: int | None = None  # of `scale`
    signal: int | None = None  # of `signal`
    scope: Scope = Scope.MAIN  # the same
    window: Window = Window()  # of `events`
    openmetrics: bool = False  # of `metrics`: the newer of the two formats


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client gets: an HTTP status and one JSON object, or a text with its media type in `headers`.

    `headers` are beyond those that every answer has.
    """

    status: int
    body: Mapping[str, object]
    headers: tuple[tuple[str, str], ...] = ()
    text: str | None = None  # in place of the body


class Feed(Protocol):
    """An answer of many lines, some of which are yet to come: it is asked for them when they can be sent.

    So a client that takes nothing costs nothing but its place in what there is.
    """

    def read(self, most: int) -> bytes | None:
        """Return the next lines, about `most` bytes; empty where none is there yet, None at the end."""


class Daemon(Protocol):
    """What the control plane asks of the daemon."""

    def ask(self, ticket: int, ask: Ask) -> Answer | Feed | None:
        """Answer at once, or return None and call `Server.answer` with this ticket later."""

    def hung_up(self, ticket: int) -> None:
        """The client left before its answer: nobody is interested in it any more."""


LISTED: Final = "reaperd status lists the services there are"


def refusal(status: int, code: str, message: str, hint: str | None = None) -> Answer:
    """Return an answer that says no: `code` for programs, `message` ("cannot ...") and `hint` for people."""
    return Answer(status, {"error": {"code": code, "message": message, "hint": hint}})


def unknown_service(name: str, known: Iterable[str]) -> Answer:
    """Return the refusal for a service that does not exist, with the nearest of those that do."""
    shown = name if len(name) <= 64 else f"{name[:64]}..."
    hint = did_you_mean(name, known) or LISTED
    return refusal(404, "unknown-service", f'cannot find a service called "{shown}"', hint)


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return a hint that names the known word nearest to `word`, if one is near."""
    return suggest(word[:64], known).removeprefix("; ") or None
