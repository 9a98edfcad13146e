import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reaperd.config.daemon_spec import Control, Grant
from reaperd.config.spec import Scope
from reaperd.control.access import Access, Right
from reaperd.control.requests import Request, resolve
from reaperd.control.routes import ROUTES, Route
from reaperd.control.words import Answer, Ask, Caller, Remote
from reaperd.kernel.credentials import Peer

OWNER = 1000
ME = Peer(7, OWNER, OWNER)
READER, OPERATOR, ADMIN, STRANGER = (Peer(1, uid, 50) for uid in (1001, 1002, 1003, 1004))
CONTROL = Control(
    read=(Grant("@seers", gid=60), Grant("reader", uid=1001)),
    operate=(Grant("operator", uid=1002), Grant("reader", uid=0)),
    admin=(Grant("admin", uid=1003), Grant("@wheel", gid=61)),
)


class Book:
    """Tokens that a test knows."""

    def right_of(self, presented: bytes) -> Right:
        """Return the right that the token names."""
        return {b"r": Right.READ, b"o": Right.OPERATE, b"a": Right.ADMIN}.get(presented, Right.NONE)


ACCESS = Access(CONTROL, Book(), OWNER)


def asked(method: str, target: str, body: object = None) -> Ask:
    """Return the ask that a request of the owner's means."""
    found = answered(method, target, body)
    assert isinstance(found, Ask), found
    return found


def answered(
    method: str, target: str, body: object = None, caller: Caller = ME, **headers: str
) -> Ask | Answer:
    """Return what a request comes to."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return resolve(Request(method, target, raw, caller, headers), ACCESS)


def refused(method: str, target: str, body: object = None) -> tuple[int, str, str | None]:
    """Return status, message and hint of a refusal."""
    found = answered(method, target, body)
    assert isinstance(found, Answer), found
    error = found.body["error"]
    assert isinstance(error, dict)
    assert error["message"].startswith("cannot ")
    return found.status, error["message"], error["hint"]


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("/v1/services", ()),
        ("/v1/services?name=web&name=db&name=web", ("web", "db")),
        ("/v1/services/web", ("web",)),
        ("/v1/services/a%2Fb%20c", ("a/b c",)),
        ("/v1/services/all", ()),
        ("http://anywhere/v1/services", ()),
    ],
)
def test_status_names(target: str, names: tuple[str, ...]) -> None:
    """Status takes its names from the path or the query, each once, and none means all."""
    assert asked("GET", target) == Ask("status", names, wait=False, peer=ME)


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_actions(verb: str) -> None:
    """An action takes one name in the path or several in the body, and waits unless told otherwise."""
    assert asked("POST", f"/v1/services/web/{verb}") == Ask(verb, ("web",), wait=True, peer=ME)  # type: ignore[arg-type]  # one of the verbs
    assert asked("POST", f"/v1/services/web/{verb}?wait=false").wait is False
    assert asked("POST", f"/v1/services/web/{verb}", {"wait": False}).wait is False
    assert asked("POST", f"/v1/{verb}", {"names": ["b", "a", "b"]}).names == ("b", "a")
    assert asked("POST", f"/v1/{verb}", {"names": "all", "wait": False}) == Ask(
        verb,  # type: ignore[arg-type]  # one of the verbs
        ("all",),
        wait=False,
        peer=ME,
    )
    assert asked("POST", f"/v1/{verb}", {"names": ["web", "all"]}).names == ("all",)


def test_whole_daemon() -> None:
    """Reload and shutdown take no names."""
    assert asked("POST", "/v1/shutdown?wait=0") == Ask("shutdown", (), wait=False, peer=ME)
    assert asked("POST", "/v1/reload") == Ask("reload", (), wait=True, peer=ME)
    assert refused("POST", "/v1/reload", {"names": ["web"]})[0] == 400


def test_health_needs_no_daemon() -> None:
    """The health door is answered by the control plane alone."""
    found = answered("GET", "/healthz")
    assert isinstance(found, Answer)
    assert (found.status, found.body["ok"]) == (200, True)


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"names": []},
        {"names": [""]},
        {"names": [1]},
        {"names": "web"},
        {"names": {"web": 1}},
        {"names": ["web"], "wait": "perhaps"},
        {"names": ["web"], "wait": 2},
        [],
        "web",
        b"{",
        b"\xff",
        b"[" * 60_000,
        b'{"names": [' + b"9" * 5000 + b"]}",
    ],
)
def test_bad_bodies(body: object) -> None:
    """A body that does not say which services are meant is refused, with an example."""
    status, _, hint = refused("POST", "/v1/start", body)
    assert status == 400
    assert hint


def test_mistakes_are_understood() -> None:
    """A near miss of a path, a key or a parameter is answered with what was probably meant."""
    assert refused("GET", "/v1/service") == (
        404,
        "cannot find /v1/service here",
        'did you mean "/v1/services"?',
    )
    assert refused("POST", "/v1/stop", {"name": ["web"]})[2] == 'did you mean "names"?'
    assert refused("POST", "/v1/services/web/stop?wiat=0")[2] == 'did you mean "wait"?'
    assert refused("GET", "/v1/services?names=web")[2] == 'did you mean "name"?'
    assert refused("GET", "/v1/services/web?color=1")[2] == "no query parameter is known here"


@pytest.mark.parametrize(
    ("method", "target", "allow"),
    [
        ("POST", "/v1/services", "GET, HEAD"),
        ("GET", "/v1/shutdown", "POST"),
        ("HEAD", "/v1/shutdown", "POST"),
        ("DELETE", "/v1/services/web", "GET, HEAD"),
        ("BREW" * 100, "/healthz", "GET, HEAD"),
    ],
)
def test_wrong_method(method: str, target: str, allow: str) -> None:
    """A path that is there under another method says under which."""
    found = answered(method, target)
    assert isinstance(found, Answer)
    assert found.status == 405
    assert found.headers == (("Allow", allow),)


@pytest.mark.parametrize("body", [None, {}, {"instances": 1001}, {"instances": -1}, {"instances": True}])
@pytest.mark.parametrize("query", ["", "?instances=1.5", "?instances=many"])
def test_a_scale_needs_a_number(query: str, body: dict[str, object] | None) -> None:
    """Of how many there are to be, which the hint says."""
    target = f"/v1/services/web/scale{query}"
    found = answered("POST", target, body, ME)
    assert isinstance(found, Answer)
    assert found.status == 400


def test_a_scale_and_a_dry_run_are_understood() -> None:
    """What is asked for reaches the daemon; by default a reload is a real one."""
    scale = answered("POST", "/v1/services/web/scale?wait=false", {"instances": 0}, ME)
    assert isinstance(scale, Ask)
    assert (scale.verb, scale.names, scale.instances, scale.wait) == ("scale", ("web",), 0, False)
    for target, body, dry in (
        ("/v1/reload", None, False),
        ("/v1/reload?dry_run", None, True),
        ("/v1/reload", {"dry_run": True}, True),
        ("/v1/reload?dry_run=1", {"dry_run": False}, False),
    ):
        found = answered("POST", target, body, ME)
        assert isinstance(found, Ask)
        assert (found.verb, found.dry_run, found.wait) == ("reload", dry, True)


@pytest.mark.parametrize(
    "target", ["", "*", "/", "//[", "/v1", "/v1/services/", "/v1/services//start", "/" * 500]
)
def test_no_such_path(target: str) -> None:
    """What is no path of ours is refused, whatever it looks like."""
    assert refused("GET", target)[0] in {400, 404}


def by(route: Route, caller: Caller, **headers: str) -> Ask | Answer:
    """Return what a good request through a route comes to."""
    given = {"names": ["web"], "instances": 2, "signal": "HUP"}
    body = {key: value for key, value in given.items() if key in route.body} or None
    return answered(route.method, route.path.replace("{name}", "web"), body, caller, **headers)


def is_let_in(found: Ask | Answer) -> bool:
    """Tell whether a request was not refused."""
    return isinstance(found, Ask) or found.status == 200


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_each_route_by_each_right(route: Route) -> None:
    """Each takes those whose right reaches, and tells the others which they lack and how it is given."""
    callers: list[tuple[Caller, Right]] = [
        (Peer(1, 0, 0), Right.ADMIN),
        (Peer(1, OWNER, 7), Right.ADMIN),
        (ADMIN, Right.ADMIN),
        (Peer(1, 1005, 61), Right.ADMIN),
        (Peer(1, 1001, 50, (61, 60)), Right.ADMIN),
        (OPERATOR, Right.OPERATE),
        (READER, Right.READ),
        (Peer(1, 1005, 50, (60,)), Right.READ),
        (STRANGER, Right.NONE),
    ]
    for caller, right in callers:
        found = by(route, caller)
        assert is_let_in(found) == (right >= route.need), (caller, right)
        if isinstance(found, Answer) and right < route.need:
            error = found.body["error"]
            assert isinstance(error, dict)
            assert found.status == 403
            needed = Right.READ if right is Right.NONE else route.need
            assert f'that takes the right "{needed.word}"' in error["message"]
            assert f"daemon.control.{needed.word}" in error["hint"]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_each_route_by_each_token(route: Route) -> None:
    """Over TCP it is the token that gives the right; without one nobody is let in anywhere."""
    caller = Remote("127.0.0.1:5")
    for token, right in (("r", Right.READ), ("o", Right.OPERATE), ("a", Right.ADMIN)):
        found = by(route, caller, host="127.0.0.1:9", authorization=f"bearer  {token}")
        assert is_let_in(found) == (right >= route.need)
        assert isinstance(found, Ask) or found.status in {200, 403}
    for authorization in (
        {},
        {"authorization": "Bearer x"},
        {"authorization": "Basic r"},
        {"authorization": ""},
    ):
        refused_one = by(route, caller, host="localhost", **authorization)
        assert isinstance(refused_one, Answer)
        assert refused_one.status == 401
        assert dict(refused_one.headers)["WWW-Authenticate"].startswith('Bearer realm="reaperd"')


def test_a_stranger_does_not_learn_which_paths_there_are() -> None:
    """Nor does one without a token."""
    for caller, status in ((STRANGER, 403), (Remote("h:1"), 401)):
        found = answered("GET", "/nowhere", None, caller, host="localhost")
        assert isinstance(found, Answer)
        assert found.status == status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9000", 200),
        ("[::1]:9000", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("evil.example:9000", 421),
        ("127.0.0.1.evil.example", 421),
        ("evil@127.0.0.1", 421),
        ("[::1", 421),
        ("", 421),
        ("a/b", 421),
    ],
)
def test_over_tcp_no_web_page_gets_an_answer(host: str, status: int) -> None:
    """Whatever name it let point to us, and with a right token too; over the Unix socket none could come."""
    for headers, expected in (({}, status), ({"origin": "http://x"}, 403)):
        found = answered(
            "GET", "/healthz", None, Remote("h:1"), host=host, authorization="Bearer a", **headers
        )
        assert isinstance(found, Answer)
        assert found.status == expected
    assert is_let_in(answered("GET", "/healthz", None, ME, host=host, origin="http://x"))


def test_root_and_the_owner_keep_every_right() -> None:
    """Whatever the configuration says of them."""
    access = Access(Control(read=(Grant("root", uid=0), Grant("me", uid=OWNER))), None, OWNER)
    assert access.of_peer(Peer(1, 0, 5)) is access.of_peer(ME) is Right.ADMIN


@pytest.mark.parametrize(
    "given", [{}, {"signal": "NOSUCH"}, {"signal": True}, {"signal": "HUP", "scope": "all"}, {"signal": 0}]
)
def test_a_signal_needs_one_that_there_is(given: dict[str, object]) -> None:
    """And someone to get it."""
    assert refused("POST", "/v1/services/web/signal", given)[0] == 400
    assert refused("POST", "/v1/signal", {"names": ["web"], **given})[0] == 400


def test_a_signal_is_understood() -> None:
    """By name or number, in body or query; it is for the main process unless told otherwise."""
    for found in (
        asked("POST", "/v1/services/web/signal?signal=SIGHUP"),
        asked("POST", "/v1/signal", {"names": ["web"], "signal": 1}),
        asked("POST", "/v1/signal?signal=1", {"names": ["web"], "scope": "main"}),
    ):
        assert (found.verb, found.names, found.signal, found.scope) == ("signal", ("web",), 1, Scope.MAIN)
    assert asked("POST", "/v1/services/web/signal?signal=9&scope=tree").scope is Scope.TREE


@given(method=st.text(max_size=8), target=st.text(max_size=60), body=st.binary(max_size=60))
def test_any_request_has_an_answer(method: str, target: str, body: bytes) -> None:
    """Whatever comes, it is understood or refused; nothing is raised."""
    assert isinstance(resolve(Request(method, target, body, ME), ACCESS), Ask | Answer)


@given(
    st.from_regex(r"/v1/(services|start|reload)?[a-z/%?=&.\[]{0,20}", fullmatch=True), st.binary(max_size=40)
)
def test_nearly_right_requests_have_an_answer(target: str, body: bytes) -> None:
    """Requests that are nearly right are understood or refused too."""
    for method in ("GET", "POST"):
        assert isinstance(resolve(Request(method, target, body, ME), ACCESS), Ask | Answer)
