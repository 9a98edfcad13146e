"""Who may ask the daemon, and where: the table `control`."""

import grp
import pwd
from typing import Any, Final

from reaperd.config.accounts import GROUP, USER, is_number
from reaperd.config.daemon_spec import Control, Grant
from reaperd.config.kinds import OCTAL, PATH, address, array_of, text_not_empty
from reaperd.config.report import Site
from reaperd.config.table import Key, Kind
from reaperd.units import shown

_OWNER: Final = 0o600


def _mode(value: object, site: Site) -> int:
    mode = OCTAL.read(value, site)
    assert isinstance(mode, int), "that is what modes are read to"
    if mode & _OWNER != _OWNER:
        raise ValueError(f"{shown(str(value))} would keep its owner out; it needs at least 600")
    return mode


def _grant(value: object, site: Site) -> Grant:
    name = text_not_empty(value)
    if name.startswith("@"):
        group = str(GROUP.read(name[1:], site))
        return Grant(name, gid=int(group) if is_number(group) else grp.getgrnam(group).gr_gid)
    user = str(USER.read(name, site))
    return Grant(name, uid=int(user) if is_number(user) else pwd.getpwnam(user).pw_uid)


def _listens(value: object, site: Site) -> tuple[str, int]:
    host, port = address(value, site)
    import ipaddress  # noqa: PLC0415 - few daemons listen at an address

    try:
        ipaddress.ip_address(host)
    except ValueError as error:
        hint = 'write it like "127.0.0.1:9000", or "0.0.0.0:9000" for every one of this machine'
        raise ValueError(f"{shown(host)} is no address, and no names are looked up here; {hint}") from error
    return host, port


def control(**values: Any) -> Control:  # noqa: ANN401  # each has the type that its row's reader returns
    """Return the record of a table.

    Raises:
        ValueError: a TCP address without tokens, or tokens without an address.
    """
    if "tcp" in values and "token_file" not in values:
        raise ValueError(
            "tcp needs token_file: over TCP nobody can tell who asks, so a token has to; make one with: "
            "echo read $(openssl rand -hex 32) > FILE; chmod 600 FILE"
        )
    if "token_file" in values and "tcp" not in values:
        raise ValueError('token_file is for tcp; say where to listen, like tcp = "127.0.0.1:9000"')
    return Control(**values)


_GRANTS: Final = array_of("users and groups", _grant)

CONTROL: Final = (
    Key(
        "mode",
        Kind(OCTAL.name, _mode, schema=OCTAL.schema),
        "The mode of the socket. Without it: 600; with `group` 660; else, where rights are given to "
        "anybody, 666, for it is the kernel that says who asks.",
    ),
    Key("group", GROUP, "The group of the socket: a name, or a number in quotes. Without it: the daemon's."),
    Key(
        "read",
        _GRANTS,
        'Who may see what is: users, and groups with an `@` before them, such as `["ann", "@staff"]`; '
        "numbers go, too. Root and the user whom the daemon runs as may do everything.",
        "[]",
    ),
    Key("operate", _GRANTS, "Who may also start, stop, restart, scale and signal services.", "[]"),
    Key("admin", _GRANTS, "Who may also reload the configuration and shut the daemon down.", "[]"),
    Key(
        "tcp",
        Kind("an address", _listens, schema={"type": "string"}),
        "An address and port on which the daemon answers besides, such as `127.0.0.1:9000`. Whoever comes "
        "there needs a token. Without it there is none.",
    ),
    Key(
        "token_file",
        PATH,
        "The file of tokens, which the daemon's user or root must own and nobody else may open: lines of a "
        "right (`read`, `operate` or `admin`) and a token. Read at the start and at each reload.",
    ),
)
