"""What a request asks for. Pure: a request in, an `Ask` or a finished `Answer` out.

Everything a client can get wrong has an answer that says what would be right.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from reaperd.config.spec import EVERY, Scope
from reaperd.control.access import Access, Right, denied
from reaperd.control.routes import HEALTH_SCHEMA, NAME, ROUTES, Route
from reaperd.control.words import Answer, Ask, Caller, Remote, Window, did_you_mean, refusal
from reaperd.units import parse_duration, parse_signal

_TRUE: Final = frozenset({"", "1", "true", "yes"})
_FALSE: Final = frozenset({"0", "false", "no"})
_MOST_INSTANCES: Final = 1000


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, complete, and who sent it. Of the headers those that matter, by lower-case name."""

    method: str
    target: str
    body: bytes
    caller: Caller
    headers: Mapping[str, str] = field(default_factory=dict)


class _RefusedError(Exception):
    """Carries the refusal of a request out of the functions that read it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def resolve(request: Request, access: Access) -> Ask | Answer:
    """Return what `request` asks for, or the answer that it gets without asking the daemon."""
    try:
        return _resolve(request, access)
    except _RefusedError as refused:
        return refused.answer


def _resolve(request: Request, access: Access) -> Ask | Answer:
    _refuse_browsers(request)
    right = access.of(request.caller, request.headers.get("authorization"))
    if isinstance(right, Answer):
        return right
    if right is Right.NONE:  # before anything else: a stranger does not learn which paths there are
        return denied(request.caller, "talk to this daemon", has=right, needs=Right.READ)
    segments, query = _split(request.target)
    route = _find(request.method, segments)
    if right < route.need:
        return denied(request.caller, route.verb or "see that", has=right, needs=route.need)
    if route.verb is None:
        return Answer(200, {"schema": HEALTH_SCHEMA, "ok": True})
    fields = _fields(request.body, route)
    _check_keys([key for key, _ in query], route.query, "query parameter")
    given = _Given(route, dict(query), fields)
    return Ask(
        route.verb,
        _names(route, segments, query, fields),
        given.flag("wait", without=True),
        request.caller,
        given.flag("dry_run", without=False),
        given.instances(),
        given.signal(),
        given.scope(),
        given.window(),
        "application/openmetrics-text" in request.headers.get("accept", ""),
    )


def _refuse_browsers(request: Request) -> None:
    """Refuse what a web page made somebody's browser send, be it by a name that it let point to us.

    Over TCP only, where a browser can come from; there is no page of ours, so none may ask.
    """
    if not isinstance(request.caller, Remote):
        return
    if "origin" in request.headers:
        hint = "the daemon answers no web pages; leave the header Origin out"
        raise _RefusedError(refusal(403, "browser", "cannot answer a web page", hint))
    host = request.headers.get("host", "")
    if not _is_address(host):
        message = (
            f"cannot answer for {_short(host) or 'no host'}: by TCP the daemon goes by its address alone"
        )
        raise _RefusedError(refusal(421, "wrong-host", message, "use the address in the URL, or localhost"))


def _is_address(host: str) -> bool:
    """Tell whether a Host header is an address or localhost: no name that others may let point to us."""
    if not set(host).isdisjoint("/?#@\\"):
        return False
    from ipaddress import ip_address  # noqa: PLC0415 - only who comes by TCP says a host that counts

    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name != "localhost":
            ip_address(name)
    except ValueError:
        return False
    return True


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
        names = [value for key, value in query if key in {"name", "service"}]
    if EVERY in names:
        return () if route.method == "GET" else (EVERY,)
    return tuple(dict.fromkeys(names))


def _listed(names: object, example: str) -> list[str]:
    if names == EVERY:
        return [EVERY]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise _bad('cannot tell which services are meant: "names" is a list of names, or "all"', example)
    return names


@dataclass(frozen=True, slots=True)
class _Given:
    """What a request says besides names; the body decides over the query."""

    route: Route
    query: Mapping[str, str]
    fields: Mapping[str, object]

    def _of(self, key: str) -> object:
        return self.fields.get(key, self.query.get(key)) if key in self.route.query else None

    def flag(self, key: str, *, without: bool) -> bool:
        """Return a word that is yes or no, `without` where nothing is said; False of other doors."""
        given = self._of(key)
        if given is None:
            return without and key in self.route.query
        word = str(given).lower()
        if word not in _TRUE | _FALSE:
            raise _bad(f'cannot use {_short(word)} for "{key}"', "true or false")
        return word in _TRUE

    def instances(self) -> int | None:
        """Return the number of instances that a door asks for, None where it does not."""
        if "instances" not in self.route.query:
            return None
        given = self._of("instances")
        word = "nothing" if given is None else str(given)
        if isinstance(given, bool | float) or not word.isascii() or not word.isdecimal() or len(word) > 9:
            raise _bad(f'cannot use {_short(word)} for "instances"', f"a number, 0 to {_MOST_INSTANCES}")
        if int(word) > _MOST_INSTANCES:
            raise _bad(f"cannot run {word} instances", f"a number, 0 to {_MOST_INSTANCES}")
        return int(word)

    def signal(self) -> int | None:
        """Return the signal that a door asks for, None where it does not."""
        if "signal" not in self.route.query:
            return None
        given = self._of("signal")
        try:
            return parse_signal(
                given if isinstance(given, int) and not isinstance(given, bool) else str(given or "")
            )
        except ValueError as error:
            raise _bad(f'cannot use what "signal" says: {error}') from error

    def window(self) -> Window:
        """Return which events are wanted."""
        if "follow" not in self.route.query:
            return Window()
        since_s, ago_s = _moment(self.query.get("since"))
        follow = self.flag("follow", without=False)
        kernel = self.flag("kernel", without=False)
        return Window(follow, since_s, ago_s, self._number("after"), self._number("last"), kernel)

    def _number(self, key: str) -> int | None:
        word = self.query.get(key)
        if word is None:
            return None
        if not word.isascii() or not word.isdecimal() or len(word) > 18:
            raise _bad(f'cannot use {_short(word)} for "{key}"', "a number, 0 or more")
        return int(word)

    def scope(self) -> Scope:
        """Return who is to get the signal."""
        given = self._of("scope")
        try:
            return Scope.MAIN if given is None else Scope(given)
        except ValueError as error:
            raise _bad(f'cannot use {_short(str(given))} for "scope"', "main, group or tree") from error


def _moment(text: str | None) -> tuple[float | None, float | None]:
    """Return the time that a text means, as one of the wall clock or as one so long ago."""
    if text is None:
        return None, None
    try:
        return None, parse_duration(text) / 1e9
    except ValueError:
        pass
    from datetime import datetime  # noqa: PLC0415 - few say a time of the clock

    try:
        # A plus in an address is a space to those who decode it.
        return datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text).timestamp(), None
    except (ValueError, OverflowError) as error:
        hint = 'write it like "10m" or "2026-11-20T16:00:00Z"'
        raise _bad(f'cannot use {_short(text)} for "since"', hint) from error


def _bad(message: str, hint: str | None = None) -> _RefusedError:
    return _RefusedError(refusal(400, "bad-request", message, hint))


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}..."
