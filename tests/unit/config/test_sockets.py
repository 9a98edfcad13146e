"""The forms of `sockets`."""

from pathlib import Path

import pytest

from reaperd.config.listener import Listener, Transport
from reaperd.config.parse import load
from reaperd.errors import ConfigError


def read(folder: Path, text: str) -> tuple[Listener, ...]:
    """Return what a service's table says of its sockets."""
    source = folder / "c.toml"
    source.write_text(f'[service.web]\ncommand = "x"\n{text}')
    (spec,) = load(source).services
    return spec.sockets


@pytest.mark.parametrize(
    ("address", "listener"),
    [
        ("tcp://127.0.0.1:8080", Listener(Transport.TCP, "127.0.0.1", 8080)),
        ("tcp://[::]:80", Listener(Transport.TCP, "::", 80)),
        ("udp://0.0.0.0:514", Listener(Transport.UDP, "0.0.0.0", 514)),  # noqa: S104 - nobody listens
        ("unix:///run/web.sock", Listener(Transport.UNIX, "/run/web.sock")),
        ("unix://@web", Listener(Transport.UNIX, "@web")),
    ],
)
def test_an_address_is_read_and_told_alike(address: str, listener: Listener, tmp_path: Path) -> None:
    """What is in the file is what messages say."""
    assert read(tmp_path, f'sockets = ["{address}"]') == (listener,)
    assert listener.address == address


def test_a_table_says_more(tmp_path: Path) -> None:
    """A name that the program finds, and whose a file is."""
    text = 'sockets = [{ listen = "unix:///run/s", name = "api", mode = "0600", user = "0", backlog = 5 }]'
    found = read(tmp_path, text)
    assert found == (Listener(Transport.UNIX, "/run/s", name="api", mode=0o600, user="0", backlog=5),)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('sockets = "tcp://127.0.0.1:80"', "a string where an array"),
        ("sockets = [80]", "an integer where an address, or a table with listen, is wanted"),
        ('sockets = ["127.0.0.1:80"]', "is not an address; write it like"),
        ('sockets = ["http://127.0.0.1:80"]', "is not an address; write it like"),
        ('sockets = ["tcp://localhost:80"]', "would have to be looked up"),
        ('sockets = ["tcp://127.0.0.1:0"]', "0 is not a port"),
        ('sockets = ["tcp://127.0.0.1"]', "is not an address"),
        ('sockets = ["tcp://::1:80"]', "in brackets"),
        ('sockets = ["unix://run/web.sock"]', "is no place for a socket"),
        ('sockets = ["unix:///x\\u0000"]', "NUL"),
        (f'sockets = ["unix:///{"x" * 200}"]', "at most 107 are allowed"),
        ('sockets = ["udp://127.0.0.1:9", "udp://127.0.0.1:9"]', "twice"),
        ('sockets = [{ name = "x" }]', "listen: is missing"),
        ('sockets = [{ listen = "unix:///x", name = "a:b" }]', "is no name"),
        ('sockets = [{ listen = "tcp://127.0.0.1:1", mode = "0600" }]', "is no file"),
        ('sockets = [{ listen = "unix://@x", user = "0" }]', "is no file"),
        ('sockets = [{ listen = "udp://127.0.0.1:1", backlog = 1 }]', "nobody connects"),
        ('sockets = ["unix://@a", "unix://@b"]\nready = { fd = 4 }', "choose 5 or a larger one"),
        ('watchdog = "0s"', "too short"),
    ],
)
def test_what_is_wrong_is_said(text: str, problem: str, tmp_path: Path) -> None:
    """With what is allowed instead."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert problem in str(caught.value)


def test_there_is_an_end_to_their_number(tmp_path: Path) -> None:
    """Each costs a descriptor of the daemon's."""
    many = ", ".join(f'"udp://127.0.0.1:{port}"' for port in range(1000, 1065))
    with pytest.raises(ConfigError, match="at most 64"):
        read(tmp_path, f"sockets = [{many}]")
