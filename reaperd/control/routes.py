"""Which request means which verb. Pure: a request in, an `Ask` or a finished `Answer` out.

    GET  /healthz                                  that the loop turns, answered here
    GET  /v1/services[?name=NAME&name=...]         status
    GET  /v1/services/NAME                         status
    GET  /v1/services/NAME/why                     why it is as it is; /v1/why[?name=NAME&...] of several
    GET  /v1/tree                                  the processes that the daemon knows
    POST /v1/services/NAME/start[?wait=false]      start, stop, restart
    POST /v1/start {"names": [...], "wait": true}  start, stop, restart; "names": "all" for every service
    POST /v1/services/NAME/reload                  reload-services: it reads its own configuration again
    POST /v1/reload-services {"names": [...]}      the same for several
    POST /v1/services/NAME/scale {"instances": 3}  scale
    POST /v1/reload, /v1/shutdown [?wait=false]    reload also {"dry_run": true}, or ?dry_run=true

HEAD is answered wherever GET is. What waits does so unless told otherwise. Everything a client can get wrong
has an answer that says what would be right.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from reaperd.config.spec import EVERY
from reaperd.control.access import NEEDS, Right, denied, right_of
from reaperd.control.words import Answer, Ask, Verb, did_you_mean, refusal
from reaperd.kernel.credentials import Peer

NAME: Final = "{name}"  # in a path: any one segment
_TRUE: Final = frozenset({"", "1", "true", "yes"})
_FALSE: Final = frozenset({"0", "false", "no"})


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, complete, and who sent it."""

    method: str
    target: str
    body: bytes
    peer: Peer


@dataclass(frozen=True, slots=True)
class Route:
    """One door: where, to which verb, and which parameters it takes; without a verb it is the health door."""

    method: str
    path: str
    verb: Verb | None
    query: tuple[str, ...] = ()
    body: tuple[str, ...] = ()

    @property
    def need(self) -> Right:
        """The right that a peer must have."""
        return Right.READ if self.verb is None else NEEDS[self.verb]


_MANY: Final[tuple[Verb, ...]] = ("start", "stop", "restart")
_MOST_INSTANCES: Final = 1000
ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", "/healthz", None),
    Route("GET", "/v1/services", "status", query=("name",)),
    Route("GET", "/v1/services/{name}", "status"),
    Route("GET", "/v1/services/{name}/why", "why"),
    Route("GET", "/v1/why", "why", query=("name",)),
    Route("GET", "/v1/tree", "tree"),
    *(Route("POST", f"/v1/services/{{name}}/{verb}", verb, ("wait",), ("wait",)) for verb in _MANY),
    *(Route("POST", f"/v1/{verb}", verb, ("wait",), ("names", "wait")) for verb in _MANY),
    Route("POST", "/v1/services/{name}/reload", "reload-services"),
    Route("POST", "/v1/reload-services", "reload-services", body=("names",)),
    Route("POST", "/v1/services/{name}/scale", "scale", ("wait", "instances"), ("wait", "instances")),
    Route("POST", "/v1/reload", "reload", ("wait", "dry_run"), ("wait", "dry_run")),
    Route("POST", "/v1/shutdown", "shutdown", ("wait",), ("wait",)),
)


class _RefusedError(Exception):
    """Carries the refusal of a request out of the functions that read it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def resolve(request: Request, owner_uid: int | None = None) -> Ask | Answer:
    """Return what `request` asks for, or the answer that it gets without asking the daemon.

    `owner_uid` is whom the daemon runs as, this process's own effective user where None.
    """
    try:
        return _resolve(request, owner_uid)
    except _RefusedError as refused:
        return refused.answer


def _resolve(request: Request, owner_uid: int | None) -> Ask | Answer:
    right = right_of(request.peer, owner_uid)
    if right is Right.NONE:  # before anything else: a stranger does not learn which paths there are
        return denied(request.peer, "talk to this daemon")
    segments, query = _split(request.target)
    route = _find(request.method, segments)
    if right < route.need:
        return denied(request.peer, f"{route.verb or 'see the health of'} here")
    if route.verb is None:
        return Answer(200, {"schema": "reaperd.health/1", "ok": True})
    fields = _fields(request.body, route)
    _check_keys([key for key, _ in query], route.query, "query parameter")
    names = _names(route, segments, query, fields)
    wait = _flag("wait", route, query, fields, without=True)
    dry_run = _flag("dry_run", route, query, fields, without=False)
    return Ask(route.verb, names, wait, request.peer, dry_run, _instances(route, query, fields))


# --- where to -------------------------------------------------------------------------------------------


def _split(target: str) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """Return the path's segments, decoded, and the query's pairs."""
    try:
        parts = urlsplit(target)
        query = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=1000)
    except ValueError as error:
        raise _bad(f"cannot read the address: {error}") from error
    return tuple(unquote(segment) for segment in parts.path.split("/")[1:]), query


def _find(method: str, segments: tuple[str, ...]) -> Route:
    """Return the route for `method` and path, or refuse with 404 or 405."""
    here = [route for route in ROUTES if _matches(route.path, segments)]
    if not here:
        path = "/" + "/".join(segments)
        hint = did_you_mean(path, (route.path for route in ROUTES))
        raise _RefusedError(refusal(404, "no-such-path", f"cannot find {_short(path)} here", hint))
    wanted = "GET" if method == "HEAD" else method
    for route in here:
        if route.method == wanted:
            return route
    allowed = ", ".join("GET, HEAD" if route.method == "GET" else route.method for route in here)
    message = f"cannot {_short(method)} here: this path takes {allowed}"
    refused = refusal(405, "method-not-allowed", message)
    raise _RefusedError(Answer(refused.status, refused.body, (("Allow", allowed),)))


def _matches(path: str, segments: tuple[str, ...]) -> bool:
    parts = path.split("/")[1:]
    return len(parts) == len(segments) and all(
        segment if part == NAME else part == segment for part, segment in zip(parts, segments, strict=True)
    )


# --- what with ------------------------------------------------------------------------------------------


def _fields(body: bytes, route: Route) -> Mapping[str, object]:
    """Return the body's JSON object; an empty body is an empty one."""
    if not body or not route.body:
        return {}
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:  # RecursionError: thousands of nested brackets
        raise _bad(f"cannot read the body as JSON: {error}", _example(route)) from error
    if not isinstance(fields, dict):
        raise _bad("cannot use the body: it is no JSON object", _example(route))
    _check_keys(fields, route.body, "key")
    return fields


def _example(route: Route) -> str:
    return 'like {"names": ["web"], "wait": true}' if "names" in route.body else 'like {"wait": true}'


def _check_keys(given: Sequence[str] | Mapping[str, object], known: tuple[str, ...], kind: str) -> None:
    for key in given:
        if key not in known:
            allowed = f"known here: {', '.join(known)}" if known else f"no {kind} is known here"
            raise _bad(f"cannot use the {kind} {_short(key)}", did_you_mean(key, known) or allowed)


def _names(
    route: Route, segments: tuple[str, ...], query: list[tuple[str, str]], fields: Mapping[str, object]
) -> tuple[str, ...]:
    """Return the services meant, each once; see `Ask.names` for what none and `EVERY` mean."""
    if NAME in route.path:
        names = [segments[2]]
    elif "names" in route.body:
        names = _listed(fields.get("names"), _example(route))
    else:
        names = [value for key, value in query if key == "name"]
    if EVERY in names:
        return () if route.method == "GET" else (EVERY,)
    return tuple(dict.fromkeys(names))


def _listed(names: object, example: str) -> list[str]:
    if names == EVERY:
        return [EVERY]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise _bad('cannot tell which services are meant: "names" is a list of names, or "all"', example)
    return names


def _flag(
    key: str, route: Route, query: list[tuple[str, str]], fields: Mapping[str, object], *, without: bool
) -> bool:
    """Return a word that is yes or no; the body decides over the query, `without` where nothing is said."""
    if key not in route.query:
        return False
    word = str(fields.get(key, dict(query).get(key, without))).lower()
    if word not in _TRUE | _FALSE:
        raise _bad(f'cannot use {_short(word)} for "{key}"', "true or false")
    return word in _TRUE


def _instances(route: Route, query: list[tuple[str, str]], fields: Mapping[str, object]) -> int | None:
    """Return the number of instances that a door asks for, None where it does not."""
    if "instances" not in route.query:
        return None
    given = fields.get("instances", dict(query).get("instances"))
    word = "nothing" if given is None else str(given)
    if isinstance(given, bool | float) or not word.isascii() or not word.isdecimal() or len(word) > 9:
        raise _bad(f'cannot use {_short(word)} for "instances"', f"a number, 0 to {_MOST_INSTANCES}")
    if int(word) > _MOST_INSTANCES:
        raise _bad(f"cannot run {word} instances", f"a number, 0 to {_MOST_INSTANCES}")
    return int(word)


def _bad(message: str, hint: str | None = None) -> _RefusedError:
    return _RefusedError(refusal(400, "bad-request", message, hint))


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}..."
