"""Ask a service over the network, in a process of its own: a small script, for a bare interpreter.

    python3 -I -S netcheck.py http://HOST[:PORT][/PATH]
    python3 -I -S netcheck.py tcp HOST PORT

It resolves names and waits, which the daemon must not. Its end is the answer: 0 is well, and with 1 the
reason stands in one line. Whoever started it bounds its time. It imports nothing of ours.
"""

import os
import socket
import sys
from contextlib import suppress

NOBODY = 65534
LONGEST_LINE = 4096
LONGEST_HEADER = 65536


class Unwell(Exception):  # noqa: N818  # an answer rather than an error
    """The service did not answer as it should; the message says why."""


def main(words: list[str]) -> int:
    """Ask, and return 0 or 1."""
    _drop_rights()
    try:
        if words[0] == "tcp":
            _connect(words[1], int(words[2])).close()
        else:
            _get(words[0])
    except Unwell as error:
        reason = str(error)
    except socket.gaierror as error:
        reason = f"cannot resolve the name: {error.strerror}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    else:
        return 0
    sys.stdout.write(f"{reason}\n")
    return 1


def _drop_rights() -> None:
    """Be nobody where we are root: a service's answer is not to be trusted with more."""
    if os.geteuid() == 0:
        with suppress(OSError):  # within a user namespace that has no such user
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)


def _connect(host: str, port: int) -> socket.socket:
    """Try each address of `host`, the last one's failure being the reason."""
    # As bytes: text would have to be encoded by a codec that is only now loaded, which nobody may not read.
    failed: OSError = OSError("the name has no address")
    for family, kind, protocol, _name, address in socket.getaddrinfo(
        host.encode("ascii"), port, type=socket.SOCK_STREAM
    ):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            failed = error
        else:
            return connection
    raise failed


def _get(url: str) -> None:
    host, port, path = split(url)
    with _connect(host, port) as connection:
        name = f"[{host}]" if ":" in host else host
        request = f"GET {path} HTTP/1.1\r\nHost: {name}:{port}\r\nUser-Agent: reaperd\r\nAccept: */*\r\n"
        connection.sendall(f"{request}Connection: close\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            status = 100
            while 100 <= status < 200:  # interim answers come before the real one: RFC 9110, 15.2
                status = status_of(answer.readline(LONGEST_LINE))
                _skip_header(answer)
            _drain(connection, answer)
    if not 200 <= status < 400:
        raise Unwell(f"HTTP status {status}")


def split(url: str) -> tuple[str, int, str]:
    """Return host, port and path of an address.

    Raises:
        Unwell: not an address that we can ask.
    """
    scheme, found, rest = url.partition("://")
    if not found or scheme.lower() != "http":
        raise Unwell(f"not an address of http: {url}")
    place, slash, path = rest.partition("#")[0].partition("/")
    place, question, query = place.partition("?")
    if place.startswith("["):
        host, _bracket, port = place[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _colon, port = place.partition(":")
    if not host or "@" in place:
        raise Unwell(f"not an address of http: {url}")
    return host, int(port or 80), f"/{question}{query}{slash if question else ''}{path}"


def status_of(line: bytes) -> int:
    """Return the status of an answer's first line.

    Raises:
        Unwell: it is no answer of HTTP.
    """
    if not line:
        raise Unwell("closed the connection without an answer")
    version, _space, rest = line.partition(b" ")
    digits = rest[:3]
    if not version.startswith(b"HTTP/1.") or not digits.isdigit() or len(digits) != 3:
        raise Unwell("did not answer with HTTP")
    return int(digits)


def _skip_header(answer) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001  # typing costs 9 ms
    left = LONGEST_HEADER
    while left > 0:
        line = answer.readline(LONGEST_LINE)
        left -= len(line)
        if line in (b"\r\n", b"\n", b""):
            return
    raise Unwell("answered with an endless header")


def _drain(connection: socket.socket, answer) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001  # as above
    """Read on for a moment: closing with bytes unread resets the connection, which servers complain about."""
    connection.settimeout(0.2)
    with suppress(OSError):
        answer.read(LONGEST_HEADER)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
