import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reaperd.control.access import NEEDS, Right, right_of
from reaperd.control.routes import ROUTES, Request, resolve
from reaperd.control.words import Answer, Ask
from reaperd.kernel.credentials import Peer

OWNER = 1000
ME = Peer(7, OWNER, OWNER)


def asked(method: str, target: str, body: object = None) -> Ask:
    """Return the ask that a request of the owner's means."""
    found = answered(method, target, body)
    assert isinstance(found, Ask), found
    return found


def answered(method: str, target: str, body: object = None, peer: Peer = ME) -> Ask | Answer:
    """Return what a request comes to."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return resolve(Request(method, target, raw, peer), OWNER)


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


def test_each_route_by_each_right() -> None:
    """Root and the daemon's own user may go everywhere, everybody else nowhere, known path or not."""
    for route in ROUTES:
        target = route.path.replace("{name}", "web")
        given = {"names": ["web"], "instances": 2}
        body = {key: value for key, value in given.items() if key in route.body} or None
        for uid in (0, OWNER):
            found = answered(route.method, target, body, Peer(1, uid, uid))
            assert isinstance(found, Ask) or found.status == 200, (route, uid)
        found = answered(route.method, target, body, Peer(1, 1001, OWNER))
        assert isinstance(found, Answer)
        assert found.status == 403, route
    stranger = answered("GET", "/nowhere", None, Peer(1, 1001, 1001))
    assert isinstance(stranger, Answer)
    assert stranger.status == 403


def test_rights_are_ordered() -> None:
    """Reading needs least and ending the daemon most."""
    assert NEEDS["status"] < NEEDS["stop"] < NEEDS["shutdown"]
    assert right_of(Peer(1, 0, 0), OWNER) is Right.ADMIN
    assert right_of(Peer(1, 12, 12), OWNER) is Right.NONE


@given(method=st.text(max_size=8), target=st.text(max_size=60), body=st.binary(max_size=60))
def test_any_request_has_an_answer(method: str, target: str, body: bytes) -> None:
    """Whatever comes, it is understood or refused; nothing is raised."""
    assert isinstance(resolve(Request(method, target, body, ME), OWNER), Ask | Answer)


@given(
    st.from_regex(r"/v1/(services|start|reload)?[a-z/%?=&.\[]{0,20}", fullmatch=True), st.binary(max_size=40)
)
def test_nearly_right_requests_have_an_answer(target: str, body: bytes) -> None:
    """Requests that are nearly right are understood or refused too."""
    for method in ("GET", "POST"):
        assert isinstance(resolve(Request(method, target, body, ME), OWNER), Ask | Answer)
