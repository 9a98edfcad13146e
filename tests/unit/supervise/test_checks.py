import itertools
import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reaperd.config.spec import ServiceSpec
from reaperd.policy.words import Exited, NotSpawned
from reaperd.supervise import netcheck
from reaperd.supervise.helper import LONGEST_REASON, Errand, Finished, Order, TimedOut, last_line
from reaperd.supervise.probes import alone, literal
from reaperd.supervise.readiness import FIRST_PAUSE_NS, LONGEST_PAUSE_NS, pause_ns

ORDER = Order("web", Errand.HEALTH, ServiceSpec("web", ("check",), user="nobody"), 2_000_000_000)


def test_pauses_between_tries_grow_to_a_second() -> None:
    """From 50 ms each is twice the one before, and none is longer than a second, however many there are."""
    pauses = [pause_ns(tries) for tries in range(1, 10_000)]
    assert pauses[:6] == [FIRST_PAUSE_NS << shift for shift in range(5)] + [LONGEST_PAUSE_NS]
    assert all(earlier <= later for earlier, later in itertools.pairwise(pauses))
    assert pauses[-1] == LONGEST_PAUSE_NS


@pytest.mark.parametrize(
    ("outcome", "said", "problem"),
    [
        (Exited(code=0), "fine", None),
        (Exited(code=2), "", "exited with 2"),
        (Exited(code=2), "no page", "exited with 2: no page"),
        (Exited(signal=9), "", "ended by SIGKILL"),
        (TimedOut(), "half a", "no answer within 2s"),
        (NotSpawned("exec", 2), "", "exec of check: No such file or directory"),
    ],
)
def test_each_end_of_a_helper_has_its_words(
    outcome: Exited | TimedOut | NotSpawned, said: str, problem: str | None
) -> None:
    """Only an exit with 0 is well; everything else says what went wrong."""
    assert Finished(ORDER, outcome, said).problem() == problem


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (b"", ""),
        (b"\n \n", ""),
        (b"one\ntwo\n\n", "two"),
        (b"\xff\x1b[31mred\x1b[0m", "\ufffd?[31mred?[0m"),
        (b"x" * 1000, "x" * LONGEST_REASON),
    ],
)
def test_the_last_line_of_a_check_is_its_reason(said: bytes, line: str) -> None:
    """It is one line, in bounds, that no terminal obeys."""
    assert last_line(said) == line


@pytest.mark.parametrize(
    ("host", "families"),
    [
        ("127.0.0.1", [socket.AF_INET]),
        ("::1", [socket.AF_INET6]),
        ("localhost", [socket.AF_INET, socket.AF_INET6]),
        ("example.org", []),
        ("1.2.3", []),
        ("fe80::1%eth0", []),
        ("a\0b", []),
    ],
)
def test_only_what_needs_no_resolver_is_literal(host: str, families: list[int]) -> None:
    """Addresses and localhost are known; every name is left to a helper."""
    assert [family for family, _address in literal(host)] == families


def test_our_own_helper_has_nothing_of_the_service() -> None:
    """It runs as the daemon does, whatever the service's user may or may not run."""
    spec = alone(ServiceSpec("web", ("x",), user="nobody", directory="/x", environment=(("A", "b"),)), "u")
    assert (spec.user, spec.directory, spec.environment, spec.name) == (None, None, (), "web")
    assert spec.command[0] == sys.executable


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://127.0.0.1", ("127.0.0.1", 80, "/")),
        ("http://web:8000/healthz?full=1#top", ("web", 8000, "/healthz?full=1")),
        ("http://[::1]:81/a/b", ("::1", 81, "/a/b")),
        ("http://[::1]", ("::1", 80, "/")),
        ("HTTP://web?a=/b", ("web", 80, "/?a=/b")),
    ],
)
def test_an_address_is_taken_apart(url: str, parts: tuple[str, int, str]) -> None:
    """Host, port and path are what RFC 3986 says."""
    assert netcheck.split(url) == parts


@pytest.mark.parametrize("url", ["https://web/", "web", "http://", "http://user@web/", "ftp://web/"])
def test_an_address_that_we_cannot_ask_is_refused(url: str) -> None:
    """Only plain HTTP without a user is asked."""
    with pytest.raises(netcheck.Unwell, match="not an address of http"):
        netcheck.split(url)


def test_the_first_line_of_an_answer_has_the_status() -> None:
    """Both versions of HTTP/1 are understood, with or without a reason."""
    assert netcheck.status_of(b"HTTP/1.1 204 No Content\r\n") == 204
    assert netcheck.status_of(b"HTTP/1.0 404\r\n") == 404


@given(st.binary(min_size=1, max_size=50).filter(lambda line: not line.startswith(b"HTTP/1.")))
def test_what_is_not_http_is_no_status(line: bytes) -> None:
    """Whatever else a service sends is no answer."""
    with pytest.raises(netcheck.Unwell):
        netcheck.status_of(line)


def test_the_script_needs_a_bare_interpreter_only() -> None:
    """It imports nothing of ours and nothing that a bare interpreter lacks."""
    words = [sys.executable, "-I", "-S", netcheck.__file__, "http://nowhere@x/"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd="/")
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "not an address of http: http://nowhere@x/\n",
        "",
    )
