"""The sockets that a service is given open: the forms of `sockets`."""

import re
from typing import Any, Final

from reaperd.config.accounts import GROUP, USER
from reaperd.config.kinds import OCTAL, address, array_of, integer, text_not_empty
from reaperd.config.listener import Listener, Transport
from reaperd.config.report import Site
from reaperd.config.table import Key, Kind, table_of, wrong_type
from reaperd.units import shown

MOST: Final = 64
_PATH_MAX_BYTES: Final = 107  # sun_path holds 108 with the NUL: unix(7)
_NAME: Final = re.compile(r"[!-9;-~]{1,255}")  # printable and no colon: sd_listen_fds_with_names(3)
_WRITE: Final = (
    'write it like "tcp://127.0.0.1:8080", "tcp://[::]:80", "udp://0.0.0.0:514", "unix:///run/web.sock" or '
    '"unix://@name"'
)


def _listen(value: object, site: Site) -> tuple[Transport, str, int]:
    text = text_not_empty(value)
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in {transport.value for transport in Transport}:
        raise ValueError(f"{shown(text)} is not an address; {_WRITE}")
    transport = Transport(scheme)
    if transport is Transport.UNIX:
        return transport, _path(rest), 0
    host, port = address(rest, site)
    import ipaddress  # noqa: PLC0415 - few services are given sockets

    try:
        return transport, str(ipaddress.ip_address(host)), port
    except ValueError:
        what = f"{shown(host)} is not an address in numbers; a name would have to be looked up each time"
        raise ValueError(f'{what}: write "127.0.0.1", "0.0.0.0" or "[::]"') from None


def _path(path: str) -> str:
    if not path.startswith(("/", "@")) or len(path) < 2:
        raise ValueError(
            f'{shown(path)} is no place for a socket; write "unix:///run/web.sock" or "unix://@name"'
        )
    length = len(path.encode())
    if length > _PATH_MAX_BYTES:
        raise ValueError(f"the path has {length} bytes; at most {_PATH_MAX_BYTES} are allowed: unix(7)")
    return path


def _name(value: object, _site: Site) -> str:
    name = text_not_empty(value)
    if not _NAME.fullmatch(name):
        raise ValueError(f"{shown(name)} is no name; allowed: printable ASCII without spaces and colons")
    return name


_LISTEN: Final = Kind("an address", _listen, schema={"type": "string"})

SOCKET: Final = (
    Key(
        "listen",
        _LISTEN,
        "Where it listens: `tcp://ADDRESS:PORT`, `udp://ADDRESS:PORT`, `unix:///PATH`, or `unix://@NAME` for "
        "a name that is no file.",
        required=True,
    ),
    Key(
        "name",
        Kind("a name", _name, schema={"type": "string"}),
        "What `LISTEN_FDNAMES` calls it.",
        '"socket"',
    ),
    Key("mode", OCTAL, "The mode of a socket file.", '"0660"'),
    Key("user", USER, "Who owns a socket file. Without it: the service's `user`."),
    Key("group", GROUP, "Its group. Without it: the service's `group`."),
    Key("backlog", integer(1, 65535), "How many connections may wait to be accepted.", "4096"),
)


def _listener(listen: tuple[Transport, str, int], **values: Any) -> Listener:  # noqa: ANN401  # as its rows read
    transport, host, port = listen
    file_keys = [key for key in ("mode", "user", "group") if key in values]
    if file_keys and (transport is not Transport.UNIX or host.startswith("@")):
        raise ValueError(
            f"says {' and '.join(file_keys)}, and is no file that could have any; leave them out"
        )
    if transport is Transport.UDP and "backlog" in values:
        raise ValueError("says backlog, and nobody connects to a socket of udp; leave it out")
    return Listener(transport, host, port, **values)


_TABLE: Final = table_of(SOCKET, _listener, merges=False)


def _socket(value: object, site: Site) -> object:
    if isinstance(value, dict):
        return _TABLE.read(value, site)
    if not isinstance(value, str):
        raise wrong_type(value, "an address, or a table with listen,")
    return _listener(_listen(value, site))


_ARRAY: Final = array_of("addresses or tables", _socket)


def _sockets(value: object, site: Site) -> object:
    found = _ARRAY.read(value, site)
    assert isinstance(found, tuple), "that is what arrays are read to"
    if len(found) > MOST:
        raise ValueError(f"holds {len(found)} sockets; at most {MOST} are allowed")
    seen: set[str] = set()
    for each in found:
        if isinstance(each, Listener):
            if each.address in seen:
                raise ValueError(f"holds {each.address} twice; leave one out")
            seen.add(each.address)
    return found


SOCKETS: Final = Kind(
    "an array of addresses or tables",
    _sockets,
    SOCKET,
    {"type": "array", "items": {"oneOf": [{"type": "string"}, {"type": "object"}]}},
)
