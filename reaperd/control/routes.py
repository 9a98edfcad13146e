"""The doors of the daemon: which request means which verb, and which right it takes.

    GET  /healthz                                  that the loop turns, answered here
    GET  /v1/services[?name=NAME&name=...]         status
    GET  /v1/services/NAME                         status
    GET  /v1/services/NAME/why                     why it is as it is; /v1/why[?name=NAME&...] of several
    GET  /v1/events[?follow&service=NAME&...]      events; also since=10m, after=NUMBER, last=NUMBER
    GET  /v1/tree                                  the processes that the daemon knows
    GET  /metrics                                  metrics
    POST /v1/services/NAME/start[?wait=false]      start, stop, restart
    POST /v1/services/NAME/signal?signal=HUP       signal; also {"signal": "HUP", "scope": "tree"}
    POST /v1/start {"names": [...], "wait": true}  start, stop, restart; "names": "all" for every service
    POST /v1/services/NAME/reload                  reload-services: it reads its own configuration again
    POST /v1/reload-services {"names": [...]}      the same for several
    POST /v1/services/NAME/scale {"instances": 3}  scale
    POST /v1/reload, /v1/shutdown [?wait=false]    reload also {"dry_run": true}, or ?dry_run=true

HEAD is answered wherever GET is. What waits does so unless told otherwise. `requests` reads what comes.
"""

from dataclasses import dataclass
from typing import Final

from reaperd.control.access import Right
from reaperd.control.words import Verb

NAME: Final = "{name}"  # in a path: any one segment


@dataclass(frozen=True, slots=True)
class Route:
    """One door: where, what right it takes, to which verb, which parameters, and what it answers.

    Without a verb it is answered here.
    """

    method: str
    path: str
    need: Right
    verb: Verb | None
    schema: str  # what its answer is, with the name and number that it carries
    does: str  # in a few words
    query: tuple[str, ...] = ()
    body: tuple[str, ...] = ()


_READ, _OPERATE, _ADMIN = Right.READ, Right.OPERATE, Right.ADMIN
HEALTH_SCHEMA: Final = "reaperd.health/1"
_STATUS, _WHY = "reaperd.status/1", "reaperd.why/1"
_ACTION, _RELOAD, _OPENAPI = "reaperd.action/1", "reaperd.reload/1", "openapi"
_NAME, _NAMES, _WAIT = ("name",), ("names",), ("wait",)
_SIGNAL, _SCALE, _TRY = ("signal", "scope"), ("wait", "instances"), ("wait", "dry_run")
_EVENTS: Final = "reaperd.events/1"
_WINDOW: Final = ("service", "follow", "kernel", "since", "after", "last")
_THEMSELVES: Final = "asks them to reload themselves"
_ONE: Final = "/v1/services/{name}"
ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", "/healthz", _READ, None, HEALTH_SCHEMA, "says that the daemon's loop turns"),
    Route("GET", "/openapi.json", _READ, "openapi", _OPENAPI, "describes all of this for programs"),
    Route("GET", "/v1/services", _READ, "status", _STATUS, "status of all, or of those named", _NAME),
    Route("GET", _ONE, _READ, "status", _STATUS, "status of one"),
    Route("GET", f"{_ONE}/why", _READ, "why", _WHY, "why one is as it is, what holds it, what is next"),
    Route("GET", "/v1/why", _READ, "why", _WHY, "the same of all, or of those named", _NAME),
    Route("GET", "/v1/events", _READ, "events", _EVENTS, "what the daemon did, one object a line", _WINDOW),
    Route("GET", "/v1/tree", _READ, "tree", "reaperd.tree/1", "the processes that the daemon knows"),
    Route("GET", "/metrics", _READ, "metrics", "metrics", "what monitoring reads: OpenMetrics, or its elder"),
    Route("POST", f"{_ONE}/start", _OPERATE, "start", _ACTION, "starts one", _WAIT, _WAIT),
    Route("POST", f"{_ONE}/stop", _OPERATE, "stop", _ACTION, "stops one, with all it started", _WAIT, _WAIT),
    Route("POST", f"{_ONE}/restart", _OPERATE, "restart", _ACTION, "stops and starts one", _WAIT, _WAIT),
    Route("POST", f"{_ONE}/signal", _OPERATE, "signal", _ACTION, "sends one a signal", _SIGNAL, _SIGNAL),
    Route("POST", f"{_ONE}/reload", _OPERATE, "reload-services", _ACTION, "asks one to reload itself"),
    Route("POST", f"{_ONE}/scale", _OPERATE, "scale", _RELOAD, "runs so many instances", _SCALE, _SCALE),
    Route("POST", "/v1/start", _OPERATE, "start", _ACTION, "starts those named", _WAIT, _NAMES + _WAIT),
    Route("POST", "/v1/stop", _OPERATE, "stop", _ACTION, "stops those named", _WAIT, _NAMES + _WAIT),
    Route(
        "POST", "/v1/restart", _OPERATE, "restart", _ACTION, "stops and starts them", _WAIT, _NAMES + _WAIT
    ),
    Route(
        "POST", "/v1/signal", _OPERATE, "signal", _ACTION, "sends them a signal", _SIGNAL, _NAMES + _SIGNAL
    ),
    Route("POST", "/v1/reload-services", _OPERATE, "reload-services", _ACTION, _THEMSELVES, (), _NAMES),
    Route("POST", "/v1/reload", _ADMIN, "reload", _RELOAD, "reads the configuration again", _TRY, _TRY),
    Route("POST", "/v1/shutdown", _ADMIN, "shutdown", _ACTION, "stops all, then the daemon", _WAIT, _WAIT),
)
