"""Who may do what, by the real daemon and real users, over the socket and over TCP."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from reaperd.control.access import Right
from reaperd.control.census import MOST_OF_ONE
from reaperd.control.openapi import document
from reaperd.control.routes import ROUTES, Route
from tests.support.control_plane import request, unmeasured
from tests.support.daemons import Running, daemon, service
from tests.support.hostile import answer_of, ask, become, connect
from tests.support.processes import ROOT, call_in_process

WAIT = ["sleep", "1000"]
CONTROL = (
    'control = { read = ["61001", "@61010"], operate = ["61002", "@61020"], admin = ["61003", "@61030"] }'
)
READ, OPERATE, ADMIN = "r" * 20, "o" * 20, "a" * 20
# user, group, other groups, the right that they come to
PEOPLE = [
    (0, 0, [], Right.ADMIN),
    (61001, 61001, [], Right.READ),
    (61002, 61002, [], Right.OPERATE),
    (61003, 61003, [], Right.ADMIN),
    (61004, 61010, [], Right.READ),
    (61004, 61004, [61020], Right.OPERATE),
    (61004, 61004, [5, 61030, 6], Right.ADMIN),
    (61001, 61001, list(range(70000, 70400)), Right.READ),
    (61004, 61004, [], Right.NONE),
]


def need_root() -> None:
    """Skip where no other user can be become."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become other users")


def request_of(route: Route, *headers: str) -> bytes:
    """Return a request through a route that changes nothing where it is let in."""
    given: dict[str, Any] = {"names": ["nobody"], "instances": 1, "signal": "CONT", "dry_run": True}
    fields = {key: value for key, value in given.items() if key in route.body}
    target = route.path.replace("{name}", "nobody")
    return request(route.method, target, json.dumps(fields).encode() if fields else b"", *headers)


def walk_as(folder: str, uid: int, gid: int, groups: list[int]) -> dict[str, tuple[int, str]]:
    """Knock at every door as somebody; return status and message of each."""
    become(uid, gid, groups)
    found = {}
    for route in ROUTES:
        if route.verb != "shutdown" and "follow" not in route.query:
            status, body = ask(Path(folder) / "c.sock", request_of(route))
            error = body.get("error", {}) if isinstance(body, dict) else {}
            found[f"{route.method} {route.path}"] = (status, str(error.get("message")))
    return found


@contextmanager
def open_folder() -> Iterator[Path]:
    """Yield a folder that everybody may enter; those of pytest are for their owner alone."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Path, Running]]:
    """A daemon that gives rights to several."""
    need_root()
    with open_folder() as folder, daemon(folder, f"{CONTROL}\n{service('web', WAIT)}") as made:
        yield folder, made


@pytest.mark.parametrize(("uid", "gid", "groups", "right"), PEOPLE)
def test_every_route_by_every_right(
    running: tuple[Path, Running], uid: int, gid: int, groups: list[int], right: Right
) -> None:
    """As users and groups real to the kernel: let in as far as the right goes, or told what lacks."""
    folder, _ = running
    found = call_in_process(walk_as, str(folder), uid, gid, groups)
    for route in ROUTES:
        key = f"{route.method} {route.path}"
        if key not in found:
            continue
        status, message = found[key]
        if right >= route.need:
            assert status in {200, 404}, (key, status, message)
        else:
            needed = Right.READ if right is Right.NONE else route.need
            assert status == 403, key
            assert f'the right "{needed.word}"' in message


def shut_down_as(folder: str, uid: int) -> int:
    """Ask for the end of the daemon as somebody; return the status of the answer."""
    become(uid, uid, [])
    return ask(Path(folder) / "c.sock", request("POST", "/v1/shutdown"))[0]


def test_who_may_only_operate_cannot_end_the_daemon(running: tuple[Path, Running]) -> None:
    """Nor can who may only read."""
    folder, made = running
    assert call_in_process(shut_down_as, str(folder), 61002) == 403
    assert call_in_process(shut_down_as, str(folder), 61001) == 403
    assert made.ask("status")["items"][0]["name"] == "web"


def test_rights_change_with_a_reload() -> None:
    """For those who are connected, too; and the mode of the socket's file with them."""
    need_root()
    web = service("web", WAIT)
    with open_folder() as folder, daemon(folder, web) as made:
        assert (folder / "c.sock").stat().st_mode & 0o777 == 0o600
        made.configure(f"{CONTROL}\n{web}")
        made.ask("reload")
        assert (folder / "c.sock").stat().st_mode & 0o777 == 0o666
        assert call_in_process(shut_down_as, str(folder), 61001) == 403
        group = 'control = { group = "61010", operate = ["@61010"] }'
        made.configure(f"{group}\n{web}")
        made.ask("reload")
        found = (folder / "c.sock").stat()
        assert (found.st_mode & 0o777, found.st_gid) == (0o660, 61010)
        found_by_group = call_in_process(walk_as, str(folder), 61004, 61010, [])
        assert found_by_group["POST /v1/services/{name}/stop"][0] == 404
        assert found_by_group["POST /v1/reload"][0] == 403


def test_the_socket_has_the_mode_that_is_asked_for(tmp_path: Path) -> None:
    """Whoever is given rights, and after a reload too."""
    web = service("web", WAIT)
    with daemon(tmp_path, f'control = {{ mode = "640", read = ["0"] }}\n{web}') as made:
        assert (tmp_path / "c.sock").stat().st_mode & 0o777 == 0o640
        made.configure(f'control = {{ mode = "620", read = ["0"] }}\n{web}')
        made.ask("reload")
        assert (tmp_path / "c.sock").stat().st_mode & 0o777 == 0o620


# --- over TCP ---


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tokens(folder: Path, text: str = f"# ours\nread {READ}\noperate {OPERATE}\n\nadmin {ADMIN}\n") -> Path:
    """Write a file of tokens."""
    path = folder / "tokens"
    path.write_text(text)
    path.chmod(0o600)
    return path


def tcp(folder: Path, port: int) -> str:
    """Return the configuration of a daemon that listens on TCP."""
    return f'control = {{ tcp = "127.0.0.1:{port}", token_file = "{folder / "tokens"}" }}\n'


def ask_tcp(port: int, data: bytes) -> tuple[int, Any]:
    """Return the answer to a request over TCP."""
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        client.sendall(data)
        return answer_of(client)


def test_over_tcp_a_token_decides(tmp_path: Path) -> None:
    """Which right it gives; none and a wrong one get 401, and a web page nothing at all."""
    port = free_port()
    tokens(tmp_path)
    with daemon(tmp_path, tcp(tmp_path, port) + service("web", WAIT)) as made:
        for token, right in ((READ, Right.READ), (OPERATE, Right.OPERATE), (ADMIN, Right.ADMIN)):
            for route in ROUTES:
                if route.verb == "shutdown" or "follow" in route.query:
                    continue
                status, _ = ask_tcp(
                    port,
                    request_of(route, f"Authorization: Bearer {token}", "Host: [::1]:1").replace(
                        b"Host: reaperd\r\n", b""
                    ),
                )
                assert (status == 403) == (right < route.need), route
        nothing = request("GET", "/v1/services").replace(b"reaperd", b"localhost")
        status, body = ask_tcp(port, nothing)
        assert (status, body["error"]["code"]) == (401, "unauthorized")
        wrong = nothing.replace(b"\r\n\r\n", f"\r\nAuthorization: Bearer {READ}x\r\n\r\n".encode())
        assert ask_tcp(port, wrong)[0] == 401
        rebound = wrong.replace(b"localhost", b"evil.example").replace(READ.encode() + b"x", READ.encode())
        assert ask_tcp(port, rebound)[0] == 421
        made.end()
        log = json.dumps(made.log)
        assert not any(token in log for token in (READ, OPERATE, ADMIN))


def test_refusals_over_tcp_have_the_form_of_refusals(tmp_path: Path) -> None:
    """As the document has it: of strangers, of who may not, of half a request, and of one client too many."""
    jsonschema = pytest.importorskip("jsonschema", reason="needs openapi-spec-validator: make dev")
    described: Any = document()
    port = free_port()
    tokens(tmp_path)
    plain = request("POST", "/v1/stop", b'{"names": "all"}').replace(b"reaperd", b"localhost")
    with_token = plain.replace(b"\r\n\r\n", f"\r\nAuthorization: Bearer {READ}\r\n\r\n".encode(), 1)
    found: list[tuple[int, Any]] = []
    with daemon(tmp_path, tcp(tmp_path, port) + service("web", WAIT)), ExitStack() as clients:
        half = clients.enter_context(socket.create_connection(("127.0.0.1", port), 30))
        half.sendall(plain[:25])
        found += [ask_tcp(port, data) for data in (plain, with_token)]
        found.append(ask_tcp(port, with_token.replace(b"localhost", b"evil.example")))
        found.append(answer_of(half))
        crowd = [
            clients.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            for _ in range(MOST_OF_ONE + 1)
        ]
        found.append(answer_of(crowd[-1]))
    responses = described["paths"]["/v1/stop"]["post"]["responses"]
    assert [status for status, _ in found] == [401, 403, 421, 408, 503]
    for status, body in found:
        schema = responses[str(status)]["content"]["application/json"]["schema"]
        whole = {**schema, "components": described["components"]}
        jsonschema.Draft202012Validator(whole).validate(body)
        assert body["error"]["message"].startswith("cannot ")


def reaperd(*words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line to its end."""
    return subprocess.run(
        [sys.executable, "-c", "from reaperd.cli.main import main; main()", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
        env={**unmeasured(os.environ), **more},
    )


def test_the_command_line_over_tcp(tmp_path: Path) -> None:
    """By option or environment, with a file of its own or a line of the daemon's."""
    port = free_port()
    place = f"tcp://127.0.0.1:{port}"
    tokens(tmp_path)
    with daemon(tmp_path, tcp(tmp_path, port) + service("web", WAIT)) as made:
        made.event("service.running", service="web")
        own = tmp_path / "own"
        own.write_text(OPERATE + "\n")
        done = reaperd("stop", "web", "--socket", place, "--token-file", str(own))
        assert (done.returncode, done.stdout) == (0, "web: stopped\n"), done.stderr
        seen = reaperd("status", REAPERD_SOCKET=place, REAPERD_TOKEN_FILE=str(tmp_path / "tokens"))
        assert "stopped" in seen.stdout
        refused = reaperd("reload", "-s", place, "--token-file", str(own))
        assert refused.returncode == 1
        assert 'that takes the right "admin"; your token gives "operate"' in refused.stderr
        nobody = reaperd("status", "-s", place)
        assert "no token" in nobody.stderr
        assert "--token-file" in nobody.stderr
        assert reaperd("status", "-s", "tcp://nonsense").returncode == 2


@pytest.mark.parametrize(
    ("mode", "text", "problem"),
    [
        (0o640, f"read {READ}\n", "others may open it (mode 0640)"),
        (0o600, "", "it holds no token"),
        (0o600, "read short\n", "the token in line 1 is none of 16 to 512"),
        (0o600, f"read {READ}\nadmin {READ}\n", "the token in line 2 is there already"),
        (0o600, f"all {READ}\n", "line 1 is no right and a token"),
        (0o600, f"{READ}\n", "line 1 is no right and a token"),
    ],
)
def test_a_file_of_tokens_that_cannot_be_trusted(tmp_path: Path, mode: int, text: str, problem: str) -> None:
    """Ends the start with 78 and changes nothing in a reload; no token is told."""
    path = tokens(tmp_path, text)
    path.chmod(mode)
    web = service("web", WAIT)
    with daemon(tmp_path, web) as made:
        made.configure(tcp(tmp_path, free_port()) + web)
        refused = reaperd("reload", REAPERD_SOCKET=str(tmp_path / "c.sock"))
        assert refused.returncode == 78
        assert problem in refused.stderr
        assert READ not in refused.stderr
        assert made.end() == 0
    command = [sys.executable, "-m", "reaperd.daemon", "--", str(tmp_path / "reaperd.toml")]
    started = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert started.returncode == 78
    assert problem in started.stderr
    assert not (tmp_path / "c.sock").exists()


def test_the_address_changes_with_a_reload(tmp_path: Path) -> None:
    """Comes, moves within the same port, and goes; who was connected stays; one that is taken is refused."""
    port = free_port()
    tokens(tmp_path)
    web = service("web", WAIT)
    good = request("GET", "/healthz", b"", f"Authorization: Bearer {READ}").replace(b"reaperd", b"localhost")
    with daemon(tmp_path, web) as made:
        made.configure(tcp(tmp_path, port) + web)
        made.ask("reload")
        with socket.create_connection(("127.0.0.1", port), 20) as stays:
            made.configure(tcp(tmp_path, port).replace("127.0.0.1", "0.0.0.0") + web)  # noqa: S104 - for a moment
            made.ask("reload")
            assert ask_tcp(port, good)[0] == 200
            stays.sendall(good)
            assert answer_of(stays)[0] == 200
        with socket.socket() as squatter:
            squatter.bind(("127.0.0.1", 0))
            squatter.listen()
            made.configure(tcp(tmp_path, squatter.getsockname()[1]) + web)
            refused = reaperd("reload", REAPERD_SOCKET=str(tmp_path / "c.sock"))
            assert "Address already in use" in refused.stderr
        assert ask_tcp(port, good)[0] == 200
        made.configure(web)
        made.ask("reload")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 20)


# --- the socket's file ---


@pytest.mark.parametrize("how", ["removed", "moved", "replaced"])
def test_a_lost_socket_is_told_and_mended(tmp_path: Path, how: str) -> None:
    """At once, by an event and in the status of who is still connected; a reload makes it anew."""
    path = tmp_path / "c.sock"
    with daemon(tmp_path, service("web", WAIT)) as made, connect(path) as inside:
        if how == "moved":
            path.rename(tmp_path / "elsewhere")
        else:
            path.unlink()
        if how == "replaced":
            with socket.socket(socket.AF_UNIX) as other:
                other.bind(str(path))
        lost = made.event("control.socket_lost")
        assert lost["path"] == str(path)
        inside.sendall(request("GET", "/v1/services"))
        status, body = answer_of(inside)
        assert status == 200
        assert "a reload mends it" in body["problems"][0]
        made.process.send_signal(1)
        made.event("control.socket_mended")
        body = made.ask("status")
        assert body["problems"] == []
        inside.sendall(request("GET", "/healthz"))
        assert answer_of(inside)[0] == 200
    assert not path.exists()


def test_status_and_doctor_tell_of_a_lost_socket(tmp_path: Path) -> None:
    """Whoever still finds the way, here by the name that the file has now, is told, and what helps."""
    with daemon(tmp_path, service("web", WAIT)) as made:
        elsewhere = tmp_path / "elsewhere"
        (tmp_path / "c.sock").rename(elsewhere)
        made.event("control.socket_lost")
        wanted = f"nobody finds the way to {tmp_path}/c.sock: its file is gone; a reload mends it"
        assert wanted in reaperd("status", REAPERD_SOCKET=str(elsewhere)).stdout
        assert wanted in " ".join(reaperd("doctor", REAPERD_SOCKET=str(elsewhere)).stdout.split())
        made.process.send_signal(1)
        made.event("control.socket_mended")
        assert "nobody finds" not in reaperd("status", REAPERD_SOCKET=str(tmp_path / "c.sock")).stdout


# Opens a socket where its first word says, and becomes the daemon that is passed it: sd_listen_fds(3).
PASSING: Final = """
import os, socket, sys
path, *rest = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
fd = listener.detach()
if fd != 3:
    os.dup2(fd, 3)
    os.close(fd)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-m", "reaperd.daemon", *rest])
"""


def test_a_lost_socket_of_the_service_manager_is_told_at_each_reload(tmp_path: Path) -> None:
    """It is not ours to make anew: the daemon says what helps, and goes on with who is connected."""
    path = tmp_path / "c.sock"
    program = (sys.executable, "-c", PASSING, str(path))
    with daemon(tmp_path, service("web", WAIT), program=program) as made, connect(path) as inside:
        path.unlink()
        made.event("control.socket_lost", problem="its file is gone")
        for nth in (1, 2):
            made.process.send_signal(1)
            told = made.event(
                "control.socket_lost",
                problem="its file is gone; restart what made it: reaperd.socket",
                nth=nth,
            )
            assert told["path"] == str(path)
        inside.sendall(request("GET", "/v1/services"))
        assert "restart what made it" in answer_of(inside)[1]["problems"][0]
        assert not made.events("control.socket_mended")
        assert not path.exists()


def test_a_file_in_the_place_of_the_socket_stays(tmp_path: Path) -> None:
    """It is somebody's: the daemon says so at each reload and mends what it can once it is gone."""
    path = tmp_path / "c.sock"
    with daemon(tmp_path, service("web", WAIT)) as made:
        path.unlink()
        path.write_text("precious")
        made.process.send_signal(1)
        made.event("daemon.reloaded")
        assert path.read_text() == "precious"
        problems = [each["problem"] for each in made.events("control.socket_lost")]
        assert any("something that is no socket is there" in each for each in problems), problems
        path.unlink()
        made.process.send_signal(1)
        made.event("control.socket_mended")
        assert made.ask("status")["problems"] == []
